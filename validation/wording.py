"""How figures, bounds and durations are written, the same in the terminal and in the report."""

from __future__ import annotations

import math
from typing import Any

from validation.ledger import Claim, Record

SIGNS = {"<=": "≤", ">=": "≥", "==": "=", "in": "in"}


def number_text(value: float | None, digits: int = 4) -> str:
    """A measured number, short: ``3.1e-16``, ``0.9876``, ``41``; a dash where there is none.

    Examples
    --------
    >>> [number_text(value) for value in (3.14159e-16, 0.98761234, 0.0, 41.0, None)]
    ['3.1e-16', '0.9876', '0', '41', '–']
    """
    if value is None:
        return "–"
    value = float(value)
    if not math.isfinite(value) or value == 0:
        return f"{value:g}".replace("-0", "0")
    if 1e-3 <= abs(value) < 1e6:
        return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"
    mantissa, exponent = f"{value:.{digits - 3}e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def measured_text(value: float | None, bound: float | tuple[float, float]) -> str:
    """A measured number with as many digits as it takes to tell it from its bound.

    Examples
    --------
    >>> measured_text(0.99987, 0.9999), measured_text(1e-14, 1e-12)
    ('0.99987', '1e-14')
    """
    edges = bound if isinstance(bound, (tuple, list)) else (bound,)
    for digits in range(4, 17):
        text = number_text(value, digits)
        if value is None or all(text != number_text(edge, digits) or value == edge for edge in edges):
            break
    return text


def bound_text(claim: Claim) -> str:
    """The relation and the bound: ``≤ 1e-12``, ``in [1.9, 2.1]``, ``in 1 ± 1e-12`` where they lie close."""
    if isinstance(claim.bound, (tuple, list)):
        low, high = claim.bound
        middle, half = (low + high) / 2, (high - low) / 2
        if half < 1e-4 * abs(middle):
            return f"in {_exact(middle)} ± {number_text(half)}"
        return f"in [{_exact(low)}, {_exact(high)}]"
    return f"{SIGNS[claim.relation]} {_exact(claim.bound)}"


def control_text(record: Record) -> str:
    """What the control did; capitals where it did not do its work."""
    if record.control_fails:
        return "fails"
    given = record.control_measured is not None and math.isfinite(record.control_measured)
    return "PASSES" if given else "NO FIGURE"


def _exact(bound: float) -> str:
    """A bound is a chosen number: all the digits that it was given."""
    text = f"{float(bound):.12g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{mantissa}e{int(exponent)}"
    return text


def duration(seconds: float) -> str:
    """Seconds for a reader.

    Examples
    --------
    >>> duration(0.0123), duration(8.2), duration(75), duration(4000)
    ('0.01 s', '8.2 s', '1 min 15 s', '1 h 6 min')
    """
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def detail(value: Any) -> str:
    """One entry of a record's details, whatever its type."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, (list, tuple)):
        return ", ".join(detail(entry) for entry in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {detail(entry)}" for key, entry in value.items())
    if hasattr(value, "tolist"):
        return detail(value.tolist())
    if isinstance(value, int):
        return f"{value:d}"
    return number_text(value) if isinstance(value, float) else str(value)
