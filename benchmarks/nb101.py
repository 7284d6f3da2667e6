"""Speed and memory of NAS-Bench-101: the import beside what any reader must do, and look-ups.

    python benchmarks/nb101.py [--rows N] [--jobs N] [--rounds N] [--file PATH]

The published files have 5,083,488 and 1,270,872 rows. The rows here are distinct cells of the
space in shuffled order, each schedule of each three times; their metrics are those of the cells
in NAS_HARNESS_DATA's nb101/nb101_30k.csv.gz in turn. They name no checkpoints: all rows are then
2.06 GB, and the published size is 1.95 GB or GiB. Needs google-crc32c. The reference is framing,
json and base64 alone, on as many processes. The target is for all rows (making the file takes
minutes: keep it); fewer measure how processes start, two seconds whatever the file.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import os
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, product
from pathlib import Path

import google_crc32c
import numpy as np
from joblib import Parallel, delayed
from lookup import BIN, paired, process, show, watched

from adapters._tfrecord import Span, spans
from harness import Slice, load
from harness.spaces.nb101 import CellSpace

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from nb101_files import SCHEDULES, SEEDS, Cell, framed, metrics, read_cells

TEST = Slice("cifar10", "train", "test", "accuracy", 108)
HEADER = "<QI"  # Length and its CRC.
HEADER_BYTES, CRC_BYTES = 12, 4
N_REAL_ROWS = 5_083_488


def their_rows(path: Path, span: Span) -> int:
    """Frames, rows and messages of one stretch; nothing is checked, nothing is kept."""
    with path.open("rb") as file:
        file.seek(span.start)
        data = file.read(span.stop - span.start)
    position = n_bytes = 0
    while position < len(data):
        length, _ = struct.unpack_from(HEADER, data, position)
        start = position + HEADER_BYTES
        row = json.loads(data[start : start + length])
        n_bytes += len(base64.b64decode(row[4]))
        position = start + length + CRC_BYTES
    return n_bytes


def graphs_of(n_cells: int) -> list[tuple[str, str]]:
    """What stands before and after the schedule in the rows of so many cells, in random order."""
    space = CellSpace()
    codes = np.random.default_rng(0).permutation(space.cells())[:n_cells]
    found = []
    for code in codes.tolist():
        arch = space.arch(code)
        matrix, ops = space.pruned(arch)
        digits = "".join(map(str, matrix.ravel().tolist()))
        found.append((f'["{space.module_hash(arch)}", ', f', "{digits}", "{",".join(ops)}", "'))
    return found


def payloads(n_rows: int, cells: Sequence[Cell]) -> Iterator[bytes]:
    """So many rows, or as near as whole cells allow; those of one cell lie far apart."""
    graphs = graphs_of(math.ceil(n_rows / (len(SCHEDULES) * len(SEEDS))))
    for seed, epochs in product(SEEDS, SCHEDULES):
        messages = [metrics(cell, epochs, seed, checkpoint="") for cell in cells]
        texts = cycle([base64.b64encode(message).decode() for message in messages])
        for (before, after), text in zip(graphs, texts, strict=False):
            yield f'{before}{epochs}{after}{text}"]'.encode()


def make_file(path: Path, n_rows: int, data: Path) -> None:
    """Writes the file under another name first, so that what is there is whole."""
    cells = read_cells(data / "nb101" / "nb101_30k.csv.gz")
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        file.writelines(framed(row, google_crc32c.value) for row in payloads(n_rows, cells))
    partial.rename(path)


def importing(path: Path, jobs: int, n_rounds: int) -> None:
    """Times the import between two of the reference, since a shared machine's speed drifts."""
    stretches: Sequence[Span] = spans(path)[0]
    n_rows = stretches[-1].first + stretches[-1].n_records
    pool = Parallel(n_jobs=jobs)
    pool(delayed(their_rows)(path, span) for span in stretches[:jobs])  # Starts the processes.

    def alone() -> float:
        started = time.perf_counter()
        pool(delayed(their_rows)(path, span) for span in stretches)
        return time.perf_counter() - started

    command = [str(BIN / "nas-harness"), "import", "nb101", str(path), "--jobs", str(jobs)]
    rounds = [(alone(), watched(command), alone()) for _ in range(n_rounds)]
    theirs = statistics.median((before + after) / 2 for before, _, after in rounds)
    ours = statistics.median(seconds for _, (seconds, _), _ in rounds)
    ratios = [2 * s / (before + after) for before, (s, _), after in rounds]
    ratio = statistics.median(ratios)
    peak_mb = max(peak for _, (_, peak), _ in rounds)
    what = f"import of {n_rows} rows / framing, json, base64"
    show(what, ours, theirs, ratio, "<= 1.5", ratio <= 1.5)
    print(f"ratios of the {n_rounds} rounds: {', '.join(f'{r:.2f}' for r in sorted(ratios))}")
    print(f"peak memory of its largest process: {peak_mb:.0f} MB (target: at most 1000)")


def looking_up() -> None:
    """Look-ups in the imported store, and in the views of it."""
    table = load("nb101")
    asked = ["query", "nb101", table.keys[len(table) // 2].decode(), "--dataset", "cifar10"]
    asked += ["--split", "test", "--epochs", "108", "--seed", "mean"]
    ours, theirs, ratio = paired(
        process(str(BIN / "nas-harness"), *asked), process(sys.executable, "-c", "import numpy")
    )
    show("first answer by hash / import numpy", ours, theirs, ratio, "<= 2.5", ratio <= 2.5)
    rows = np.random.default_rng(0).integers(len(table), size=1_000_000)
    plain = np.array(table.values(TEST)[0, -1])
    ours, theirs, ratio = paired(
        lambda: table.column(TEST, seed=0)[rows],
        lambda: plain[rows],
    )
    show("a million look-ups by index / numpy's indexing", ours, theirs, ratio, "<= 3", ratio <= 3)
    for view in ("oneshot1-1", "oneshot1-2", "oneshot1-3"):
        seconds = []
        for _ in range(2):
            started = time.perf_counter()
            n_archs = len(load(view))
            seconds.append(time.perf_counter() - started)
        print(
            f"{view}: {n_archs} encodings resolved in {seconds[0]:.2f} s, then {seconds[1]:.2f} s"
        )


def main() -> None:
    """Makes the file and prints one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000, help=f"{N_REAL_ROWS} are all")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--file", type=Path, help="keep the file here; one that is there is used")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        os.environ["NAS_HARNESS_HOME"] = str(Path(place) / "home")
        path = asked.file or Path(place) / "nasbench_full.tfrecord"
        if not path.exists():
            make_file(path, asked.rows, Path(os.environ["NAS_HARNESS_DATA"]))
        print(f"{'medians, milliseconds':<58} {'ours':>12} {'reference':>12} {'ratio':>10}  target")
        importing(path, asked.jobs, asked.rounds)
        looking_up()


if __name__ == "__main__":
    main()
