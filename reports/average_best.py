"""The two statistics of test errors that FreeDARTS prints in its tables 3, 6 and 7."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reports.row_search import over_runs
from reports.verdict import Measured

AVERAGE, BEST = "error (average)", "error (best)"
METRICS = (AVERAGE, BEST)


def statistic(metric: str, errors: NDArray[np.float64]) -> Measured:
    """The lowest error for `BEST`, else mean and deviation (ddof=1). errors: (n,) in percent."""
    if metric == BEST:
        return Measured(float(errors.min()), None, len(errors), "%")
    return over_runs(errors, "%")
