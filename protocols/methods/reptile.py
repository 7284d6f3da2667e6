"""Reptile: several steps on one batch of a random architecture, then part of the way to there.

Source: see `protocols.search.inner_steps`. With the thesis's outer rate of 1 it is so many
consecutive steps.
"""

from __future__ import annotations

from protocols.search.inner_steps import InnerSteps

METHOD = InnerSteps(proximal=0.0)
