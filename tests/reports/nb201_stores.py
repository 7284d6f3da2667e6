"""NAS-Bench-201 stores for report tests: generated ones, and the real table where there is one."""

import numpy as np

from harness import Roles, Slice, Table, space
from harness.benchmark import Cost, Holding
from harness.builder import Provenance, StoreBuilder

SPACE = space("nb201")
PROVENANCE = Provenance("none", 1, (), "none", "nobody, 2026")
ROLES = {
    "cifar10": Roles(
        Slice("cifar10", "train", "valid", "accuracy", 200),
        Slice("cifar10", "train+valid", "test", "accuracy", 200),
        Slice("cifar10", "train", "valid", "accuracy", 12),
    ),
    **{
        dataset: Roles(
            Slice(dataset, "train", "valid", "accuracy", 200),
            Slice(dataset, "train", "test", "accuracy", 200),
            Slice(dataset, "train", "valid", "accuracy", 12),
        )
        for dataset in ("cifar100", "ImageNet16-120")
    },
}
# Column of the real CSV -> slice.
COLUMNS = {
    f"{prefix}{short}_{split}": Slice(dataset, trained_on, split, "accuracy", epochs)
    for short, dataset in (("c10", "cifar10"), ("c100", "cifar100"), ("in16", "ImageNet16-120"))
    for prefix, epochs in (("", 200), ("e12_", 12))
    for split in ("valid", "test")
    for trained_on in ["train+valid" if (dataset, split) == ("cifar10", "test") else "train"]
}


def real_columns(data):
    """The CSV's columns by slice, one value a cell: the mean over its seeds."""
    import pandas as pd

    frame = pd.read_csv(data / "nb201" / "nb201.csv.gz")
    return {at: frame[column].to_numpy(np.float32) for column, at in COLUMNS.items()}


def mean_table(columns, name="nb201-csv"):
    """A table of the whole space, or of its first cells, that holds only means."""
    n_archs = len(next(iter(columns.values())))
    return Table(
        name=name,
        space=SPACE,
        codes=SPACE.codes[:n_archs],
        indices=np.arange(n_archs, dtype=np.int32),
        holdings=[Holding(at, "%", ("mean",), (at.epochs,)) for at in columns],
        arrays={at: column[None, None] for at, column in columns.items()},
        costs={},
        roles=ROLES,
        sha256="f" * 64,
    )


def mean_store(columns, name="nb201-csv"):
    """The same as `mean_table`, packed."""
    n_archs = len(next(iter(columns.values())))
    builder = StoreBuilder(name, SPACE, SPACE.codes[:n_archs], range(n_archs))
    for at, column in columns.items():
        builder.add(Holding(at, "%", ("mean",), (at.epochs,)), column[None, None])
    builder.commit(ROLES, PROVENANCE)


def made_up_columns(n_archs=SPACE.size):
    """Accuracies that grow with the parameters, a little shuffled, for every slice of the CSV."""
    rng = np.random.default_rng(0)
    params = SPACE.closed_form("params", "cifar10", SPACE.codes[:n_archs])
    return {
        at: (50 + 20 * params + rng.normal(0, 5, n_archs)).astype(np.float32)
        for at in COLUMNS.values()
    }


def loss_store(name="with-losses", n_archs=30, epochs=(200, 12)):
    """Two seeds of curves whose ranking by training loss is the truth from the first epoch on.

    Validation accuracy ranks the other way round until the last epoch. cifar100 and
    ImageNet16-120 have only curves on valid+test.
    """
    builder = StoreBuilder(name, SPACE, SPACE.codes[:n_archs], range(n_archs))
    truth = np.linspace(50, 90, n_archs, dtype=np.float32)
    for dataset, roles in ROLES.items():
        builder.add(
            Holding(roles.truth, "%", (777, 888), (200,)), np.stack([truth, truth])[:, None]
        )
        held_out = "valid" if dataset == "cifar10" else "valid+test"
        for schedule in epochs:
            epoch = np.arange(1, schedule + 1, dtype=np.float32)[:, None]
            loss = 5 - truth / 50 - epoch / schedule
            accuracy = 100 - truth + epoch
            accuracy[-1] = truth
            for split, metric, curve in (
                ("train", "loss", loss),
                ("train", "accuracy", -loss),
                (held_out, "accuracy", accuracy),
                (held_out, "loss", -accuracy),
            ):
                at = Slice(dataset, "train", split, metric, schedule)
                unit = "%" if metric == "accuracy" else "nats"
                holding = Holding(at, unit, (777, 888), tuple(range(1, schedule + 1)))
                builder.add(holding, np.stack([curve, curve]).astype(np.float32))
    builder.commit(ROLES, PROVENANCE)


def seconds_store(name="with-seconds"):
    """The whole space with two seeds and 1,000 simulated seconds a query of the short schedule."""
    columns = made_up_columns()
    builder = StoreBuilder(name, SPACE, SPACE.codes, range(SPACE.size))
    for at, column in columns.items():
        builder.add(Holding(at, "%", (777, 888), (at.epochs,)), np.stack([column, column])[:, None])
    for dataset, roles in ROLES.items():
        for cost, seconds in (("train_seconds", 900.0), ("valid_seconds", 100.0)):
            at = Cost(cost, dataset, roles.short.trained_on, roles.short.epochs)
            builder.add_cost(at, np.full(SPACE.size, seconds))
    builder.commit(ROLES, PROVENANCE)
