"""The command line as its user meets it: contracted JSON, exit codes and error messages."""

import json
import math

import pytest
from click.testing import CliRunner
from tables import TEST, VALID, make_store

from harness import cli, load, rank
from harness.errors import HarnessError

QUERY = ["query", "small", "2", "--dataset", "cifar10", "--split", "valid", "--epochs", "4"]


@pytest.fixture
def call(home, monkeypatch):
    """Runs the real entry point; returns (exit code, stdout, stderr)."""
    make_store(n_archs=12)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["nas-harness", *arguments])
        runner = CliRunner()
        with runner.isolation() as (out, err, _):
            try:
                cli.main()
                code = 0
            except SystemExit as ended:
                code = ended.code or 0
            return code, out.getvalue().decode(), err.getvalue().decode()

    return run


def test_query_json_is_as_contracted(call):
    """The generated table holds epoch + arch / 100 for its first seed."""
    code, out, _ = call(*QUERY, "--seed", "777", "--json")

    assert code == 0
    assert json.loads(out) == {
        "value": pytest.approx(4.02),
        "std": None,
        "n": 1,
        "unit": "%",
        "slice": str(VALID),
    }


def test_query_of_a_missing_value_is_null(call):
    _, out, _ = call("query", "small", "1", *QUERY[3:], "--seed", "888", "--json")

    assert json.loads(out)["value"] is None
    assert json.loads(out)["n"] == 0


def test_curve_json_is_as_contracted(call):
    arguments = ["curve", "small", "3", "--dataset", "cifar10", "--epochs", "4", "--seed", "mean"]
    code, out, _ = call(*arguments, "--json")
    # The generated losses of the two seeds are 5 and 4 minus (epoch + arch / 100) / 10.
    expected = [4.5 - (epoch + 0.03) / 10 for epoch in (1, 2, 3, 4)]

    assert code == 0
    assert json.loads(out) == {
        "values": pytest.approx(expected),
        "unit": "nats",
        "first_epoch": 1,
    }


def test_rank_json_is_as_contracted(call):
    score = "sotl:cifar10/train/4:last=1"
    arguments = ["rank", "small", "--score", score, "--truth", str(TEST), "--seed", "mean"]
    _, out, _ = call(*arguments, "--json")
    _, drawn, _ = call(*arguments, "--sample", "8", "--draw-seed", "1", "--json")
    expected = rank(load("small"), score, TEST, seed="mean")

    assert set(json.loads(out)) == {"spearman", "kendall", "top10", "n", "interval"}
    assert json.loads(out)["spearman"] == expected.spearman
    assert json.loads(out)["interval"] is None
    assert len(json.loads(drawn)["interval"]) == 2


def test_doctor_json_is_as_contracted(call):
    _, out, _ = call("doctor", "--json")
    found = json.loads(out)

    assert {"benchmarks", "items"} <= set(found)
    statuses = {bench["name"]: bench["status"] for bench in found["benchmarks"]}
    assert statuses == {"mini201": "verified", "small": "verified"}
    assert {"id", "can_run", "reason"} == set(found["items"][0])
    assert all(item["can_run"] or item["reason"] for item in found["items"])


def test_doctor_sees_a_changed_file(call, home):
    file = next((home / "stores").glob("small@*/*accuracy*"))
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    _, out, _ = call("doctor", "--json")

    statuses = {bench["name"]: bench["status"] for bench in json.loads(out)["benchmarks"]}
    assert statuses == {"mini201": "verified", "small": "broken"}


