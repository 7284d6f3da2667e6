"""Speed and memory of the look-up path, as ratios against numpy, scipy and nats_bench in one run.

    python benchmarks/lookup.py [--import-files N] [--only-import]

Needs NAS_HARNESS_DATA with nats/NATS-tss-v1_0-3ffb9-simple (3 architectures) and nats_bench 1.8.
The import is timed on N files made from the three real ones (15,625 is the whole space).
"""

from __future__ import annotations

import argparse
import bz2
import contextlib
import os
import pickle
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness import Slice, space
from harness.benchmark import Holding, Roles
from harness.builder import Provenance, StoreBuilder
from harness.registry import adapter_of
from harness.scores import parse_score
from harness.stats import spearman_curve
from harness.store import load

INDICES = (0, 11, 284)
N_SPACE = 15_625
BIN = Path(sys.executable).parent
LOSS = Slice("cifar10", "train", "train", "loss", 200)
VALID = Slice("cifar10", "train", "valid", "accuracy", 200)
TEST = Slice("cifar10", "train+valid", "test", "accuracy", 200)


def median_seconds(call: Callable[[], object], repeats: int = 7, inner: int = 1) -> float:
    """Median over repeats of the time of one call, `inner` calls a repeat, after one warm-up."""
    call()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        for _ in range(inner):
            call()
        seconds.append((time.perf_counter() - started) / inner)
    return statistics.median(seconds)


def paired(one: Callable[[], object], other: Callable[[], object], n: int = 15) -> tuple[Any, ...]:
    """Medians of two calls made in turn, and the median of their ratios."""
    pairs = []
    for call in (one, other):
        call()
    for _ in range(n):
        times = []
        for call in (one, other):
            started = time.perf_counter()
            call()
            times.append(time.perf_counter() - started)
        pairs.append(times)
    ratios = statistics.median(a / b for a, b in pairs)
    return *(statistics.median(side) for side in zip(*pairs, strict=True)), ratios


def process(*command: str) -> Callable[[], object]:
    return lambda: subprocess.run(command, check=True, capture_output=True)


def show(what: str, ours: float, theirs: float, ratio: float, target: str, holds: bool) -> None:
    mark = "ok" if holds else "MISSED"
    print(f"{what:<58} {ours * 1e3:12.4f} {theirs * 1e3:12.4f} {ratio:10.2f}  {target:<12} {mark}")


def starts(folder: Path) -> None:
    python = str(BIN / "python")
    answer = [str(BIN / "nas-harness"), "query", "nats-tss", "11", "--dataset", "cifar10"]
    answer += ["--split", "valid", "--epochs", "200", "--seed", "mean"]
    theirs = (
        "from nats_bench import create;"
        f"api = create({str(folder)!r}, 'tss', fast_mode=True, verbose=False);"
        "print(api.get_more_info(11, 'cifar10-valid', hp='200', is_random=False))"
    )
    numpy = process(python, "-c", "import numpy")
    ours, base, ratio = paired(process(*answer), numpy)
    show("first printed answer / import numpy", ours, base, ratio, "<= 2.5", ratio <= 2.5)
    ours, base, ratio = paired(process(*answer), process(python, "-c", theirs))
    show("first printed answer / nats_bench's first", ours, base, ratio, "< 1", ratio < 1)
    ours, base, ratio = paired(process(python, "-c", "import harness"), numpy)
    show("import harness / import numpy", ours, base, ratio, "<= 1.3", ratio <= 1.3)


def queries(folder: Path) -> None:
    from nats_bench import create

    api = create(str(folder), "tss", fast_mode=True, verbose=False)
    table = load("nats-tss")

    def their_query() -> object:
        return api.get_more_info(11, "cifar10-valid", hp="200", is_random=False)

    theirs = median_seconds(their_query, inner=20)
    ours = median_seconds(lambda: table.query(11, VALID, seed="mean"), inner=2000)
    show("scalar query (mean of seeds)", ours, theirs, theirs / ours, ">= 50", theirs / ours >= 50)

    results = api.query_meta_info_by_index(11, hp="200")

    def their_curve() -> object:
        return [results.get_metrics("cifar10-valid", "train", e, False) for e in range(200)]

    theirs = median_seconds(their_curve, inner=3)
    ours = median_seconds(lambda: table.curve(11, LOSS, seed="mean"), inner=500)
    show("200-epoch curve", ours, theirs, theirs / ours, ">= 200", theirs / ours >= 200)

    loop = median_seconds(
        lambda: [api.get_more_info(i, "cifar10", hp="200", is_random=False) for i in INDICES]
    )
    theirs = loop / len(INDICES) * N_SPACE
    whole = load("whole")
    ours = median_seconds(lambda: whole.column(TEST, seed="mean"), inner=20)
    ratio = theirs / ours
    show("column of 15,625 (theirs extrapolated)", ours, theirs, ratio, ">= 10000", ratio >= 1e4)


