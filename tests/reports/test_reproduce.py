import json
from dataclasses import replace

import pytest
from nb201_stores import made_up_columns, mean_store

from harness.errors import UnknownBenchmark, UnknownName
from harness.store import set_alias
from reports import reproduce as module
from reports.items import all_items
from reports.reproduce import can_run, reproduce

SUFFIXES = ("md", "tex", "csv", "html")


@pytest.fixture
def small(home):
    mean_store(made_up_columns(n_archs=300), "small")


def test_an_item_is_written_in_all_formats_with_an_index(small, tmp_path):
    summary = reproduce(["balenas:T1", "balenas:F4"], out=tmp_path / "out")
    written = {path.name for path in (tmp_path / "out").iterdir()}
    index = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")

    assert summary.done == ("balenas:T1",)
    assert summary.skipped == {"balenas:F4": "an illustration, nothing to measure"}
    assert summary.failed == {}
    assert summary.benchmarks == {"balenas:T1": "small", "balenas:T1-mini201": "mini201"}
    assert summary.verdicts["balenas:T1"] == {"other benchmark": 12}
    stems = ("balenas_T1", "balenas_T1-mini201")
    assert written == {f"{stem}.{end}" for stem in stems for end in SUFFIXES} | {"index.html"}
    assert "an illustration, nothing to measure" in index
    assert "1 of 2 items were made" in index
    assert json.loads(json.dumps(summary.to_json()))["done"] == ["balenas:T1"]


def test_figures_are_written_and_referenced(small, tmp_path):
    reproduce(["sotl_thesis:T4.5"], out=tmp_path)

    for suffix in ("png", "pdf"):
        assert (tmp_path / f"sotl_thesis_T4.5.{suffix}").stat().st_size > 5_000
    assert 'src="sotl_thesis_T4.5.png"' in (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "(sotl_thesis_T4.5.png)" in (tmp_path / "sotl_thesis_T4.5.md").read_text("utf-8")
    assert "{sotl_thesis_T4.5.pdf}" in (tmp_path / "sotl_thesis_T4.5.tex").read_text("utf-8")


def test_without_an_import_items_are_made_on_what_ships(home, tmp_path):
    summary = reproduce(["freedarts"], out=tmp_path)

    made = ("freedarts:T1", "freedarts:T2", "freedarts:F2")
    assert summary.benchmarks == dict.fromkeys(made, "mini201")
    # In two columns: in table 1 two rows of the table itself and eleven of searches whose records
    # ship, in table 2 six of these.
    verdicts = [summary.verdicts[name] for name in made]
    assert verdicts == [{"other benchmark": 26}, {"other benchmark": 12}, {}]
    assert len(summary.skipped) == 9


def test_what_ships_is_taken_last(small, tmp_path):
    found = reproduce(["freedarts:T2"], out=tmp_path).benchmarks

    assert list(found.items()) == [("freedarts:T2", "small"), ("freedarts:T2-mini201", "mini201")]


def test_searches_that_are_not_there_are_shown_where_they_ship(small, tmp_path):
    reproduce(["balenas:T5"], out=tmp_path)
    row = "| BaLeNAS (2nd) M = 1 | "

    for name, status in (("T5", "not run"), ("T5-mini201", "measured")):
        lines = (tmp_path / f"balenas_{name}.md").read_text("utf-8").splitlines()
        assert any(line.startswith(row + status) for line in lines), name


def test_a_benchmark_that_is_asked_for_is_the_only_one(small, tmp_path):
    asked = reproduce(["balenas:T5"], out=tmp_path, benchmark="small")

    assert asked.benchmarks == {"balenas:T5": "small"}


def test_the_namesake_is_taken_first_then_the_largest(small, tmp_path):
    mean_store(made_up_columns(n_archs=250), "a-smaller-one")
    by_size = reproduce(["balenas:T5"], out=tmp_path).benchmarks
    set_alias("nb201", "a-smaller-one")
    by_name = reproduce(["balenas:T5"], out=tmp_path).benchmarks
    asked = reproduce(["balenas:T5"], out=tmp_path, benchmark="small").benchmarks

    assert (by_size["balenas:T5"], by_name["balenas:T5"]) == ("small", "a-smaller-one")
    assert asked == {"balenas:T5": "small"}


def test_all_problems_are_told(small):
    ok, reason = can_run(all_items()["sotl_thesis:F4.5"])

    assert not ok
    assert reason == "; ".join(
        f"{name} stores no training losses of CIFAR-100 or ImageNet16-120"
        for name in ("small", "mini201")
    )
    assert can_run(all_items()["balenas:T1"]) == (True, "")
    assert can_run(all_items()["balenas:T3"])[0] is False
    assert can_run(all_items()["sotl_thesis:T3.1"]) == (True, "")


def test_a_failing_item_does_not_stop_the_others(small, tmp_path, monkeypatch):
    def broken(item, benchmark, records):
        raise ZeroDivisionError("oh no")

    items = [replace(all_items()["balenas:T1"], measure=broken), all_items()["balenas:T5"]]
    monkeypatch.setattr(module, "select", lambda asked: items)
    summary = reproduce(["balenas"], out=tmp_path)

    assert summary.done == ("balenas:T5",)
    assert summary.failed == {"balenas:T1": "ZeroDivisionError: oh no"}
    assert "oh no" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_unknown_names_stop_everything(small, tmp_path):
    with pytest.raises(UnknownName, match="Did you mean balenas"):
        reproduce(["balenass"], out=tmp_path)
    with pytest.raises(UnknownBenchmark):
        reproduce(["balenas"], out=tmp_path, benchmark="nothing")
    assert not (tmp_path / "index.html").exists()


def test_the_same_twice_is_the_same(small, tmp_path):
    reproduce(["sotl_thesis:T4.5"], out=tmp_path / "one")
    reproduce(["sotl_thesis:T4.5"], out=tmp_path / "two")

    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name
