import json
import textwrap

import numpy as np
import pytest
from tables import make_store

from harness import engine, record, registry, store
from harness.config import read_labelled, read_suite, suites
from harness.errors import (
    DuplicateName,
    InvalidSpec,
    StorageFailed,
    UnknownBenchmark,
    UnknownName,
)
from harness.record import RunSpec
from harness.seeds import derive

SOTL = {"dataset": "cifar10", "score": "sotl:cifar10/train/4", "n_archs": 5, "table_seed": 777}


def sotl(seed=0, **changes):
    return RunSpec("sotl", "small", seed, setting={**SOTL, **changes})


@pytest.fixture
def small(home):
    return make_store(n_archs=12)


def test_a_run_is_kept_raw_and_not_run_again(small):
    (first,) = engine.run_all([sotl()])
    written = record.path_of(first.key).stat().st_mtime_ns
    (second,) = engine.run_all([sotl()])

    assert first.status == "done"
    assert first.array("scores").shape == (4, 5)
    assert first.array("truth").shape == (5,)
    assert second.key == first.key
    assert record.path_of(first.key).stat().st_mtime_ns == written
    assert first.environment["packages"]["numpy"] == np.__version__


def test_identity_ignores_order_and_notices_content(small):
    backwards = RunSpec("sotl", "small", 0, setting=dict(reversed(SOTL.items())))
    same = engine.identity_of(sotl())
    key = record.identity_key(same)

    assert record.identity_key(engine.identity_of(backwards)) == key
    assert record.identity_key(engine.identity_of(sotl(seed=1))) != key
    assert record.identity_key(engine.identity_of(sotl(n_archs=4))) != key
    make_store(n_archs=13)
    assert record.identity_key(engine.identity_of(sotl())) != key


def test_the_impossible_is_a_record_with_a_reason(small):
    (skipped,) = engine.run_all([sotl(n_archs=200)])

    assert skipped.status == "skipped"
    assert "12 cells; 200" in skipped.reason


def test_runs_can_be_left_out_unless_they_are_kept(small):
    (kept,) = engine.run_all([sotl()])
    again, left = engine.run_all([sotl(), sotl(seed=1)], leave_out=lambda spec: "not today")

    assert again.status == "done"
    assert (left.status, left.reason) == ("skipped", "not today")
    assert record.keys() == [kept.key]
    assert engine.run_all([sotl(seed=1)])[0].status == "done"


def test_a_failure_is_a_record_and_the_suite_goes_on(small):
    failed, done = engine.run_all([sotl(score="sotl:cifar10/train/4", table_seed=999), sotl()])

    assert (failed.status, done.status) == ("failed", "done")
    assert "seed 999" in failed.reason


def test_a_disk_that_refuses_a_runs_own_files_fails_that_run_alone(small, monkeypatch):
    protocol = type(registry.get("protocol", "sotl").offer)
    carried_out = protocol.run

    def full(self, run):
        if run.seed == 0:
            raise StorageFailed("A checkpoint could not be written.", "Free space.")
        return carried_out(self, run)

    monkeypatch.setattr(protocol, "run", full)
    failed, done = engine.run_all([sotl(0), sotl(1)])

    assert (failed.status, done.status) == ("failed", "done")
    assert "could not be written" in failed.reason


def test_a_record_that_cannot_be_written_ends_the_suite(small, monkeypatch):
    def full(finished, arrays):
        raise StorageFailed("The record could not be written.", "Free space.")

    monkeypatch.setattr(engine.record, "write", full)

    with pytest.raises(StorageFailed, match="The record"):
        engine.run_all([sotl(0), sotl(1)])


def test_processes_give_the_same_records(small, monkeypatch, tmp_path):
    specs = [sotl(seed) for seed in range(4)]
    alone = [r.array("rows").tolist() for r in engine.run_all(specs[:2])]
    monkeypatch.setenv("NAS_HARNESS_HOME", str(tmp_path / "other"))
    make_store(n_archs=12)
    together = engine.run_all(specs, jobs=2)

    assert [r.array("rows").tolist() for r in together][:2] == alone
    assert [r.identity["seed"] for r in together] == [0, 1, 2, 3]