def make_whole_space() -> None:
    """A store of random values with the whole space, three seeds and 200 epochs of losses."""
    rng = np.random.default_rng(0)
    of_space = space("nb201")
    builder = StoreBuilder("whole", of_space, of_space.codes, list(range(N_SPACE)))
    seeds, epochs = (777, 888, 999), tuple(range(1, 201))
    losses = rng.random((3, 200, N_SPACE), dtype=np.float32)
    builder.add(Holding(LOSS, "nats", seeds, epochs), losses)
    builder.add(Holding(TEST, "%", seeds, epochs), 100 * losses)
    builder.commit({"cifar10": Roles(None, TEST)}, Provenance("random", 1, (), "", ""))


def sotl_curve() -> None:
    from scipy.stats import rankdata

    table = load("whole")
    score = parse_score("sotl:cifar10/train/200")
    truth = table.column(TEST, seed="mean")
    columns = np.asarray(score.curve(table, 777))

    def ours() -> object:
        return spearman_curve(score.curve(table, 777), truth)

    one, other, ratio = paired(ours, lambda: rankdata(columns, axis=1), n=7)
    show("SoTL's Spearman curve / rankdata alone", one, other, ratio, "<= 1.5", ratio <= 1.5)


def their_files(files: list[Path]) -> None:
    for file in files:
        pickle.loads(bz2.decompress(file.read_bytes()))


def make_files(folder: Path, real: Path, indices: range) -> None:
    """Copies of the real files under other indices, compressed as the originals are."""
    texts = [space("nb201").format(arch) for arch in space("nb201")]
    contents = {i: bz2.decompress((real / f"{i:06d}.pickle.pbz2").read_bytes()) for i in INDICES}
    for index in indices:
        states = pickle.loads(contents[INDICES[index % 3]])
        for state in states.values():
            state["arch_index"], state["arch_str"] = index, texts[index]
        (folder / f"{index:06d}.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(states)))


def watched(command: list[str]) -> tuple[float, float]:
    """Seconds and peak resident memory (MB, largest process) of a command and its children."""
    started = time.perf_counter()
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    peak_kb = 0
    while running.poll() is None:
        for status in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError, ProcessLookupError):
                if os.getsid(int(status.parent.name)) == running.pid:
                    found = re.search(r"VmHWM:\s+(\d+)", status.read_text())
                    peak_kb = max(peak_kb, int(found[1]) if found else 0)
        time.sleep(0.5)  # Looking costs milliseconds of the processors that are being timed.
    return time.perf_counter() - started, peak_kb / 1e3


def packing(real: Path, n_files: int, place: Path) -> None:
    from joblib import Parallel, delayed

    folder = place / "NATS-tss-made-simple"
    folder.mkdir()
    meta = "meta.pickle.pbz2"
    (folder / meta).write_bytes((real / meta).read_bytes())
    pool = Parallel(n_jobs=2)
    pool(
        delayed(make_files)(folder, real, range(i, min(i + 250, n_files)))
        for i in range(0, n_files, 250)
    )
    files = sorted(folder.glob("0*.pbz2"))
    parts = [files[i : i + 128] for i in range(0, len(files), 128)]

    def alone() -> float:
        started = time.perf_counter()
        pool(delayed(their_files)(part) for part in parts)
        return time.perf_counter() - started

    command = [str(BIN / "nas-harness"), "import", "nats-tss", str(folder)]
    # Ours between two of the reference, since a shared machine's speed drifts meanwhile.
    rounds = [(alone(), watched(command), alone()) for _ in range(1 if n_files > 5000 else 3)]
    theirs = statistics.median((before + after) / 2 for before, _, after in rounds)
    ours = statistics.median(seconds for _, (seconds, _), _ in rounds)
    peak_mb = max(peak for _, (_, peak), _ in rounds)
    ratio = statistics.median(2 * s / (before + after) for before, (s, _), after in rounds)
    what = f"import of {n_files} files / bz2 and unpickling alone"
    show(what, ours, theirs, ratio, "<= 1.2", ratio <= 1.2)
    print(f"peak memory of its largest process: {peak_mb:.0f} MB (target: at most 600)")
    stores = Path(os.environ["NAS_HARNESS_HOME"]) / "stores"
    stored = sum(file.stat().st_size for file in stores.glob("nats-tss@*/*"))
    whole = stored / len(load("nats-tss")) * N_SPACE
    print(
        f"packed store: {stored / 1e6:.1f} MB; the whole space {whole / 1e6:.0f} MB"
        " (target: at most 700)"
    )


def main() -> None:
    """Runs all parts and prints one line a ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--import-files", type=int, default=1024)
    parser.add_argument("--only-import", action="store_true")
    asked = parser.parse_args()
    real = Path(os.environ["NAS_HARNESS_DATA"]) / "nats" / "NATS-tss-v1_0-3ffb9-simple"
    with tempfile.TemporaryDirectory() as place:
        os.environ["NAS_HARNESS_HOME"] = str(Path(place) / "home")
        print(f"{'medians, milliseconds':<58} {'ours':>12} {'reference':>12} {'ratio':>10}  target")
        if not asked.only_import:
            adapter_of("nats-tss").pack(
                "nats-tss", real, mapping=None, jobs=2, progress=lambda done, total: None
            )
            make_whole_space()
            starts(real)
            queries(real)
            sotl_curve()
        packing(real, asked.import_files, Path(place))


if __name__ == "__main__":
    main()
