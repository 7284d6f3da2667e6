"""NAS-Bench-301: the surrogates of the published archives, without the libraries they need.

`open_ensemble` and `open_runtime` read models_0.9.zip and models_1.0.zip as published, zipped or
unpacked; XGBoost and GIN need numpy alone, the runtime model needs lightgbm. `wrap` takes a live
ensemble of the nasbench301 package instead. Nothing is seeded, and there is no noise unless asked
for. Sources: Siems et al. 2020 and Zela et al., ICLR 2022; code automl/nasbench301.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, Protocol, final

import numpy as np
from numpy.typing import NDArray

from adapters._boosters import booster_state, xgboost_trees
from adapters._gin import gin
from adapters._nb301_archive import DOWNLOAD, MODEL, Config, Members, read_members, version
from adapters._nb301_features import N_FEATURES, features
from adapters._state_dict import read as read_state_dict
from harness.adapter import Adapter, Progress, RawSource
from harness.arch import Arch, Codes
from harness.benchmark import Reading
from harness.builder import NewStore, Provenance, Source
from harness.errors import BadFile, BrokenStore, InvalidSpec, MissingPackage, unknown
from harness.files import sha256_of
from harness.spaces.darts import Genotype
from harness.surrogate import DARTS, Predictor, Surrogate, darts_codes

KINDS = {"nb301": "xgb", "nb301-gin": "gnn_gin"}  # What is imported as what kind of model.
MADE = "made by its authors' libraries"
LICENCE = "as stated where the archive is downloaded"
NOTES = "Predictions of models: nothing that they say was measured."
CITATION = (
    "Zela, Siems, Zimmer, Lukasik, Keuper, Hutter. Surrogate NAS benchmarks: going beyond the"
    " limited search spaces of tabular NAS benchmarks. ICLR 2022. (Siems et al. 2020: NAS-Bench-301"
    " and the case for surrogate benchmarks.)"
)

# (n, 40) codes of `darts` -> what the models of a kind take; (n, ...) of that -> (n,).
Encoder = Callable[[Codes], NDArray[Any]]
Model = Callable[[NDArray[Any]], NDArray[np.floating]]


@final
class Nb301(Adapter):
    """Keeps the members of one kind as they are published."""

    version = 1
    sources = tuple(
        RawSource(
            name=source,
            summary=f"NAS-Bench-301's {title} ensemble: predicted accuracy in the DARTS space",
            store=f"nb301-{KINDS[source]}",
            patterns=("models_0.9.zip", "models_1.0.zip"),
            download="models_0.9.zip or models_1.0.zip, linked from github.com/automl/nasbench301",
            tested_on=tested_on,
        )
        for source, title, tested_on in (
            ("nb301", "XGBoost", f"small models {MADE} with xgboost 1.0.2 to 1.2.1"),
            ("nb301-gin", "GIN", f"a model of the published size {MADE}, with random weights"),
        )
    )

    def store_of(self, source: str, path: Path) -> str:
        kind = KINDS[source]
        return _name(kind, version(path, ACCURACY[kind].model, kind))

    def pack(
        self, source: str, path: Path, *, mapping: str | None, jobs: int, progress: Progress
    ) -> str:
        if mapping is not None:
            raise InvalidSpec(f"{source} takes no --map.")
        kind = KINDS[source]
        held = read_members(path, ACCURACY[kind].model, kind)
        name = _name(kind, held.version)
        _read(ACCURACY[kind], held)  # A store whose models cannot be read is never made.
        new = NewStore(name)
        try:
            files = [
                new.save(f"{kind}/{member.name}/{file}", partial(_write, content))
                for member in held.members
                for file, content in member.files.items()
            ]
            content = {"space": DARTS.name, "n_archs": 0, "kind": kind, "files": files}
            new.commit(content, _provenance(path, held))
        except BaseException:
            new.discard()
            raise
        return name

    def open(self, name: str, folder: Path, manifest: Mapping[str, Any]) -> Surrogate:
        kind = manifest["kind"]
        try:
            held = read_members(folder / kind, ACCURACY[kind].model, kind)
            return _surrogate(name, kind, held, manifest["sha256"])
        except BadFile as error:
            raise BrokenStore(error.message, "Import the archive again.") from error


# --- What is read -------------------------------------------------------------------------------


def open_ensemble(path: Path, kind: str) -> Surrogate:
    """The accuracy surrogate of one kind, "xgb" or "gnn_gin", from a published archive.

    path: a .zip, the folder it unpacks to, or a folder within. Members are in the order of their
    paths.
    Raises: UnknownName for another kind; BadFile if there is no whole member of the kind, or one
        cannot be read.
    """
    if kind not in ACCURACY:
        raise unknown("kind of accuracy surrogate", kind, ACCURACY, "Runtimes: open_runtime.")
    held = read_members(path, ACCURACY[kind].model, kind)
    return _surrogate(_name(kind, held.version), kind, held)


def open_runtime(path: Path) -> Runtime:
    """The surrogate of the training time, lgb_runtime, from a published archive.

    path: as for `open_ensemble`.
    Raises: MissingPackage without lightgbm; BadFile as `open_ensemble`.
    """
    held = read_members(path, RUNTIME.model, "lgb_runtime")
    names, seeds = zip(*((member.name, member.seed) for member in held.members), strict=True)
    predictor = partial(_predicted, RUNTIME, _read(RUNTIME, held))
    return Runtime(_name("lgb_runtime", held.version), names, seeds, predictor)


def _surrogate(name: str, kind: str, held: Members, sha256: str = "") -> Surrogate:
    return Surrogate(
        name,
        tuple(member.name for member in held.members),
        partial(_predicted, ACCURACY[kind], _read(ACCURACY[kind], held)),
        seeds=tuple(member.seed for member in held.members),
        sha256=sha256,
        citation=CITATION,
    )


def _name(kind: str, of_version: str) -> str:
    return f"nb301{of_version}-{kind}"


def _read(kind: _Kind, held: Members) -> list[Model]:
    return [kind.read(member.files[MODEL], member.config, member.where) for member in held.members]


def _predicted(kind: _Kind, models: Sequence[Model], codes: Codes) -> NDArray[np.float64]:
    """(n, 40) codes -> (n_members, n)."""
    encoded = kind.encode(codes)
    if not len(encoded):  # LightGBM refuses an empty table.
        return np.empty((len(models), 0))
    return np.stack([model(encoded).astype(np.float64) for model in models])


def _write(content: bytes, stream: BinaryIO) -> None:
    stream.write(content)


def _provenance(path: Path, held: Members) -> Provenance:
    """Of a .zip, the file as downloaded; of a folder, the members in the order of their names."""
    if path.is_file():
        source = Source(path.name, sha256_of(path), path.stat().st_size)
    else:
        contents = [content for member in held.members for content in member.files.values()]
        digest = hashlib.sha256(b"".join(contents)).hexdigest()
        source = Source(path.name, digest, sum(map(len, contents)))
    return Provenance(
        adapter="nb301",
        adapter_version=Nb301.version,
        sources=(source,),
        licence=LICENCE,
        citation=CITATION,
        notes=NOTES,
    )


@final
@dataclass(frozen=True, eq=False)
class Runtime:
    """Predicts how long NAS-Bench-301's training of an architecture took, in seconds.

    members: names of the models. seeds: those they were fitted with.
    """

    name: str
    members: tuple[str, ...]
    seeds: tuple[int, ...]
    predictor: Predictor

    def predict(self, archs: Sequence[Arch] | Codes) -> NDArray[np.float64]:
        """(n_members, n) seconds; archs and errors as for `Surrogate.predict`."""
        return self.predictor(darts_codes(archs))

    def query(self, arch: Arch | str) -> Reading:
        """The mean over the members with their std (ddof=1) and number; unit s."""
        values = self.predict([DARTS.parse(arch) if isinstance(arch, str) else arch])[:, 0]
        std = float(values.std(ddof=1)) if len(values) > 1 else math.nan
        return Reading(float(values.mean()), std, len(values), "s")


class Upstream(Protocol):
    """What `wrap` calls of a nasbench301 ensemble."""

    def predict(self, config: Any, representation: str, with_noise: bool) -> float:
        """The mean over the members for one genotype."""


def wrap(ensemble: Upstream, name: str = "nb301-upstream") -> Surrogate:
    """A surrogate that asks a live ensemble of the nasbench301 package, one arch at a time.

    It tells the mean over its members alone, so there is one member, "upstream", and no std.
    nasbench301 seeds numpy and torch globally when it loads; this does not undo that.
    """

    def predict(codes: Codes) -> NDArray[np.float64]:
        values = [
            float(ensemble.predict(_upstream_genotype(code), "genotype", with_noise=False))
            for code in codes.tolist()
        ]
        return np.array([values], dtype=np.float64)

    return Surrogate(name, ("upstream",), predict, averaged=True, citation=CITATION)


def _upstream_genotype(code: Sequence[int]) -> Genotype:
    """The genotype with lists, as upstream's own is."""
    found = DARTS.genotype(DARTS.arch(code))
    nodes = list(found.normal_concat)
    return Genotype(list(found.normal), nodes, list(found.reduce), nodes)


