"""What one stage of a search leaves to the next: fewer options, or the weights of its network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from protocols.left import Left, Place

if TYPE_CHECKING:
    from protocols.search.loop import Search


def keep_strongest(search: Search, share: float) -> None:
    """Of every learned row the strongest options stay: a share of those that it began with."""
    left = search.left or Left(search.space.groups)
    strengths = iter(search.strengths())
    for position, group in enumerate(left.groups):
        if not group.learned:
            continue
        block = next(strengths)
        for row, names in enumerate(group.options):
            place = Place(position, row)
            options = left.options(place)
            n_kept = max(group.take, round(share * len(names)))
            order = np.argsort(-block[row][options], kind="stable")
            left.keep(place, [options[i] for i in order[:n_kept]])
    search.left = left


@torch.no_grad()
def hand_over(
    before: nn.Module,
    momentum: torch.optim.Optimizer,
    after: nn.Module,
    new_momentum: torch.optim.Optimizer,
) -> None:
    """A network's weights, statistics and momentum, to a wider one of the same make.

    Channels that it has more are copies of the old ones in turn. Source: Chen et al., "Net2Net",
    ICLR 2016, as in xiangning-chen/DrNAS, net2wider.py, which draws the channels that are copied;
    like that, the sums over inputs that are there twice are not halved: a batch norm follows.
    """
    held = before.state_dict()
    after.load_state_dict(
        {name: repeated(held[name], like.shape) for name, like in after.state_dict().items()}
    )
    old = dict(before.named_parameters())
    for name, weight in after.named_parameters():
        for key, value in momentum.state.get(old[name], {}).items():
            is_tensor = isinstance(value, Tensor)
            new_momentum.state[weight][key] = repeated(value, weight.shape) if is_tensor else value


def repeated(values: Tensor, shape: Sequence[int]) -> Tensor:
    """In every dimension from the start again, until there are as many as the shape says."""
    for dim, size in enumerate(shape):
        if size != values.shape[dim]:
            at = torch.arange(size, device=values.device) % values.shape[dim]
            values = values.index_select(dim, at)
    return values
