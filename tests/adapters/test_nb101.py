"""The NAS-Bench-101 import: real cells in the real format, damaged files, live objects."""

import base64
import dataclasses
import hashlib
import itertools
import json
import math
import struct

import nb101_files
import numpy as np
import pytest
from nb101_files import SCHEDULES, Evaluation, evaluations, framed, read_cells, row, rows, write

from adapters import _nb101_rows, _tfrecord, nb101
from harness import Arch, Slice, load, space, store
from harness.benchmark import Cost
from harness.builder import StoreBuilder
from harness.errors import BadFile, InvalidSpec, UnknownArch, UnknownSlice
from harness.registry import adapter_of
from harness.stats import spearman

TABLE = "nb101/nb101_30k.csv.gz"
FILE, FILE_108 = "nasbench_full.tfrecord", "nasbench_only108.tfrecord"


def pack(path, jobs=1, progress=lambda done, total: None):
    return adapter_of("nb101").pack("nb101", path, mapping=None, jobs=jobs, progress=progress)


def at(split="valid", epochs=108):
    return Slice("cifar10", "train", split, "accuracy", epochs)


@pytest.fixture(scope="module")
def cells(data):
    """Some 300 real cells."""
    return read_cells(data / TABLE, every=100)


@pytest.fixture(scope="module")
def few(cells):
    return cells[:8]


@pytest.fixture
def small_spans(monkeypatch):
    """Files are cut into many stretches."""
    monkeypatch.setattr(nb101, "SPAN_BYTES", 10_000)


@pytest.fixture(scope="module")
def packed(cells, tmp_path_factory):
    """All trainings of the cells, packed; several stretches, two processes."""
    place = tmp_path_factory.mktemp("nb101")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAS_HARNESS_HOME", str(place / "home"))
        patch.setattr(nb101, "SPAN_BYTES", 200_000)
        yield load(pack(write(place / FILE, rows(cells)), jobs=2))


