"""Conformance suites that plug-ins, ours and users', are run through."""

from __future__ import annotations

import numpy as np

from harness.arch import Arch, ListedSpace, SearchSpace

N_SAMPLES = 50


def check_space(space: SearchSpace) -> None:
    """Checks what every space promises, on samples of it.

    Raises: AssertionError naming what does not hold.
    """
    rng = np.random.default_rng(0)
    archs = [space.sample(rng) for _ in range(N_SAMPLES)]
    for arch in archs:
        assert space.arch(arch.code) == arch, f"{arch} is not a valid code"
        assert space.parse(space.format(arch)) == arch, f"{arch} does not survive its text"
        assert space.discretise(space.one_hot(arch)) == arch, f"{arch} does not survive one_hot"
        canonical = space.canonical(arch)
        assert space.canonical(canonical) == canonical, f"canonical of {arch} is not idempotent"
        _check_neighbours(space, arch)
    same = [space.sample(np.random.default_rng(1)) for _ in range(2)]
    assert same[0] == same[1], "sample uses more than its generator"
    if isinstance(space, ListedSpace):
        _check_index(space)


def _check_neighbours(space: SearchSpace, arch: Arch) -> None:
    neighbours = space.neighbours(arch)
    assert len(set(neighbours)) == len(neighbours), f"{arch} has a neighbour twice"
    assert arch not in neighbours, f"{arch} is its own neighbour"
    for neighbour in neighbours[:5]:
        assert arch in space.neighbours(neighbour), f"{arch} and {neighbour}: not symmetric"


def _check_index(space: ListedSpace) -> None:
    codes = space.codes
    assert len(codes) == space.size, "codes does not list every encoding"
    for index in np.linspace(0, space.size - 1, N_SAMPLES).astype(int).tolist():
        arch = space.arch(codes[index].tolist())
        assert space.index(arch) == index, f"{arch} does not have index {index}"
