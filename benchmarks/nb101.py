"""Speed and memory of the NAS-Bench-101 import, as a ratio to what any reader must do.

    python benchmarks/nb101.py [--rows N] [--jobs N]

Needs NAS_HARNESS_DATA with nb101/nb101_30k.csv.gz: the rows are those cells in the real format,
each schedule of each cell three times (360,012 at most; the real files have 5,083,488 and
1,270,872). The reference is framing, json and base64 alone, on as many processes.
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
from collections.abc import Sequence
from pathlib import Path

from joblib import Parallel, delayed
from lookup import BIN, show, watched

from adapters._tfrecord import Span, spans

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from nb101_files import SCHEDULES, SEEDS, read_cells, rows, write

HEADER = "<QI"  # Length and its CRC.
HEADER_BYTES, CRC_BYTES = 12, 4


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


def make_file(path: Path, n_rows: int, data: Path) -> int:
    """A file of so many rows, or as near as whole cells allow; returns how many."""
    cells = read_cells(data / "nb101" / "nb101_30k.csv.gz")
    n_cells = math.ceil(n_rows / (len(SCHEDULES) * len(SEEDS)))
    if n_cells > len(cells):
        sys.exit(f"There are real cells for {len(cells) * len(SCHEDULES) * len(SEEDS)} rows.")
    payloads = rows(cells[:n_cells])
    write(path, payloads)
    return len(payloads)


def importing(path: Path, n_rows: int, jobs: int, n_rounds: int) -> None:
    """Times the import between two of the reference, since a shared machine's speed drifts."""
    stretches: Sequence[Span] = spans(path)[0]
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
    ratio = statistics.median(2 * s / (before + after) for before, (s, _), after in rounds)
    peak_mb = max(peak for _, (_, peak), _ in rounds)
    show(f"import of {n_rows} rows / framing, json, base64", ours, theirs, ratio, "none", True)
    print(f"peak memory of its largest process: {peak_mb:.0f} MB (target: at most 1000)")


def main() -> None:
    """Makes the file and prints one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        os.environ["NAS_HARNESS_HOME"] = str(Path(place) / "home")
        path = Path(place) / "nasbench_full.tfrecord"
        n_rows = make_file(path, asked.rows, Path(os.environ["NAS_HARNESS_DATA"]))
        print(f"{'medians, milliseconds':<58} {'ours':>12} {'reference':>12} {'ratio':>10}  target")
        importing(path, n_rows, asked.jobs, asked.rounds)


if __name__ == "__main__":
    main()
