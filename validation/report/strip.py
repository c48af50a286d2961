"""The small picture in each row: measured number and control beside the bound, on a logarithmic axis."""

from __future__ import annotations

import math

from markupsafe import Markup

from validation.ledger import Record
from validation.wording import bound_text, number_text

WIDTH, HEIGHT, MARGIN = 150, 22, 8
MOST_DECADES = 30  # with more the ticks would fill the bar


def strip(record: Record) -> Markup:
    """An `<svg>` with the allowed region, the bound, the measured number and the control.

    Returns
    -------
    Markup
        Empty where a logarithmic axis says nothing: without numbers, below zero, or without a positive bound.
    """
    bound = record.claim.bound
    edges = [float(edge) for edge in bound] if isinstance(bound, (tuple, list)) else [float(bound)]
    figures = [record.measured, record.control_measured]
    given = [
        abs(figure) for figure in figures if figure is not None and math.isfinite(figure) and figure >= 0
    ]
    if len(given) < 2 or min(edges) <= 0:
        return Markup("")
    positive = [figure for figure in given if figure > 0] + edges
    low, high = math.log10(min(positive)), math.log10(max(positive))
    spread = max(high - low, 0.02)
    low, high = low - 0.06 * spread, high + 0.06 * spread

    def along(exponent: float) -> float:
        return round(MARGIN + (exponent - low) / (high - low) * (WIDTH - 2 * MARGIN), 1)

    def place(value: float) -> float:
        return along(math.log10(value)) if value > 0 else float(MARGIN)  # zero lies at the left end

    left, right = _allowed(record, [place(edge) for edge in edges])
    middle = HEIGHT / 2
    parts = [
        f'<rect class="track" x="0" y="{middle - 3}" width="{WIDTH}" height="6" rx="3"/>',
        f'<rect class="allowed" x="{left}" y="{middle - 3}" width="{max(right - left, 1):.1f}"'
        ' height="6" rx="3"/>',
    ]
    parts += [
        f'<line class="decade" x1="{x}" x2="{x}" y1="{middle - 3}" y2="{middle + 3}"/>'
        for x in map(along, range(math.ceil(low), math.floor(high) + 1))
        if high - low < MOST_DECADES
    ]
    parts += [
        f'<line class="bound" x1="{x}" x2="{x}" y1="{middle - 8}" y2="{middle + 8}"/>'
        for x in map(place, edges)
    ]
    cross, dot = place(given[1]), place(given[0])
    parts.append(
        f'<path class="control" d="M{cross - 3.5:.1f} {middle - 3.5}l7 7m0 -7l-7 7"/>'
        f'<circle class="{"good" if record.holds else "bad"}" cx="{dot}" cy="{middle}" r="4.5"/>'
    )
    label = (
        f"measured {number_text(record.measured)}, allowed {bound_text(record.claim)}, "
        f"control {number_text(record.control_measured)}; logarithmic axis"
    )
    start = Markup(
        '<svg class="strip" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">'
        "<title>{}</title>"
    ).format(WIDTH, HEIGHT, WIDTH, HEIGHT, label, label)
    return start + Markup("".join(parts)) + Markup("</svg>")


def _allowed(record: Record, edges: list[float]) -> tuple[float, float]:
    """Left and right end of the region where the claim holds."""
    return {
        "<=": (0.0, edges[0]),
        ">=": (edges[0], float(WIDTH)),
        "==": (edges[0], edges[0]),
        "in": (edges[0], edges[-1]),
    }[record.claim.relation]
