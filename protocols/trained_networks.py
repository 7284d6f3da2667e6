"""Settings of networks: what benchmarks trained where that is no default, and what is faster."""

from __future__ import annotations

from typing import Any

from harness.arch import SearchSpace
from harness.spaces.nb201 import TopologySpace
from protocols import mini201

# Data set -> settings.
TRAINED: dict[str, dict[str, Any]] = {
    mini201.DATASET: {"channels": mini201.CHANNELS, "n_cells": mini201.N_CELLS}
}
# Settings that change how fast the networks of a space are, and not what they compute.
FASTER: dict[type[SearchSpace], dict[str, Any]] = {TopologySpace: {"only_live": True}}
