"""How a supernet becomes an architecture."""

import numpy as np
import pytest
import torch
from supernets_for_tests import SMALL_SELECTIONS, linear_search, tiny_search

from harness import registry
from harness.errors import InvalidSpec
from harness.spaces import space
from protocols.left import Left, Place
from protocols.methods.balenas import BaLeNas
from protocols.methods.darts import Darts
from protocols.methods.drnas import DrNas
from protocols.methods.fixed_alpha import FixedAlpha
from protocols.methods.gdas import Gdas
from protocols.methods.random_nas import RandomNas
from protocols.methods.sgas import Sgas
from protocols.nets.mix import path_mix
from protocols.search.method import EVALUATION
from protocols.selectors.argmax import Argmax
from protocols.selectors.best_of_n import BestOfN
from protocols.selectors.best_of_proxy import BestOfProxy
from protocols.selectors.discretisation import Discretisation
from protocols.selectors.evolution import Evolution, crossed
from protocols.selectors.perturbation import Perturbation

PLANTED = (3, 1, 4, 0, 2, 3)


def rng(seed=0):
    return np.random.default_rng(seed)


def planted(method):
    """A search whose accuracy is the share of planted options that a mix still has, in percent."""
    search = linear_search(method)

    def accuracy(mix, n_batches=None):
        taken = mix.taken(search.space.groups[0])
        search.asked.append(taken)
        return 100 * sum(p in row for p, row in zip(PLANTED, taken, strict=True)) / 6

    search.accuracy, search.asked = accuracy, []
    return search


@pytest.mark.parametrize("tune_epochs", [0, 1])
def test_perturbation_finds_what_is_planted(tune_epochs):
    search = planted(FixedAlpha())

    found = Perturbation(tune_epochs=tune_epochs).select(search, rng())

    assert found.arch.code == PLANTED
    assert len(search.asked) == 6 * 5
    assert found.arrays["without_option"].shape == (6, 5)
    assert sorted(found.arrays["decided"][:, 1].tolist()) == list(range(6))
    # After the last decision there is nothing to tune for.
    assert search.counts.weight_steps == 5 * tune_epochs * search.batches.n_steps


def test_perturbation_takes_out_one_option_and_keeps_decided_rows():
    search = planted(FixedAlpha())
    Perturbation(tune_epochs=0).select(search, rng())

    for position, taken in enumerate(search.asked):
        sizes = sorted(len(row) for row in taken)
        decided = position // 5
        assert sizes == [1] * decided + [4] + [5] * (5 - decided)


def test_perturbation_keeps_the_other_weights_as_they_are():
    search = linear_search(Darts())
    base = search.mix(EVALUATION)
    search.left = Left(search.space.groups)
    search.left.keep(Place(0, 1), [2])

    mix = search.constrained(base, (Place(0, 0), 4))

    assert torch.equal(base.weights["op"][0], mix.weights["op"][0])
    assert mix.path["op"][0] == (0, 1, 2, 3)
    assert mix.path["op"][1] == (2,)
    assert mix.weights["op"][1][2].item() == 1


def test_magnitude_keeps_the_largest_parameters():
    search = linear_search(Darts())
    expected = search.space.discretise(search.strengths())

    assert Perturbation(criterion="magnitude", tune_epochs=0).select(search, rng()).arch == expected


def test_of_equal_options_the_first_stays():
    search = tiny_search("nb201", FixedAlpha())

    # The norm of the weights does not depend on the mix.
    found = Perturbation(criterion="l2_norm", tune_epochs=0).select(search, rng())

    assert found.arch.code == (0,) * 6


@pytest.mark.parametrize("name", ["darts", "darts-s1"])
def test_both_kinds_of_darts_cells_are_decided_side_by_side_and_inputs_last(name):
    search = tiny_search(name, FixedAlpha())
    search.accuracy = lambda mix, n_batches=None: 0.0

    order = Perturbation(tune_epochs=0).select(search, rng()).arrays["decided"]

    groups = [search.space.groups[g] for g, _ in order]
    n_open = sum(
        len([op for op in row if op != "none"]) > 1
        for group in search.space.groups[:2]
        for row in group.options
    )
    assert [group.take for group in groups] == [1] * n_open + [2] * 6
    for (one, _), (other, _) in zip(order[:28:2], order[1:28:2], strict=True):
        assert sorted((one, other)) == [0, 1]


def test_what_is_watched_is_the_supernet_that_is_left():
    search = planted(Darts())
    asked = Perturbation(criterion="magnitude", tune_epochs=0, watched=True)

    found = asked.select(search, rng())

    # Every row that is decided for another option costs a sixth.
    wrong = [found.arch.code[row] != PLANTED[row] for _, row in found.arrays["decided"]]
    expected = [100 * (6 - sum(wrong[:n])) / 6 for n in range(7)]
    assert 0 < sum(wrong)
    assert found.arrays["accuracy_left"].tolist() == pytest.approx(expected)


