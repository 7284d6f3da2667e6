"""Linear regions: how many of the batch's images the network's ReLUs tell apart.

The number of different codes, each of all ReLU units that lie between images and logits; more is
better. It cannot exceed the size of the batch, which real networks reach: the source gives 3,000
images of one channel and 3 x 3 pixels to a network of width 1 and one cell a stage, with weights by
He's normal initialisation (fan in). Source: Chen et al., ICLR 2021, section 3.1.2 (code:
VITA-Group/TENAS, lib/procedures/linear_region_counter.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from protocols.proxies import Proxy

if TYPE_CHECKING:
    from protocols.probe import Probe


@final
class LinearRegions(Proxy):
    """Number of different codes."""

    version = 1
    passes = ("codes",)

    def score(self, probe: Probe) -> float:
        same = probe.codes.agreements == probe.codes.n_units
        # Every image counts as one over how many have its code.
        return float((1 / same.sum(dim=1).double()).sum().round())


PROXY = LinearRegions()
