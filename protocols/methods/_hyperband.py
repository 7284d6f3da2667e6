"""Hyperband's schedule: which epochs are compared and how many cells reach each.

Source: Li et al., JMLR 2018; rounding as in HpBandSter, the reference code of Falkner et al.,
ICML 2018.
"""

from __future__ import annotations

from collections.abc import Sequence

ETA = 3  # NATS-Bench, bohb.py: eta=3


def ladder(epochs: Sequence[int]) -> list[int]:
    """The epochs at which cells are compared: last / ETA^k down to the first, as held.

    Between held epochs the nearest lower one is read: 12 / 9 = 1.33 is epoch 1.
    """
    rungs = {epochs[-1]}
    budget = float(epochs[-1])
    while budget >= epochs[0]:
        rungs.add(max(epoch for epoch in epochs if epoch <= budget))
        budget /= ETA
    return sorted(rungs)


def brackets(rungs: Sequence[int]) -> list[list[tuple[int, int]]]:
    """One Hyperband round: per bracket its (number of cells, epoch), from the widest bracket.

    A bracket with s halvings starts with floor(n_rungs / (s + 1)) * ETA^s cells (HpBandSter).
    """
    n_rungs = len(rungs)
    return [
        [(n_rungs // (s + 1) * ETA ** (s - i), rungs[n_rungs - 1 - s + i]) for i in range(s + 1)]
        for s in reversed(range(n_rungs))
    ]
