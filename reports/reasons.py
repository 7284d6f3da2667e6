"""Why rows and items are not measured yet, in words for a user."""

from __future__ import annotations

OTHER_SEARCHES = "supernet searches of this row are in none of the suites yet"
FINE_TUNING = "needs trained supernets and their fine-tuning, which this version does not have"
RETRAIN = "needs networks trained from scratch on images, which this version does not have"
SMALL_TRAINING = "needs training of small models from scratch, which this version does not have"
ILLUSTRATION = "an illustration, nothing to measure"


def no_benchmark(space: str) -> str:
    """Why nothing of a space can be looked up."""
    return f"no benchmark of the space {space} is imported; nas-harness import --help"
