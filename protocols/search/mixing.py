"""Weights of options from architecture parameters, where chance has a part in them.

Random numbers come from a generator on the host, so that a seed gives the same ones on any device;
only what the Dirichlet distribution draws is drawn on the device, as it depends on the parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
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
    kept = dict(zip((group.name for group in space.groups), left.state(), strict=True))
    return {
        name: [
            row.masked_fill(all_but(tuple(options), len(row), row.device), -torch.inf).softmax(0)
            for row, options in zip(rows, kept[name], strict=True)
        ]
        for name, rows in alphas.items()
    }


# Every step asks for the same few: on the device once, no step has to wait for a copy.


@lru_cache(maxsize=1024)
def index(options: tuple[int, ...], device: torch.device) -> Tensor:
    """The options as an index of a row, (n,). It is shared: not to be changed."""
    return torch.tensor(options, dtype=torch.int64).to(device, non_blocking=True)


@lru_cache(maxsize=1024)
def all_but(options: tuple[int, ...], n_options: int, device: torch.device) -> Tensor:
    """Where the other options of a row are, (n_options,) of bool. It is shared likewise."""
    return torch.tensor([i not in options for i in range(n_options)]).to(device, non_blocking=True)


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
    return _over(concentrations, path, lambda row: _drawn(row, generator))


def dirichlet_mean(concentrations: Alphas, path: Path | None = None) -> dict[str, list[Tensor]]:
    """The mean of every row's distribution; path: likewise."""
    return _over(concentrations, path, _mean)


def _over(
    concentrations: Alphas, path: Path | None, function: Callable[[Tensor], Tensor]
) -> dict[str, list[Tensor]]:
    """A function of every row, or of the options of it that are in the path."""
    if path is None:
        return mapped(concentrations, function)
    return {
        name: [_only(options, row, function) for row, options in zip(rows, path[name], strict=True)]
        for name, rows in concentrations.items()
    }


def _only(options: tuple[int, ...], row: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """A function of these options of a row; 0 for the others."""
    at = index(options, row.device)
    return torch.zeros_like(row).index_copy(0, at, function(row[at]))


def _mean(concentration: Tensor) -> Tensor:
    return concentration / concentration.sum()


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
