"""Items of spaces other than NAS-Bench-201's: random rows, on a dump and on small models."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from nb201_stores import made_up_columns, mean_store
from nb301_files import unpacked_archive
from scipy.stats import spearmanr

from adapters.nb301 import open_ensemble
from harness import load, space, store
from harness.engine import run_all
from harness.registry import adapter_of
from harness.seeds import derive
from reports import oneshot1_random, params_draws, surrogate_random
from reports.candidates import candidates
from reports.items import all_items
from reports.papers.freedarts import TABLE_7
from reports.reproduce import can_run, reproduce
from reports.untrained_rows import Search
from reports.verdict import DIFFERS, NO_TEST, OTHER_BENCHMARK


def imported(source, path, mapping=None):
    return adapter_of(source).pack(source, path, mapping=mapping, jobs=1, progress=lambda *_: None)


@pytest.fixture(scope="module")
def everything(data, tmp_path_factory):
    """A home with a generated NAS-Bench-201, the NAS-Bench-101 dump and both kinds of models."""
    place = tmp_path_factory.mktemp("others")
    archive = unpacked_archive(data, place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAS_HARNESS_HOME", str(place / "home"))
        mean_store(made_up_columns())
        dump = imported("csv", data / "nb101" / "nb101_30k.csv.gz", "nb101_dump")
        store.set_alias("nb101", dump)
        for source in ("nb301", "nb301-gin"):
            imported(source, archive)
        yield archive


def errors_by_hash(data):
    frame = pd.read_csv(data / "nb101" / "nb101_30k.csv.gz", dtype=str, keep_default_na=False)
    by_hash = dict(zip(frame.iloc[:, 0], frame["val_acc_e108"].astype(float), strict=True))
    return {key: 100 - 100 * value for key, value in by_hash.items()}


def test_random_cells_of_space_3(data, everything):
    (table, spaces) = all_items()["freedarts:T3"].build(load("oneshot1-3"), []).tables
    of_space, errors = space("oneshot1-3"), errors_by_hash(data)
    seen = load("oneshot1-3")
    rows = derive(0, oneshot1_random.STREAM).choice(len(seen), 5, replace=False)
    drawn = [errors[of_space.key(of_space.arch(seen.codes[row].tolist()))] for row in rows]

    average = table.cell("Random", "CIFAR-10 error (average) valid")
    assert average.measured.mean == pytest.approx(np.mean(drawn), abs=1e-4)
    assert average.measured.std == pytest.approx(np.std(drawn, ddof=1), abs=1e-4)
    best = table.cell("Random", "CIFAR-10 error (best) valid")
    assert best.measured.mean == pytest.approx(min(drawn), abs=1e-4)
    assert average.verdict == best.verdict == OTHER_BENCHMARK  # Not the whole space.
    assert "no test accuracy" in table.cell("Random", "CIFAR-10 error (average) test").reason
    assert table.cell("GDAS", "CIFAR-10 error (best) test").reason


@pytest.mark.parametrize("name", ["oneshot1-1", "oneshot1-2"])
def test_errors_over_spaces_are_those_of_the_dump(data, everything, name):
    (_, spaces) = all_items()["freedarts:T3"].build(load("oneshot1-3"), []).tables
    of_space, errors = space(name), errors_by_hash(data)
    keys = [of_space.key(of_space.arch(code)) for code in of_space.codes.tolist()]
    held = [errors[key] for key in keys if key in errors]
    cells = [errors[key] for key in set(keys) if key in errors]

    row = f"{name}, valid"
    assert spaces.cell(row, "Encodings error").measured.mean == pytest.approx(np.mean(held))
    assert spaces.cell(row, "Cells error").measured.std == pytest.approx(np.std(cells), abs=1e-4)
    assert spaces.cell(row, "Cells error").measured.n == len(cells)
    lowest = spaces.cell(row, "lowest error")
    assert lowest.measured.mean == pytest.approx(min(held), abs=1e-4)
    assert lowest.published.mean == oneshot1_random.STATED[name, "valid"]


def test_five_draws_of_which_one_failed_are_what_the_paper_prints():
    """The arithmetic of the note, for errors of 8.0 and 90."""
    errors = [8.0] * 4 + [90.0]

    assert round(np.mean(errors), 1) == 24.4
    assert round(np.std(errors), 1) == 32.8


def test_random_cells_predicted(everything):
    item = all_items()["freedarts:T7"]
    assert candidates("darts", item.preferred) == ["nb301-v0.9-gnn_gin", "nb301-v0.9-xgb"]
    (table,) = item.build(load("nb301-v0.9-gnn_gin"), []).tables
    rng = derive(0, "freedarts tables 6 and 7")
    archs = [space("darts").sample(rng) for _ in range(1000)]
    errors = 100 - open_ensemble(everything, "gnn_gin").predict(archs).mean(axis=0)

    for n in (10, 100, 1000):
        average = table.cell("Random", f"error (average) {n:,} seeds")
        assert average.measured.mean == pytest.approx(errors[:n].mean(), abs=1e-4)
        assert average.measured.n == n
        best = table.cell("Random", f"error (best) {n:,} seeds")
        assert best.measured.mean == pytest.approx(errors[:n].min(), abs=1e-4)
        assert (average.verdict, best.verdict) == (DIFFERS, NO_TEST)
    (other,) = item.build(load("nb301-v0.9-xgb"), []).tables
    assert other.cell("Random", "error (best) 10 seeds").verdict == OTHER_BENCHMARK


def test_searched_cells_predicted(everything, searches):
    setting = {"saliency": "synflow", "images": "gaussian", "channels": 4, "n_made": 4}
    # Rows are told apart by their options; the other two take too long for a test.
    tiny = {
        label: Search("freedarts", n_seeds, {**setting, "n_cells": n_cells}, "cifar10")
        for label, n_seeds, n_cells in (
            ("FreeDARTS(SNIP)", 1, 1),
            ("FreeDARTS(GraSP)", 1, 2),
            ("FreeDARTS(Synflow)", 10, 3),
        )
    }
    rows = replace(TABLE_7, searches=tiny)
    item = surrogate_random.random_item("freedarts:T7", "small", rows)
    benchmark = load("nb301-v0.9-gnn_gin")
    records = run_all(item.specs(benchmark))
    table, cells = item.build(benchmark, records).tables
    archs = [space("darts").parse(record.result["arch"]) for record in records[2:]]
    errors = 100 - open_ensemble(everything, "gnn_gin").predict(archs).mean(axis=0)

    average = table.cell("FreeDARTS(Synflow)", "error (average) 10 seeds")
    assert average.measured.mean == pytest.approx(errors.mean(), abs=1e-4)
    assert average.measured.std == pytest.approx(errors.std(ddof=1), abs=1e-4)
    best = table.cell("FreeDARTS(Synflow)", "error (best) 10 seeds")
    assert best.measured.mean == pytest.approx(errors.min(), abs=1e-4)
    assert (average.verdict, best.verdict) == (DIFFERS, NO_TEST)
    assert cells.cell("FreeDARTS(Synflow)", "search (s)").measured.n == 10
    # 31 seconds a search by SNIP, 87 by GraSP.
    told = table.cell("FreeDARTS(SNIP)", "error (best) 100 seeds").reason
    assert told == "100 searches would take one processor core about 52 minutes"
    told = table.cell("FreeDARTS(GraSP)", "error (best) 1,000 seeds").reason
    assert told == "1,000 searches would take one processor core about 24 hours"


def test_parameters_on_every_space(everything):
    item = params_draws.params_item("sotl_thesis:T4.5", "draws", n_draws=20)
    artefact = item.build(load("nb201-csv"), [])
    table, draws = artefact.tables
    seen = load("oneshot1-2")
    accuracy = seen.column(seen.roles["cifar10"].truth)

    whole = draws.cell("NB1Shot1-2", "whole space").measured.mean
    assert whole == pytest.approx(
        spearmanr(seen.cost_column("params", "cifar10"), accuracy).statistic
    )
    darts = draws.cell("DARTS", "whole space").measured.mean
    surrogate = load("nb301-v0.9-xgb")
    drawn = surrogate.drawn(10_000, derive(0, "thesis table 4.5, DARTS space"))
    predicted = surrogate.predict(drawn.codes).mean(axis=0)
    counted = space("darts").network_cost("params", drawn.codes, channels=32, n_cells=8)
    assert darts == pytest.approx(spearmanr(counted, predicted).statistic, abs=1e-3)
    assert draws.cell("DARTS", "cells a draw").measured.mean == 350
    assert table.cell("SPOS + Params", "NB1Shot1-2").verdict == OTHER_BENCHMARK
    assert table.cell("SPOS + Params", "DARTS").verdict == NO_TEST


def test_items_are_written_with_what_they_are_made_on(everything, tmp_path):
    asked = ["freedarts:T3", "freedarts:T6"]

    summary = reproduce(asked, out=tmp_path)

    assert list(summary.done) == asked
    assert dict(summary.benchmarks) == {
        "freedarts:T3": "oneshot1-3",
        "freedarts:T6": "nb301-v0.9-gnn_gin",
    }
    assert "a surrogate: any arch of darts" in (tmp_path / "freedarts_T6.md").read_text("utf-8")


def test_without_benchmarks_they_say_what_is_missing(home):
    assert can_run(all_items()["freedarts:T3"]) == (
        False,
        "no benchmark of the space oneshot1-3 is imported; nas-harness import --help",
    )
    assert not can_run(all_items()["freedarts:T6"])[0]
