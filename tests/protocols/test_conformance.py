"""Every two of a method, a space and a selector together, in few runs."""

from dataclasses import replace
from functools import cache
from itertools import combinations

import pytest
from conformance import check, specs
from supernets_for_tests import METHODS, SMALL_IMAGES

from harness import load, registry
from harness.engine import Run, execute
from harness.record import SKIPPED
from harness.spaces import spaces
from protocols.kept import Kept
from protocols.nets.supernets import has_supernet
from protocols.supernet import PROTOCOL

SPACES = [name for name in spaces() if has_supernet(name)]
# Up to 200 passes would choose the operations of such cells by accuracy, as their inputs are.
QUICKER = {
    (name, "perturbation"): {"criterion": "magnitude"}
    for name in SPACES
    if name.startswith("darts")
}


def names_of(spec):
    return spec.method, load(spec.benchmark).space.name, spec.setting["selector"]


def pairs_of(specs_):
    """Both names of a pair with their places: a method and a space may be called the same."""
    return {pair for spec in specs_ for pair in combinations(enumerate(names_of(spec)), 2)}


def smaller(spec):
    _, *where = names_of(spec)
    selection = {**spec.setting["selection"], **QUICKER.get(tuple(where), {})}
    return replace(
        spec, setting={**spec.setting, **SMALL_IMAGES, "n_made": 16, "selection": selection}
    )


def is_possible(spec):
    method = registry.get("method", spec.method).offer
    return PROTOCOL.skip(Run(load(spec.benchmark), spec.seed, spec.setting, method)) is None


@cache
def product():
    """All runs; small spaces first, which are taken where it does not matter."""
    return [smaller(spec) for spec in sorted(specs(), key=lambda s: s.benchmark, reverse=True)]


@cache
def cover():
    """Greedily, the next has the most pairs that none before has; what is possible comes first."""
    offered = [(spec, pairs_of([spec]), is_possible(spec)) for spec in product()]
    missing, chosen = pairs_of(product()), []
    while missing:
        gains = [(runs * len(own & missing), len(own & missing)) for _, own, runs in offered]
        best, own, _ = offered[gains.index(max(gains))]
        missing -= own
        chosen.append(best)
    return chosen


def test_every_pair_is_there_and_is_skipped_only_where_nothing_has_both():
    n_methods, n_spaces = len(METHODS), len(SPACES)
    n_selectors = len(registry.names("selector"))
    possible = [[spec for spec in held if is_possible(spec)] for held in (product(), cover())]

    n_pairs = n_methods * n_spaces + n_methods * n_selectors + n_spaces * n_selectors
    assert len(pairs_of(cover())) == n_pairs
    assert pairs_of(possible[0]) == pairs_of(possible[1])


@pytest.mark.parametrize("name", SPACES)
def test_every_pair_selects_a_cell_of_the_space_or_says_why_not(home, monkeypatch, name):
    monkeypatch.setattr(Kept, "write", lambda *_: None)

    for spec in cover():
        method, space_name, _ = names_of(spec)
        if space_name == name:
            record = execute(spec)
            check(record)
            if record.status == SKIPPED:
                offered = type(registry.get("method", method).offer).__name__
                assert offered in record.reason or name in record.reason
