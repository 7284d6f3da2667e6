"""What a supernet search looks like from the side: curvature, and what discretising costs.

Sources: Zela et al., "Understanding and Robustifying Differentiable Architecture Search", ICLR 2020
(the dominant eigenvalue of the architecture Hessian); Zhang et al., BaLeNAS, eq. 19 (its trace);
Wang et al., DARTS-PT, ICLR 2021, section 3.2 (discretisation accuracy at convergence) and table 1
(accuracy after edges were exchanged).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn
from torch.func import functional_call

from harness.errors import InvalidSpec
from harness.seeds import derive
from protocols.left import Left, Place
from protocols.nets.mix import Supernet
from protocols.saliency import gradient
from protocols.search.method import EVALUATION
from protocols.training import Labelled

if TYPE_CHECKING:
    from protocols.search.loop import Search

Vector = NDArray[np.float64]
START_SEED = 0  # Of Lanczos' first vector, so that the same search gives the same number.
# Ours, of Lanczos: mostly 11 products, and errors below 1e-5 of the value on three spaces.
N_VECTORS, TOLERANCE = 10, 1e-3
N_PROBES = 12  # Ours, of the estimate of a trace.


@final
class ArchHessian:
    """Second derivatives of a batch's loss with respect to all architecture parameters, (n, n).

    The batch norms use the batch's statistics and keep nothing; a mix that draws random numbers is
    drawn once. Draws of Dirichlet's distribution have no second derivatives: DrNAS is measured at
    its mean. All is 0 where the loss does not depend on the parameters.
    """

    def __init__(self, search: Search, batch: Labelled) -> None:
        kept = {name: buffer.clone() for name, buffer in search.net.named_buffers()}
        weights = {name: weight.detach() for name, weight in search.weights.items()}
        search.net.train()
        with torch.enable_grad():
            mix = search.mixer(EVALUATION, twice=True)()
            logits = functional_call(search.net, {**kept, **weights}, (batch.images, mix))
            loss = F.cross_entropy(logits, batch.labels)
            self._slopes = gradient(loss, search.rows, create_graph=True)
        self._rows = search.rows
        self._counts, self._n_images = search.counts, len(batch)
        self.n = sum(len(row) for row in search.rows)

    def times(self, vector: Vector) -> Vector:
        """The product with a vector of all parameters, row after row."""
        along = torch.as_tensor(vector, dtype=self._rows[0].dtype, device=self._rows[0].device)
        parts = torch.split(along.reshape(-1), [len(row) for row in self._rows])
        product = torch.stack(
            [(slope * part).sum() for slope, part in zip(self._slopes, parts, strict=True)]
        ).sum()
        if not product.requires_grad:
            return np.zeros(self.n)
        self._counts.diagnostic_passes += self._n_images
        found = torch.autograd.grad(product, self._rows, retain_graph=True, materialize_grads=True)
        flat: Tensor = torch.cat(found)
        return flat.cpu().double().numpy()

    def dominant_eigenvalue(self) -> float:
        """That of the largest size, with its sign."""
        if not any(slope.requires_grad for slope in self._slopes):
            return 0.0  # Lanczos' method cannot start from a vector that becomes 0.
        operator = LinearOperator((self.n, self.n), matvec=self.times, dtype=np.float64)
        start = np.random.default_rng(START_SEED).standard_normal(self.n)
        (value,) = eigsh(
            operator,
            k=1,
            which="LM",
            v0=start,
            ncv=min(self.n, N_VECTORS),
            tol=TOLERANCE,
            return_eigenvectors=False,
        )
        return float(value)

    def trace(self) -> float:
        """The sum of the eigenvalues, by as many products as there are parameters."""
        return float(sum(self.times(unit)[i] for i, unit in enumerate(np.eye(self.n))))

    def trace_estimate(self, rng: np.random.Generator, n_probes: int = N_PROBES) -> float:
        """The mean of v' H v over random signs v (Hutchinson, 1989), by a product each.

        Its standard deviation is sqrt(2 / n_probes) times the norm of all that is off the diagonal.
        """
        signs = rng.choice([-1.0, 1.0], (n_probes, self.n))
        return float(np.mean([vector @ self.times(vector) for vector in signs]))


def _eigenvalue(search: Search, batch: Labelled) -> float:
    return ArchHessian(search, batch).dominant_eigenvalue()


def _trace(search: Search, batch: Labelled) -> float:
    return ArchHessian(search, batch).trace()


def _trace_estimate(search: Search, batch: Labelled) -> float:
    """By the same signs after every epoch of a search."""
    return ArchHessian(search, batch).trace_estimate(derive(search.seed, "trace"))


def _supernet_accuracy(search: Search, batch: Labelled) -> float:
    """Percent, under the mixture."""
    return search.batch_accuracy(batch, search.mixer(EVALUATION)())


def _shuffled_accuracy(search: Search, batch: Labelled) -> float:
    """The same with two random edges of every cell exchanged, other ones after every epoch."""
    rng = derive(search.seed, "shuffled edges", str(len(search.epochs)))
    with shuffled_edges(search.net, rng):
        return _supernet_accuracy(search, batch)


# What can be asked for after every epoch, on the first batch of a half.
DIAGNOSTICS: Mapping[str, Callable[[Search, Labelled], float]] = {
    "eigenvalue": _eigenvalue,
    "trace": _trace,
    "trace_estimate": _trace_estimate,
    "supernet_accuracy": _supernet_accuracy,
    "shuffled_accuracy": _shuffled_accuracy,
}


@contextmanager
def shuffled_edges(net: Supernet, rng: np.random.Generator) -> Iterator[None]:
    """Inside, two random edges of every cell have changed places (DARTS-PT, table 1).

    Only edges with the same stride and operations are exchanged; a cell without two such stays as
    it is.
    Raises: InvalidSpec if that holds for all cells.
    """
    swapped: list[tuple[nn.ModuleList, int, int]] = []
    for module in net.modules():
        edges = getattr(module, "edges", None)
        if isinstance(edges, nn.ModuleList) and (pair := _exchangeable(edges, rng)):
            swapped.append((edges, *pair))
    if not swapped:
        raise InvalidSpec(
            f"No cell of {net.space.name}'s supernet has two edges that could change places.",
            "Take one with operations on edges; those of choice blocks are not.",
        )
    _swap(swapped)
    try:
        yield
    finally:
        _swap(swapped)


def _exchangeable(edges: nn.ModuleList, rng: np.random.Generator) -> tuple[int, int] | None:
    """Two random edges of a cell that work in each other's place."""
    makes = [_make(edge) for edge in edges]
    firsts = [i for i, make in enumerate(makes) if makes.count(make) > 1]
    if not firsts:
        return None
    first = firsts[int(rng.integers(len(firsts)))]
    same = [i for i in firsts if makes[i] == makes[first] and i != first]
    return first, same[int(rng.integers(len(same)))]


