"""NAS-Bench-301: the surrogates of the published archives, without the libraries they need.

`open_ensemble` and `open_runtime` read models_0.9.zip and models_1.0.zip as published, zipped or
unpacked; XGBoost and GIN need numpy alone, the runtime model needs lightgbm. `wrap` takes a live
ensemble of the nasbench301 package instead. Nothing is seeded, and there is no noise unless asked
for. Sources: Siems et al. 2020 and Zela et al., ICLR 2022; code automl/nasbench301.
"""

from __future__ import annotations

import json
import math
import os
import re
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, final

import numpy as np
from numpy.typing import NDArray

from adapters._boosters import booster_state, xgboost_trees
from adapters._gin import gin
from adapters._nb301_features import N_FEATURES, features
from adapters._state_dict import read as read_state_dict
from harness.arch import Arch, Codes
from harness.benchmark import Reading
from harness.errors import BadFile, MissingPackage, unknown
from harness.spaces.darts import Genotype
from harness.surrogate import DARTS, Predictor, Surrogate, darts_codes

MODEL, DATA_CONFIG, MODEL_CONFIG = "surrogate_model.model", "data_config.json", "model_config.json"
CONFIGS = (DATA_CONFIG, MODEL_CONFIG)
MAX_MODEL_BYTES = 512 * 2**20  # ours
MAX_CONFIG_BYTES = 2**20  # ours: configurations list some dozens of settings.
DOWNLOAD = "Download models_0.9.zip or models_1.0.zip again; automl/nasbench301 says from where."
CITATION = (
    "Zela, Siems, Zimmer, Lukasik, Keuper, Hutter. Surrogate NAS benchmarks: going beyond the"
    " limited search spaces of tabular NAS benchmarks. ICLR 2022. (Siems et al. 2020: NAS-Bench-301"
    " and the case for surrogate benchmarks.)"
)

Config = Mapping[str, Any]
# (n, 40) codes of `darts` -> what the models of a kind take; (n, ...) of that -> (n,).
Encoder = Callable[[Codes], NDArray[Any]]
Model = Callable[[NDArray[Any]], NDArray[np.floating]]


# --- What is read -------------------------------------------------------------------------------


def open_ensemble(path: Path, kind: str) -> Surrogate:
    """The accuracy surrogate of one kind, "xgb" or "gnn_gin", from a published archive.

    path: a .zip, the folder it unpacks to, or a folder within. Of a zip, members are read where
    they lie and nothing is unpacked, so that a name in it cannot point anywhere. Members are in
    the order of their paths.
    Raises: UnknownName for another kind; BadFile if there is no whole member of the kind, or one
        cannot be read.
    """
    if kind not in ACCURACY:
        raise unknown("kind of accuracy surrogate", kind, ACCURACY, "Runtimes: open_runtime.")
    found = _open(path, kind, ACCURACY[kind])
    return Surrogate(
        found.name,
        found.members,
        partial(_predicted, found),
        seeds=found.seeds,
        citation=CITATION,
    )


def open_runtime(path: Path) -> Runtime:
    """The surrogate of the training time, lgb_runtime, from a published archive.

    path: as for `open_ensemble`.
    Raises: MissingPackage without lightgbm; BadFile as `open_ensemble`.
    """
    found = _open(path, "lgb_runtime", RUNTIME)
    return Runtime(found.name, found.members, found.seeds, partial(_predicted, found))


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


# --- Archives -----------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class _Members:
    """A surrogate's name and models; members are their paths below the folder that holds all."""

    name: str
    members: tuple[str, ...]
    seeds: tuple[int, ...]
    encode: Encoder
    models: tuple[Model, ...]


def _predicted(members: _Members, codes: Codes) -> NDArray[np.float64]:
    """(n, 40) codes -> (n_members, n)."""
    encoded = members.encode(codes)
    if not len(encoded):  # LightGBM refuses an empty table.
        return np.empty((len(members.models), 0))
    return np.stack([model(encoded).astype(np.float64) for model in members.models])


def _open(path: Path, name: str, kind: _Kind) -> _Members:
    """Reads all members of a kind, in the order of their paths."""
    with _archive(path) as archive:
        configs = {folder: _configs(archive, folder) for folder in _folders(archive)}
        models = {folder: config["model"] for folder, (_, config) in configs.items()}
        chosen = [folder for folder, model in models.items() if model == kind.model]
        if not chosen:
            held = ", ".join(f"{n} of {m}" for m, n in sorted(Counter(models.values()).items()))
            raise BadFile(f"{path} holds no {name} models, but {held}.", DOWNLOAD)
        above = os.path.commonpath([folder.parent for folder in chosen])
        members, seeds, found = [], [], []
        for folder in chosen:
            data_config, model_config = configs[folder]
            file = folder / MODEL
            members.append(str(folder.relative_to(above)) if folder.name else path.name)
            seeds.append(data_config["seed"])
            content = archive.read(file, MAX_MODEL_BYTES)
            found.append(kind.read(content, model_config, archive.where(file)))
    full_name = f"nb301{_version(path, chosen)}-{name}"
    return _Members(full_name, tuple(members), tuple(seeds), kind.encode, tuple(found))


