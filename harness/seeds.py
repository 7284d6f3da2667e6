"""Random streams by name: the same seed and name give the same stream everywhere."""

from __future__ import annotations

import hashlib

import numpy as np

from harness.errors import InvalidSpec


def derive(seed: int, *names: str) -> np.random.Generator:
    """A generator for one named purpose of one seed; other names give independent streams.

    Raises: InvalidSpec for a negative seed.
    """
    if seed < 0:
        raise InvalidSpec(f"A seed cannot be negative: {seed}.")
    digest = hashlib.sha256("\0".join(names).encode()).digest()
    words = [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)]
    return np.random.default_rng(np.random.SeedSequence([seed, *words]))
