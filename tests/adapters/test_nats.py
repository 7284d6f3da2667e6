"""The NATS import against nats_bench itself, value by value, and against damaged input."""

import bz2
import itertools
import math
import pickle
import tarfile

import numpy as np
import pytest
from nats_files import loss, write_folder

from adapters import nats
from harness import Slice, load, store
from harness.errors import BadFile, InvalidSpec, UnknownEpoch
from harness.registry import adapter_of

nats_bench = pytest.importorskip("nats_bench")

INDICES = (0, 11, 284)
FOLDERS = {"nats-tss": "NATS-tss-v1_0-3ffb9-simple", "nats-sss": "NATS-sss-v1_0-50262-simple"}
# Their own words for what was trained and evaluated, and ours.
SETTINGS = [
    ("cifar10-valid", "x-valid", "cifar10", "train", "valid"),
    ("cifar10-valid", "ori-test", "cifar10", "train", "test"),
    ("cifar10", "ori-test", "cifar10", "train+valid", "test"),
    ("cifar100", "x-valid", "cifar100", "train", "valid"),
    ("cifar100", "x-test", "cifar100", "train", "test"),
    ("cifar100", "ori-test", "cifar100", "train", "valid+test"),
    ("ImageNet16-120", "x-valid", "ImageNet16-120", "train", "valid"),
    ("ImageNet16-120", "x-test", "ImageNet16-120", "train", "test"),
    ("ImageNet16-120", "ori-test", "ImageNet16-120", "train", "valid+test"),
]


def pack(source, path, jobs=2):
    return adapter_of(source).pack(
        source, path, mapping=None, jobs=jobs, progress=lambda done, total: None
    )


