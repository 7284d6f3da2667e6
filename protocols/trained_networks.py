"""The networks that benchmarks trained, where they are not the default of their space's network."""

from __future__ import annotations

from typing import Any

from protocols import mini201

# Data set -> settings.
TRAINED: dict[str, dict[str, Any]] = {
    mini201.DATASET: {"channels": mini201.CHANNELS, "n_cells": mini201.N_CELLS}
}
