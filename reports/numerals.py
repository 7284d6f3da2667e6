"""Numbers as text, with the decimals that a paper prints."""

from __future__ import annotations

LARGE = 1e9  # ours: from here on a count is printed as a power of ten.


def decimals(text: str) -> int:
    """Number of printed decimals: 2 of "93.90", 0 of "15625" and of "1e18"."""
    mantissa = text.lower().partition("e")[0]
    return len(mantissa.partition(".")[2])


def shown(value: float, digits: int) -> str:
    """A value with so many decimals; very large ones as a power of ten, never a negative zero."""
    if abs(value) >= LARGE:
        return f"{value:.0e}".replace("e+", "e")
    return f"{round(value, digits) + 0.0:.{digits}f}"


def with_std(mean: str, std: str) -> str:
    """A mean with its deviation, such as "86.61 ± 13.46"; alone where there is no deviation."""
    return f"{mean} ± {std}" if std else mean


def count(n: int | None) -> str:
    """A number of measurements with thousands separated; a dash where it is unknown."""
    return "–" if n is None else f"{n:,}"
