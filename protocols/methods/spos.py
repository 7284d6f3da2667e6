"""SPOS: single paths drawn uniformly train the shared weights; meant for selection by evolution.

Source: Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling", ECCV
2020. The supernet is trained as random search with shared weights trains it; the selector
`evolution` is what sets the two apart.
"""

from __future__ import annotations

from protocols.methods.random_nas import RandomNas

METHOD = RandomNas()
