"""Figures of searched cells against a setting: FreeDARTS figures 1 to 3."""

from types import SimpleNamespace

import numpy as np
import pytest

from harness import load, space
from harness.engine import run_all
from reports import alpha_scale, pruning_track, sample_size
from reports.items import all_items
from reports.row_search import NO_TORCH
from reports.search_curves import Axis, Line, over_searches, search_curves_item
from reports.untrained_rows import Search

DATASET = "cluttered-digits"
SYNFLOW = {"saliency": "synflow", "images": "gaussian"}


@pytest.fixture
def bench(home):
    return load("mini201")


def truth(bench, text):
    return bench.query(text, bench.roles[DATASET].truth, seed=0).value


def held(bench, n):
    return [bench.space.format(arch) for arch in bench.archs[:: len(bench) // n][:n]]


def test_points_are_the_mean_over_the_seeds_of_each_search(bench, searches):
    scales = {x: Search("freedarts", 2, {**SYNFLOW, "scale": x}) for x in (1e-3, 1.0)}
    item = search_curves_item(
        "freedarts:F1",
        "small",
        Axis("a", "a =", log=True),
        list(scales.values()),
        lambda bench, shares: [Line("FreeDARTS", *over_searches(bench, scales, shares))],
        caption="small",
        footnotes=(),
    )
    records = run_all(item.specs(bench))

    artefact = item.build(bench, records)

    (table,) = artefact.tables
    for x, own in ((1e-3, records[:2]), (1, records[2:])):
        values = [r.result["values"][DATASET]["truth"] for r in own]
        known = [value for value in values if value is not None]
        cell = table.cell(f"FreeDARTS, a = {x:g}", table.columns[0].title)
        assert cell.measured.n == len(known)
        if known:
            assert cell.measured.mean == pytest.approx(np.mean(known))
    assert len(artefact.plots) == 1


def test_without_torch_there_is_no_figure(bench):
    for name in ("freedarts:F1", "freedarts:F3"):
        assert all_items()[name].benchmark_problem(bench) == NO_TORCH


def test_figure_1_asks_for_every_scale_of_the_authors_file(bench, searches):
    specs = all_items()["freedarts:F1"].specs(bench)

    assert {spec.setting["scale"] for spec in specs} == set(alpha_scale.SCALES)
    assert len(specs) == len(alpha_scale.SCALES) * alpha_scale.N_SEEDS


def test_the_best_of_the_first_is_by_score_and_looked_up(bench):
    texts = held(bench, 3)
    codes = np.array([space("nb201").parse(text).code for text in texts] * 4, dtype=np.uint8)
    scores = np.array([0.0, 1.0, np.nan] * 3 + [9.0, 10.0, 11.0])
    record = SimpleNamespace(array={"archs": codes, "scores": scores}.__getitem__)

    found = sample_size._best_of_first(bench, [record, record])

    assert list(found) == [10, 20, 50, 100, 200, 500, 1000]
    # Among the first ten, the tenth, which is the first of the three cells, has the highest score.
    assert found[10.0][DATASET] == pytest.approx([truth(bench, texts[0])] * 2)
    assert found[20.0][DATASET] == pytest.approx([truth(bench, texts[2])] * 2)


def test_a_sample_without_any_score_is_missing(bench):
    codes = np.array([space("nb201").parse(held(bench, 1)[0]).code] * 10, dtype=np.uint8)
    record = SimpleNamespace(array={"archs": codes, "scores": np.full(10, np.nan)}.__getitem__)

    found = sample_size._best_of_first(bench, [record])

    assert np.isnan(found[1000.0][DATASET]).all()


def test_the_track_is_the_truth_after_every_removal(bench, searches):
    search = Search("freedarts", 1, {**SYNFLOW, "one_by_one": True})
    records = run_all(search.specs(bench))

    track = pruning_track._track(bench, records)

    assert len(track) == 1 + 6 * 4  # Before the first, and five operations to one on six edges.
    at = records[0].result["track"]
    for step, values in track.items():
        expected = at[int(step)]["values"][DATASET]["truth"]
        assert values[DATASET] == pytest.approx(
            [np.nan if expected is None else expected], nan_ok=True
        )