def test_watching_changes_nothing_of_what_is_selected():
    found, n_measured = {}, {}
    for watched in (False, True):
        search, measured = linear_search(DrNas()), []  # It draws every mix.

        def accuracy(mix, n_batches=None, measured=measured):
            measured.append(n_batches)
            drawn = sum(float((row**2).sum()) for row in mix.weights["op"])
            return drawn + float(torch.rand(()))  # As a supernet with noise in it.

        search.accuracy = accuracy
        torch.manual_seed(0)
        rule = Perturbation(tune_epochs=1, n_batches=1, watched=watched)
        found[watched], n_measured[watched] = rule.select(search, rng()), len(measured)

    assert found[True].arch == found[False].arch
    for array in ("decided", "without_option"):
        assert np.array_equal(found[False].arrays[array], found[True].arrays[array])
    assert set(found[True].arrays) - set(found[False].arrays) == {"accuracy_left"}
    assert n_measured == {False: 30, True: 30 + 7}
    assert measured[0] is None


def test_perturbation_may_measure_on_some_batches():
    search = planted(FixedAlpha())
    batches = []
    whole = search.accuracy
    search.accuracy = lambda mix, n=None: batches.append(n) or whole(mix)

    found = Perturbation(tune_epochs=0, n_batches=3).select(search, rng())

    assert found.arch.code == PLANTED
    assert batches == [3] * 30


def test_discretisation_keeps_what_the_supernet_can_do_with_alone():
    search = planted(Darts())

    found = Discretisation(tune_epochs=1).select(search, rng())

    # A row of one option has 5 planted ones beside it, and its own where it is that.
    expected = [[100 * (5 + (o == p)) / 6 for o in range(5)] for p in PLANTED]
    assert found.arch.code == PLANTED
    assert found.arrays["discretised_accuracy"] == pytest.approx(np.array(expected))
    assert found.arrays["probed"].tolist() == [[0, row] for row in range(6)]
    assert np.array_equal(search.strengths()[0], found.arrays["probed_strength"])
    assert search.left is None
    assert search.counts.weight_steps == 6 * 5 * search.batches.n_steps


def test_rows_that_are_not_probed_go_by_their_parameters():
    search = planted(Darts())
    by_parameters = search.arch().code

    some = Discretisation(n_rows=3, tune_epochs=0).select(search, rng())
    one = Discretisation(n_rows=1, tune_epochs=0).select(search, rng())

    probed = some.arrays["probed"][:, 1].tolist()
    assert len(set(probed)) == 3
    assert one.arrays["probed"].tolist() == some.arrays["probed"][:1].tolist()
    assert some.arch.code == tuple(
        PLANTED[row] if row in probed else by_parameters[row] for row in range(6)
    )
    assert some.arch.code != by_parameters


def test_discretisation_never_makes_an_edge_none_and_inputs_go_by_parameters():
    search = linear_search(Darts(), name="darts")
    search.net.without = frozenset({"none"})
    search.accuracy = lambda mix: 50.0 + sum(map(sum, mix.taken(search.space.groups[0]))) % 7

    found = Discretisation(n_rows=2, group="op_normal", tune_epochs=0).select(search, rng())

    assert set(found.arrays["probed"][:, 0]) == {0}
    accuracies = found.arrays["discretised_accuracy"]
    names = search.space.groups[0].options[0]
    assert np.isnan(accuracies[:, names.index("none")]).all()
    assert np.isfinite(np.delete(accuracies, names.index("none"), axis=1)).all()
    strengths = [block.copy() for block in search.strengths()]
    for (_, row), of_row in zip(found.arrays["probed"], accuracies, strict=True):
        kept = int(np.nanargmax(of_row))
        strengths[0][row] = np.where(np.arange(8) == kept, strengths[0][row], 0.0)
    assert found.arch == search.space.discretise(strengths)


def test_discretisation_says_why_it_cannot():
    nb201 = space("nb201")

    assert "trains single paths" in Discretisation().skip(Gdas(), nb201)
    assert "decides rows itself" in Discretisation().skip(Sgas(), nb201)
    assert "FixedAlpha learns no" in Discretisation().skip(FixedAlpha(), nb201)
    assert "no group op_normal" in Discretisation(group="op_normal").skip(Darts(), nb201)
    assert Discretisation(group="op").skip(Darts(), nb201) is None
    for wrong in ({"n_rows": -1}, {"tune_epochs": -1}):
        with pytest.raises(InvalidSpec):
            Discretisation(**wrong)
    for wrong in ({"n_batches": -1}, {"tune_epochs": -1}):
        with pytest.raises(InvalidSpec):
            Perturbation(**wrong)


