"""Every error that the harness raises on purpose: what was asked, what exists, what to do."""

from __future__ import annotations

from collections.abc import Iterable


class HarnessError(Exception):
    """Base of all errors here; `remedy` says what to do, `exit_code` how the command line ends."""

    exit_code = 2

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".rstrip()

    def __reduce__(self) -> tuple[type[HarnessError], tuple[str, str]]:
        return type(self), (self.message, self.remedy)


class UnknownName(HarnessError):
    """A plug-in, space or item that does not exist."""


class DuplicateName(HarnessError):
    """Two plug-ins that claim one name."""


class InvalidArch(HarnessError):
    """Text or code that is not an architecture of the space."""


class UnknownArch(HarnessError):
    """A valid architecture that the benchmark does not hold."""


class UnknownBenchmark(HarnessError):
    """A benchmark that has not been imported."""


class UnknownSlice(HarnessError):
    """A slice that the benchmark does not hold; nothing is substituted for it."""


class UnknownSeed(HarnessError):
    """A seed that the slice does not hold."""


class UnknownEpoch(HarnessError):
    """An epoch at which the slice was not measured."""


class UnknownCost(HarnessError):
    """A cost that is neither recorded nor known in closed form."""


class UnknownScore(HarnessError):
    """A score that cannot be read or that the benchmark cannot answer."""


class InvalidSpec(HarnessError):
    """A run, suite or option that makes no sense."""


class TestSliceSealed(HarnessError):
    """A truth slice was asked for while a method runs."""

    __test__ = False  # The name starts with Test; pytest must not collect it.


class BudgetSpent(HarnessError):
    """The oracle's budget is used up; protocols catch this to end a run."""


class BadFile(HarnessError):
    """A raw file that cannot be what it claims to be: file, place and remedy are in the message."""

    exit_code = 1


class StorageFailed(HarnessError):
    """The disk refused a write (full, read-only, over quota)."""

    exit_code = 1


class BrokenStore(HarnessError):
    """A packed store or record whose files are missing or changed."""

    exit_code = 1


class MissingPackage(HarnessError):
    """An optional package is needed for this."""

    exit_code = 1


def unknown(kind: str, name: str, known: Iterable[str], remedy: str = "") -> UnknownName:
    """An UnknownName with a did-you-mean and the list of what exists."""
    from difflib import get_close_matches  # Only an error pays for it.

    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"Known: {', '.join(names) or 'none'}."
    return UnknownName(f"Unknown {kind} {name!r}. {hint}", remedy)
