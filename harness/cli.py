"""The command line. Every command imports only what it needs, so that a look-up stays fast.

click rather than typer: typer 0.29 imports pydantic, which alone costs more than a look-up.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.errors import HarnessError, MissingPackage, unknown

if TYPE_CHECKING:
    from harness.adapter import Progress
    from harness.benchmark import Seed
    from harness.record import Record

PATH = click.Path(path_type=Path)

_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_benchmark = click.argument("benchmark", metavar="BENCH")
_arch_text = click.argument("arch", metavar="ARCH")
_dataset = click.option("--dataset", required=True, help="Data set, such as cifar10.")
_epochs = click.option("--epochs", type=int, required=True, help="Length of the schedule.")
_seed_text = click.option("--seed", metavar="N|mean|median", help="A seed, or an average by name.")
_trained_on = click.option("--trained-on", help="train or train+valid.")
_jobs = click.option(
    "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes to use."
)
_backend = click.option(
    "--backend",
    type=click.Choice(["loky", "dask"]),
    default="loky",
    help="loky: this machine; dask: a cluster (DASK_SCHEDULER_ADDRESS).",
)


def _split_and_metric(split: str | None, metric: str) -> Callable[[Any], Any]:
    """The options --split (required if there is no default) and --metric."""

    def add(command: Any) -> Any:
        command = click.option(
            "--split",
            default=split,
            required=split is None,
            show_default=True,
            help="train, valid, test or valid+test.",
        )(command)
        return click.option(
            "--metric", default=metric, show_default=True, help="accuracy or loss."
        )(command)

    return add


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="nas-harness")
def app() -> None:
    """Evaluate architecture search methods by looking results up instead of retraining."""


def main() -> None:
    """Runs the command line; wrong use and errors end in one message and an exit code."""
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as shown:
        click.echo(shown.format_message())
        sys.exit(0)
    except click.UsageError as wrong:
        command = wrong.ctx.command_path if wrong.ctx else "nas-harness"
        _print_error(wrong.format_message(), f"Usage: {command} --help.")
        sys.exit(2)
    except click.Abort:
        _print_error("Interrupted; what was finished is kept.", "Run the same command again.")
        sys.exit(130)  # What a shell reports of a program that Ctrl-C ended.
    except HarnessError as error:
        _print_error(error.message, error.remedy)
        sys.exit(error.exit_code)


def _print_error(message: str, remedy: str) -> None:
    if "--json" in sys.argv:
        click.echo(json.dumps({"error": message, "remedy": remedy}), err=True)
    else:
        click.echo(f"Error: {message}" + (f"\n{remedy}" if remedy else ""), err=True)


def _print_json(value: dict[str, Any]) -> None:
    click.echo(json.dumps(_finite(value), allow_nan=False))


def _finite(value: Any) -> Any:
    """The value with null for every NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _seed(text: str | None) -> Seed | None:
    if text is None:
        return None
    return int(text) if text.isdecimal() else text


def _arch(text: str) -> str | int:
    """An index, or the space's text, or a module hash, which may happen to be all digits."""
    return int(text) if text.isdecimal() and len(text) < 32 else text


@app.command()
@_benchmark
@_arch_text
@_dataset
@_split_and_metric(None, "accuracy")
@_epochs
@_seed_text
@click.option("--at", type=int, help="Epoch, from 1; the last if left out.")
@_trained_on
@_as_json
def query(
    benchmark: str,
    arch: str,
    dataset: str,
    split: str,
    metric: str,
    epochs: int,
    seed: str | None,
    at: int | None,
    trained_on: str | None,
    as_json: bool,
) -> None:
    """One value of one architecture."""
    from harness.benchmark import Slice
    from harness.store import load

    where = Slice(dataset, trained_on, split, metric, epochs)
    reading = load(benchmark).query(_arch(arch), where, seed=_seed(seed), epoch=at)
    if as_json:
        answer = {
            "value": reading.value,
            "std": reading.std,
            "n": reading.n,
            "unit": reading.unit,
            "slice": str(reading.slice),
        }
        _print_json({**answer, "is_surrogate": True} if reading.is_surrogate else answer)
        return
    n = "n not stated" if reading.n is None else f"n={reading.n}"
    n += " models, predicted" if reading.is_surrogate else ""
    spread = "" if math.isnan(reading.std) else f" ± {reading.std:.4f}"
    click.echo(f"{reading.value:.4f}{spread} {reading.unit} ({n})  {reading.slice}")