def test_doctor_names_damaged_records_and_changed_plugins(call, home, tmp_path):
    suite = tmp_path / "suite.toml"
    suite.write_text(SUITE.format(seed=777))
    call("run", str(suite))
    broken, changed = sorted((home / "runs").glob("??/*.json"))
    broken.write_bytes(b"")
    content = json.loads(changed.read_text())
    content["plugin_files"]["protocol"]["sha256"] = "0" * 64
    changed.write_text(json.dumps(content))
    _, out, _ = call("doctor", "--json")
    notes = json.loads(out)["changed"]

    assert len(notes) == 2
    assert any(broken.name in note for note in notes)
    assert "The protocol sotl changed since some runs without a new version." in notes


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (QUERY, "--seed"),
        ([*QUERY[:-1], "5", "--seed", "777"], "cifar10/train/valid/accuracy/4"),
        (["query", "smal", *QUERY[2:]], "small"),
        ([*QUERY, "--seed", "777", "--at", "9"], "1..4"),
        (["query", "small", "nonsense", *QUERY[3:], "--seed", "777"], "nb201"),
        (["rank", "small", "--score", "param", "--truth", str(TEST)], "params"),
        (["list", "method"], "methods"),
        (["run", "nothing"], "common/"),
        (["reproduce", "balenas:T99"], "balenas:T"),
        (["import", "nats", "x"], "nats-tss"),
    ],
)
def test_wrong_use_ends_with_2_and_says_what_is_right(call, arguments, says):
    code, out, err = call(*arguments)
    coded, _, as_json = call(*arguments, "--json")

    assert (code, coded) == (2, 2)
    assert out == ""
    assert says in err
    assert set(json.loads(as_json)) == {"error", "remedy"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["query"],
        ["query", "--nonsense"],
        ["nonsense"],
        [*QUERY, "--at", "x"],
        ["run", "nothing", "--jobs", "0"],
        ["import", "nats-tss", "x", "--jobs", "0"],
        [*QUERY, "--seed=--5"],
        ["rank", "small", "--score", "params", "--truth", str(TEST), "--seed", "777"]
        + ["--sample", "5", "--draw-seed", "-1"],
        ["import", "csv", "x.csv", "--map", "nb201_dump", "--as", "small"],
    ],
)
def test_wrong_options_end_with_2(call, arguments):
    code, out, err = call(*arguments)
    coded, _, as_json = call(*arguments, "--json")

    assert (code, coded) == (2, 2)
    assert out == ""
    assert err.startswith("Error: ")
    assert set(json.loads(as_json)) == {"error", "remedy"}


def test_a_bad_file_ends_with_1(call, tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("")
    code, _, err = call("import", "csv", str(file), "--map", "nb201_dump")

    assert code == 1
    assert "x.csv" in err


SUITE = """
[[run]]
protocol = "sotl"
benchmark = "small"
seeds = 2
[run.setting]
dataset = "cifar10"
score = "sotl:cifar10/train/4"
table_seed = {seed}
"""


def test_run_counts_and_writes_a_row_a_run(call, tmp_path):
    suite = tmp_path / "suite.toml"
    suite.write_text(SUITE.format(seed=777))
    code, out, _ = call("run", str(suite), "--json", "--out", str(tmp_path / "out"))
    rows = (tmp_path / "out" / "runs.csv").read_text().splitlines()

    assert code == 0
    assert json.loads(out) == {
        "done": 2,
        "skipped": 0,
        "failed": 0,
        "out": str(tmp_path / "out"),
    }
    assert len(rows) == 3


def test_a_failed_run_ends_with_1(call, tmp_path):
    suite = tmp_path / "suite.toml"
    suite.write_text(SUITE.format(seed=5))
    code, out, _ = call("run", str(suite))

    assert code == 1
    assert "2 failed" in out and "seed 5" in out


@pytest.mark.parametrize(
    "kind", ["benchmarks", "spaces", "methods", "protocols", "suites", "items"]
)
def test_listings_are_not_empty(call, kind):
    code, out, _ = call("list", kind)
    _, as_json, _ = call("list", kind, "--json")

    assert code == 0
    assert len(out.splitlines()) == len(json.loads(as_json)[kind]) > 0


def test_every_error_has_an_exit_code():
    assert {error.exit_code for error in HarnessError.__subclasses__()} <= {1, 2}
    assert not math.isnan(HarnessError("x").exit_code)
