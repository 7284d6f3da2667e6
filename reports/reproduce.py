"""Makes items: picks a benchmark, runs what is missing, renders, compares with the paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from harness import no_table, store
from harness.benchmark import Benchmark
from harness.engine import is_packed, run_all
from harness.errors import HarnessError, StorageFailed
from harness.files import write_atomically
from harness.record import DONE, FAILED, SKIPPED, Record, RunSpec
from reports import figures, html, latex, markdown, reasons
from reports.candidates import candidates
from reports.html import Absent, Section
from reports.items import Artefact, Item, select
from reports.nb201 import MINI
from reports.row_search import no_torch
from reports.tables import comparisons, to_csv

INDEX = "index.html"
# Protocols that compute on networks, and why their runs are left out of a quick report.
ON_NETWORKS = ("supernet", "untrained", "zerocost")
NOT_QUICK = "was not run before, and is not for a quick report"


@dataclass(frozen=True)
class Summary:
    """What a call of `reproduce` came to.

    done: ids of the items that were made. skipped, failed: id -> reason. benchmarks: section -> the
    benchmark that it was made on. verdicts: section -> verdict -> how many cells. An item's first
    section has its id.
    """

    out: Path
    done: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    benchmarks: Mapping[str, str] = field(default_factory=dict)
    verdicts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """The summary as JSON values."""
        return {**self.__dict__, "done": list(self.done), "out": str(self.out)}


class CannotRun(HarnessError):
    """An item that cannot be made on what is here; the message is the reason."""


def can_run(item: Item, benchmark: str | None = None) -> tuple[bool, str]:
    """Whether the item can be made now, and why not. Runs nothing and reads no results."""
    try:
        _choose(item, benchmark)
    except HarnessError as error:
        return False, str(error)
    return True, ""


def reproduce(
    asked: Sequence[str],
    *,
    out: Path,
    benchmark: str | None = None,
    jobs: int = 1,
    backend: str = "loky",
    quick: bool = False,
    progress: Callable[[Record], None] = lambda _: None,
) -> Summary:
    """Makes the items that were asked for and writes them into `out`, with an index.html.

    asked: ids, names of papers, or "all". benchmark: a name; by default each item takes the first
    of its `candidates` that can answer it; where there is none, some are made by their searches
    alone. quick: of runs on networks only those that were kept or packed are shown. Items that
    cannot be made are skipped with a reason; one that fails does not stop the
    others. One whose searches, of supernets or of untrained networks, are not there for its
    benchmark has a second section on what ships, where those searches ship. progress: called with
    every record that was run.
    Raises: UnknownName for an item, UnknownBenchmark, StorageFailed.
    """
    items = select(asked)
    if benchmark is not None:
        store.import_stamp(benchmark)
    run = partial(run_all, jobs=jobs, backend=backend, progress=progress)
    made: list[tuple[Section, str]] = []
    done: list[str] = []
    skipped: dict[str, str] = {}
    failed: dict[str, str] = {}
    for item in items:
        try:
            made += _make(item, out, benchmark, run, quick=quick)
            done.append(item.id)
        except StorageFailed:
            raise
        except CannotRun as error:
            skipped[item.id] = error.message
        except HarnessError as error:
            failed[item.id] = str(error)
        except Exception as error:
            # Whatever one item raises must not keep the others from being made.
            failed[item.id] = f"{type(error).__name__}: {error}"
    _write_index(out, items, [section for section, _ in made], skipped, failed)
    return Summary(
        out=out,
        done=tuple(done),
        skipped=skipped,
        failed=failed,
        benchmarks={section.item: name for section, name in made if name},
        verdicts={section.item: _verdicts(section.artefact) for section, _ in made},
    )


def _make(
    item: Item,
    out: Path,
    benchmark: str | None,
    run: Callable[..., list[Record]],
    *,
    quick: bool,
) -> list[tuple[Section, str]]:
    """The sections of an item, with the benchmark of each. run: `run_all` with options."""
    table = _choose(item, benchmark)
    records = run(item.specs(table), leave_out=_slow if quick else lambda _: None)
    _check(records, item)
    section = write_item(item, item.build(table, records), out)
    sections = [(section, "" if table is None else table.name)]
    if benchmark is None and table is not None and table.name != MINI:
        others = _shipped(item, records)
        sections += [(_make_on(other, item, out, run), other.name) for other in others]
    return sections


def _make_on(
    benchmark: Benchmark, item: Item, out: Path, run: Callable[..., list[Record]]
) -> Section:
    """A section of its own for an item on another benchmark; no network is run for it."""
    records = run(item.specs(benchmark), leave_out=_slow)
    _check(records, item)
    name = benchmark.name
    there = replace(item, id=f"{item.id}-{name}", title=f"{item.title}, on {name}")
    return write_item(there, item.build(benchmark, records), out)


def _shipped(item: Item, records: Sequence[Record]) -> list[Benchmark]:
    """The benchmark that ships, where packs hold searches of a kind of which none was done."""
    if item.space is None or item.benchmark is not None or MINI not in candidates(item.space):
        return []
    benchmark = store.load(MINI)
    done = {record.identity["protocol"] for record in records if record.status == DONE}
    missing = [protocol for protocol in ON_NETWORKS if protocol not in done]
    specs = [spec for spec in item.specs(benchmark) if spec.protocol in missing]
    return [benchmark] if any(map(is_packed, specs)) else []


def _slow(spec: RunSpec) -> str | None:
    return NOT_QUICK if spec.protocol in ON_NETWORKS else None


def _choose(item: Item, benchmark: str | None) -> Benchmark | None:
    """The benchmark to make the item on; None where it needs none.

    Raises: CannotRun with the reason; whatever a named benchmark raises when it is opened.
    """
    if item.waits_for is not None:
        raise CannotRun(item.waits_for)
    if item.space is None:
        return None
    problems = []
    named = benchmark or item.benchmark
    for name in [named] if named else _candidates(item, item.space):
        table = store.load(name)
        problem = item.benchmark_problem(table)
        if problem is None:
            return table
        problems.append(problem)
    if not problems:
        raise CannotRun(reasons.no_benchmark(item.space))
    raise CannotRun("; ".join(dict.fromkeys(problems)))


def _candidates(item: Item, space: str) -> list[str]:
    """Names of the benchmarks to try; where none is here, perhaps the one that holds nothing."""
    found, nothing = candidates(space, item.preferred), no_table.name_of(space)
    # Without torch the records of earlier runs may do.
    if not found and item.without_table and (not no_torch() or item.specs(store.load(nothing))):
        return [nothing]
    return found


def _check(records: Sequence[Record], item: Item) -> None:
    """Raises: CannotRun if a run was skipped that the item needs, HarnessError if one failed.

    An item that tells why runs are missing needs one that did not fail.
    """
    for status, error in ((FAILED, HarnessError), (SKIPPED, CannotRun)):
        own = [record for record in records if record.status == status]
        is_told = item.tells_skips and (status == SKIPPED or len(own) < len(records))
        if own and not is_told:
            raise error(f"{len(own)} of {len(records)} runs {status}; the first: {own[0].reason}")


def write_item(item: Item, artefact: Artefact, out: Path) -> Section:
    """Writes one finished item in all formats; returns it as a section of a page.

    Raises: StorageFailed if the disk refuses.
    """
    stem = item.id.replace(":", "_")
    images = [stem if i == 0 else f"{stem}-{i + 1}" for i in range(len(artefact.plots))]
    contents: dict[str, str | bytes] = {
        f"{stem}.csv": to_csv(artefact.tables, artefact.card),
        f"{stem}.md": markdown.document(
            f"{item.id}: {item.title}", artefact, [f"{image}.png" for image in images]
        ),
        f"{stem}.tex": latex.document(item.title, artefact, [f"{image}.pdf" for image in images]),
    }
    for plot, image in zip(artefact.plots, images, strict=True):
        contents[f"{image}.png"] = figures.png(plot)
        contents[f"{image}.pdf"] = figures.pdf(plot)
        contents[f"{image}-figure.csv"] = figures.data_csv(plot)
    files = (f"{stem}.html", *contents)
    section = Section(
        item.id, item.title, artefact, tuple(f"{image}.png" for image in images), files
    )
    contents[f"{stem}.html"] = html.page(f"{item.id}: {item.title}", [section])
    for name, content in contents.items():
        _write(out / name, content)
    return section


def _write_index(
    out: Path,
    items: Sequence[Item],
    sections: Sequence[Section],
    skipped: Mapping[str, str],
    failed: Mapping[str, str],
) -> None:
    titles = {item.id: item.title for item in items}
    lead = (
        f"{len(items) - len(skipped) - len(failed)} of {len(items)} items were made,"
        f" {len(skipped)} cannot be made yet, {len(failed)} failed. Each table shows our"
        " measurement above the paper's number."
    )
    content = html.page(
        "Papers, measured again",
        sections,
        lead=lead,
        skipped=[Absent(name, titles[name], reason) for name, reason in skipped.items()],
        failed=[Absent(name, titles[name], reason) for name, reason in failed.items()],
    )
    _write(out / INDEX, content)


def _write(path: Path, content: str | bytes) -> None:
    data = content.encode() if isinstance(content, str) else content
    write_atomically(path, data, durable=False)


def _verdicts(artefact: Artefact) -> dict[str, int]:
    return dict(Counter(c.verdict for table in artefact.tables for c in comparisons(table)))
