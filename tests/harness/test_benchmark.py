import math
import statistics

import numpy as np
import pytest
from tables import LAST, LOSS, MIXED, TEST, VALID, make_table

from harness import Arch, Slice, Table, record, space
from harness.benchmark import Holding, sealed_truth
from harness.errors import (
    InvalidArch,
    InvalidSpec,
    TestSliceSealed,
    UnknownArch,
    UnknownCost,
    UnknownEpoch,
    UnknownSeed,
    UnknownSlice,
)

TABLE = make_table()


def test_query_reads_one_seed_and_epoch():
    reading = TABLE.query(2, VALID, seed=888, epoch=3)

    assert reading.value == pytest.approx(10 + 3 + 0.02)
    assert (reading.n, reading.unit) == (1, "%")
    assert math.isnan(reading.std)


def test_mean_counts_the_seeds_that_are_there():
    both = TABLE.query(2, VALID, seed="mean")
    one = TABLE.query(1, VALID, seed="mean")
    values = [4.02, 14.02]

    assert both.value == pytest.approx(statistics.mean(values))
    assert both.std == pytest.approx(statistics.stdev(values))
    assert both.n == 2
    assert (one.value, one.n) == (pytest.approx(4.01), 1)
    assert math.isnan(one.std)


def random_table(n_seeds):
    """Values with holes, so that cells have any number of seeds, none included."""
    rng = np.random.default_rng(n_seeds)
    values = rng.normal(size=(n_seeds, 2, 50)).astype(np.float32)
    values[rng.random(values.shape) < 0.4] = np.nan
    holding = Holding(VALID, "%", tuple(range(n_seeds)), (2, 4))
    of_space = space("nb201")
    return values, Table(
        name="holed",
        space=of_space,
        codes=of_space.codes[:50],
        indices=np.arange(50, dtype=np.int32),
        holdings=[holding],
        arrays={VALID: values},
        costs={},
        roles={},
    )


@pytest.mark.filterwarnings("ignore:All-NaN slice")
@pytest.mark.parametrize("n_seeds", [1, 2, 3, 4, 5])
def test_the_median_is_numpys_over_the_seeds_that_are_there(n_seeds):
    values, table = random_table(n_seeds)
    expected = np.nanmedian(values, axis=0)

    found = table.curves(VALID, seed="median")

    assert np.isnan(values).any()
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_array_equal(table.column(VALID, seed="median", epoch=2), found[0])
    for row in range(50):
        reading = table.query(row, VALID, seed="median")
        np.testing.assert_allclose(reading.value, expected[1, row], rtol=1e-6)
        assert reading.n == (~np.isnan(values[:, 1, row])).sum()
        np.testing.assert_array_equal(table.curve(row, VALID, seed="median").values, found[:, row])
    frame = table.to_frame(seed="median")
    np.testing.assert_array_equal(frame[f"{VALID} median"], found[1])


def test_a_seed_never_trained_is_nan_everywhere():
    reading = TABLE.query(1, VALID, seed=888)

    assert math.isnan(reading.value) and reading.n == 0
    assert np.isnan(TABLE.column(VALID, seed=888)[1])
    assert np.isnan(TABLE.curve(1, VALID, seed=888).values).all()


def test_there_is_no_default_seed():
    for ask in (TABLE.column, TABLE.curves, lambda at: TABLE.query(0, at)):
        with pytest.raises(UnknownSeed, match=r"777, 888"):
            ask(VALID)


def test_column_curve_and_curves_agree_with_query():
    for seed in (777, 888, "mean"):
        expected = [TABLE.query(row, LOSS, seed=seed, epoch=2).value for row in range(6)]

        np.testing.assert_allclose(TABLE.column(LOSS, seed=seed, epoch=2), expected, rtol=1e-6)
        np.testing.assert_allclose(TABLE.curves(LOSS, seed=seed)[1], expected, rtol=1e-6)
        curve = TABLE.curve(3, LOSS, seed=seed)
        np.testing.assert_array_equal(curve.values, TABLE.curves(LOSS, seed=seed)[:, 3])
        assert (curve.first_epoch, len(curve.values), curve.unit) == (1, 4, "nats")


def test_archs_are_named_three_ways():
    arch = TABLE.archs[4]
    by_index = TABLE.query(4, TEST, seed=777)

    assert TABLE.query(arch, TEST, seed=777) == by_index
    assert TABLE.query(space("nb201").format(arch), TEST, seed=777) == by_index


@pytest.mark.parametrize("arch", [6, -1, "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"])
def test_an_arch_that_is_not_held_is_named(arch):
    with pytest.raises(UnknownArch, match="6 of 15625"):
        TABLE.query(arch, TEST, seed=777)


def test_an_arch_of_another_space_or_nonsense_is_refused():
    with pytest.raises(UnknownArch, match="nb201-size"):
        TABLE.query(Arch("nb201-size", (0,) * 5), TEST, seed=777)
    with pytest.raises(InvalidArch):
        TABLE.query("nonsense", TEST, seed=777)


