"""MultiPath and Metaprox: Metaprox whose inner steps average over several architectures.

Source: see `protocols.search.inner_steps`. The thesis has 4 architectures.
"""

from __future__ import annotations

from protocols.search.inner_steps import InnerSteps

METHOD = InnerSteps(proximal=10.0, n_paths=4)
