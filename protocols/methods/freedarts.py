"""FreeDARTS: one pass through an untrained supernet scores all operations at once.

Source: Zhang et al., "FreeDARTS: training free differentiable architecture search", algorithm 1.
The paper and the code that came with it (anonymous-submission1991/FreeDARTS) differ: the paper puts
a softmax over the architecture parameters, the code mixes by the parameters themselves, so that
`none` scores exactly 0; the code takes absolute values where the paper has none, and has another
GraSP. The batch norms use the batch's statistics in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from harness.arch import Arch, SearchSpace
from harness.errors import unknown
from protocols.left import Left
from protocols.nets.mix import Path, learned, raw_mix, softmax_mix
from protocols.saliency import (
    Rows,
    Saliency,
    as_strengths,
    by_group,
    draw_rows,
    grasp,
    magnitude,
    make_positive,
    product,
    stepped_grasp,
    stepped_product_grasp,
)
from protocols.untrained import Found, UntrainedSearch, Workbench

Strengths = Sequence[NDArray[np.float64]]


class Rule(NamedTuple):
    """How a saliency is computed in a variant.

    sums_ones: on one image of ones, of the sum of logits, in double precision; otherwise of the
    cross-entropy on validation images. softmax: over each row of parameters. positive_weights,
    positive_rows: what is replaced by its absolute value before.
    """

    saliency: Saliency
    sums_ones: bool = False
    softmax: bool = False
    positive_weights: bool = False
    positive_rows: bool = False


# Variant -> saliency -> rule. "released" is the code for NAS-Bench-201, whose parameters lie in
# the network's state and so are made positive with it; "released-darts" that for the DARTS space;
# "paper" its equations to the letter. "released-softmax", ours, is the first but for one thing.
RELEASED = {
    "snip": Rule(magnitude),
    "grasp": Rule(stepped_grasp),
    "synflow": Rule(magnitude, sums_ones=True, positive_weights=True, positive_rows=True),
}
RULES: Mapping[str, Mapping[str, Rule]] = {
    "released": RELEASED,
    "released-softmax": {name: rule._replace(softmax=True) for name, rule in RELEASED.items()},
    "paper": {
        "snip": Rule(magnitude, softmax=True),
        "grasp": Rule(grasp, softmax=True),
        "synflow": Rule(product, sums_ones=True, softmax=True, positive_weights=True),
    },
    "released-darts": {
        "snip": Rule(magnitude, positive_weights=True),
        "grasp": Rule(stepped_product_grasp, positive_weights=True),
        "synflow": Rule(magnitude, sums_ones=True, positive_weights=True),
    },
}


@final
@dataclass(frozen=True)
class FreeDarts(UntrainedSearch):
    """Keeps the options with the largest saliency by the space's own rule.

    saliency: "snip", "grasp" or "synflow". variant: a name in `RULES`. scale: standard deviation of
    the parameters. batch_size: validation images of one batch, for snip and grasp. one_by_one: also
    removes one option after the other, the one with the least saliency, and tracks the cell that
    the largest remaining parameters give after each (figure 3). rescored: whether saliencies are
    then computed anew after every removal; the paper does not say.
    """

    version: ClassVar[int] = 1
    saliency: str = "synflow"
    variant: str = "released"
    scale: float = 1e-3  # The paper's a; the code's default but on ImageNet, where it is 5e-4.
    batch_size: int = 64
    one_by_one: bool = False
    rescored: bool = True

    def search(self, bench: Workbench, rng: np.random.Generator) -> Found:
        scorer = self._scorer(bench, rng)
        strengths = scorer.strengths()
        groups = learned(bench.space)
        arrays = {
            f"{kind}_{group.name}": block
            for kind, blocks in (("saliency", strengths), ("alpha", scorer.alphas))
            for group, block in zip(groups, blocks, strict=True)
        }
        arch = bench.space.discretise(strengths)
        track: list[Arch] = []
        if self.one_by_one:
            track = one_by_one(bench.space, scorer, strengths, rescored=self.rescored)
        return Found(arch, track=track, arrays=arrays)

    def _scorer(self, bench: Workbench, rng: np.random.Generator) -> Scorer:
        """Draws the network, the parameters and the images.

        Raises: UnknownName for the variant or the saliency.
        """
        if self.variant not in RULES:
            raise unknown("variant of FreeDARTS", self.variant, RULES)
        if self.saliency not in RULES[self.variant]:
            raise unknown("saliency", self.saliency, RULES[self.variant])
        return Scorer(bench, RULES[self.variant][self.saliency], self, rng)


@final
class Scorer:
    """One supernet with one draw of parameters and one batch, which scores its options."""

    def __init__(
        self, bench: Workbench, rule: Rule, method: FreeDarts, rng: np.random.Generator
    ) -> None:
        dtype = torch.float64 if rule.sums_ones else torch.float32
        self._rule, self._space = rule, bench.space
        self._net = bench.supernet().to(dtype).train().requires_grad_(False)
        self.without = self._net.without
        self._rows = draw_rows(bench.space, method.scale, rng, device=bench.device, dtype=dtype)
        if rule.positive_weights:
            make_positive(self._net)
        if rule.positive_rows:
            self._rows = [row.detach().abs().requires_grad_() for row in self._rows]
        if rule.sums_ones:
            self._images = torch.ones(1, *bench.image_shape, device=bench.device, dtype=dtype)
        else:
            batch = bench.batch(method.batch_size)
            self._images, self._labels = batch.images, batch.labels

    @property
    def alphas(self) -> Strengths:
        """The parameters, as `strengths` gives the saliencies."""
        return as_strengths(self._space, self._rows)

    def strengths(self, path: Path | None = None) -> Strengths:
        """Per learned group (n_rows, n_options), NaN past a short row; 0 off the path."""

        def loss(rows: Rows) -> Tensor:
            mixed = softmax_mix if self._rule.softmax else raw_mix
            logits: Tensor = self._net(self._images, mixed(by_group(self._space, rows), path))
            if self._rule.sums_ones:
                return logits.sum()
            return F.cross_entropy(logits, self._labels)

        return as_strengths(self._space, self._rule.saliency(loss, self._rows))


def one_by_one(
    space: SearchSpace, scorer: Scorer, strengths: Strengths, *, rescored: bool
) -> list[Arch]:
    """The cells that the largest remaining parameters give, before and after every removal.

    What no architecture can have is removed first, all at once, and does not count as a step.
    """
    left = Left(learned(space), scorer.without)
    cells = [_largest(space, scorer.alphas, left)]
    while undecided := left.undecided():
        removable = [
            (float(strengths[place.group][place.row][option]), place, option)
            for place in undecided
            for option in left.options(place)
        ]
        _, place, option = min(removable)
        left.remove(place, option)
        cells.append(_largest(space, scorer.alphas, left))
        if rescored:
            strengths = scorer.strengths(left.path())
    return cells


def _largest(space: SearchSpace, alphas: Strengths, left: Left) -> Arch:
    masked = [
        np.where(kept, block, -np.inf) for block, kept in zip(alphas, left.kept(), strict=True)
    ]
    return space.discretise(masked)


METHOD = FreeDarts()
