"""The protocol zerocost and proxy scores, on the benchmark that ships."""

import json

import numpy as np
import pytest
from scipy.stats import spearmanr

from harness import Slice, load, rank, space
from harness.engine import run_all
from harness.errors import HarnessError, InvalidSpec, UnknownName, UnknownScore
from harness.record import DONE, SKIPPED, RunSpec
from harness.scores import ProxyScore, parse_score

torch = pytest.importorskip("torch", reason="torch is not installed")

from protocols import zerocost  # noqa: E402
from protocols.images import open_for  # noqa: E402
from protocols.images.on_device import DeviceImages  # noqa: E402
from protocols.nets.nb201 import Network  # noqa: E402
from protocols.probe import score_all  # noqa: E402

DATASET = "cluttered-digits"
TRUTH = Slice(DATASET, "train", "test", "accuracy", 10)
SPACE = space("nb201")
PROXIES = ["snip", "l2_norm"]


def texts(n, seed=0):
    rng = np.random.default_rng(seed)
    return [SPACE.format(SPACE.sample(rng)) for _ in range(n)]


def specs(archs, seed=0, **options):
    return zerocost.specs("mini201", archs, PROXIES, seed=seed, dataset=DATASET, **options)


def test_scores_are_those_of_the_networks_that_the_benchmark_trained(home):
    archs = texts(3)

    (found,) = run_all(specs(archs))

    images = DeviceImages(open_for(DATASET, seed=0, n_made=64), "cpu")
    drawn = zerocost.derive(0, "batches").choice(np.arange(1000), size=64, replace=False)
    batch = images.labelled("valid", drawn)
    for row, text in enumerate(archs):
        torch.manual_seed(int(zerocost.derive(0, "weights", text).integers(2**63)))
        net = Network(SPACE.parse(text), n_classes=10, channels=8, n_cells=1, n_in=1)
        expected = score_all(net, batch, PROXIES, seed=0)
        for name in PROXIES:
            assert found.array(name)[row] == pytest.approx(expected[name].value, rel=1e-4)
    assert found.status == DONE
    assert (found.array("seconds_snip") > 0).all()


def test_a_score_depends_on_the_seed_and_not_on_its_neighbours(home):
    archs = texts(4)

    together, again = run_all([*specs(archs), *specs(archs[::-1])])
    (other,) = run_all(specs(archs, seed=1))

    np.testing.assert_array_equal(together.array("snip"), again.array("snip")[::-1])
    assert (together.array("snip") != other.array("snip")).all()


def test_many_architectures_are_several_runs_that_are_kept(home, monkeypatch):
    archs = texts(5)
    monkeypatch.setattr(zerocost, "ARCHS_A_RUN", 2)
    asked = specs(archs)

    first = run_all(asked[:2])
    monkeypatch.setattr(zerocost, "score_all", None)  # What is there is not scored again.

    assert [2, 2, 1] == [len(spec.setting["archs"]) for spec in asked]
    values, seconds = zerocost.scores_of(run_all(asked[:2]), "snip")
    np.testing.assert_array_equal(values, np.concatenate([r.array("snip") for r in first]))
    assert len(seconds) == 4


def test_no_score_is_nan_with_a_reason(home):
    unreachable = SPACE.format(SPACE.arch((0,) * 6))

    (found,) = run_all(zerocost.specs("mini201", [unreachable], ["nwot"], seed=0, dataset=DATASET))

    assert np.isnan(found.array("nwot")).all() == bool(found.result["reasons"])


def test_ranking_scores_the_sample_alone(home):
    bench = load("mini201")

    found = rank(bench, "proxy:l2_norm:seed=3", TRUTH, seed=0, sample=6, draw_seed=1)

    from harness.ranking import draw

    rows = draw(np.arange(len(bench)), 6, 1)
    archs = [SPACE.format(SPACE.arch(code)) for code in bench.codes[rows].tolist()]
    records = run_all(zerocost.specs("mini201", archs, ["l2_norm"], seed=3, dataset=DATASET))
    values = zerocost.scores_of(records, "l2_norm").values
    truth = bench.column(TRUTH, seed=0)[rows]
    assert found.spearman == pytest.approx(spearmanr(values, truth).statistic)
    assert found.n == 6
    assert len(list((home / "runs").rglob("*.json"))) == 1


def test_a_data_set_that_is_not_here_is_a_reason(home, monkeypatch, tmp_path):
    monkeypatch.setenv("NAS_HARNESS_DATA", str(tmp_path))
    spec = zerocost.specs("mini201", texts(1), ["snip"], seed=0, dataset="cifar10")

    (found,) = run_all(spec)

    assert found.status == SKIPPED
    assert "cifar-10-python.tar.gz" in found.reason
    with pytest.raises(HarnessError, match="skipped"):
        zerocost.scores_of([found], "snip")


def test_noise_stands_in_for_a_data_set(home):
    (found,) = run_all(
        zerocost.specs(
            "mini201",
            texts(1),
            ["snip"],
            seed=0,
            dataset="cifar100",
            images="gaussian",
            batch_size=4,
            network={"channels": 4, "n_cells": 1},
        )
    )

    assert np.isfinite(found.array("snip")).all()
    assert found.result["images"]["name"] == "gaussian"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"proxies": {"snop": 1}}, UnknownName, "snip"),
        ({"proxies": {"snip": 99}}, InvalidSpec, "another version"),
        ({"imags": "gaussian"}, UnknownName, "images"),
        ({"images": "cifar11"}, UnknownName, "cifar10"),
    ],
)
def test_wrong_settings_are_told(changes, error, message):
    fine = {"dataset": DATASET, "archs": texts(1), "proxies": {"snip": 1}}

    with pytest.raises(error, match=message):
        zerocost.Setting.read({**fine, **changes})


def test_a_setting_that_lacks_something_is_told():
    with pytest.raises(InvalidSpec, match="archs"):
        zerocost.Setting.read({"dataset": DATASET})


def test_spelling():
    assert parse_score("proxy:snip") == ProxyScore("snip")
    assert parse_score("proxy:snip:seed=2:images=gaussian:batch=8") == ProxyScore(
        "snip", 2, "gaussian", 8
    )
    with pytest.raises(UnknownName, match="synflow"):
        parse_score("proxy:synflo")
    with pytest.raises(UnknownScore, match="'seed=x' is no option of a proxy score"):
        parse_score("proxy:snip:seed=x")


def test_runs_can_be_written_into_a_suite(home):
    """A spec is plain JSON."""
    (spec,) = specs(texts(2))

    again = RunSpec(
        spec.protocol, spec.benchmark, spec.seed, None, json.loads(json.dumps(spec.setting))
    )
    assert again == spec
