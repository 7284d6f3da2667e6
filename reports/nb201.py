"""NAS-Bench-201 as the papers use it: names of data sets, slices behind valid and test, seeds."""

from __future__ import annotations

from harness.benchmark import MEAN, Benchmark, Seed, Slice
from reports.card import holds

SPACE = "nb201"
# The benchmark that ships, and the seed that every cell of it has: the suites on it read that one.
MINI, MINI_SEED = "mini201", 0
# The papers' names of the data sets -> the harness's.
DATASETS = {"CIFAR-10": "cifar10", "CIFAR-100": "cifar100", "ImageNet16-120": "ImageNet16-120"}
# What the papers call valid and test -> role.
ROLES = {"valid": "search", "test": "truth"}
# The slices behind the papers' columns: CIFAR-10 is tested after training on train and valid
# (Dong and Yang, ICLR 2020, table 5; the other two are halves of the official test set).
PAPER_SLICES = {
    "cifar10": {
        "search": Slice("cifar10", "train", "valid", "accuracy", 200),
        "truth": Slice("cifar10", "train+valid", "test", "accuracy", 200),
    },
    **{
        dataset: {
            "search": Slice(dataset, "train", "valid", "accuracy", 200),
            "truth": Slice(dataset, "train", "test", "accuracy", 200),
        }
        for dataset in ("cifar100", "ImageNet16-120")
    },
}


def is_the_papers(benchmark: Benchmark, dataset: str) -> bool:
    """Whether this is the benchmark of the papers: the whole space, on the slices that they use."""
    roles = benchmark.roles.get(dataset)
    return (
        roles is not None
        and dataset in PAPER_SLICES
        and benchmark.space.name == SPACE
        and len(benchmark) == benchmark.space.size
        and all(getattr(roles, role) == at for role, at in PAPER_SLICES[dataset].items())
    )


def datasets(benchmark: Benchmark) -> dict[str, str]:
    """The papers' names of data sets -> what of the benchmark is measured in their place.

    That is the data set itself. A benchmark that has none of the papers' data sets answers in
    place of the first with its own first, so that shapes can be compared.
    """
    held = {title: name for title, name in DATASETS.items() if name in benchmark.roles}
    if held or not benchmark.roles:
        return held
    return {next(iter(DATASETS)): benchmark.datasets[0]}


def shown(benchmark: Benchmark, title: str) -> str:
    """The heading of a data set: the paper's name, and what stands in its place if another does."""
    dataset = datasets(benchmark).get(title)
    if dataset is None or dataset == DATASETS[title]:
        return title
    return f"{title} (here {dataset})"


def no_datasets(benchmark: Benchmark) -> str | None:
    """A reason where the benchmark has no data set with a declared truth."""
    return None if benchmark.roles else f"{benchmark.name} declares no data set's truth"


def seed_of(benchmark: Benchmark, at: Slice) -> Seed:
    """The average by name: the label where single seeds are not held, else the mean.

    Of mini201 the one seed that every cell has.
    """
    return MINI_SEED if benchmark.name == MINI else benchmark.holding(at).label or MEAN


def seeds_in_words(benchmark: Benchmark, dataset: str) -> str:
    """What `seed_of` reads."""
    if benchmark.name == MINI:
        return f"seed {MINI_SEED} of the table, the one that every arch has"
    holding = benchmark.holding(benchmark.roles[dataset].truth)
    if holding.label is not None:
        return f"the table's own {holding.label!r} value; how many seeds is in it is not recorded"
    listed = ", ".join(map(str, holding.seeds))
    return f"mean over the seeds that each arch has, out of {listed}"


def not_the_papers(benchmark: Benchmark) -> list[str]:
    """A footnote for every data set on which this is not the papers' benchmark."""
    if all(is_the_papers(benchmark, dataset) for dataset in datasets(benchmark).values()):
        return []
    return [
        f"{benchmark.name} holds {holds(benchmark)} of {benchmark.space.name} and is not the"
        " benchmark that the paper used, or not on the slices that it used; its numbers are shown"
        " beside the published ones, but no verdict is given."
    ]