def test_trained_on_is_filled_in_only_if_one_fits():
    short = Slice("cifar10", None, "test", "accuracy", 4)
    holdings = dict(TABLE.holdings)
    holdings[Slice("cifar10", "train", "test", "accuracy", 4)] = holdings[TEST]
    ambiguous = make_table()
    ambiguous.holdings = holdings

    assert TABLE.query(0, short, seed=777).slice == TEST
    with pytest.raises(UnknownSlice, match="more than one"):
        ambiguous.query(0, short, seed=777)


def test_an_unknown_slice_lists_near_ones_and_nothing_is_substituted():
    with pytest.raises(UnknownSlice) as caught:
        TABLE.query(0, Slice("cifar10", "train+valid", "valid", "accuracy", 4), seed=777)

    assert str(VALID) in str(caught.value)


def test_valid_below_the_last_epoch_is_an_error_not_valid_and_test():
    with pytest.raises(UnknownEpoch, match="holds epochs 4, not 2"):
        TABLE.query(0, LAST, seed=777, epoch=2)

    assert TABLE.query(0, MIXED, seed=777, epoch=2).slice.split == "valid+test"


@pytest.mark.parametrize("epoch", [0, 5, -1])
def test_epochs_count_from_one(epoch):
    with pytest.raises(UnknownEpoch, match=r"1\.\.4"):
        TABLE.query(0, VALID, seed=777, epoch=epoch)


@pytest.mark.parametrize("label", ["mean", "unstated"])
def test_a_labelled_table_has_no_numbered_seed_and_no_spread(label):
    table = make_table(seeds=(label, 888))
    held = table.holdings[TEST]
    table.holdings = {TEST: Holding(TEST, "%", (label,), held.epochs)}
    table._arrays[TEST] = table._arrays[TEST][:1]
    reading = table.query(0, TEST, seed=label)

    assert reading.n is None and math.isnan(reading.std)
    assert table.query(0, TEST) == reading or math.isnan(reading.std)
    assert table.column(TEST).shape == (6,)
    with pytest.raises(UnknownSeed, match=label):
        table.query(0, TEST, seed=777)


def test_costs_in_closed_form_stand_beside_recorded_ones():
    arch = TABLE.archs[3]
    expected = space("nb201").closed_form("params", "cifar10", np.array([arch.code], np.uint8))[0]

    assert TABLE.cost(3, "params", "cifar10").value == expected
    assert TABLE.cost(3, "params-recorded", "cifar10").value == pytest.approx(0.3)
    assert TABLE.cost(3, "train_seconds", "cifar10", epochs=4).unit == "s"
    with pytest.raises(UnknownCost, match="latency"):
        TABLE.cost(3, "latency", "cifar10")


def test_frame_has_a_column_a_seed_or_the_mean_with_its_n():
    seeds, means = TABLE.to_frame(), TABLE.to_frame(seed="mean")

    assert seeds.loc[2, f"{VALID} 888"] == pytest.approx(14.02)
    assert means.loc[1, f"{VALID} mean"] == pytest.approx(4.01)
    assert means.loc[1, f"{VALID} n"] == 1
    assert "params/cifar10" in seeds.columns


def test_frame_refuses_a_seed_that_is_not_held():
    with pytest.raises(UnknownSeed):
        TABLE.to_frame(seed=5)


def test_numpy_integers_are_indices():
    assert TABLE.query(TABLE.indices[3], TEST, seed=777) == TABLE.query(3, TEST, seed=777)


@pytest.mark.parametrize(
    "call",
    [
        lambda t: list(record.read_all()) or record.read("0" * 32),
        lambda t: t.query(0, TEST, seed=777),
        lambda t: t.column(TEST, seed="mean"),
        lambda t: t.curve(0, TEST, seed=777),
        lambda t: t.curves(MIXED, seed=777),
        lambda t: t.to_frame(),
    ],
)
def test_test_data_is_sealed_while_a_method_runs(call):
    with sealed_truth("a method runs"):
        assert TABLE.column(VALID, seed=777).shape == (6,)
        with pytest.raises(TestSliceSealed, match="a method runs"):
            call(TABLE)
    call(TABLE)


@pytest.mark.parametrize(
    "text", ["", "cifar10", "cifar10/train/valid/accuracy", "a/b/c/d/5", "a/train/dev/acc/5", "a/b"]
)
def test_wrong_slices_are_refused(text):
    with pytest.raises(InvalidSpec):
        Slice.parse(text)


def test_slices_survive_their_text():
    for at in TABLE.holdings:
        assert Slice.parse(str(at)) == at
    assert Slice.parse("cifar10/test/accuracy/4") == Slice("cifar10", None, "test", "accuracy", 4)