def test_a_dask_cluster_gives_the_same_records(small, monkeypatch, tmp_path):
    pytest.importorskip("distributed")
    specs = [sotl(seed) for seed in range(3)]
    expected = [r.array("rows").tolist() for r in engine.run_all(specs)]
    monkeypatch.setenv("NAS_HARNESS_HOME", str(tmp_path / "other"))
    make_store(n_archs=12)
    found = engine.run_all(specs, jobs=2, backend="dask")

    assert [r.array("rows").tolist() for r in found] == expected


@pytest.mark.parametrize("damage", ["record", "array"])
def test_a_damaged_record_is_run_again(small, damage):
    (first,) = engine.run_all([sotl()])
    path = record.path_of(first.key)
    if damage == "record":
        path.write_bytes(b"")
    else:
        path.with_name(first.arrays["scores"]).unlink()
    (again,) = engine.run_all([sotl()])

    assert again.status == "done"
    assert again.array("scores").shape == (4, 5)


def test_a_table_imported_again_is_noticed_through_its_alias(small):
    store.set_alias("other", "small")
    spec = RunSpec("sotl", "other", 0, setting=SOTL)
    before = engine.identity_of(spec)["table_sha256"]
    make_store(n_archs=13)

    assert engine.identity_of(spec)["table_sha256"] != before


def test_nan_is_null_on_disk(small):
    (found,) = engine.run_all([sotl()])
    stored = record.write(
        record.Record({"x": 1}, "done", result={"a": [1.0, float("nan")], "b": np.float32(2)}), {}
    )
    content = json.loads(record.path_of(stored.key).read_text())

    assert content["result"] == {"a": [1.0, None], "b": 2.0}
    assert found.result["contains_test"] is False


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (RunSpec("sotl", "absent", 0), UnknownBenchmark),
        (RunSpec("sotel", "small", 0), UnknownName),
        (RunSpec("sotl", "small", 0, method="rea"), InvalidSpec),
        (RunSpec("blackbox", "small", 0), InvalidSpec),
    ],
)
def test_nonsense_is_refused_before_anything_runs(small, spec, error):
    with pytest.raises(error):
        engine.run_all([sotl(), spec])
    assert list(record.read_all()) == []


def test_a_user_file_is_a_method(small, tmp_path):
    file = tmp_path / "greedy.py"
    file.write_text(
        textwrap.dedent('''
            """A method of a user."""
            class Greedy:
                version = 3
            METHOD = Greedy()
            ''')
    )
    plugin = registry.get("method", str(file))

    assert (plugin.name, plugin.version) == ("greedy", 3)


def test_a_user_file_never_answers_with_another_ones_records(home, tmp_path):
    one, two = tmp_path / "one" / "mine.py", tmp_path / "two" / "mine.py"
    for file in (one, two):
        file.parent.mkdir()
        file.write_text("class M:\n    version = 1\nMETHOD = M()\n")
    make_store()
    specs = [RunSpec("blackbox", "small", 0, method=str(file)) for file in (one, two)]
    shipped = tmp_path / "rea.py"
    shipped.write_text(one.read_text())

    assert engine.identity_of(specs[0]) != engine.identity_of(specs[1])
    with pytest.raises(DuplicateName, match="rea"):
        registry.get("method", str(shipped))


