"""Runs specs: the only place that seeds, times, stores and skips. Protocols only compute."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from harness import packs, record, registry, store
from harness.benchmark import Benchmark
from harness.errors import BrokenStore, HarnessError, InvalidSpec, MissingPackage
from harness.record import DONE, FAILED, SKIPPED, Record, RunSpec

USED_BY = " "  # Between a kind and a name, of what a method or protocol uses.
PACKAGES = ("nas-harness", "numpy", "scipy", "torch")
INTERRUPTED = "It was interrupted; the same call takes it up again."


@dataclass(frozen=True)
class Run:
    """What a protocol gets: the benchmark opened, the method loaded, the seed and the setting."""

    benchmark: Benchmark
    seed: int
    setting: Mapping[str, Any]
    method: Any = None


@dataclass(frozen=True)
class Outcome:
    """What a protocol gives back, raw: JSON values and arrays. Statistics are the report's."""

    result: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


class Protocol(ABC):
    """A method-neutral way to run. `version` is raised whenever results change.

    headline: the number of the result that a summary of runs shows, if there is one.
    """

    version: int
    takes_method: bool = False
    headline: str | None = None

    def accepts(self, method: object) -> bool:
        """Whether this protocol can run the method; for protocols that take none, never."""
        return False

    def uses(self, method: object, setting: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        """(kind, name) of the plug-ins besides the method whose versions a result depends on."""
        return ()

    @abstractmethod
    def skip(self, run: Run) -> str | None:
        """Why this run is impossible, or None. Must be cheap and read no results."""

    @abstractmethod
    def run(self, run: Run) -> Outcome:
        """Carries the run out; all randomness comes from `harness.seeds.derive(run.seed, ...)`."""


def run_all(
    specs: Sequence[RunSpec],
    *,
    jobs: int = 1,
    backend: str = "loky",
    progress: Callable[[Record], None] = lambda _: None,
    leave_out: Callable[[RunSpec], str | None] = lambda _: None,
) -> list[Record]:
    """Runs what is missing and returns one record a spec, in order.

    Records that are done are reused; failed and skipped ones are tried again. backend: "loky"
    (processes on this machine) or "dask" (a dask cluster; DASK_SCHEDULER_ADDRESS or a local one).
    leave_out: why a missing run is not to be run now, or None; it is skipped with that reason, and
    no record of it is kept.
    Raises: HarnessError for a spec that makes no sense, before anything runs; StorageFailed.
    """
    keys = [_key_of(spec) for spec in specs]
    found: dict[str, Record] = {}
    missing: dict[str, RunSpec] = {}
    for key, spec in zip(keys, specs, strict=True):
        known = _kept(key)
        if known is not None:
            found[key] = known
            progress(known)
        elif (reason := leave_out(spec)) is not None:
            found[key] = Record(identity_of(spec), SKIPPED, reason)
        else:
            missing[key] = spec
    for finished in _execute_each(list(missing.values()), jobs, backend):
        found[finished.key] = finished
        progress(finished)
    return [found[key] for key in keys]


def _key_of(spec: RunSpec) -> str:
    """The key of the spec's record; without its packages, that of a packed record of such a run."""
    try:
        return record.identity_key(identity_of(spec))
    except MissingPackage:
        found = packs.keys_of(record.run_key(_asked(spec, _open(spec.benchmark))))
        if not found:
            raise
        return found[0]


def is_packed(spec: RunSpec) -> bool:
    """Whether a pack holds a record of this run on the table that is here, by any versions."""
    return bool(packs.keys_of(record.run_key(_asked(spec, _open(spec.benchmark)))))


def _kept(key: str) -> Record | None:
    """A finished record that is whole; one that a power cut damaged is run again."""
    try:
        found = record.read(key)
    except BrokenStore:
        return None
    if found is None or found.status != DONE or not found.is_whole:
        return None
    return found


def _execute_each(specs: Sequence[RunSpec], jobs: int, backend: str) -> Iterator[Record]:
    if jobs == 1 and backend == "loky":
        yield from map(execute, specs)
        return
    import joblib

    with parallel(backend):
        pool = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
        home = str(store.home())
        yield from pool(joblib.delayed(_execute_at)(home, spec) for spec in specs)


def _execute_at(home: str, spec: RunSpec) -> Record:
    """Runs in a worker, which may have been started when NAS_HARNESS_HOME was another."""
    os.environ["NAS_HARNESS_HOME"] = home
    return execute(spec)


@contextmanager
def parallel(backend: str) -> Iterator[None]:
    """Lets joblib.Parallel run on "loky" (processes here) or "dask" (a cluster, or a local one).

    Raises: InvalidSpec for another backend; MissingPackage without dask.
    """
    import joblib

    if backend not in ("loky", "dask"):
        raise InvalidSpec(f"There is no backend {backend!r}.", "Use loky or dask.")
    if backend == "loky":
        with joblib.parallel_config(backend="loky"):
            yield
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingPackage(
            "The dask backend needs dask.", "Install the extra: pip install '.[cluster]'"
        ) from error
    address = os.environ.get("DASK_SCHEDULER_ADDRESS")
    # One thread a process: the seal on test data holds for a whole process.
    options = {} if address else {"threads_per_worker": 1}
    with Client(address, **options), joblib.parallel_config(backend="dask"):
        yield


def identity_of(spec: RunSpec) -> dict[str, Any]:
    """What makes two runs the same: the spec, the table's sha256 and the plug-ins' versions.

    Raises: UnknownName, UnknownBenchmark, InvalidSpec.
    """
    protocol = registry.get("protocol", spec.protocol)
    if protocol.offer.takes_method != (spec.method is not None):
        takes = "takes" if protocol.offer.takes_method else "takes no"
        raise InvalidSpec(f"The protocol {spec.protocol} {takes} method; got {spec.method}.")
    versions = {"protocol": protocol.version}
    method, method_file = None, None
    if spec.method is not None:
        plugin = registry.get("method", spec.method)
        versions["method"] = plugin.version
        # Files of one name may lie in many places: a user's own is told apart by its path.
        method = plugin.name
        if plugin.is_file:
            method_file = str(plugin.file)
    for kind, name in _used(spec):
        versions[f"{kind} {name}"] = registry.get(kind, name).version
    own = {"method": method, "method_file": method_file, "versions": versions}
    return {**_asked(spec, _open(spec.benchmark)), **own}


def _asked(spec: RunSpec, table: Benchmark) -> dict[str, Any]:
    """What of an identity needs no plug-in."""
    return {
        "protocol": spec.protocol,
        "method": spec.method,
        "method_file": None,
        "space": table.space.name,
        "benchmark": table.name,
        "table_sha256": table.sha256,
        "seed": spec.seed,
        "setting": dict(spec.setting),
    }


def execute(spec: RunSpec) -> Record:
    """Carries one run out and stores its record; a failure or an interruption is a record too.

    Raises: StorageFailed if the record itself cannot be written (and what is no Exception, such as
        KeyboardInterrupt).
    """
    identity = identity_of(spec)
    protocol = registry.get("protocol", spec.protocol).offer
    method = registry.get("method", spec.method).offer if spec.method else None
    run = Run(_open(spec.benchmark), spec.seed, spec.setting, method)
    started = time.perf_counter()

    def stored(status: str, reason: str, outcome: Outcome) -> Record:
        finished = Record(
            identity=identity,
            status=status,
            reason=reason,
            result=outcome.result,
            seconds=time.perf_counter() - started,
            environment=environment(),
            plugin_files=_plugin_files(spec),
        )
        return record.write(finished, outcome.arrays)

    try:
        reason = protocol.skip(run)
        outcome = Outcome() if reason else protocol.run(run)
    except KeyboardInterrupt:
        stored(FAILED, INTERRUPTED, Outcome())
        raise
    except HarnessError as error:
        return stored(FAILED, str(error), Outcome())
    except Exception as error:
        # Whatever a plug-in raises must not end the suite: it becomes the record's reason.
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"({Path(place.filename).name}:{place.lineno})"
        return stored(FAILED, f"{type(error).__name__}: {error} {where}", Outcome())
    return stored(SKIPPED if reason else DONE, reason or "", outcome)


def _open(benchmark: str) -> Benchmark:
    return _opened(benchmark, store.import_stamp(benchmark))


@cache
def _opened(name: str, stamp: tuple[Path, int] | None) -> Benchmark:
    """One opened benchmark a process, until it is imported again or NAS_HARNESS_HOME moves."""
    return store.load(name)


@cache
def environment() -> dict[str, Any]:
    """Commit, versions and device that a record carries."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": versions,
        "device": f"cpu ({platform.machine()}, {os.cpu_count()} cores)",
    }


def _commit() -> str | None:
    """The commit of the source tree, or None where the package was installed without one."""
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


def _plugin_files(spec: RunSpec) -> dict[str, Any]:
    """By kind, those that were asked for; by kind and name, those that they use."""
    named = {"protocol": ("protocol", spec.protocol)}
    if spec.method is not None:
        named["method"] = ("method", spec.method)
    for kind, name in _used(spec):
        named[f"{kind}{USED_BY}{name}"] = (kind, name)
    return {
        key: {"name": plugin.name, "version": plugin.version, "sha256": _sha256(plugin.file)}
        for key, (kind, name) in named.items()
        for plugin in [registry.get(kind, name)]
    }


def _used(spec: RunSpec) -> Sequence[tuple[str, str]]:
    method = registry.get("method", spec.method).offer if spec.method is not None else None
    protocol: Protocol = registry.get("protocol", spec.protocol).offer
    return protocol.uses(method, spec.setting)


@cache
def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def changed_without_version(found: Record) -> list[str]:
    """Plug-ins of a record whose file changed since, while their version did not."""
    changed = []
    for key, then in found.plugin_files.items():
        kind, _, _ = key.partition(USED_BY)
        if then["name"] in registry.names(kind):
            try:
                now = registry.get(kind, then["name"])
            except MissingPackage:
                continue  # It cannot be run here, so nothing is to be said of it.
            if now.version == then["version"] and _sha256(now.file) != then["sha256"]:
                changed.append(f"{kind} {now.name}")
    return changed