@pytest.fixture(scope="module", params=["nats-tss", "nats-sss"])
def both(request, data, tmp_path_factory):
    """(nats_bench's object, our packed table, the table that wraps the object)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAS_HARNESS_HOME", str(tmp_path_factory.mktemp("home")))
        folder = data / "nats" / FOLDERS[request.param]
        api = nats_bench.create(str(folder), request.param[-3:], fast_mode=True, verbose=False)
        table = load(pack(request.param, folder))
        yield api, table, nats.wrap(api, INDICES)


def results(api):
    """(index, schedule, data set key, seed, the package's own result object)."""
    for index in INDICES:
        api.query_meta_info_by_index(index)
        for hp, held in api.arch2infos_dict[index].items():
            for (key, seed), result in held.all_results.items():
                yield index, int(hp), key, seed, result


def test_every_training_value_equals_the_package(both):
    api, *tables = both
    n_compared = 0
    for index, epochs, key, seed, result in results(api):
        dataset, trained_on = next((d, t) for k, _, d, t, _ in SETTINGS if k == key)
        expected = [result.get_train(epoch) for epoch in range(epochs)]
        for table, (metric, name) in itertools.product(
            tables, [("loss", "loss"), ("accuracy", "accuracy")]
        ):
            at = Slice(dataset, trained_on, "train", metric, epochs)
            curve = table.curve(index, at, seed=seed).values
            np.testing.assert_array_equal(
                curve, np.array([e[name] for e in expected], dtype=np.float32)
            )
            n_compared += epochs
    assert n_compared >= 3 * 4 * 90 * 2 * 2


def test_every_evaluated_value_equals_the_package(both):
    api, *tables = both
    n_compared = 0
    for index, epochs, key, seed, result in results(api):
        for own_key, evaluated, dataset, trained_on, split in SETTINGS:
            if own_key != key:
                continue
            stored = [e for e in range(epochs) if f"{evaluated}@{e}" in result.eval_acc1es]
            for epoch, table, (metric, name) in itertools.product(
                stored, tables, [("loss", "loss"), ("accuracy", "accuracy")]
            ):
                expected = result.get_eval(evaluated, epoch)[name]
                at = Slice(dataset, trained_on, split, metric, epochs)
                found = table.query(index, at, seed=seed, epoch=epoch + 1).value
                assert found == np.float32(expected)
                n_compared += 1
            at = Slice(dataset, trained_on, split, "accuracy", epochs)
            assert tables[0].holdings[at].epochs == tuple(e + 1 for e in stored)
    assert n_compared > 1000


def test_means_and_costs_equal_the_package(both):
    api, *tables = both
    hp = str(max(int(h) for h in api.arch2infos_dict[0]))
    for index, table in itertools.product(INDICES, tables):
        for key, evaluated, dataset, trained_on, split in SETTINGS:
            if evaluated == "ori-test" and split != "test":
                continue
            at = Slice(dataset, trained_on, split, "accuracy", int(hp))
            metrics = api.arch2infos_dict[index][hp].get_metrics(key, evaluated, None, False)
            costs = api.get_cost_info(index, key, hp=hp)
            asked = {"dataset": dataset, "trained_on": trained_on, "epochs": int(hp)}

            assert table.query(index, at, seed="mean").value == pytest.approx(
                metrics["accuracy"], rel=1e-6
            )
            assert table.cost(index, "params", dataset).value == pytest.approx(costs["params"])
            assert table.cost(index, "flops", dataset).value == pytest.approx(costs["flops"])
            for name, theirs in [
                ("params-recorded", "params"),
                ("flops-recorded", "flops"),
                ("latency", "latency"),
                ("train_seconds", "T-train@total"),
            ]:
                assert table.cost(index, name, **asked).value == pytest.approx(costs[theirs])


def test_sums_of_the_200_training_losses(data, home):
    """The sums that the data's own description states, by index and seed."""
    expected = {
        0: (141.890, 143.844, 142.243),
        11: (78.469, 75.244, 79.594),
        284: (87.663, 88.247, 88.901),
    }
    table = load(pack("nats-tss", data / "nats" / FOLDERS["nats-tss"]))
    at = Slice("cifar10", "train", "train", "loss", 200)

    for index, sums in expected.items():
        for seed, total in zip((777, 888, 999), sums, strict=True):
            losses = table.curve(index, at, seed=seed).values
            assert math.fsum(losses.tolist()) == pytest.approx(total, abs=5e-4)


def test_valid_of_cifar100_exists_after_the_last_epoch_only(data, home):
    table = load(pack("nats-tss", data / "nats" / FOLDERS["nats-tss"]))
    at = Slice("cifar100", "train", "valid", "accuracy", 200)

    assert table.query(11, at, seed="mean").value == pytest.approx(67.45, abs=0.01)
    with pytest.raises(UnknownEpoch):
        table.query(11, at, seed=777, epoch=199)


@pytest.fixture
def folder(data, tmp_path):
    """A copy of the topology folder that a test may damage."""
    copy = tmp_path / "NATS-tss-copy-simple"
    copy.mkdir()
    for file in (data / "nats" / FOLDERS["nats-tss"]).iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


def tar_of(folder, path):
    with tarfile.open(path, "w") as archive:
        archive.add(folder, folder.name)
    return path


def test_the_tar_gives_the_same_store_without_unpacking(folder, home, tmp_path):
    pack("nats-tss", folder)
    expected = load("nats-tss").sha256
    before = {path.name for path in tmp_path.iterdir()}
    tar = tar_of(folder, tmp_path / "NATS-tss-copy-simple.tar")
    pack("nats-tss", tar)

    assert load("nats-tss").sha256 == expected
    assert {path.name for path in tmp_path.iterdir()} == before | {tar.name}


def damaged(folder, name):
    file = folder / "000011.pickle.pbz2"
    content = file.read_bytes()
    if name == "truncated":
        file.write_bytes(content[: len(content) // 2])
    elif name == "bit-flipped":
        file.write_bytes(content[:5000] + bytes([content[5000] ^ 4]) + content[5001:])
    elif name == "swapped":
        file.write_bytes((folder / "000284.pickle.pbz2").read_bytes())
    elif name == "empty":
        file.write_bytes(b"")
    elif name == "hostile":
        marker = str(folder.parent / "executed").encode()
        file.write_bytes(bz2.compress(b"cos\nsystem\n(S'touch " + marker + b"'\ntR."))
    elif name == "not-results":
        state = {"arch_index": 11, "arch_str": text_of(folder, 11), "all_results": 7}
        file.write_bytes(bz2.compress(pickle.dumps({"200": state})))
    elif name == "percentages":
        states = pickle.loads(bz2.decompress(content))
        states["12"]["all_results"]["cifar10", 111]["train_acc1es"][3] = 130.0
        file.write_bytes(bz2.compress(pickle.dumps(states)))
    return file


def text_of(folder, index):
    meta = pickle.loads(bz2.decompress((folder / "meta.pickle.pbz2").read_bytes()))
    return meta["meta_archs"][index]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("truncated", "000011"),
        ("bit-flipped", "000011"),
        ("swapped", "holds architecture 284"),
        ("empty", "000011"),
        ("hostile", "000011"),
        ("not-results", "not the results of an architecture"),
        ("percentages", "accuracy of 130"),
    ],
)
def test_damage_is_one_error_and_what_was_there_stays(folder, home, name, says):
    pack("nats-tss", folder)
    kept = load("nats-tss").sha256
    damaged(folder, name)

    with pytest.raises(BadFile, match=says):
        pack("nats-tss", folder)
    assert load("nats-tss").sha256 == kept
    assert store.verify("nats-tss") == []
    assert not (folder.parent / "executed").exists()


@pytest.mark.parametrize("damage", ["cut values", "no values", "empty json", "longer values"])
def test_a_chunk_that_a_power_cut_damaged_is_made_again(tmp_path, home, damage):
    """Two chunks' worth of files, one of them damaged, so that the first chunk stays behind."""
    folder = write_folder(tmp_path / "NATS-tss-made-simple", range(200))
    last = folder / "000199.pickle.pbz2"
    whole = last.read_bytes()
    last.write_bytes(whole[:100])
    with pytest.raises(BadFile, match="000199"):
        pack("nats-tss", folder, jobs=1)
    last.write_bytes(whole)
    (finished,) = (home / "stores" / ".import-nats-tss").glob("chunk-*.json")
    values = finished.with_suffix(".float32")
    if damage == "no values":
        values.unlink()
    elif damage == "empty json":
        finished.write_bytes(b"")
    else:
        content = values.read_bytes()
        values.write_bytes(content[:-4] if damage == "cut values" else content + b"1234")
    pack("nats-tss", folder, jobs=1)
    at = Slice("cifar10", "train", "train", "loss", 12)

    assert load("nats-tss").query(7, at, seed=111).value == np.float32(loss(7, 111, 11))


def test_finished_chunks_are_not_made_again(tmp_path, home, monkeypatch):
    folder = write_folder(tmp_path / "NATS-tss-made-simple", range(200))
    last = folder / "000199.pickle.pbz2"
    whole = last.read_bytes()
    last.write_bytes(whole[:100])
    with pytest.raises(BadFile):
        pack("nats-tss", folder, jobs=1)
    last.write_bytes(whole)
    seen = []
    adapter_of("nats-tss").pack(
        "nats-tss", folder, mapping=None, jobs=1, progress=lambda done, total: seen.append(done)
    )

    assert seen == [128, 200]
    assert len(load("nats-tss")) == 200


def test_wrong_places_are_named(folder, data, home, tmp_path):
    wrong = [
        (tmp_path / "absent", "does not exist"),
        (tmp_path, "meta.pickle.pbz2"),
        (data / "nats" / FOLDERS["nats-sss"], "This is nats-sss"),
        (folder / "meta.pickle.pbz2", "not the .tar"),
    ]
    for path, says in wrong:
        with pytest.raises(BadFile, match=says):
            pack("nats-tss", path)


def test_a_tar_that_was_cut_short_is_refused(folder, home, tmp_path):
    tar = tar_of(folder, tmp_path / "cut.tar")
    tar.write_bytes(tar.read_bytes()[:100_000])

    with pytest.raises(BadFile, match="cut"):
        pack("nats-tss", tar)


def test_an_import_takes_no_map(folder, home):
    with pytest.raises(InvalidSpec, match="--map"):
        adapter_of("nats-tss").pack(
            "nats-tss", folder, mapping="nb201_dump", jobs=1, progress=lambda *_: None
        )


def test_wrapping_takes_over_what_is_in_memory(data):
    folder = data / "nats" / FOLDERS["nats-tss"]
    api = nats_bench.create(str(folder), "tss", fast_mode=True, verbose=False)

    with pytest.raises(InvalidSpec, match="no architecture"):
        nats.wrap(api)
    api.query_meta_info_by_index(11)
    api.evaluated_indexes.add(11)
    assert nats.wrap(api).indices.tolist() == [11]
