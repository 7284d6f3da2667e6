"""Zero-Cost-PT: keep on every edge the operation whose removal hurts a zero-cost score most.

Source: Xiang et al., "Zero-cost operation scoring in differentiable architecture search", AAAI
2023, and visionbasicagent/zerocost_operation_score. The untrained supernet is decided row by row in
a random order; of several such cells the one whose own network scores best is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray

from harness.arch import Arch
from harness.errors import HarnessError
from protocols.left import Left, Place
from protocols.nets.mix import Fixed, Mix, Supernet, path_mix
from protocols.training import Labelled
from protocols.untrained import Found, NetworkScore, UntrainedSearch, Workbench, network_score

Batches = Callable[[], Labelled]


@final
@dataclass(frozen=True)
class ZeroCostPT(UntrainedSearch):
    """Proposes `n_candidates` cells on one supernet and validates them `n_validations` times each.

    proxy: the score's name. The code's default is NASWOT's, "nwot" here; FreeDARTS' paper says that
    it was run with SynFlow. batch_size: validation images a scoring. Candidates differ by the
    random order and the batches alone.
    """

    version: ClassVar[int] = 1
    proxy: str = "synflow"
    batch_size: int = 256  # zerocostpt_nb201_pipeline.sh; 64 in the one for the DARTS space.
    n_candidates: int = 10  # The scripts' pool_size.
    n_validations: int = 100  # Their validate_rounds.

    @property
    def uses(self) -> Sequence[tuple[str, str]]:
        return (("proxy", self.proxy),)

    def search(self, bench: Workbench, rng: np.random.Generator) -> Found:
        return self.search_by(network_score(self.proxy, rng), bench, rng)

    def search_by(self, score: NetworkScore, bench: Workbench, rng: np.random.Generator) -> Found:
        """The search with any score of a network on a batch, higher being better.

        Raises: HarnessError if no candidate has a score.
        """
        net = bench.supernet()

        def batches() -> Labelled:
            return bench.batch(self.batch_size)

        proposals = [propose(net, score, batches, rng) for _ in range(self.n_candidates)]
        # As in the code, equal cells are validated once.
        distinct = list(dict.fromkeys(proposal.arch for proposal in proposals))
        validations = np.zeros((len(distinct), 0))
        if len(distinct) > 1:
            validations = self._validated(distinct, score, bench)
        totals = validations.sum(axis=1)
        if np.isnan(totals).all():
            raise HarnessError(f"{self.proxy} is NaN for each of {len(distinct)} cells.")
        return Found(
            distinct[int(np.nanargmax(totals))],
            arrays={
                "candidates": np.array([p.arch.code for p in proposals], dtype=np.uint8),
                "order": np.stack([p.order for p in proposals]),
                "removal_scores": np.stack([p.scores for p in proposals]),
                "validated": np.array([arch.code for arch in distinct], dtype=np.uint8),
                "validations": validations,
            },
        )

    def _validated(
        self, cells: list[Arch], score: NetworkScore, bench: Workbench
    ) -> NDArray[np.float64]:
        """(n_cells, n_validations): scores of the cells' networks, all on the same batches.

        A single path of a new supernet stands for the stand-alone network with new weights.
        """
        nets = [Fixed(bench.supernet(), path_mix(bench.space, cell)) for cell in cells]
        found = np.empty((len(cells), self.n_validations))
        for column in found.T:
            batch = bench.batch(self.batch_size)
            column[:] = [score(net, batch) for net in nets]
        return found


@dataclass(frozen=True)
class Proposal:
    """A cell and how it came about.

    order: (n_steps,) positions of the decided rows among all rows of the space. scores: (n_steps,
    n_options), what was scored without the option, NaN where there was nothing to remove.
    """

    arch: Arch
    order: NDArray[np.int64]
    scores: NDArray[np.float64]


def propose(
    net: Supernet, score: NetworkScore, batches: Batches, rng: np.random.Generator
) -> Proposal:
    """Decides row by row: first those that take one option, then those that take several.

    Of a row the options are kept without which the supernet scores least, as many as it takes.
    Each row is decided on a batch of its own. Weights are 1 / n in a row of n options and stay so
    when one is left out; in a decided row they are 1.
    """
    left = Left(net.space.groups, net.without)
    order = _order(left, rng)
    scores = np.full((len(order), max(len(left.options(place)) for place in left.places())), np.nan)
    for place, found in zip(order, scores, strict=True):
        batch = batches()
        options = left.options(place)
        for i, option in enumerate(options):
            mix = _mix(left, (place, option), batch)
            found[i] = score(Fixed(net, mix), batch)
        # NaN sorts last: an option without a score is kept only if there are not enough others.
        kept = np.argsort(found[: len(options)], kind="stable")[: left.take(place)]
        left.keep(place, [options[i] for i in kept])
    positions = {place: position for position, place in enumerate(left.places())}
    return Proposal(left.arch(net.space), np.array([positions[p] for p in order]), scores)


def _order(left: Left, rng: np.random.Generator) -> list[Place]:
    undecided = left.undecided()
    shuffled = [undecided[i] for i in rng.permutation(len(undecided))]
    return sorted(shuffled, key=lambda place: left.take(place) > 1)


def _mix(left: Left, removed: tuple[Place, int], batch: Labelled) -> Mix:
    """The supernet without one more option."""
    undecided = set(left.undecided())
    weights = {
        group.name: [
            torch.full(
                (len(options),),
                1 / len(left.options(Place(g, r))) if Place(g, r) in undecided else 1.0,
                device=batch.images.device,
            )
            for r, options in enumerate(group.options)
        ]
        for g, group in enumerate(left.groups)
        if group.learned
    }
    return Mix(weights, left.path(removed))


METHOD = ZeroCostPT()
