"""Gradients with respect to architecture parameters, on which weights that look ahead depend.

Sources: Liu et al., DARTS, ICLR 2019, section 2.3, eq. 6 to 8, and quark0/darts, cnn/architect.py;
the SoTL thesis, section 3.4, for the exact gradient of a short stretch of training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from protocols.nets.mix import Mix
from protocols.saliency import gradient
from protocols.search.batches import Pair
from protocols.search.method import ARCH

if TYPE_CHECKING:
    from protocols.search.loop import Search

Named = Mapping[str, Tensor]
MOVE = 0.01  # DARTS, section 2.3: the difference's step is this over the gradient's length.


def second_order(
    search: Search,
    pair: Pair,
    mixer: Callable[[], Mix],
    rows: Sequence[Tensor],
    *,
    exact: bool = False,
) -> list[Tensor]:
    """dL_valid(w')/da - lr * d2 L_train(w)/(da dw) . dL_valid(w')/dw', w' one step of weights on.

    rows: the parameters a, which `mixer` mixes by, the same way in every call. exact: the second
    term by differentiating twice; otherwise by a difference of two gradients in w.
    """
    ahead = _step_ahead(search, pair, mixer)
    loss = search.loss(pair.valid, mixer(), phase=ARCH, weights=ahead)
    found = torch.autograd.grad(loss, [*rows, *ahead.values()], materialize_grads=True)
    slopes, along = list(found[: len(rows)]), dict(zip(ahead, found[len(rows) :], strict=True))
    curve = _mixed_derivative if exact else _difference
    second = curve(search, pair, mixer, rows, along)
    return [slope - search.lr * term for slope, term in zip(slopes, second, strict=True)]


def unrolled_sotl(
    search: Search, pairs: Sequence[Pair], mixers: Sequence[Callable[[], Mix]]
) -> list[Tensor]:
    """d/da of the summed training losses along some steps of the weights, through these steps.

    The steps are those of the recipe's optimiser from where it is, without a clip of gradients.
    Memory grows with their number.
    """
    recipe, rate = search.recipe, search.lr
    weights = _leaves(search.weights)
    momenta = {name: _momentum(search, name) for name in weights}
    total: Tensor | None = None
    for pair, mixer in zip(pairs, mixers, strict=True):
        loss = search.loss(pair.train, mixer(), phase=ARCH, weights=weights)
        total = loss if total is None else total + loss
        slopes = torch.autograd.grad(
            loss, list(weights.values()), create_graph=True, materialize_grads=True
        )
        steps = {
            name: slope + recipe.weight_decay * weight
            for (name, weight), slope in zip(weights.items(), slopes, strict=True)
        }
        momenta = {name: recipe.momentum * momenta[name] + step for name, step in steps.items()}
        if not recipe.nesterov:
            steps = momenta
        else:
            steps = {name: step + recipe.momentum * momenta[name] for name, step in steps.items()}
        weights = {name: weight - rate * steps[name] for name, weight in weights.items()}
    assert total is not None
    return list(gradient(total, search.rows))


def _momentum(search: Search, name: str) -> Tensor:
    """The optimiser's own of a weight; 0 before its first step."""
    weight = search.weights[name]
    held = search.weight_optimiser.state.get(weight, {}).get("momentum_buffer")
    return torch.zeros_like(weight) if held is None else held


def _step_ahead(search: Search, pair: Pair, mixer: Callable[[], Mix]) -> dict[str, Tensor]:
    """The weights one step of heavy-ball momentum and decay further, as new leaves."""
    weights = _leaves(search.weights)
    loss = search.loss(pair.train, mixer(), phase=ARCH, weights=weights)
    slopes = torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)
    recipe, ahead = search.recipe, {}
    for (name, weight), slope in zip(search.weights.items(), slopes, strict=True):
        step = slope + recipe.weight_decay * weight.detach()
        ahead[name] = weight.detach() - search.lr * (
            step + recipe.momentum * _momentum(search, name)
        )
    return _leaves(ahead)


def _difference(
    search: Search, pair: Pair, mixer: Callable[[], Mix], rows: Sequence[Tensor], along: Named
) -> list[Tensor]:
    """(dL_train(w + e v)/da - dL_train(w - e v)/da) / 2e, v the direction: eq. 8.

    Noise that the network draws by itself is the same on both sides.
    """
    length = torch.stack([v.pow(2).sum() for v in along.values()]).sum().sqrt()
    step = MOVE / length.clamp_min(torch.finfo(length.dtype).tiny)
    sides, drawn = [], search.noise_state
    for sign in (1, -1):
        search.noise_state = drawn
        moved = {
            name: weight.detach() + sign * step * along[name]
            for name, weight in search.weights.items()
        }
        loss = search.loss(pair.train, mixer(), phase=ARCH, weights=moved)
        sides.append(gradient(loss, rows))
    return [(plus - minus) / (2 * step) for plus, minus in zip(*sides, strict=True)]


def _mixed_derivative(
    search: Search, pair: Pair, mixer: Callable[[], Mix], rows: Sequence[Tensor], along: Named
) -> list[Tensor]:
    """d/da of dL_train/dw . v."""
    weights = _leaves(search.weights)
    loss = search.loss(pair.train, mixer(), phase=ARCH, weights=weights)
    slopes = torch.autograd.grad(
        loss, list(weights.values()), create_graph=True, materialize_grads=True
    )
    product = torch.stack(
        [(slope * v).sum() for slope, v in zip(slopes, along.values(), strict=True)]
    ).sum()
    return list(gradient(product, rows))


def _leaves(weights: Named) -> dict[str, Tensor]:
    return {name: weight.detach().requires_grad_() for name, weight in weights.items()}