def test_a_method_without_a_version_says_so(home, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("METHOD = 3\n")
    plugin = registry.get("method", str(file))
    with pytest.raises(InvalidSpec, match="version = 1"):
        _ = plugin.version


@pytest.mark.parametrize(
    ("content", "says"),
    [("", "offers no method"), ("import nothing_like_this", "cannot be imported"), ("(", "import")],
)
def test_a_user_file_that_is_no_method_says_why(tmp_path, content, says):
    file = tmp_path / "mine.py"
    file.write_text(content)
    with pytest.raises(InvalidSpec, match=says):
        registry.get("method", str(file))


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean rea"):
        registry.get("method", "reaa")


def test_an_installed_plugin_must_not_take_a_shipped_name(monkeypatch):
    class Point:
        value = "somebody.rea"

    monkeypatch.setattr(registry, "_entry_points", lambda kind: {"rea": Point})
    with pytest.raises(DuplicateName, match="rea"):
        registry.names("method")


def test_streams_differ_by_name_and_repeat_by_seed():
    one, again, other = derive(3, "data"), derive(3, "data"), derive(3, "model")
    values = one.random(4)

    np.testing.assert_array_equal(values, again.random(4))
    assert not np.allclose(values, other.random(4))
    assert not np.allclose(values, derive(4, "data").random(4))


SUITE = """
[[run]]
protocol = "sotl"
benchmark = "small"
seeds = 2
[run.setting]
dataset = "cifar10"
n_archs = 3
[run.sweep]
score = ["sotl:cifar10/train/4", "slice:cifar10/train/valid/accuracy/4"]
table_seed = [777, "mean"]
"""


def test_a_suite_is_every_combination(tmp_path):
    file = tmp_path / "suite.toml"
    file.write_text(SUITE)
    specs = read_suite(str(file))

    assert len(specs) == len(set(map(str, specs))) == 2 * 2 * 2
    assert read_suite(str(file), benchmark="other")[0].benchmark == "other"


def test_settings_of_a_suite_are_those_of_all_its_runs(tmp_path):
    file = tmp_path / "suite.toml"
    file.write_text(
        "[setting]\na = 1\nb = 2\ntable = { x = 1, y = 2 }\n"
        "[[run]]\nprotocol = 'sotl'\nbenchmark = 'x'\n"
        "[[run]]\nprotocol = 'sotl'\nbenchmark = 'x'\n"
        "[run.setting]\nb = 3\ntable = { y = 4 }\n"
    )

    first, second = (spec.setting for spec in read_suite(str(file)))

    assert first == {"a": 1, "b": 2, "table": {"x": 1, "y": 2}}
    assert second == {"a": 1, "b": 3, "table": {"x": 1, "y": 4}}


def test_runs_are_found_by_their_labels(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        """
[[run]]
protocol = "blackbox"
method = ["rea", "random_search"]
benchmark = "small"
seeds = 2
[[run]]
protocol = "blackbox"
method = "rea"
benchmark = "small"
label = "REA, large"
[run.setting]
population = 50
"""
    )
    found = read_labelled(str(file), benchmark="other")

    assert list(found) == ["rea", "random_search", "REA, large"]
    assert [spec.seed for spec in found["rea"]] == [0, 1]
    assert found["REA, large"] == [
        RunSpec("blackbox", "other", 0, "rea", setting={"population": 50})
    ]
    assert read_suite(str(file), benchmark="other") == [s for own in found.values() for s in own]


def test_a_method_that_is_put_in_takes_the_place_of_general_entries_alone(tmp_path):
    file = tmp_path / "suite.toml"
    entry = "[[run]]\nprotocol = 'blackbox'\nbenchmark = 'x'\nmethod = ['rea', 'reinforce']\n"
    file.write_text(entry + entry + "named_only = true\n[run.setting]\na = 1\n")

    assert [spec.method for spec in read_suite(str(file))] == ["rea", "reinforce"] * 2
    assert [spec.method for spec in read_suite(str(file), method="mine.py")] == ["mine.py"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r"no \[\[run\]\]"),
        ("[[run]]\nprotocol='sotl'", "needs a protocol and a benchmark"),
        ("[[run]]\nprotocol='sotl'\nbenchmark='x'\nseed=1", "unknown key 'seed'"),
        ("[[run]]\nprotocol='sotl'\nbenchmark='x'\nseeds='all'", "seeds is a count"),
        ("[[run", "cannot be read"),
        ("[settings]\na=1\n[[run]]\nprotocol='sotl'\nbenchmark='x'", "unknown key 'settings'"),
        ("run=[1]", "is not a table"),
        ("[[run]]\nprotocol='sotl'\nbenchmark='x'\nsetting=3", "is not a table"),
        ("[[run]]\nprotocol='sotl'\nbenchmark='x'\nseeds=-3", "seeds is a count"),
        ("[[run]]\nprotocol='sotl'\nbenchmark='x'\nseeds=true", "seeds is a count"),
        ("[[run]]\nprotocol='sotl'\nbenchmark='x'\nmethod='rea'", "takes no method"),
        ("[[run]]\nprotocol='sotl'\nbenchmark='x'\n[run.setting]\nx=nan", "no record can hold"),
    ],
)
def test_wrong_suites_say_where(tmp_path, text, says):
    file = tmp_path / "suite.toml"
    file.write_text(text)
    with pytest.raises(InvalidSpec, match=says):
        read_suite(str(file))


def test_every_shipped_suite_can_be_read():
    assert suites()
    for name in suites():
        assert read_suite(name, benchmark="any")
