"""Metaprox: Reptile whose steps on one batch are held near to where they started.

Source: see `protocols.search.inner_steps`.
"""

from __future__ import annotations

from protocols.search.inner_steps import InnerSteps

METHOD = InnerSteps(proximal=10.0)
