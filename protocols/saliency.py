"""Saliencies of architecture parameters: how much a loss depends on the weight of each option.

Zhang et al., FreeDARTS, eq. 7, 8 and 10, which carry SNIP, GraSP and SynFlow over from the weights
of a network to those of a supernet's options, and the variants in the code that came with it.

All functions take a loss and its parameters, one tensor a row, and give a tensor of the same
shape for each. A parameter that the loss does not depend on has the gradient 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.arch import SearchSpace
from protocols.nets.mix import learned

Rows = Sequence[Tensor]
Loss = Callable[[Rows], Tensor]  # A scalar, from one tensor a row.
Saliency = Callable[[Loss, Rows], list[Tensor]]


def gradient(loss: Tensor, rows: Rows, *, create_graph: bool = False) -> tuple[Tensor, ...]:
    """The gradient with respect to every row; 0 where the loss does not depend on it."""
    if not loss.requires_grad:
        return tuple(torch.zeros_like(row) for row in rows)
    return torch.autograd.grad(loss, rows, create_graph=create_graph, materialize_grads=True)


def product(loss: Loss, rows: Rows) -> list[Tensor]:
    """dR/da * a: eq. 10."""
    found = gradient(loss(rows), rows)
    return [slope * row.detach() for slope, row in zip(found, rows, strict=True)]


def magnitude(loss: Loss, rows: Rows) -> list[Tensor]:
    """|dL/da * a|: eq. 7, and what the released code makes of eq. 10."""
    return [value.abs() for value in product(loss, rows)]


def hessian_times(loss: Loss, rows: Rows, vector: Rows) -> tuple[Tensor, ...]:
    """H v, where H holds the second derivatives of the loss between all rows."""
    slopes = gradient(loss(rows), rows, create_graph=True)
    along = torch.stack(
        [(slope * part).sum() for slope, part in zip(slopes, vector, strict=True)]
    ).sum()
    return gradient(along, rows)


def grasp(loss: Loss, rows: Rows) -> list[Tensor]:
    """-(H dL/da) * a: eq. 8 to the letter."""
    slopes = gradient(loss(rows), rows)
    found = hessian_times(loss, rows, slopes)
    return [-value * row.detach() for value, row in zip(found, rows, strict=True)]


def stepped_grasp(loss: Loss, rows: Rows, *, lr: float = 3e-2) -> list[Tensor]:
    """(H(a') dL/da) * a, with a' one step of Adam from a.

    What FreeDARTS' NAS-Bench-201 notebook computes: its sign and the place of H are not eq. 8's.
    lr: there; the moments and the decay are those of DARTS.
    """
    slopes = gradient(loss(rows), rows)
    found = hessian_times(loss, _adam_step(rows, slopes, lr), slopes)
    return [value * row.detach() for value, row in zip(found, rows, strict=True)]


def stepped_product_grasp(loss: Loss, rows: Rows, *, lr: float = 3e-4) -> list[Tensor]:
    """|d(dL/da' . a')/da' * a|, with a' one step of Adam from a: (H(a') a' + dL/da') before | |.

    What FreeDARTS' notebook for the DARTS space computes under the name of GraSP. lr: there.
    """
    moved = _adam_step(rows, gradient(loss(rows), rows), lr)
    slopes = gradient(loss(moved), moved, create_graph=True)
    along = torch.stack(
        [(slope * row).sum() for slope, row in zip(slopes, moved, strict=True)]
    ).sum()
    found = gradient(along, moved)
    return [(value * row.detach()).abs() for value, row in zip(found, rows, strict=True)]


def _adam_step(rows: Rows, slopes: Rows, lr: float) -> list[Tensor]:
    """The rows after the first step of DARTS' optimiser of architecture parameters."""
    moved = [row.detach().clone().requires_grad_() for row in rows]
    for row, slope in zip(moved, slopes, strict=True):
        row.grad = slope.detach()
    torch.optim.Adam(moved, lr=lr, betas=(0.5, 0.999), weight_decay=1e-3).step()
    for row in moved:
        row.grad = None
    return moved


@torch.no_grad()
def make_positive(net: nn.Module) -> None:
    """Replaces weights and buffers by their absolute values, as SynFlow does with weights."""
    for entry in net.state_dict().values():
        entry.abs_()


def draw_rows(
    space: SearchSpace,
    scale: float,
    rng: np.random.Generator,
    *,
    device: torch.device | str,
    dtype: torch.dtype,
) -> list[Tensor]:
    """N(0, 1) times the scale for every option of every learned row; they take gradients."""
    return [
        torch.from_numpy(scale * rng.standard_normal(len(options)))
        .to(device=device, dtype=dtype)
        .requires_grad_()
        for group in learned(space)
        for options in group.options
    ]


def by_group(space: SearchSpace, rows: Rows) -> dict[str, list[Tensor]]:
    """Rows under the names of their groups."""
    rest = iter(rows)
    return {group.name: [next(rest) for _ in group.options] for group in learned(space)}


def as_strengths(space: SearchSpace, rows: Rows) -> list[NDArray[np.float64]]:
    """Per learned group (n_rows, n_options), NaN past a short row: what `discretise` takes."""
    blocks = []
    for group, held in zip(learned(space), by_group(space, rows).values(), strict=True):
        block = np.full((len(held), max(map(len, group.options))), np.nan)
        for values, row in zip(block, held, strict=True):
            values[: len(row)] = row.detach().cpu().double().numpy()
        blocks.append(block)
    return blocks