def _make(edge: nn.Module) -> tuple[object, ...]:
    """What two edges have in common if each can do the other's work."""
    ops = getattr(edge, "ops", [edge])
    return (
        getattr(edge, "stride", 1),
        *((type(op), [weight.shape for weight in op.parameters()]) for op in ops),
    )


def _swap(pairs: Sequence[tuple[nn.ModuleList, int, int]]) -> None:
    for edges, one, other in pairs:
        edges[one], edges[other] = edges[other], edges[one]


def discretised_accuracies(
    search: Search, place: Place, *, n_epochs: int, lr: float
) -> NDArray[np.float64]:
    """Per option of a row: percent of the validation half once the row is that option alone.

    n_epochs, lr: of tuning the rest before it is measured, from the same state and on the same
    batches for every option. NaN for options that are gone or that no architecture can have. The
    search is as it was afterwards, but for what was spent.
    """
    groups, without, held = search.space.groups, search.net.without, search.left
    before = deepcopy(search.state())
    kept = (Left(groups, without) if held is None else held).state()
    accuracies = []
    for option, name in enumerate(groups[place.group].options[place.row]):
        if name in without or option not in kept[place.group][place.row]:
            accuracies.append(np.nan)
            continue
        search.left = Left.of_state(groups, kept)
        search.left.keep(place, [option])
        try:
            search.tune(n_epochs, lr)
            accuracies.append(search.accuracy(search.mix(EVALUATION)))
        finally:
            spent = search.counts
            search.load(deepcopy(before))
            search.counts, search.left = spent, held
    return np.array(accuracies)