@app.command()
@_benchmark
@_arch_text
@_dataset
@_split_and_metric("train", "loss")
@_epochs
@_seed_text
@_trained_on
@_as_json
def curve(
    benchmark: str,
    arch: str,
    dataset: str,
    split: str,
    metric: str,
    epochs: int,
    seed: str | None,
    trained_on: str | None,
    as_json: bool,
) -> None:
    """All stored epochs of one architecture."""
    from harness.benchmark import Slice
    from harness.store import load

    where = Slice(dataset, trained_on, split, metric, epochs)
    found = load(benchmark).curve(_arch(arch), where, seed=_seed(seed))
    if as_json:
        _print_json(
            {
                "values": found.values.tolist(),
                "unit": found.unit,
                "first_epoch": found.first_epoch,
            }
        )
        return
    for epoch, value in zip(found.epochs, found.values.tolist(), strict=True):
        click.echo(f"{epoch:5d}  {value:.4f} {found.unit}")


@app.command()
@_benchmark
@click.option("--score", required=True, help="params, flops, slice:…, sotl:… or proxy:…")
@click.option("--truth", metavar="SLICE", required=True, help="Such as cifar10/test/accuracy/200.")
@_seed_text
@click.option("--unique", is_flag=True, help="One cell of every functional class.")
@click.option("--sample", type=int, metavar="N", help="Draw N cells without replacement.")
@click.option("--draw-seed", type=int, metavar="S", help="Seed of the draw.")
@_jobs
@_as_json
def rank(
    benchmark: str,
    score: str,
    truth: str,
    seed: str | None,
    unique: bool,
    sample: int | None,
    draw_seed: int | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Rank correlation of a score with the truth, over the whole space or a draw of it."""
    from harness.benchmark import Slice
    from harness.ranking import rank as rank_
    from harness.store import load

    found = rank_(
        load(benchmark),
        score,
        Slice.parse(truth),
        seed=_seed(seed),
        unique=unique,
        sample=sample,
        draw_seed=draw_seed,
        jobs=jobs,
    )
    if as_json:
        _print_json(
            {
                "spearman": found.spearman,
                "kendall": found.kendall,
                "top10": found.top10,
                "n": found.n,
                "interval": found.interval,
            }
        )
        return
    interval = ""
    if found.interval is not None:
        low, high = found.interval
        interval = f" (95 % bootstrap {low:.3f} … {high:.3f})"
    click.echo(f"Spearman {found.spearman:.3f}{interval}, Kendall {found.kendall:.3f}")
    click.echo(f"mean truth of the top 10: {found.top10:.3f}; n={found.n}")


@app.command(name="import")
@click.argument("source")
@click.argument("path", type=PATH)
@click.option("--map", "mapping", help="For csv: a shipped map's name or a .toml file.")
@click.option("--as", "alias", metavar="NAME", help="A second name, such as nb201.")
@click.option(
    "--jobs", type=click.IntRange(min=1), default=2, show_default=True, help="Processes to use."
)
@_as_json
def import_(
    source: str, path: Path, mapping: str | None, alias: str | None, jobs: int, as_json: bool
) -> None:
    """Pack a raw benchmark file into a store; an interrupted import goes on where it was.

    SOURCE: nats-tss, nats-sss, nb201-pth, nb101, nb301, nb301-gin, mini201 or csv. PATH: the
    file or folder as downloaded.
    """
    from harness import registry, store

    if alias is not None:
        store.check_alias(alias)
    adapter = registry.adapter_of(source)
    before = store.imported()
    with _progress(f"Importing {source}", quiet=as_json) as progress:
        name = adapter.pack(source, path, mapping=mapping, jobs=jobs, progress=progress)
    if alias is not None and alias != name:
        store.set_alias(alias, name)
    table = store.load(name)
    if replaced := before.get(name):
        click.echo(f"{name} was an alias of {replaced}, which stays under that name.", err=True)
    for raw in store.manifest(name)["provenance"]["sources"]:
        if raw["published_checksum"] == "differs":
            click.echo(f"Warning: {raw['file']} is not the published file.", err=True)
    if as_json:
        _print_json({"store": name, "alias": alias, "n_archs": len(table), "sha256": table.sha256})
        return
    also = f" (also called {alias})" if alias and alias != name else ""
    if table.is_surrogate:
        click.echo(f"{name}{also}: predicts {', '.join(map(str, table.holdings))}.")
        return
    slices = len(table.holdings)
    click.echo(f"{name}{also}: {len(table)} of {table.space.size} archs, {slices} slices.")


def _progress(title: str, *, quiet: bool) -> AbstractContextManager[Progress]:
    """A context manager that gives a (done, total) callback; a bar on a terminal."""
    from contextlib import contextmanager

    @contextmanager
    def bar() -> Any:
        if quiet or not sys.stderr.isatty():
            yield lambda done, total: None
            return
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True)) as shown:
            task = shown.add_task(title, total=None)
            yield lambda done, total: shown.update(task, completed=done, total=total or None)

    return bar()


def _shard(context: click.Context, parameter: click.Parameter, text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text)
    if match is None or int(match[1]) > int(match[2]):
        raise click.BadParameter("the first of four parts is written 1/4.")
    return int(match[1]), int(match[2])


@app.command()
@click.argument("benchmark", type=click.Choice(["mini201"]))
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@_jobs
@_backend
@click.option("--shard", metavar="I/N", default="1/1", callback=_shard, help="Only a part: 1/4.")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="Stop after N trainings.")
@click.option(
    "--from",
    "tables",
    type=PATH,
    multiple=True,
    metavar="TABLE",
    help="Take over the trainings of an earlier table; several are merged. Default: what ships.",
)
@click.option("--fresh", is_flag=True, help="Take over nothing: train all of it again.")
@click.option("--out", type=PATH, metavar="TABLE", help="Where to write the table.")
@_as_json
def build(
    benchmark: str,
    seed: int,
    jobs: int,
    backend: str,
    shard: tuple[int, int],
    limit: int | None,
    tables: tuple[Path, ...],
    fresh: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Train the embedded benchmark again, or what it lacks; an interrupted build goes on.

    The table that is written can be imported: nas-harness import mini201 TABLE.
    """
    from harness import shipped

    if fresh and tables:
        raise click.UsageError("--fresh takes over nothing, so --from makes no sense with it.")
    if not fresh and not tables and benchmark in shipped.shipped():
        tables = (shipped.shipped()[benchmark].file,)
    try:
        build_ = import_module(f"protocols.{benchmark}").build
    except ModuleNotFoundError as error:
        raise MissingPackage(
            f"Training needs {error.name}.", "Install the extra: pip install '.[search]'"
        ) from error
    with _progress(f"Training {benchmark}", quiet=as_json) as progress:
        built = build_(
            seed=seed,
            out=out,
            tables=tables,
            shard=shard,
            limit=limit,
            jobs=jobs,
            backend=backend,
            progress=progress,
        )
    held = built.table.counts()
    if as_json:
        _print_json({"trained": built.n_trained, "held": held, "out": str(built.out)})
        return
    n_classes = len(built.table.classes)
    for name, count in held.items():
        click.echo(f"{name}: {count} of {n_classes} classes")
    click.echo(f"{built.n_trained} trained now; written to {built.out}")


@app.command(name="list")
@click.argument("kind")
@_as_json
def list_(kind: str, as_json: bool) -> None:
    """What there is, by name.

    KIND: benchmarks, spaces, methods, selectors, proxies, protocols, suites or items.
    """
    from harness.listing import LISTINGS

    if kind not in LISTINGS:
        raise unknown("listing", kind, LISTINGS)
    rows = LISTINGS[kind]()
    if as_json:
        _print_json({kind: [{"name": name, "summary": summary} for name, summary in rows]})
        return
    width = max((len(name) for name, _ in rows), default=0)
    for name, summary in rows:
        click.echo(f"{name:<{width}}  {summary}".rstrip())
    if not rows:
        click.echo(f"There are no {kind} yet.")


@app.command()
@_as_json
def doctor(as_json: bool) -> None:
    """What is here, verified or not; what can be made now, and what to download for the rest."""
    from harness import doctor as examination

    found = examination.examine()
    if as_json:
        _print_json(found.as_json())
    else:
        examination.show(found)


@app.command()
@click.argument("suite")
@click.option("--method", metavar="NAME|FILE.py", help="Run this method instead.")
@click.option("--benchmark", help="Run on this benchmark instead.")
@_jobs
@_backend
@click.option("--out", type=PATH, help="Folder for runs.csv (a row a run) and rank_curves.csv.")
@click.option("--pack", type=PATH, help="One file for all finished runs, to be found in packs/.")
@_as_json
def run(
    suite: str,
    method: str | None,
    benchmark: str | None,
    jobs: int,
    backend: str,
    out: Path | None,
    pack: Path | None,
    as_json: bool,
) -> None:
    """Run what a suite is missing; every finished run is kept."""
    from harness import engine, record
    from harness.config import read_suite
    from harness.listing import write_rows, write_runs

    specs = read_suite(suite, benchmark=benchmark, method=method)
    with _progress(f"Running {suite}", quiet=as_json) as progress:
        finished: list[Record] = []

        def count(record: Record) -> None:
            finished.append(record)
            progress(len(finished), len(specs))

        records = engine.run_all(specs, jobs=jobs, backend=backend, progress=count)
    summary = import_module("reports.suite_summary")
    if out is not None:
        write_runs(records, out / "runs.csv")
        if curves := summary.rank_curves(records):
            write_rows(curves, out / "rank_curves.csv")
    if pack is not None:
        record.pack(pack, [held for held in records if held.status == record.DONE])
    if not as_json:
        for line in summary.as_lines(summary.summary(records)):
            click.echo(line)
    _conclude(_counts([r.status for r in records]), out, as_json, _reasons(records))


def _counts(statuses: list[str]) -> dict[str, int]:
    return {status: statuses.count(status) for status in ("done", "skipped", "failed")}


def _reasons(records: list[Record]) -> list[str]:
    return list(dict.fromkeys(f"{r.status}: {r.reason}" for r in records if r.reason))


def _conclude(counts: dict[str, int], out: Path | None, as_json: bool, reasons: list[str]) -> None:
    if as_json:
        _print_json({**counts, "out": str(out) if out else None})
    else:
        for reason in reasons:
            click.echo(reason)
        summary = ", ".join(f"{n} {status}" for status, n in counts.items())
        click.echo(summary + (f"; written to {out}" if out else ""))
    if counts["failed"]:
        sys.exit(1)


@app.command()
@click.argument("items", metavar="PAPER:ITEM…", nargs=-1, required=True)
@click.option("--benchmark", help="Default: nb201, or the one that fits.")
@click.option(
    "--out",
    type=PATH,
    default=Path("report"),
    show_default=True,
    help="Folder for tables, figures and index.html.",
)
@click.option("--quick", is_flag=True, help="Run no networks; show what was kept or ships of them.")
@_jobs
@_backend
@_as_json
def reproduce(
    items: tuple[str, ...],
    benchmark: str | None,
    out: Path,
    quick: bool,
    jobs: int,
    backend: str,
    as_json: bool,
) -> None:
    """Make the papers' tables and figures now, beside the published numbers."""
    # The reports stand on the harness: they are looked up by name, as plug-ins are.
    reproduce_ = import_module("reports.reproduce").reproduce
    with _progress("Reproducing", quiet=as_json) as progress:
        runs: list[Record] = []

        def count(record: Record) -> None:
            runs.append(record)
            progress(len(runs), 0)  # How many there will be is not known before the end.

        summary = reproduce_(
            items,
            benchmark=benchmark,
            out=out,
            quick=quick,
            jobs=jobs,
            backend=backend,
            progress=count,
        )
    counts = {
        "done": len(summary.done),
        "skipped": len(summary.skipped),
        "failed": len(summary.failed),
    }
    reasons = [f"{i}: skipped: {why}" for i, why in summary.skipped.items()]
    reasons += [f"{i}: failed: {why}" for i, why in summary.failed.items()]
    _conclude(counts, out, as_json, reasons)