def _folders(archive: _Folder | _Zip) -> list[PurePosixPath]:
    """The members' folders, sorted by path; each has all three files."""
    held: dict[PurePosixPath, set[str]] = defaultdict(set)
    for file in archive.files():
        if file.name in (MODEL, *CONFIGS):
            held[file.parent].add(file.name)
    members = {folder for folder, names in held.items() if MODEL in names}
    # Upstream saves an ensemble's settings beside its members too, where there is no model.
    parents = {above for folder in members for above in folder.parents}
    members |= {
        folder for folder, names in held.items() if names >= set(CONFIGS) and folder not in parents
    }
    if not members:
        raise BadFile(f"{archive.path} holds no folder with a {MODEL}.", DOWNLOAD)
    for folder in sorted(members):
        for name in (MODEL, *CONFIGS):
            if name not in held[folder]:
                raise BadFile(f"{archive.where(folder)} has no {name}.", DOWNLOAD)
    return sorted(members)


def _configs(archive: _Folder | _Zip, folder: PurePosixPath) -> tuple[Config, Config]:
    """data_config.json with its seed and model_config.json with its model."""
    found = []
    for name, key, kind in ((DATA_CONFIG, "seed", int), (MODEL_CONFIG, "model", str)):
        where = archive.where(folder / name)
        try:
            config = json.loads(archive.read(folder / name, MAX_CONFIG_BYTES))
        except (ValueError, RecursionError) as error:
            raise BadFile(f"{where} is not readable JSON ({error}).", DOWNLOAD) from error
        if not isinstance(config, dict) or not isinstance(config.get(key), kind):
            raise BadFile(f"{where} names no {key}.", DOWNLOAD)
        found.append(config)
    return found[0], found[1]


def _version(path: Path, folders: Sequence[PurePosixPath]) -> str:
    """The version as a part of a name, by the nearest folder that tells it; else nothing.

    Raises: BadFile if the folders are of more than one version.
    """
    found = set()
    for folder in folders:
        names = [*reversed(folder.parts), path.name.removesuffix(".zip"), path.parent.name]
        matches = (re.fullmatch(r"(?:.*[_-])?v?(0\.9|1\.0)", name) for name in names)
        found.add(next((f"-v{match[1]}" for match in matches if match), ""))
    if len(found) > 1:
        listed = ", ".join(sorted(version or "unnamed" for version in found))
        raise BadFile(f"{path} holds models of several versions ({listed}).", "Name one's folder.")
    return found.pop()


def _archive(path: Path) -> _Folder | _Zip:
    return _Folder(path) if path.is_dir() else _Zip(path)


@final
class _Folder:
    """An unpacked archive."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> _Folder:
        return self

    def __exit__(self, *error: object) -> None:
        """Holds nothing open."""

    def files(self) -> Iterator[PurePosixPath]:
        for folder, _, names in os.walk(self.path):
            inside = Path(folder).relative_to(self.path).as_posix()
            yield from (PurePosixPath(inside, name) for name in names)

    def where(self, file: PurePosixPath) -> str:
        return str(self.path / file)

    def read(self, file: PurePosixPath, max_bytes: int) -> bytes:
        """The content. Raises: BadFile if it is longer than `max_bytes` or cannot be read."""
        try:
            with (self.path / file).open("rb") as opened:
                content = opened.read(max_bytes + 1)
        except OSError as error:
            raise BadFile(f"{self.where(file)} cannot be read ({error}).", DOWNLOAD) from error
        return _bounded(content, len(content), max_bytes, self.where(file))


@final
class _Zip:
    """A zipped archive, read in place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except FileNotFoundError as error:
            raise BadFile(f"There is no {path}.", "Give the archive or its folder.") from error
        except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
            raise BadFile(
                f"{path} is neither a folder nor a whole zip ({error}).", DOWNLOAD
            ) from error
        entries = (info for info in self._zip.infolist() if not info.is_dir())
        self._entries = {PurePosixPath(info.filename.lstrip("/")): info for info in entries}

    def __enter__(self) -> _Zip:
        return self

    def __exit__(self, *error: object) -> None:
        self._zip.close()

    def files(self) -> Iterator[PurePosixPath]:
        yield from self._entries

    def where(self, file: PurePosixPath) -> str:
        return f"{file} of {self.path}"

    def read(self, file: PurePosixPath, max_bytes: int) -> bytes:
        """The content. Raises: BadFile if it is longer than `max_bytes` or cannot be read."""
        info, where = self._entries[file], self.where(file)
        # zipfile unpacks no more of an entry than its directory tells.
        _bounded(b"", info.file_size, max_bytes, where)
        try:
            return self._zip.read(info)
        except Exception as error:  # Damaged entries raise what their compression's reader does.
            raise BadFile(f"{where} cannot be read ({error}).", DOWNLOAD) from error


def _bounded(content: bytes, n_bytes: int, max_bytes: int, where: str) -> bytes:
    if n_bytes > max_bytes:
        raise BadFile(f"{where} has more than {max_bytes} bytes.", DOWNLOAD)
    return content
