"""DARTS cells as NAS-Bench-301's surrogates read them.

The gradient-boosting surrogates were fitted on the arrays of ConfigSpace: 56 numbers, of which 22
are the training settings that upstream's query API always fills in, scaled to their ranges, and 34
name the cells. Choices are ordinal, an edge that is no input is -1. Sources: Siems et al. 2020 and
Zela et al., ICLR 2022; code automl/nasbench301 (`api.py`, `representations.py`,
`configspace.json`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.arch import Codes
from harness.errors import InvalidArch
from harness.spaces.darts import CELL_TYPES, EDGES, N_PAIRS, NODES, PRIMITIVES

# NAS-Bench-301's 7 operations, in the order of its ordinals, are those of DARTS beside `none`.
OPS = PRIMITIVES[1:]
# The ordinal 0 in the codes of the spaces that hold exactly these operations.
FIRST_OP = {"darts": 1, "darts-no-none": 0}
NO_INPUT = -1.0  # What upstream puts where ConfigSpace has NaN: an inactive edge.

# Training settings in ConfigSpace's order and scaling; the comments say what was set.
TRAINING = {
    "batch_size": 0.5863451791322545,  # 96
    "augment": 0.0,
    "autoaugment": 0.0,
    "cutout": 0.0,
    "cutout_holes": 0.16666444442962952,  # 1
    "cutout_length": 0.3099999239999697,  # 16
    "fastautoaugment": 0.0,
    "loss_module": 0.0,
    "auxiliary": 0.0,
    "drop_path_prob": 0.0,  # 0.2
    "init_channels": 0.003149999006299998,  # 32
    "layers": 0.000749999001499998,  # 8
    "network": 0.0,
    "optimizer": 0.0,
    "learning_rate": -3.6888794541139363,  # 0.025, a logarithm
    "momentum": 0.8988764044943821,  # 0.9
    "weight_decay": -8.111728083308073,  # 0.0003, a logarithm
    "T_max": 0.009949999019899998,  # 100 epochs
    "eta_min": 1e-12,  # 1e-8
    "lr_scheduler": 0.0,
    "batch_loss_computation_technique": 0.0,
    "mixup_alpha": 0.7051278400653053,  # 0.2
}
N_EDGES = len(EDGES)


def _names() -> tuple[str, ...]:
    """The 56 numbers by name; edges 2 to 13 of a cell stand in the order of their texts."""
    settings = list(TRAINING)
    sources = [f"inputs_{cell}_{node}" for cell in CELL_TYPES for node in NODES[1:]]
    late = sorted(range(2, N_EDGES), key=str)
    return (
        *settings[:10],
        *(f"edge_{cell}_{edge}" for cell in CELL_TYPES for edge in (0, 1)),
        "init_channels",
        *sources,
        *settings[11:],
        *(f"edge_{cell}_{edge}" for cell in CELL_TYPES for edge in late),
    )


FEATURES = _names()
N_FEATURES = len(FEATURES)
_COLUMN = {name: column for column, name in enumerate(FEATURES)}
_CONSTANT = np.array([TRAINING.get(name, NO_INPUT) for name in FEATURES])
_EDGE_COLUMNS = np.array([_COLUMN[f"edge_{cell}_{e}"] for cell in CELL_TYPES for e in range(14)])
_SOURCE_COLUMNS = np.array([_COLUMN[f"inputs_{c}_{n}"] for c in CELL_TYPES for n in NODES[1:]])
_TARGETS = np.repeat(NODES, 2)  # (8,): the node that each pair of a cell belongs to.
_FIRST_EDGES = np.array([EDGES.index((node, 0)) for node in NODES])


class Cells(NamedTuple):
    """The pairs of many architectures, each node's two in ascending order of source.

    Both (n, 2, 8): the normal and the reduction cell, two pairs per node. ops: indices of `OPS`.
    sources: the nodes that the pairs come from.
    """

    ops: NDArray[np.intp]
    sources: NDArray[np.intp]

    @property
    def edges(self) -> NDArray[np.intp]:
        """(n, 2, 8): indices of the pairs' edges in `harness.spaces.darts.EDGES`."""
        return self.sources + np.repeat(_FIRST_EDGES, 2)


def cells(codes: Codes, space: str = "darts") -> Cells:
    """Takes codes of `darts` or `darts-no-none`, (n, 40), apart.

    Operations of edges that are no input have no effect, whatever they are.
    Raises: InvalidArch if the codes are not such a space's, naming the first that is wrong.
    """
    if space not in FIRST_OP:
        raise InvalidArch(
            f"Codes of {space} are not read here.", f"Give codes of {' or '.join(FIRST_OP)}."
        )
    codes = np.asarray(codes)
    n_codes = 2 * (N_EDGES + N_PAIRS - 2)
    if codes.ndim != 2 or codes.shape[1] != n_codes or codes.dtype.kind not in "iu":
        raise InvalidArch(f"Codes of {space} are (n, {n_codes}) whole numbers.")
    n = len(codes)
    sources = np.empty((n, 2, N_PAIRS), dtype=np.intp)
    sources[:, :, :2] = (0, 1)
    sources[:, :, 2:] = codes[:, 2 * N_EDGES :].reshape(n, 2, N_PAIRS - 2)
    pairs = sources.reshape(n, 2, len(NODES), 2)
    in_order = (pairs[..., 0] < pairs[..., 1]) & (pairs[..., 0] >= 0) & (pairs[..., 1] < NODES)
    _check(in_order, space, "a node's two inputs are not ascending and earlier than it")
    found = Cells(np.empty(0, dtype=np.intp), sources)
    of_edges = codes[:, : 2 * N_EDGES].reshape(n, 2, N_EDGES).astype(np.intp)
    ops = np.take_along_axis(of_edges, found.edges, axis=2) - FIRST_OP[space]
    _check((ops >= 0) & (ops < len(OPS)), space, f"an input has none of {', '.join(OPS)}")
    return Cells(ops, sources)


def _check(holds: NDArray[np.bool_], space: str, problem: str) -> None:
    """Raises: InvalidArch if it does not hold for all cells of all architectures."""
    if not holds.all():
        row, cell = (int(i) for i in np.argwhere(~holds)[0][:2])
        raise InvalidArch(f"{space}, code {row}, {CELL_TYPES[cell]} cell: {problem}.")


def features(codes: Codes, space: str = "darts") -> NDArray[np.float64]:
    """The numbers that NAS-Bench-301's gradient-boosting surrogates take.

    codes: (n, 40), of `darts` or `darts-no-none`. Returns: (n, 56) in the order of `FEATURES`.
    Raises: InvalidArch as `cells`.
    """
    found = cells(codes, space)
    n = len(found.ops)
    out = np.tile(_CONSTANT, (n, 1))
    edges = np.full((n, 2, N_EDGES), NO_INPUT)
    np.put_along_axis(edges, found.edges, found.ops.astype(np.float64), axis=2)
    out[:, _EDGE_COLUMNS] = edges.reshape(n, 2 * N_EDGES)
    # The number of a pair of inputs in the lexicographic list of all pairs of earlier nodes.
    first, second = found.sources[:, :, 2::2], found.sources[:, :, 3::2]
    n_earlier = np.array(NODES[1:])
    number = first * (2 * n_earlier - first - 1) // 2 + second - first - 1
    out[:, _SOURCE_COLUMNS] = number.reshape(n, len(_SOURCE_COLUMNS))
    return out
