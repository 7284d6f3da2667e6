"""Records that are made by hand: what a suite asks for, and whatever result a test wants."""

from types import SimpleNamespace

from harness.config import read_labelled
from harness.record import DONE, SKIPPED
from harness.store import load


def asked(suite, label, seed=None):
    """The only run of a label, or that of a seed."""
    (spec,) = [s for s in read_labelled(suite)[label] if seed in (None, s.seed)]
    return spec


def made(spec, result=None, status=DONE, reason="", **arrays):
    """What `execute` would give for a run, with this result and these arrays."""
    identity = {**vars(spec), "space": load(spec.benchmark).space.name}
    recipe = {"epochs": 8, "batch_size": 64, "lr": 0.1, "arch_lr": 0.02}
    return SimpleNamespace(
        identity=identity,
        status=status,
        reason=reason,
        result={"recipe": recipe, **(result or {})},
        array=arrays.__getitem__,
    )


def skipped(spec, reason):
    """A run that could not be done."""
    return made(spec, status=SKIPPED, reason=reason)
