"""Packs of records, on a small table and the SoTL protocol, which needs no torch."""

import shutil
import zipfile

import numpy as np
import pytest
from tables import make_store

from harness import engine, packs, record, registry, store
from harness.benchmark import sealed_truth
from harness.errors import BadFile, BrokenStore, MissingPackage, TestSliceSealed
from harness.record import RunSpec

SETTING = {"dataset": "cifar10", "score": "sotl:cifar10/train/4", "n_archs": 5, "table_seed": 777}
SPECS = [RunSpec("sotl", "small", seed, setting=SETTING) for seed in range(3)]


@pytest.fixture
def packed(home):
    """Three runs that are in a pack only, as they were before."""
    make_store(n_archs=12)
    before = engine.run_all(SPECS)
    record.pack(store.home() / "packs" / "mine.zip", before)
    shutil.rmtree(record.runs_folder())
    return before


@pytest.fixture
def no_protocols(monkeypatch):
    """As where the packages that a protocol needs are not installed."""

    def get(kind, name):
        raise MissingPackage(f"{name} needs what is not here.", "Install it.")

    monkeypatch.setattr(registry, "get", get)


def test_what_is_in_a_pack_is_not_run_again(packed, monkeypatch):
    monkeypatch.setattr(engine, "execute", None)
    again = engine.run_all(SPECS)

    assert [r.key for r in again] == [r.key for r in packed]
    for now, then in zip(again, packed, strict=True):
        assert now.result == then.result
        assert now.arrays.keys() == {"scores", "truth", "rows"}
        assert now.array("scores").shape == (4, 5)
    assert not record.runs_folder().exists()


def test_runs_differ_in_what_a_pack_gives(packed):
    first, second = (engine.run_all([spec])[0] for spec in SPECS[:2])

    assert not np.array_equal(first.array("truth"), second.array("truth"))


def test_a_pack_answers_where_the_plugins_cannot_be_imported(packed, no_protocols):
    assert [r.key for r in engine.run_all(SPECS)] == [r.key for r in packed]
    with pytest.raises(MissingPackage, match="needs what is not here"):
        engine.run_all([RunSpec("sotl", "small", 3, setting=SETTING)])


def test_another_table_of_the_name_is_run_anew(packed):
    make_store(n_archs=13)
    (found,) = engine.run_all(SPECS[:1])

    assert found.key != packed[0].key
    assert record.path_of(found.key).exists()


def test_the_same_records_make_the_same_file(packed, tmp_path):
    record.pack(tmp_path / "again.zip", engine.run_all(SPECS))

    (mine,) = (store.home() / "packs").iterdir()
    assert (tmp_path / "again.zip").read_bytes() == mine.read_bytes()
    with zipfile.ZipFile(mine) as archive:
        assert len(archive.namelist()) == 12  # A record and three arrays each.


def test_a_damaged_pack_is_named(packed):
    (mine,) = (store.home() / "packs").iterdir()
    mine.write_bytes(mine.read_bytes()[:-50])

    with pytest.raises(BadFile, match=r"mine\.zip cannot be read.*"):
        engine.run_all(SPECS)


def test_a_pack_is_sealed_while_a_method_runs(packed):
    with sealed_truth("a method"), pytest.raises(TestSliceSealed):
        packs.content(f"{packed[0].key}.json")


def test_a_record_that_is_gone_cannot_be_packed(packed, tmp_path):
    (store.home() / "packs" / "mine.zip").unlink()

    with pytest.raises(BrokenStore, match="Run the suite again"):
        record.pack(tmp_path / "again.zip", packed)
