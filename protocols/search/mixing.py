"""Weights of options from architecture parameters, where chance has a part in them.

Random numbers come from a generator on the host, so that a seed gives the same ones on any device;
only what the Dirichlet distribution draws is drawn on the device, as it depends on the parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.arch import SearchSpace
from protocols.left import Left
from protocols.nets.mix import Mix, Path, learned, path_mix
from protocols.search.method import Alphas

OPERATIONS = "op"  # What the names of groups of operations begin with.


def random_path(space: SearchSpace, rng: np.random.Generator) -> Mix:
    """The single path of a uniformly random architecture."""
    return path_mix(space, space.sample(rng))


def mapped(alphas: Alphas, function: Callable[[Tensor], Tensor]) -> dict[str, list[Tensor]]:
    """A function of every row, group by group."""
    return {name: [function(row) for row in rows] for name, rows in alphas.items()}


def softmax_of_left(space: SearchSpace, alphas: Alphas, left: Left | None) -> Alphas:
    """The softmax of every row over the options that are left; 0 for the others."""
    if left is None:
        return mapped(alphas, lambda row: row.softmax(dim=0))
    kept = dict(zip((group.name for group in space.groups), left.kept(), strict=True))
    return {
        name: [
            row.masked_fill(
                ~torch.as_tensor(mask[: len(row)], device=row.device), -torch.inf
            ).softmax(dim=0)
            for row, mask in zip(rows, kept[name], strict=True)
        ]
        for name, rows in alphas.items()
    }


def as_row(numbers: NDArray[np.float64], like: Tensor) -> Tensor:
    """Numbers of the host, in the type and on the device of a row."""
    return torch.as_tensor(numbers, dtype=like.dtype).to(like.device, non_blocking=True)


def gumbel(alphas: Alphas, tau: float, rng: np.random.Generator) -> dict[str, list[Tensor]]:
    """softmax((log softmax(alpha) + g) / tau), g from Gumbel's distribution (Maddison et al. 2017;
    Jang et al. 2017).
    """

    def relaxed(row: Tensor) -> Tensor:
        noise = as_row(rng.gumbel(size=len(row)), row)
        return ((row.log_softmax(dim=0) + noise) / tau).softmax(dim=0)

    return mapped(alphas, relaxed)


def hard(space: SearchSpace, soft: Alphas) -> Mix:
    """The largest weight of every row of operations alone, as 1, with the soft ones' gradient.

    Only what is chosen is computed; the weights of the others, which are 0, are added to what the
    row gives, so that their parameters get a gradient too (the supernet of NAS-Bench-201 alone has
    that, as in the code). Other rows, such as parents, keep their soft weights and all options:
    NAS-Bench-1Shot1's script does so, as hard ones diverged there. This waits for the device once,
    to know what to compute.
    """
    groups = [group for group in learned(space) if group.name.partition("_")[0] == OPERATIONS]
    rows = [row for group in groups for row in soft[group.name]]
    chosen = iter(torch.stack([row.argmax() for row in rows]).tolist()) if rows else iter(())
    weights = {name: list(held) for name, held in soft.items()}
    path: dict[str, list[tuple[int, ...]]] = {}
    for group in groups:
        path[group.name] = [(next(chosen),) for _ in group.options]
        weights[group.name] = [
            row - row.detach() + torch.eye(len(row), device=row.device)[option]
            for row, (option,) in zip(soft[group.name], path[group.name], strict=True)
        ]
    idle = {
        name: [
            weights[name][row].sum() - weights[name][row][option]
            for row, (option,) in enumerate(rows)
        ]
        for name, rows in path.items()
    }
    return Mix(weights, path, idle=idle)


def dirichlet(
    concentrations: Alphas, rng: np.random.Generator, path: Path | None = None
) -> dict[str, list[Tensor]]:
    """A draw of every row from Dirichlet's distribution, with its pathwise gradient.

    path: the options that the distributions are of; the others weigh 0.
    """
    device = next(row.device for rows in concentrations.values() for row in rows)
    generator = torch.Generator(device).manual_seed(int(rng.integers(2**63)))
    if path is None:
        return mapped(concentrations, lambda row: _drawn(row, generator))
    return {
        name: [
            _drawn_of(row, options, generator)
            for row, options in zip(rows, path[name], strict=True)
        ]
        for name, rows in concentrations.items()
    }


def _drawn_of(concentration: Tensor, options: Sequence[int], generator: torch.Generator) -> Tensor:
    at = torch.tensor(options, device=concentration.device)
    drawn = _drawn(concentration[at], generator)
    return torch.zeros_like(concentration).index_copy(0, at, drawn)


def _drawn(concentration: Tensor, generator: torch.Generator) -> Tensor:
    drawn: Tensor = _Dirichlet.apply(concentration, generator)  # type: ignore[no-untyped-call]
    return drawn


class _Dirichlet(torch.autograd.Function):
    """One draw; the gradient is torch's own of the draw in the concentrations."""

    @staticmethod
    def forward(ctx: Any, concentration: Tensor, generator: torch.Generator) -> Tensor:
        drawn = torch._sample_dirichlet(concentration, generator=generator)
        ctx.save_for_backward(drawn, concentration)
        return drawn

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        drawn, concentration = ctx.saved_tensors
        total = concentration.sum(-1, keepdim=True).expand_as(concentration)
        slopes = torch._dirichlet_grad(drawn, concentration, total)
        return slopes * (gradient - (drawn * gradient).sum(-1, keepdim=True)), None