def test_best_of_n_keeps_the_draw_that_the_supernet_finds_best():
    search = planted(RandomNas())

    found = BestOfN(n=30).select(search, rng())

    archs = [search.space.sample(generator) for generator in [rng()] for _ in range(30)]
    hits = [sum(a == b for a, b in zip(arch.code, PLANTED, strict=True)) for arch in archs]
    assert found.arch == archs[int(np.argmax(hits))]
    assert found.arrays["drawn_accuracy"].tolist() == pytest.approx([100 * h / 6 for h in hits])


def test_best_of_proxy_scores_new_networks_and_not_the_supernet():
    search = tiny_search("nb201", BaLeNas())
    before = {name: held.clone() for name, held in search.net.state_dict().items()}

    found = BestOfProxy(n=6).select(search, rng())

    best = int(found.arrays["drawn_score"].argmax())
    assert found.arch.code == tuple(found.arrays["drawn"][best])
    weights = search.weights
    with torch.no_grad():
        for weight in weights.values():
            weight.zero_()
    again = BestOfProxy(n=6).select(search, rng())
    assert again.arrays["drawn_score"].tolist() == found.arrays["drawn_score"].tolist()
    now = search.net.state_dict()
    assert all(torch.equal(held, now[key]) for key, held in before.items() if key not in weights)


def test_synflow_of_a_single_path_is_that_of_its_own_network():
    from protocols.nets.mix import Fixed
    from protocols.probe import score_all

    search = tiny_search("nb201", RandomNas())
    batch = search.batches.drawn(4, rng())
    arch = search.space.parse(
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|nor_conv_1x1~2|"
    )
    # Of three nodes in a row only the second and third edge reach the output.
    net = Fixed(search.net, path_mix(search.space, arch))

    whole = score_all(net, batch, ["synflow"], seed=0)["synflow"].value

    with torch.no_grad():
        for name, weight in search.weights.items():
            if ".edges." in name and not any(
                part in name for part in ("edges.1.ops.3", "edges.5.ops.2")
            ):
                weight.zero_()
    assert score_all(net, batch, ["synflow"], seed=0)["synflow"].value == pytest.approx(whole)


def test_evolution_measures_nothing_twice_and_improves():
    search = planted(RandomNas())

    found = Evolution(population=20, n_generations=8).select(search, rng())

    measured = [tuple(code) for code in found.arrays["measured"].tolist()]
    assert len(set(measured)) == len(measured) == len(search.asked)
    accuracies = found.arrays["measured_accuracy"]
    assert accuracies.max() > accuracies[:20].max()
    assert found.arch.code == measured[int(accuracies.argmax())]


@pytest.mark.parametrize("name", ["nb201", "oneshot1-3", "darts"])
def test_a_crossed_architecture_takes_each_row_from_one_of_two(name):
    of_space = space(name)
    one, other = of_space.sample(rng(0)), of_space.sample(rng(1))

    child = crossed(of_space, one, other, 0.5, rng(2))

    start = 0
    for _, take in of_space.rows:
        part = child.code[start : start + take]
        assert part in (one.code[start : start + take], other.code[start : start + take])
        start += take
    assert crossed(of_space, one, other, 0.0, rng()) == one
    assert crossed(of_space, one, other, 1.0, rng()) == other


def test_pairs_that_make_no_sense_say_why():
    nb201 = space("nb201")

    assert "RandomNas learns no architecture parameters" in Argmax().skip(RandomNas(), nb201)
    assert "Gdas trains single paths" in Perturbation().skip(Gdas(), nb201)
    assert "FixedAlpha learns no" in Perturbation(criterion="magnitude").skip(FixedAlpha(), nb201)
    assert Argmax().skip(Darts(), nb201) is None
    assert Perturbation().uses == ()
    assert Perturbation(criterion="synflow").uses == (("proxy", "synflow"),)


def test_all_selectors_are_tried_here():
    assert sorted(SMALL_SELECTIONS) == registry.names("selector")


def test_tuning_runs_at_its_own_constant_rate():
    search = linear_search(Darts(order=2), epochs=1)
    search.run()
    rates = []
    round_ = Darts.round
    Darts.round = lambda self, handle, pairs: rates.append(handle.lr) or round_(self, handle, pairs)
    try:
        search.tune(2, 0.0025)
    finally:
        Darts.round = round_

    assert set(rates) == {0.0025}
    assert len(rates) == 2 * search.batches.n_steps
