"""Scores of untrained networks; one file a proxy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from harness.errors import HarnessError

if TYPE_CHECKING:
    from protocols.probe import Probe


class NoScore(HarnessError):
    """A network has no score by a proxy; the message is the reason."""


class Proxy(ABC):
    """A score of an untrained network on one batch; higher is better.

    A file protocols/proxies/NAME.py offers one as PROXY. `version` is raised whenever the score of
    a network changes. A proxy has no state: it is a function of a network, a batch, a loss and a
    seed, which it sees through a `Probe`.

    passes: the probe's shared passes that `score` reads, by name (`protocols.probe.PASSES`).
    """

    version: int
    passes: tuple[str, ...] = ()

    @abstractmethod
    def score(self, probe: Probe) -> float:
        """The score; a value that is not finite stands for an overflow.

        Raises: NoScore if the network has none, with the reason.
        """
