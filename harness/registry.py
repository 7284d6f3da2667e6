"""Plug-ins by name. A plug-in is one module; its name is its file's name.

Found in three places: the shipped packages, entry points of the group `nas_harness.KINDs`, and
any path that ends in .py.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import pkgutil
import re
import sys
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.adapter import Adapter
from harness.errors import DuplicateName, HarnessError, InvalidSpec, MissingPackage, unknown

# Kind -> (package, the name under which a module of this kind offers its plug-in).
KINDS = {
    "adapter": ("adapters", "ADAPTER"),
    "view": ("adapters", "VIEW"),
    "protocol": ("protocols", "PROTOCOL"),
    "method": ("protocols.methods", "METHOD"),
    "selector": ("protocols.selectors", "SELECTOR"),
    "proxy": ("protocols.proxies", "PROXY"),
    "paper": ("reports.papers", "PAPER"),
}


FILE_MODULE = "nas_harness_file_"


@dataclass(frozen=True)
class Plugin:
    """A loaded plug-in: what the module offers, under the module's name."""

    kind: str
    name: str
    module: ModuleType

    @property
    def offer(self) -> Any:
        """The object that the module offers."""
        return getattr(self.module, KINDS[self.kind][1])

    @property
    def version(self) -> int:
        """The integer that the plug-in raises when its results change.

        Raises: InvalidSpec if it declares none.
        """
        version = getattr(self.offer, "version", None)
        if not isinstance(version, int):
            raise InvalidSpec(f"{self.file} declares no version.", "Give its class `version = 1`.")
        return version

    @property
    def is_file(self) -> bool:
        """Whether it was given as a path, so that its name alone does not tell it from others."""
        return self.module.__name__.startswith(FILE_MODULE)

    @property
    def file(self) -> Path:
        """The file that the plug-in came from."""
        return Path(str(self.module.__file__))


def names(kind: str) -> list[str]:
    """Names of all shipped and installed plug-ins of a kind.

    Raises: DuplicateName if an installed plug-in takes a shipped one's name.
    """
    shipped = _shipped(kind)
    installed = _entry_points(kind)
    if taken := sorted(set(shipped) & set(installed)):
        raise DuplicateName(
            f"An installed package offers a {kind} {taken[0]!r}, which is shipped already.",
            f"Uninstall or rename {installed[taken[0]].value}.",
        )
    return sorted([*shipped, *installed])


def get(kind: str, name: str) -> Plugin:
    """The plug-in of this name, or of this file if the name ends in .py.

    Raises: UnknownName with the nearest name; InvalidSpec if the module offers no plug-in;
        MissingPackage if it needs one that is not installed.
    """
    if name.endswith(".py"):
        stem = Path(name).stem
        if stem in names(kind):
            raise DuplicateName(
                f"{name} would be called {stem}, which is the name of a {kind} that exists.",
                "Rename the file: runs are told apart by it.",
            )
        module = _from_file(Path(name).resolve())
    elif name in _shipped(kind):
        module = _imported(f"{KINDS[kind][0]}.{name}")
    elif name in _entry_points(kind):
        module = _imported(_entry_points(kind)[name].value)
    else:
        raise unknown(kind, name, names(kind), f"A file of your own works too: PATH/{name}.py.")
    if not hasattr(module, KINDS[kind][1]):
        raise InvalidSpec(
            f"{module.__file__} offers no {kind}.",
            f"It must define {KINDS[kind][1]} at module level.",
        )
    return Plugin(kind, name if not name.endswith(".py") else Path(name).stem, module)


def summary(kind: str, name: str) -> str:
    """First line of a plug-in's docstring; read from its text, so that nothing is imported."""
    module = f"{KINDS[kind][0]}.{name}"
    if name not in _shipped(kind):
        module = _entry_points(kind)[name].value
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return ""
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def adapter_of(source: str) -> Adapter:
    """The adapter that reads a kind of raw file.

    Raises: UnknownName with the nearest kind.
    """
    adapters: list[Adapter] = [get("adapter", name).offer for name in names("adapter")]
    by_source: dict[str, Adapter] = {}
    for adapter in adapters:
        for raw in adapter.sources:
            if raw.name in by_source:
                raise DuplicateName(f"Two adapters read {raw.name}.", "Rename one's source.")
            by_source[raw.name] = adapter
    if source not in by_source:
        raise unknown("source", source, by_source)
    return by_source[source]


@cache
def _shipped(kind: str) -> tuple[str, ...]:
    """Modules of the kind's package that offer a plug-in; helpers start with an underscore.

    Whether a module offers one is read from its text, so that listing imports nothing.
    """
    package, offer = KINDS[kind]
    try:
        spec = importlib.util.find_spec(package)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.submodule_search_locations is None:
        return ()
    found = []
    offers = re.compile(rf"^{offer}\b *[:=]", re.MULTILINE)
    for module in pkgutil.iter_modules(spec.submodule_search_locations):
        file = Path(spec.submodule_search_locations[0]) / f"{module.name}.py"
        if not module.ispkg and offers.search(file.read_text(encoding="utf-8")):
            found.append(module.name)
    return tuple(found)


@cache
def _entry_points(kind: str) -> dict[str, metadata.EntryPoint]:
    found = metadata.entry_points(group=f"nas_harness.{kind}s")
    return {point.name: point for point in found}


def _imported(module: str) -> ModuleType:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == module.partition(".")[0]:
            raise
        raise MissingPackage(
            f"{module} needs {error.name}, which is not installed.",
            "Install the extra that brings it, for networks: pip install '.[search]'",
        ) from error


@cache
def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InvalidSpec(f"{path} does not exist.", "Give the path of a Python file.")
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    name = f"{FILE_MODULE}{path.stem}_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InvalidSpec(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except HarnessError:
        raise
    except Exception as error:
        raise InvalidSpec(f"{path} cannot be imported: {type(error).__name__}: {error}.") from error
    return module


def recipes_folder() -> Path:
    """Where the shipped suites lie: protocols/recipes."""
    spec = importlib.util.find_spec("protocols")
    if spec is None or spec.origin is None:
        raise InvalidSpec("The package protocols is not installed.")
    return Path(spec.origin).parent / "recipes"
