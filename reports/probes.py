"""Edges that were made one operation after the other: what selection by discretisation records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.record import Record
from harness.spaces import space
from reports.darts_edges import in_words

RULE = (
    "Accuracy once discretised: the edge is that operation alone in every cell of its kind, the"
    " rest is tuned from the same state for every operation, and the supernet's accuracy on the"
    " validation half is measured. The paper tunes until convergence and does not say how long that"
    " is; here it is {epochs}."
)


@dataclass(frozen=True)
class Probe:
    """One edge of one supernet: softmax weights and accuracies of its operations, (n,) each."""

    seed: int
    edge: str
    names: tuple[str, ...]
    weights: NDArray[np.float64]
    accuracies: NDArray[np.float64]

    @property
    def by_alpha(self) -> str:
        """The operation with the largest weight."""
        return self.names[int(self.weights.argmax())]

    @property
    def by_strength(self) -> str:
        """The operation with the highest accuracy."""
        return self.names[int(self.accuracies.argmax())]


def probes(record: Record) -> list[Probe]:
    """The edges that a finished selection by discretisation probed, in its order."""
    groups = space(record.identity["space"]).groups
    probed, weights = record.array("probed"), record.array("probed_strength")
    found = []
    for i, accuracies in enumerate(record.array("discretised_accuracy").astype(np.float64)):
        at, row = (int(number) for number in probed[i])
        known = np.flatnonzero(~np.isnan(accuracies))
        found.append(
            Probe(
                record.identity["seed"],
                in_words(groups[at].name, row),
                tuple(groups[at].options[row][option] for option in known),
                weights[i, known].astype(np.float64),
                accuracies[known],
            )
        )
    return found


def rule(records: Sequence[Record]) -> str:
    """What an accuracy once discretised is, in these records."""
    n_epochs = {record.identity["setting"]["selection"]["tune_epochs"] for record in records}
    epochs = " or ".join(map(str, sorted(n_epochs)))
    return RULE.format(epochs=f"{epochs} epoch{'s' if epochs != '1' else ''}")
