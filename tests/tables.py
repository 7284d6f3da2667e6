"""Small generated tables with values that can be checked by hand."""

import numpy as np

from harness import Cost, Roles, Slice, Table, space
from harness.benchmark import Holding
from harness.builder import Provenance, Source, StoreBuilder

VALID = Slice("cifar10", "train", "valid", "accuracy", 4)
TEST = Slice("cifar10", "train+valid", "test", "accuracy", 4)
LOSS = Slice("cifar10", "train", "train", "loss", 4)
LAST = Slice("cifar100", "train", "valid", "accuracy", 4)
MIXED = Slice("cifar100", "train", "valid+test", "accuracy", 4)
ROLES = {"cifar10": Roles(search=VALID, truth=TEST, short=None)}
PROVENANCE = Provenance("none", 1, (Source("generated", "0" * 64, 0),), "none", "nobody, 2026")


def parts(n_archs=6, seeds=(777, 888)):
    """Holdings and arrays; value = 10 * seed position + epoch + arch / 100, one NaN."""
    of_space = space("nb201")
    epochs = (1, 2, 3, 4)
    cube = (
        10.0 * np.arange(len(seeds))[:, None, None]
        + np.array(epochs)[None, :, None]
        + np.arange(n_archs)[None, None, :] / 100
    ).astype(np.float32)
    holed = cube.copy()
    holed[1, :, 1] = np.nan
    holdings = [
        Holding(VALID, "%", seeds, epochs),
        Holding(TEST, "%", seeds, epochs),
        Holding(LOSS, "nats", seeds, epochs),
        Holding(LAST, "%", seeds, (4,)),
        Holding(MIXED, "%", seeds, epochs),
    ]
    arrays = {VALID: holed, TEST: cube + 50, LOSS: 5 - cube / 10, LAST: cube[:, -1:], MIXED: cube}
    costs = {
        Cost("train_seconds", "cifar10", "train", 4): 40.0 + np.arange(n_archs),
        Cost("valid_seconds", "cifar10", "train", 4): np.full(n_archs, 2.0),
        Cost("params-recorded", "cifar10", "train", 4): np.arange(n_archs) / 10,
    }
    return of_space, np.arange(n_archs, dtype=np.int32), holdings, arrays, costs


def make_table(n_archs=6, seeds=(777, 888)):
    of_space, indices, holdings, arrays, costs = parts(n_archs, seeds)
    return Table(
        name="small",
        space=of_space,
        codes=of_space.codes[indices],
        indices=indices,
        holdings=holdings,
        arrays=arrays,
        costs=costs,
        roles=ROLES,
    )


def make_store(name="small", n_archs=6, seeds=(777, 888)):
    of_space, indices, holdings, arrays, costs = parts(n_archs, seeds)
    builder = StoreBuilder(name, of_space, of_space.codes[indices], indices.tolist())
    for holding in holdings:
        builder.add(holding, arrays[holding.slice])
    for cost, column in costs.items():
        builder.add_cost(cost, column)
    builder.commit(ROLES, PROVENANCE)
    return name
