"""A benchmark that holds nothing, for runs that need a space and no values.

It is opened like any other by the name `no-table:SPACE`, which no store can have, and is listed
nowhere: there is one of every space.
"""

from __future__ import annotations

import numpy as np

from harness.benchmark import Table
from harness.spaces import space

PREFIX = "no-table:"
SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # Of no bytes.


def name_of(space_name: str) -> str:
    """What the benchmark that holds nothing of this space is called."""
    return PREFIX + space_name


def is_name(name: str) -> bool:
    """Whether a benchmark of this name is one that holds nothing."""
    return name.startswith(PREFIX)


def of_name(name: str) -> Table:
    """The table without architectures, slices, costs and roles.

    Raises: UnknownName for the space.
    """
    of_space = space(name.removeprefix(PREFIX))
    n_positions = sum(take for _, take in of_space.rows)
    return Table(
        name=name,
        space=of_space,
        codes=np.empty((0, n_positions), dtype=np.uint8),
        indices=np.empty(0, dtype=np.int32),
        holdings=[],
        arrays={},
        costs={},
        roles={},
        sha256=SHA256,
    )