def check_all_values(table, cells):
    """Every number of every training, by hash and by the official spec."""
    n_compared = 0
    for cell, epochs, seed in itertools.product(cells, SCHEDULES, (0, 1, 2)):
        arch = table.space.of_spec(*cell.spec)
        _, half, end = evaluations(cell, epochs, seed)
        for split, asked in itertools.product(("train", "valid", "test"), (cell.module_hash, arch)):
            for epoch, expected in ((epochs // 2, half), (epochs, end)):
                found = table.query(asked, at(split, epochs), seed=seed, epoch=epoch)
                assert found.value == np.float32(100 * getattr(expected, split))
                n_compared += 1
    assert n_compared == len(cells) * 4 * 3 * 3 * 2 * 2


def test_every_value_comes_back(packed, cells):
    check_all_values(packed, cells[::10])


def test_the_real_validation_accuracies_come_back(packed, cells):
    rows_ = [packed.row(cell.module_hash) for cell in cells]

    for epochs in SCHEDULES:
        expected = np.array([100 * cell.valid[epochs] for cell in cells], dtype=np.float32)
        np.testing.assert_array_equal(packed.column(at("valid", epochs), seed=0)[rows_], expected)


def test_cells_stand_in_the_order_of_their_hashes(packed, cells):
    hashes = sorted(cell.module_hash for cell in cells)

    assert hashes == [key.decode() for key in packed.keys.tolist()]
    assert list(range(len(cells))) == packed.indices.tolist()
    assert hashes == packed.to_frame(seed="mean")["hash"].tolist()
    assert [space("nb101").module_hash(arch) for arch in packed.archs] == hashes


def test_costs(packed, cells):
    for cell in cells[::30]:
        asked = cell.module_hash
        assert packed.cost(asked, "params-recorded", "cifar10").value == cell.n_params / 1e6
        for epochs in SCHEDULES:
            seconds = packed.cost(asked, "train_seconds", "cifar10", epochs=epochs).value
            assert seconds == pytest.approx(cell.seconds * epochs / 108 + 1, rel=1e-12)


def test_roles_and_slices(packed):
    roles = packed.roles["cifar10"]

    assert (at(), at("test"), at("valid", 12)) == (roles.search, roles.truth, roles.short)
    assert len(packed.holdings) == 12
    with pytest.raises(UnknownSlice):
        packed.query(0, Slice("cifar10", "train", "train", "loss", 108), seed=0)


def test_one_cell_is_found_however_it_is_written(packed, cells):
    """Two unconnected inner vertices may be swapped, and a padded cell has a free operation."""
    of_space = space("nb101")
    tried = 0
    for cell in cells:
        matrix, ops = cell.spec
        if len(ops) < 7:
            code = of_space.of_spec(matrix, ops).code
            other = Arch("nb101", (*code[:-1], 2))
        elif not matrix[1][2] and ops[1] != ops[2]:
            order = [0, 2, 1, 3, 4, 5, 6]
            swapped = np.array(matrix)[np.ix_(order, order)]
            other = of_space.of_spec(swapped, [ops[i] for i in order])
        else:
            continue
        tried += 1
        assert packed.row(cell.module_hash) == packed.row(other)
    assert tried > 20


def test_the_formula_for_parameters_gives_what_the_file_says(packed):
    """Channels depend on how the vertices are numbered, so the file's numbering must be kept."""
    params, recorded = (packed.cost_column(n, "cifar10") for n in ("params", "params-recorded"))

    assert np.array_equal(np.round(params * 1e6), np.round(recorded * 1e6))


def test_unknown_cells_are_named(packed, data):
    held = {key.decode() for key in packed.keys.tolist()}
    absent = next(c for c in read_cells(data / TABLE) if c.module_hash not in held)

    for asked in (absent.module_hash, "0" * 32, "f" * 32):
        with pytest.raises(UnknownArch, match=f"no arch with the hash {asked}"):
            packed.row(asked)
    with pytest.raises(UnknownArch, match="no arch with the hash"):
        packed.row(space("nb101").of_spec(*absent.spec))


def test_the_store_verifies_and_a_changed_key_is_noticed(few, home, tmp_path):
    pack(write(tmp_path / FILE, rows(few)))

    assert store.verify("nb101") == []
    (keys,) = (home / "stores").glob("nb101@*/*keys.npy")
    keys.write_bytes(keys.read_bytes()[:-1] + b"0")
    assert "keys.npy was changed" in store.verify("nb101")[0]


@pytest.mark.slow
def test_rank_correlations_of_all_real_cells(data, home, tmp_path):
    """The values that the data's own description states."""
    real = read_cells(data / TABLE)
    table = load(pack(write(tmp_path / FILE, rows(real, seeds=[0])), jobs=2))
    truth = table.column(at(), seed=0)
    found = [
        round(spearman(table.column(at("valid", epochs), seed=0), truth), 3)
        for epochs in (4, 12, 36)
    ]

    assert [0.451, 0.618, 0.879] == found
    assert len(table) == 30_001
    rows_ = [table.row(cell.module_hash) for cell in real]
    expected = np.array([100 * cell.valid[108] for cell in real], dtype=np.float32)
    np.testing.assert_array_equal(truth[rows_], expected)


def test_seeds_are_the_places_in_the_file_even_across_stretches(few, home, tmp_path, small_spans):
    """The last seed's rows come first."""
    path = write(tmp_path / FILE, rows(few, seeds=[2, 0, 1]))
    assert len(_tfrecord.spans(path, nb101.SPAN_BYTES)[0]) > 3
    table = load(pack(path))

    for cell, (seed, written) in itertools.product(few, enumerate([2, 0, 1])):
        expected = evaluations(cell, 36, written)[2].test
        found = table.query(cell.module_hash, at("test", 36), seed=seed).value
        assert found == np.float32(100 * expected)


def test_missing_repeats_are_nan(few, home, tmp_path):
    payloads = rows(few[:1]) + rows(few[1:], seeds=[0])
    table = load(pack(write(tmp_path / FILE, payloads)))
    lone = few[1].module_hash

    assert math.isnan(table.query(lone, at(), seed=1).value)
    assert table.query(lone, at(), seed="mean").n == 1
    assert table.query(few[0].module_hash, at(), seed="mean").n == 3
    assert table.cost(lone, "train_seconds", "cifar10", epochs=108).value == few[1].seconds


def test_a_cell_without_one_schedule_has_nan_there(few, home, tmp_path):
    payloads = rows(few[:1]) + rows(few[1:], schedules=[108])
    table = load(pack(write(tmp_path / FILE, payloads)))

    assert math.isnan(table.query(few[1].module_hash, at("valid", 4), seed="mean").value)
    assert math.isnan(table.cost(few[1].module_hash, "train_seconds", "cifar10", epochs=4).value)


def test_the_file_of_108_epochs_has_its_own_store(few, home, tmp_path):
    path = write(tmp_path / FILE_108, rows(few, schedules=[108]))

    assert pack(path) == adapter_of("nb101").store_of("nb101", path) == "nb101-only108"
    table = load("nb101-only108")
    assert {108} == {at.epochs for at in table.holdings}
    assert table.roles["cifar10"].short is None
    assert table.costs()[:2] == [
        Cost("params-recorded", "cifar10"),
        Cost("train_seconds", "cifar10", "train", 108),
    ]


def test_the_store_is_the_same_for_any_number_of_processes_and_stretches(
    few, home, tmp_path, monkeypatch
):
    path = write(tmp_path / FILE, rows(few))
    found = []
    for jobs, span_bytes in ((1, 1 << 20), (2, 5_000), (1, 700)):
        monkeypatch.setattr(nb101, "SPAN_BYTES", span_bytes)
        found.append(load(pack(path, jobs=jobs)).sha256)

    assert len(set(found)) == 1


def test_the_rows_may_come_in_any_order_of_cells(few, home, tmp_path):
    pack(write(tmp_path / FILE, rows(few)))
    expected = load("nb101").sha256
    pack(write(tmp_path / FILE, rows(few[::-1])))

    assert expected == load("nb101").sha256


def test_finished_stretches_are_not_decoded_again(few, home, tmp_path, small_spans):
    good = rows(few)
    path = tmp_path / FILE
    broken = [*good[:-1], good[-1][:-1] + b"}"]
    write(path, broken)
    with pytest.raises(BadFile, match="record 95"):
        pack(path)
    assert not (home / "stores" / "nb101.json").exists()
    finished = sorted((home / "stores" / ".import-nb101").glob("*.rows"))
    written = [part.stat().st_mtime_ns for part in finished]
    seen = []
    with pytest.raises(BadFile, match="record 95"):
        pack(path, progress=lambda done, total: seen.append((done, total)))

    assert written == [part.stat().st_mtime_ns for part in finished]
    assert len(finished) >= 3
    last = _tfrecord.spans(path, nb101.SPAN_BYTES)[0][-1]
    assert [(last.start, last.stop)] == seen


@pytest.mark.parametrize("damage", ["shorter", "longer", "other content", "empty"])
def test_a_stretch_that_a_power_cut_damaged_is_decoded_again(
    few, home, tmp_path, small_spans, damage
):
    good = rows(few)
    path = write(tmp_path / FILE, [*good, row(few[0], 108, 0)])  # One repeat too many.
    with pytest.raises(BadFile, match="training 4"):
        pack(path)
    first, *others = sorted((home / "stores" / ".import-nb101").glob("*.rows"))
    content = first.read_bytes()
    first.write_bytes(
        {
            "shorter": content[:-1],
            "longer": content + b"0",
            "other content": content[:30] + b"\0" * 31 + content[61:],
            "empty": b"",
        }[damage]
    )
    with pytest.raises(BadFile, match="training 4"):
        pack(path)

    assert content == first.read_bytes()


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    ("place", "says"),
    [
        (0, "the CRC of its length"),
        (7, "the CRC of its length"),
        (9, "the CRC of its length"),
        (12, "the CRC of its data"),
        (200, "the CRC of its data"),
        (-1, "the CRC of its data"),
    ],
)
@pytest.mark.parametrize("google", [True, False])
def test_wrong_crcs_are_named(few, home, tmp_path, monkeypatch, google, place, says):
    if not google:
        monkeypatch.setattr(_tfrecord, "_google_crc32c", lambda: None)
    frames = [framed(payload) for payload in rows(few)]
    start = sum(map(len, frames[:20]))
    place = place if place >= 0 else len(frames[20]) + place
    path = tmp_path / FILE
    path.write_bytes(flipped(b"".join(frames), start + place))

    with pytest.raises(BadFile, match=f"record 20 .from 0. at byte {start}: {says} is wrong"):
        pack(path)
    assert store.imported() == {}
    assert not list((home / "stores").glob(".new-*"))


@pytest.mark.parametrize("record", [0, 70, 95])
@pytest.mark.parametrize("n_bytes", [1, 8, 12, 14, 300])
def test_a_file_that_was_cut_short(few, home, tmp_path, small_spans, record, n_bytes):
    """So many bytes of the last record are left."""
    content = b"".join(framed(payload) for payload in rows(few))
    start = sum(len(framed(payload)) for payload in rows(few)[:record])
    path = tmp_path / FILE
    path.write_bytes(content[: start + n_bytes])

    with pytest.raises(BadFile, match=f"record {record} .from 0. at byte {start}: .*ends inside"):
        pack(path)


@pytest.mark.parametrize("span_bytes", [100, 600, 5_000, 1 << 20])
def test_spans_hold_every_record_once(few, tmp_path, span_bytes):
    """Also where a record is longer than a span should be."""
    payloads = rows(few)
    path = write(tmp_path / FILE, payloads)

    found, sha256 = _tfrecord.spans(path, span_bytes)

    batches = [batch for span in found for batch in _tfrecord.payloads(path, span)]
    assert payloads == list(itertools.chain.from_iterable(batches))
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    starts = itertools.accumulate((len(framed(payload)) for payload in payloads), initial=0)
    expected = [f"{path}, record {i} (from 0) at byte {start}" for i, start in enumerate(starts)]
    assert expected[:-1] == [span.place(path, i) for span in found for i in range(span.n_records)]


def test_a_file_that_became_shorter_is_named(few, tmp_path):
    path = write(tmp_path / FILE, rows(few))
    (span,), _ = _tfrecord.spans(path)
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(BadFile, match="changed while it was read"):
        next(_tfrecord.payloads(path, span))


@pytest.mark.parametrize("n_records", [1, 7, 24, 96])
def test_the_batches_of_a_span_change_neither_rows_nor_places(
    few, home, tmp_path, monkeypatch, n_records
):
    good = rows(few)
    pack(write(tmp_path / FILE, good))
    expected = load("nb101").sha256
    monkeypatch.setattr(_tfrecord, "BATCH_RECORDS", n_records)
    spaced = json.dumps(json.loads(good[30]), indent=1).encode()
    pack(write(tmp_path / FILE, [*good[:30], spaced, *good[31:]]))

    assert expected == load("nb101").sha256
    frames = [framed(payload) for payload in good]
    start = sum(map(len, frames[:50]))
    (tmp_path / FILE).write_bytes(flipped(b"".join(frames), start + 100))
    with pytest.raises(BadFile, match=f"record 50 .from 0. at byte {start}: the CRC of its data"):
        pack(tmp_path / FILE)
    with pytest.raises(BadFile, match=f"record 50 .from 0. at byte {start}: it is no JSON"):
        pack(write(tmp_path / FILE, [*good[:50], good[50][:-1], *good[51:]]))


def encoded(message):
    return base64.b64encode(message).decode()


def with_end(cell, **changed):
    """Metrics whose last evaluation has other values."""
    start, half, end = evaluations(cell, 108, 2)
    end = Evaluation(**{**vars(end), **changed})
    content = b"".join(nb101_files.submessage(1, e.message()) for e in (start, half, end))
    return encoded(content + b"\x10" + nb101_files.varint(cell.n_params))


def bad_rows(cell):
    """(payload of the last row, what the error says)"""
    message = nb101_files.metrics(cell, 108, 2)
    whole = json.loads(row(cell, 108, 2))
    matrix = list(cell.adjacency)
    n = math.isqrt(len(matrix))
    below = ["0"] * len(matrix)
    below[n] = "1"

    def changed(**entries):
        return row(cell, 108, 2, **entries)

    def lacks(field):
        """Metrics whose evaluations have one double less; all have a tag and 8 bytes."""
        content = evaluations(cell, 108, 2)[1].message()
        less = nb101_files.submessage(1, content[: 9 * field - 9] + content[9 * field :])
        return less * 3 + b"\x10\x05"

    return {
        "no json": (b"\x00\x01", "no JSON"),
        "no text": (b"\xff\xfe[]", "no JSON"),
        "open json": (row(cell, 108, 2)[:-1], "no JSON"),
        "deep json": (b"[" * 100_000, "no JSON"),
        "an object": (json.dumps({"hash": 1}).encode(), "it is not .hash, epochs"),
        "four entries": (json.dumps(whole[:4]).encode(), "it is not .hash, epochs"),
        "a number as text": (changed(adjacency=7), "not all texts"),
        "epochs": (changed(epochs=5), "trained for 5 epochs"),
        "epochs as list": (changed(epochs=[4]), "epochs"),
        "epochs as truth": (changed(epochs=True), "trained for True epochs"),
        "short hash": (changed(hash="abc"), "'abc' is no module hash"),
        "hash in capitals": (changed(hash=cell.module_hash.upper()), "is no module hash"),
        "other hash": (changed(hash="0" * 32), f"its graph has {cell.module_hash}"),
        "adjacency": (changed(adjacency="012" * 3), "no matrix of 0 and 1"),
        "not square": (changed(adjacency="01011"), "no matrix of 0 and 1"),
        "too many vertices": (changed(adjacency="0" * 64), "no matrix of 0 and 1"),
        "below the diagonal": (changed(adjacency="".join(below)), "no cell.*upper triangular"),
        "unconnected": (changed(adjacency="0" * n * n), "its graph is no cell"),
        "unknown op": (
            changed(operations=cell.operations.replace("conv", "konv")),
            "no operations of a cell",
        ),
        "too few operations": (changed(operations="input,output"), "2 operations for"),
        "no input": (changed(operations=cell.operations[6:]), "no operations of a cell"),
        "no operations": (changed(operations=""), "no operations of a cell"),
        "base64": (changed(metrics="§§§§"), "record 95"),
        "cut base64": (changed(metrics=whole[4][:-2]), "no base64"),
        "not only base64": (changed(metrics=whole[4][:8] + "!" + whole[4][8:]), "no base64"),
        "cut metrics": (changed(metrics=encoded(message[:-4])), "ModelMetrics ends inside"),
        "cut evaluation": (changed(metrics=encoded(message[:60])), "ModelMetrics ends inside"),
        "not metrics": (changed(metrics=encoded(b"\x0b" + message)), "unknown type 3"),
        "endless number": (changed(metrics=encoded(b"\x10" + b"\xff" * 20)), "inside a number"),
        "no metrics": (changed(metrics=""), "0 evaluations, not 3"),
        "four evaluations": (
            changed(metrics=encoded(nb101_files.submessage(1, b"") + message)),
            "4 evaluations, not 3",
        ),
        "no parameters": (
            changed(metrics=encoded(nb101_files.submessage(1, b"") * 3)),
            "lacks trainable_parameters",
        ),
        "no seconds": (changed(metrics=encoded(lacks(2))), "lacks training_time"),
        "no train": (changed(metrics=encoded(lacks(3))), "lacks train_accuracy"),
        "no valid": (changed(metrics=encoded(lacks(4))), "lacks validation_accuracy"),
        "no test": (changed(metrics=encoded(lacks(5))), "lacks test_accuracy"),
        "percent": (changed(metrics=with_end(cell, test=93.0)), "accuracy of 93"),
        "negative": (changed(metrics=with_end(cell, valid=-0.1)), "accuracy of -0.1"),
        "not a number": (changed(metrics=with_end(cell, train=math.nan)), "accuracy of nan"),
        "huge": (changed(metrics=with_end(cell, train=1e300)), "accuracy of 1e.300"),
        "endless": (changed(metrics=with_end(cell, seconds=math.inf)), "inf seconds"),
        "fourth repeat": (row(cell, 36, 0), "it is training 4 of"),
        "long": (b"[" + b" " * (1 << 21) + b"]", "no row of NAS-Bench-101"),
    }


MADE_UP = nb101_files.Cell("0" * 32, "0" * 9, "", dict.fromkeys(SCHEDULES, 0.0), 0.0, 1)


@pytest.mark.parametrize("name", bad_rows(MADE_UP))
def test_a_bad_row_is_one_error_with_its_place(few, home, tmp_path, name):
    payloads = rows(few)
    payload, says = bad_rows(few[-1])[name]
    path = write(tmp_path / FILE, [*payloads[:-1], payload])
    start = sum(len(framed(payload)) for payload in payloads[:-1])

    with pytest.raises(BadFile, match=f"{FILE}, record 95 .from 0. at byte {start}") as raised:
        pack(path)
    assert raised.match(says)
    assert raised.value.remedy
    assert store.imported() == {}


def test_a_graph_is_checked_in_every_row_that_writes_it_differently(few, home, tmp_path):
    """Not only where a cell is first seen."""
    other = next(c for c in few if len(c.adjacency) == len(few[0].adjacency) and c != few[0])
    payloads = rows(few)
    payloads[-8] = row(few[0], 108, 2, adjacency=other.adjacency, operations=other.operations)

    with pytest.raises(BadFile, match=f"record 88 .*its graph has {other.module_hash}"):
        pack(write(tmp_path / FILE, payloads))


def test_progress_counts_the_bytes(few, home, tmp_path, small_spans):
    path = write(tmp_path / FILE, rows(few))
    seen = []
    pack(path, jobs=2, progress=lambda done, total: seen.append((done, total)))
    done = [one for one, _ in seen]

    assert {path.stat().st_size} == {total for _, total in seen}
    assert sorted(done) == done
    assert (0, path.stat().st_size) == (done[0], done[-1])


def test_many_rows_are_read_as_one_by_one(cells):
    payloads = [*rows(cells[:400]), *rows(cells[-400:])]

    together = _nb101_rows.rows_of(payloads)

    assert together.tobytes() == b"".join(_nb101_rows.decoded(payload) for payload in payloads)


def test_rows_that_are_written_differently_are_left_to_the_careful_reader(few):
    payloads = rows(few)
    spaced = json.dumps(json.loads(payloads[0]), indent=1).encode()

    assert _nb101_rows.rows_of([*payloads, spaced]) is None
    n_refused = 0
    for name, (payload, _) in bad_rows(few[-1]).items():
        try:
            _nb101_rows.decoded(payload)
        except (ValueError, TypeError, RecursionError):
            n_refused += 1
            assert _nb101_rows.rows_of([*payloads, payload]) is None, name
    assert n_refused > 20


@pytest.mark.parametrize("checkpoint", ["", "model.ckpt-1"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.encodebytes])
def test_both_ways_to_write_base64_are_read_many_at_a_time(cells, encode, checkpoint):
    """In one line and in lines of 76 characters; the lengths of the numbers need all paddings."""
    payloads = []
    for i, cell in enumerate(cells[:200]):
        cell = dataclasses.replace(cell, n_params=7 ** (i % 12))
        message = nb101_files.metrics(cell, 36, i % 3, checkpoint)
        payloads.append(row(cell, 36, i % 3, metrics=encode(message).decode()))

    together = _nb101_rows.rows_of(payloads)

    assert together is not None
    assert together.tobytes() == b"".join(_nb101_rows.decoded(payload) for payload in payloads)


def changes_of(payload):
    """Every byte replaced by some others, left out, or written twice."""
    for i in range(len(payload)):
        for other in (b"", payload[i : i + 1] * 2, *(bytes([c]) for c in b'A0="\\n,]\xff')):
            yield payload[:i] + other + payload[i + 1 :]


@pytest.mark.parametrize("encode", [base64.b64encode, base64.encodebytes])
def test_no_change_of_a_row_is_read_as_something_else(few, encode):
    """What many rows are read as is what the careful reader says, or nothing."""
    cell = min(few, key=lambda c: len(c.operations))
    good = row(cell, 12, 1, metrics=encode(nb101_files.metrics(cell, 12, 1, "")).decode())
    n_read = 0
    for payload in changes_of(good):
        found = _nb101_rows.rows_of([payload])
        if found is not None:
            n_read += 1
            assert _nb101_rows.decoded(payload) == found.tobytes()

    assert 500 < n_read


def test_rows_that_go_on_in_the_next_one_are_no_rows(few):
    whole = row(few[0], 108, 0)
    assert _nb101_rows.rows_of([b"", whole]) is None
    assert _nb101_rows.rows_of([whole, b""]) is None
    assert _nb101_rows.rows_of([whole + whole, b""]) is None
    for place in range(1, len(whole)):
        assert _nb101_rows.rows_of([whole[:place], whole[place:]]) is None
        assert _nb101_rows.rows_of([whole[:place], whole[place:] + whole]) is None
        assert _nb101_rows.rows_of([whole + whole[:place], whole[place:]]) is None


@pytest.mark.parametrize("n_kinds", [3, 1 << 62])
def test_cells_are_told_apart_by_their_whole_hashes(n_kinds):
    """Also where the upper bits are those of all others."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(n_kinds, size=(40, 2), dtype=np.uint64)
    hashes = kinds[rng.integers(len(kinds), size=1000)]

    firsts, places = nb101._cells(hashes)

    _, expected, inverse = np.unique(hashes, axis=0, return_index=True, return_inverse=True)
    assert expected.tolist() == firsts.tolist()
    assert inverse.tolist() == places.tolist()


def test_codes_of_graphs_are_those_of_their_specs(cells):
    some = cells[::50]
    graphs = [_nb101_rows.encoded_graph(*json.loads(rows([cell])[0])[2:4]) for cell in some]

    codes, is_upper = _nb101_rows.codes_of(np.array(graphs, dtype=np.uint64))

    assert is_upper.all()
    assert codes.tolist() == [list(space("nb101").of_spec(*cell.spec).code) for cell in some]


def test_an_error_in_a_worker_process_is_the_same(few, home, tmp_path, small_spans):
    payloads = rows(few)
    path = write(tmp_path / FILE, [*payloads[:-1], bad_rows(few[-1])["percent"][0]])

    with pytest.raises(BadFile, match="record 95 .*accuracy of 93"):
        pack(path, jobs=2)


def test_wrong_places_and_options_are_named(few, home, tmp_path):
    (tmp_path / "empty.tfrecord").write_bytes(b"")
    wrong = [
        (tmp_path / "absent.tfrecord", "cannot be read"),
        (tmp_path, "cannot be read"),
        (tmp_path / "empty.tfrecord", "is empty"),
        (write(tmp_path / "short.tfrecord", rows(few, schedules=[4])), "trained for 108 epochs"),
    ]

    for path, says in wrong:
        with pytest.raises(BadFile, match=says):
            pack(path)
    with pytest.raises(InvalidSpec, match="--map"):
        adapter_of("nb101").pack("nb101", tmp_path, mapping="x", jobs=1, progress=print)


def test_other_encodings_of_the_same_message(few, home, tmp_path):
    """Fields in another order, unknown fields, no checkpoint, a long one, and line breaks."""
    cell = few[0]
    start, half, end = evaluations(cell, 108, 0)
    unknown = b"\x7d" + struct.pack("<f", 1.0) + b"\x78\x05" + nb101_files.submessage(14, b"abc")

    def message(*parts):
        return b"".join(nb101_files.submessage(1, part) for part in parts)

    def reversed_fields(e):
        values = (e.epoch, e.seconds, e.train, e.valid, e.test)
        fields = [nb101_files.double(i, value) for i, value in enumerate(values, start=1)]
        return b"".join(fields[::-1])

    params = b"\x10" + nb101_files.varint(cell.n_params)
    written = [
        params + message(start.message(""), half.message(""), end.message("")),
        message(start.message(), half.message("x" * 300), end.message("y" * 127)) + params,
        message(b"", reversed_fields(half), unknown + end.message()) + unknown + params,
    ]
    payloads = [row(cell, 108, 0, metrics=encoded(m)) for m in written[:2]]
    payloads.append(row(cell, 108, 0, metrics=base64.encodebytes(written[2]).decode()))
    table = load(pack(write(tmp_path / FILE, payloads)))

    for seed, split in itertools.product((0, 1, 2), ("train", "valid", "test")):
        found = table.curve(cell.module_hash, at(split), seed=seed).values
        expected = [100 * getattr(half, split), 100 * getattr(end, split)]
        assert np.array(expected, dtype=np.float32).tolist() == found.tolist()


def test_the_published_digest_is_compared(few, home, tmp_path, monkeypatch):
    path = write(tmp_path / FILE, rows(few))
    pack(path)
    (raw,) = store.manifest("nb101")["provenance"]["sources"]
    other = path.rename(tmp_path / "mine.tfrecord")
    pack(other)
    (unnamed,) = store.manifest("nb101")["provenance"]["sources"]
    monkeypatch.setitem(nb101.PUBLISHED_SHA256, FILE, raw["sha256"])
    pack(other.rename(path))
    (same,) = store.manifest("nb101")["provenance"]["sources"]

    found = [s["published_checksum"] for s in (raw, unnamed, same)]
    assert ["differs", "none", "matches"] == found
    assert raw["n_bytes"] == path.stat().st_size


class LiveStandIn:
    """The calls of nasbench.api.NASBench that `wrap` uses."""

    def __init__(self, cells, schedules=SCHEDULES):
        self.cells = {cell.module_hash: cell for cell in cells}
        self.schedules = schedules

    def hash_iterator(self):
        return self.cells.keys()

    def get_metrics_from_hash(self, module_hash):
        cell = self.cells[module_hash]
        matrix, operations = cell.spec
        fixed = {
            "module_adjacency": np.array(matrix, dtype=np.int8),
            "module_operations": operations,
            "trainable_parameters": cell.n_params,
        }
        return fixed, {epochs: self.trainings(cell, epochs) for epochs in self.schedules}

    @staticmethod
    def trainings(cell, epochs):
        found = []
        for seed in (0, 1, 2):
            _, half, end = evaluations(cell, epochs, seed)
            found.append(
                {
                    f"{when}_{key}": value
                    for when, e in (("halfway", half), ("final", end))
                    for key, value in {
                        "training_time": e.seconds,
                        "train_accuracy": e.train,
                        "validation_accuracy": e.valid,
                        "test_accuracy": e.test,
                    }.items()
                }
            )
        return found


def test_a_live_object_gives_the_same_answers(packed, cells):
    live = nb101.wrap(LiveStandIn(cells))

    assert "nb101" == live.name
    assert packed.keys.tolist() == live.keys.tolist()
    np.testing.assert_array_equal(live.codes, packed.codes)
    assert packed.roles == live.roles
    assert packed.costs() == live.costs()
    assert packed.holdings == live.holdings
    for slice_ in packed.holdings:
        for seed in (0, 1, 2, "mean"):
            np.testing.assert_array_equal(
                live.curves(slice_, seed=seed), packed.curves(slice_, seed=seed)
            )
    for cost in packed.costs():
        asked = {"trained_on": cost.trained_on, "epochs": cost.epochs}
        np.testing.assert_array_equal(
            live.cost_column(cost.name, "cifar10", **asked),
            packed.cost_column(cost.name, "cifar10", **asked),
        )


def test_a_live_object_of_108_epochs(few):
    assert nb101.wrap(LiveStandIn(few, schedules=[108])).name == "nb101-only108"


def test_a_live_object_that_holds_nonsense_is_named(few):
    api = LiveStandIn(few)
    api.trainings = lambda cell, epochs: [{"halfway_training_time": 1.0}]

    with pytest.raises(BadFile, match=few[0].module_hash):
        nb101.wrap(api)


def test_crc32c_of_known_texts():
    """RFC 3720, B.4, and the check value of the CRC catalogue."""
    texts = [b"123456789", b"", bytes(32), b"\xff" * 32, bytes(range(32)), bytes(range(31, -1, -1))]
    expected = [0xE3069283, 0, 0x8A9136AA, 0x62A8AB43, 0x46DD794E, 0x113FDB5C]

    assert expected == _tfrecord.crc32c_by_numpy(texts).tolist()
    assert expected == _tfrecord.crc32c(texts).tolist()
    assert [0] == _tfrecord.crc32c_by_numpy([b""]).tolist()


def test_crc32c_equals_googles():
    package = pytest.importorskip("google_crc32c")
    rng = np.random.default_rng(0)
    texts = [rng.bytes(int(n)) for n in rng.integers(0, 600, size=500)]

    assert [package.value(text) for text in texts] == _tfrecord.crc32c_by_numpy(texts).tolist()


@pytest.mark.parametrize("wrong", [[b"b" * 32, b"a" * 32], [b"a" * 32] * 2, [b"a" * 32]])
def test_keys_that_cannot_be_searched_are_refused(home, wrong):
    of_space = space("nb201")
    builder = StoreBuilder("small", of_space, of_space.codes[:2], [0, 1])

    with pytest.raises(ValueError, match="ascending and distinct"):
        builder.add_keys(np.array(wrong))
    builder.discard()


def test_stores_without_keys_are_as_before(home):
    from tables import make_store

    found = store.manifest(make_store())
    digest = store.content_digest(found)

    assert "keys" not in found
    assert digest == found["sha256"]
    assert load("small").keys is None