# --- Readers of members -------------------------------------------------------------------------


def _xgb(content: bytes, config: Config, where: str) -> Model:
    trees = xgboost_trees(content, where)
    _check_features(trees.n_features, where)
    return trees.predict


def _gin(content: bytes, config: Config, where: str) -> Model:
    return gin(read_state_dict(content, where), config, where).predict


def _lgb(content: bytes, config: Config, where: str) -> Model:
    try:
        lightgbm = import_module("lightgbm")
    except ImportError as error:
        raise MissingPackage(
            "NAS-Bench-301's runtime surrogate needs lightgbm.", "pip install '.[nb301]'"
        ) from error
    state = booster_state(content, where)
    if not isinstance(state["handle"], str):
        raise BadFile(f"{where} holds no LightGBM model.", DOWNLOAD)
    try:
        booster = lightgbm.Booster(model_str=state["handle"])
        n_features = booster.num_feature()
    except lightgbm.basic.LightGBMError as error:
        raise BadFile(f"{where} is not a LightGBM model ({error}).", DOWNLOAD) from error
    _check_features(n_features, where)
    # A pickle keeps all trees, and beside them how many predict after early stopping.
    best = state.get("best_iteration")
    n_trees = best if isinstance(best, int) and best > 0 else -1
    return partial(booster.predict, num_iteration=n_trees)


def _check_features(n_features: int, where: str) -> None:
    if n_features != N_FEATURES:
        raise BadFile(
            f"{where} takes {n_features} numbers an arch; NAS-Bench-301's encoding has"
            f" {N_FEATURES}.",
            "Models of another encoding are not read.",
        )


@final
@dataclass(frozen=True)
class _Kind:
    """model: its name in model_config.json. read: content, settings and place to a model."""

    model: str
    read: Callable[[bytes, Config, str], Model]
    encode: Encoder


ACCURACY: Mapping[str, _Kind] = {
    "xgb": _Kind("xgb", _xgb, features),
    "gnn_gin": _Kind("gnn_gin", _gin, np.asarray),
}
RUNTIME = _Kind("lgb_time", _lgb, features)


ADAPTER = Nb301()
