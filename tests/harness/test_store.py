import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tables import TEST, VALID, make_store, make_table

from harness import load, store
from harness.errors import BrokenStore, InvalidSpec, StorageFailed, UnknownBenchmark
from harness.files import write_atomically


def test_a_store_answers_as_the_table_it_was_made_from(home):
    make_store()
    expected, found = make_table(), load("small")

    assert list(found.holdings.values()) == list(expected.holdings.values())
    for at in expected.holdings:
        np.testing.assert_array_equal(
            found.curves(at, seed="mean"), expected.curves(at, seed="mean")
        )
    for cost in expected._recorded_costs():
        np.testing.assert_array_equal(
            found._recorded_costs()[cost], expected._recorded_costs()[cost]
        )
    assert found.roles == expected.roles
    assert found.archs == expected.archs


def test_the_digest_is_of_the_content(home):
    make_store("one")
    make_store("two")
    make_store("three", n_archs=5)

    assert load("one").sha256 == load("two").sha256 != load("three").sha256


def test_an_alias_follows_and_moves_but_never_hides_a_store(home):
    make_store("one")
    make_store("two", n_archs=5)
    store.set_alias("nb201", "one")
    first = load("nb201")
    store.set_alias("nb201", "two")

    assert (first.name, load("nb201").name) == ("one", "two")
    with pytest.raises(InvalidSpec, match="itself a store"):
        store.set_alias("one", "two")


def test_importing_again_replaces_and_leaves_nothing_behind(home):
    make_store("one")
    make_store("one", n_archs=5)
    folders = [path.name for path in (home / "stores").iterdir() if path.is_dir()]

    assert len(load("one")) == 5
    assert len(folders) == 1


@pytest.mark.parametrize("name", ["absent", "../etc", "", ".hidden", "a/b"])
def test_an_unknown_name_says_what_there_is(home, name):
    make_store("one")
    with pytest.raises(UnknownBenchmark, match="one"):
        load(name)


def test_damage_is_found(home):
    make_store()
    folder = home / "stores" / store.manifest("small")["folder"]
    file = folder / store.manifest("small")["slices"][0]["file"]
    content = file.read_bytes()
    at = store.manifest("small")["slices"][0]["slice"]

    assert store.verify("small") == []
    file.write_bytes(content[:-4] + b"\0\0\0\1")
    assert store.verify("small") == [f"{file} was changed after the import"]
    file.write_bytes(content[:200])
    with pytest.raises(BrokenStore, match="Import the benchmark again"):
        load("small").column(VALID if str(VALID) == at else TEST, seed=777)
    file.unlink()
    assert store.verify("small") == [f"{file} is missing"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": 99}', '{"schema": 1}'])
def test_a_broken_manifest_is_an_error_with_a_remedy(home, text):
    make_store()
    (home / "stores" / "small.json").write_text(text)
    with pytest.raises(BrokenStore):
        load("small")


def test_a_full_disk_leaves_the_old_store_and_no_new_one(home):
    """The kernel refuses files over 2 kB, as a full disk would refuse them."""
    make_store("kept", n_archs=5)
    script = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from tables import make_store\n"
        "make_store('kept', n_archs=600)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=dict(os.environ)
    )

    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    assert StorageFailed.__name__ in ended.stderr and "Free space" in ended.stderr
    assert len(load("kept")) == 5
    assert store.verify("kept") == []


def test_atomic_writing_replaces_whole_files(tmp_path):
    path = tmp_path / "deep" / "file.json"
    write_atomically(path, b"one")
    write_atomically(path, b"two")

    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["file.json"]


def test_a_changed_manifest_is_not_verified(home):
    make_store()
    path = home / "stores" / "small.json"
    path.write_text(
        path.read_text().replace('"search": "cifar10/train/valid', '"search": "x/valid')
    )

    assert store.verify("small") == ["the manifest of small was changed after the import"]


def test_one_broken_store_leaves_the_others_alone_and_is_repaired_by_importing(home):
    make_store("one")
    make_store("two")
    (home / "stores" / "one.json").write_text("{")

    assert store.imported() == {"one": None, "two": None}
    assert len(load("two")) == 6
    make_store("one")
    assert store.verify("one") == []


def test_a_store_of_another_adapter_is_not_overwritten(home):
    make_store("one")
    with pytest.raises(InvalidSpec, match="made by the adapter none"):
        store.check_new("one", "nats")

    store.check_new("one", "none")


def test_a_store_takes_the_name_of_an_alias(home):
    make_store("one", n_archs=4)
    store.set_alias("other", "one")

    make_store("other", n_archs=5)

    assert store.imported() == {"one": None, "other": None}
    assert (len(load("one")), len(load("other"))) == (4, 5)


def test_two_commits_of_one_name_do_not_destroy_each_other(home):
    """The second commit comes when the first has renamed its folder; it has to wait."""
    script = "from tables import make_store; make_store('small', n_archs={n})"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    running = [
        subprocess.Popen([sys.executable, "-c", script.format(n=n)], env=environment)
        for n in (4, 5, 6, 7, 8, 9)
    ]

    assert [process.wait() for process in running] == [0] * 6
    assert store.verify("small") == []


def test_the_manifest_is_plain_json(home):
    make_store()
    manifest = json.loads((home / "stores" / "small.json").read_text())

    assert manifest["schema"] == store.SCHEMA
    assert manifest["roles"]["cifar10"]["truth"] == str(TEST)
    assert {"sha256", "n_bytes", "file"} <= set(manifest["slices"][0])
