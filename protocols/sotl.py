"""Curve scores of stored training runs, epoch by epoch, on a draw of cells or the whole space.

Source: Ru et al., "Speedy Performance Estimation for NAS", 2021; thesis section 4.1, figures 4.4
and 4.5 (10 draws of 200 cells).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np

from harness.engine import Outcome, Protocol, Run
from harness.errors import HarnessError, InvalidSpec
from harness.ranking import draw
from harness.scores import CurveScore, parse_score

SETTINGS = ("dataset", "score", "n_archs", "table_seed")


@final
class Sotl(Protocol):
    """Records a curve score after every epoch, and the truth, of the drawn cells.

    setting: dataset (whose truth is used); score (its spelling; one that has a value every
    epoch); n_archs (how many cells run.seed draws, None for all); table_seed (a seed or "mean").
    Arrays: scores (n_epoch, n_archs), higher is better; truth (n_archs,); rows (n_archs,).
    """

    version = 1

    def skip(self, run: Run) -> str | None:
        """A reason where the table stores no curve for the score or too few cells."""
        setting = _checked(run.setting)
        score = _curve_score(setting)
        if setting["dataset"] not in run.benchmark.roles:
            return f"{run.benchmark.name} declares no truth for {setting['dataset']}."
        try:
            holding = score.holding(run.benchmark)
        except HarnessError as error:
            return error.message
        n_archs = setting.get("n_archs")
        if len(holding.epochs) < 2:
            return f"{holding.slice} was measured after the last epoch only: there is no curve."
        if n_archs is not None and n_archs > len(run.benchmark):
            return f"{run.benchmark.name} holds {len(run.benchmark)} cells; {n_archs} are drawn."
        return None

    def run(self, run: Run) -> Outcome:
        setting = _checked(run.setting)
        score = _curve_score(setting)
        seed = setting.get("table_seed")
        truth = run.benchmark.roles[setting["dataset"]].truth
        rows = np.arange(len(run.benchmark))
        if setting.get("n_archs") is not None:
            rows = draw(rows, setting["n_archs"], run.seed)
        holding = score.holding(run.benchmark)
        return Outcome(
            result={
                "epochs": list(holding.epochs),
                "score": setting["score"],
                "scored_slice": str(holding.slice),
                "contains_test": holding.slice.contains_test,
                "truth": str(truth),
            },
            arrays={
                "scores": score.curve(run.benchmark, seed)[:, rows].astype(np.float32),
                "truth": run.benchmark.column(truth, seed=seed)[rows],
                "rows": rows.astype(np.int32),
            },
        )


def _checked(setting: Mapping[str, Any]) -> Mapping[str, Any]:
    if foreign := sorted(set(setting) - set(SETTINGS)):
        raise InvalidSpec(f"sotl has no setting {foreign[0]!r}.", f"It has {', '.join(SETTINGS)}.")
    if missing := [name for name in ("dataset", "score") if name not in setting]:
        raise InvalidSpec(f"sotl needs the setting {missing[0]!r}.")
    return setting


def _curve_score(setting: Mapping[str, Any]) -> CurveScore:
    score = parse_score(setting["score"])
    if isinstance(score, CurveScore) and score.epoch is not None:
        raise InvalidSpec(f"{setting['score']}: every epoch is recorded.", "Leave out @EPOCH.")
    if not isinstance(score, CurveScore):
        raise InvalidSpec(f"{setting['score']} has no value per epoch.", "Use sotl:… or slice:….")
    return score


PROTOCOL = Sotl()
