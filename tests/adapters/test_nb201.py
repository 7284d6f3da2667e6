"""The .pth import on files made by torch in both of its formats from the real architectures."""

import bz2
import copy
import pickle

import numpy as np
import pytest

from adapters import nb201
from harness import load, store
from harness.errors import BadFile, InvalidSpec
from harness.registry import adapter_of

torch = pytest.importorskip("torch")
api_201 = pytest.importorskip("nas_201_api.api_201")

INDICES = (0, 11, 284)
FOLDER = "NATS-tss-v1_0-3ffb9-simple"


def read(path):
    return pickle.loads(bz2.decompress(path.read_bytes()))


@pytest.fixture(scope="module")
def content(data):
    """What a NAS-Bench-201 file holds, with the three architectures that are here."""
    folder = data / "nats" / FOLDER
    states = {index: read(folder / f"{index:06d}.pickle.pbz2") for index in INDICES}
    return {
        "meta_archs": read(folder / "meta.pickle.pbz2")["meta_archs"],
        "arch2infos": {i: {"full": s["200"], "less": s["12"]} for i, s in states.items()},
        "evaluated_indexes": list(INDICES),
    }


def pack(path, source="nb201-pth"):
    return adapter_of(source).pack(
        source, path, mapping=None, jobs=2, progress=lambda done, total: None
    )


@pytest.mark.parametrize("zipped", [True, False])
def test_both_formats_give_the_numbers_of_the_nats_files(content, data, home, tmp_path, zipped):
    file = tmp_path / "NAS-Bench-201-v1_1-096897.pth"
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    pack(data / "nats" / FOLDER, "nats-tss")
    name = pack(file)
    expected, found = load("nats-tss"), load(name)

    assert name == "nb201-v1_1"
    assert found.holdings == expected.holdings
    for at in expected.holdings:
        np.testing.assert_array_equal(
            found._array(found.holdings[at]), expected._array(expected.holdings[at])
        )
    assert found.sha256 == expected.sha256
    assert store.manifest(name)["provenance"]["sources"][0]["published_checksum"] == "differs"


@pytest.mark.parametrize("zipped", [True, False])
def test_a_stopped_import_goes_on_after_its_last_chunk(content, tmp_path, monkeypatch, zipped):
    """Stopped after every event: the names, and then two states an architecture."""
    file = tmp_path / "NAS-Bench-201-v1_1-096897.pth"
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    monkeypatch.setattr(nb201, "CHUNK_ARCHS", 1)
    read: list[int] = []

    def run(home, stop_after=99):
        monkeypatch.setenv("NAS_HARNESS_HOME", str(tmp_path / home))
        read.clear()

        def progress(done, total):
            read.append(done)
            if len(read) == stop_after:
                raise KeyboardInterrupt

        adapter_of("nb201-pth").pack("nb201-pth", file, mapping=None, jobs=1, progress=progress)
        return load("nb201-v1_1").sha256

    expected = run("whole")
    whole = list(read)
    n_left = []
    for n_read in range(1, len(whole) + 1):
        home = f"stopped after {n_read}"
        with pytest.raises(KeyboardInterrupt):
            run(home, n_read)
        again = run(home)

        assert again == expected
        assert read == whole[-len(read) :]
        n_left.append(len(read))

    # A chunk is finished once the next architecture begins.
    assert n_left == [7, 7, 7, 4, 4, 2, 2]


def test_an_import_that_ended_before_its_store_was_made_goes_on(
    content, home, tmp_path, monkeypatch
):
    file = tmp_path / "NAS-Bench-201-v1_1-096897.pth"
    torch.save(content, file)

    def refuse(*_):
        raise OSError("full")

    for size in (1, 2, 3):
        monkeypatch.setattr(nb201, "CHUNK_ARCHS", size)
        with monkeypatch.context() as patch, pytest.raises(OSError, match="full"):
            patch.setattr(nb201.Packing, "commit", refuse)
            pack(file)
        assert len(load(pack(file))) == 3


def test_a_live_object_answers_as_its_file(content, home, tmp_path):
    file = tmp_path / "NAS-Bench-201-v1_1-096897.pth"
    torch.save(content, file)
    expected = load(pack(file))
    found = nb201.wrap(api_201.NASBench201API(copy.deepcopy(content), verbose=False))

    for at in expected.holdings:
        np.testing.assert_array_equal(
            found.curves(at, seed="mean"), expected.curves(at, seed="mean")
        )
    assert found._recorded_costs().keys() == expected._recorded_costs().keys()


def test_version_1_0_without_most_short_runs(content, home, tmp_path):
    """v1_0 holds the 12-epoch schedule of cifar10-valid only, and no times in old runs."""
    old = copy.deepcopy(content)
    for infos in old["arch2infos"].values():
        less = infos["less"]
        less["all_results"] = {
            key: run for key, run in less["all_results"].items() if key[0] == "cifar10-valid"
        }
        for run in [*less["all_results"].values(), *infos["full"]["all_results"].values()]:
            run["train_times"], run["latency"] = None, []
    file = tmp_path / "NAS-Bench-201-v1_0-e61699.pth"
    torch.save(old, file)
    found = load(pack(file))

    assert found.name == "nb201-v1_0"
    assert found.roles["cifar10"].short is not None
    assert found.roles["cifar100"].short is None
    assert {cost.name for cost in found._recorded_costs()}.isdisjoint({"train_seconds", "latency"})


def changed(content, how):
    wrong = copy.deepcopy(content)
    if how == "swapped":
        infos = wrong["arch2infos"]
        infos[0]["full"]["arch_index"], infos[11]["full"]["arch_index"] = 11, 0
    elif how == "other order":
        wrong["meta_archs"].reverse()
    elif how == "no results":
        del wrong["arch2infos"][0]["full"]["all_results"]["cifar10", 777]["train_losses"]
    elif how == "weights":
        run = wrong["arch2infos"][0]["full"]["all_results"]["cifar10", 777]
        run["net_state_dict"] = {"w": torch.zeros(3)}
    return wrong


@pytest.mark.parametrize("how", ["swapped", "other order", "no results", "weights"])
@pytest.mark.parametrize("zipped", [True, False])
def test_wrong_content_is_one_error_and_no_store(content, home, tmp_path, how, zipped):
    file = tmp_path / "NAS-Bench-201-v1_1-096897.pth"
    torch.save(changed(content, how), file, _use_new_zipfile_serialization=zipped)

    with pytest.raises(BadFile, match="NAS-Bench-201-v1_1-096897.pth"):
        pack(file)
    assert store.imported() == {}


def test_wrong_places_are_named(tmp_path, home):
    with pytest.raises(BadFile, match="not a file"):
        pack(tmp_path)
    with pytest.raises(InvalidSpec, match="--map"):
        adapter_of("nb201-pth").pack(
            "nb201-pth", tmp_path, mapping="x", jobs=1, progress=lambda *_: None
        )
