"""A comparison as text: aligned columns, or rich tables where rich is installed; and as CSV."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import fields
from typing import TextIO

from refsnn import checks, text_tables
from refsnn.comparison.results import Comparison, Leaf, Row
from refsnn.text_tables import Block, Page, as_lines, page_width

LOSSES = {
    "mean_readout": "Loss of the mean read-out",
    "each_step": "Loss at each step",
}
_CELL = 17  # widest "cosine error" of a layer, with its margin


def as_text(comparison: Comparison, width: int = 110) -> str:
    """The table in aligned columns.

    Parameters
    ----------
    comparison : Comparison
        From `refsnn.comparison.compare`.
    width : int
        Characters a line; layers that do not fit go into further tables.

    Returns
    -------
    str
        Ends with a line break.

    Raises
    ------
    TypeError, ValueError
        For something that is no comparison, or a width that is no integer of at least 1.

    Examples
    --------
    >>> row = Row("sltt", "each_step", loss=0.5, leaves={"readout.weight": Leaf(1.0, 1.0, 0.0, 1.0, 0.0)})
    >>> print(as_text(Comparison((row,), 4, 2, 3, "float64", "cpu"))[:58])
    4 steps, batch of 2, 3 parameters in float64, backend cpu.
    """
    checks.instance("comparison", comparison, Comparison, "what refsnn.comparison.compare returns")
    width = checks.count("width", width)
    return as_lines(_page(comparison, width))


def show(comparison: Comparison, stream: TextIO) -> None:
    """Print the table: with rich where it is installed, else as `as_text` does.

    Parameters
    ----------
    comparison : Comparison
        From `refsnn.comparison.compare`.
    stream : file
        Where to.

    Raises
    ------
    TypeError
        For something that is no comparison.
    """
    checks.instance("comparison", comparison, Comparison, "what refsnn.comparison.compare returns")
    text_tables.show(_page(comparison, page_width(stream)), stream)


def as_csv(comparison: Comparison) -> str:
    """One line a parameter array of each algorithm; a refused one has one line.

    Parameters
    ----------
    comparison : Comparison
        From `refsnn.comparison.compare`.

    Returns
    -------
    str
        With a header; what does not exist is empty.

    Raises
    ------
    TypeError
        For something that is no comparison.

    Examples
    --------
    >>> print(as_csv(Comparison((Row("eprop", "each_step", "too deep"),), 4, 2, 3, "float64", "cpu")))
    algorithm,loss_over,refused,loss,peak_bytes,bytes_kept,seconds,parameter,norm,cosine_full,error_full,cosine_detached,error_detached
    eprop,each_step,too deep,,,,,,,,,,
    <BLANKLINE>
    """
    checks.instance("comparison", comparison, Comparison, "what refsnn.comparison.compare returns")
    of_row = ("algorithm", "loss_over", "refused", "loss", "peak_bytes", "bytes_kept", "seconds")
    of_leaf = tuple(field.name for field in fields(Leaf))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*of_row, "parameter", *of_leaf))
    for row in comparison.rows:
        start = [getattr(row, name) for name in of_row]
        for parameter, leaf in row.leaves.items():
            writer.writerow([*start, parameter, *(getattr(leaf, name) for name in of_leaf)])
        if not row.leaves:
            writer.writerow([*start, *("",) * (1 + len(of_leaf))])
    return text.getvalue()


# -- parts ----------------------------------------------------------------------------------------------


def _page(comparison: Comparison, width: int) -> Page:
    return [*_head(comparison), *_blocks(comparison, width), *_tail(comparison)]


def _head(comparison: Comparison) -> list[str]:
    lines = [
        f"{comparison.steps} steps, batch of {comparison.batch}, {comparison.numbers} parameters in "
        f"{comparison.dtype}, backend {comparison.backend}."
    ]
    alive = [row for row in comparison.rows if row.spike_rates]
    if alive:
        rates = ", ".join(f"{name} {rate:.3g}" for name, rate in alive[0].spike_rates.items())
        lines.append(f"Spike rates: {rates}; margin to threshold {_number(alive[0].margin)}.")
    return lines


def _tail(comparison: Comparison) -> list[str]:
    lines = [f"Note: {note}." for note in comparison.notes]
    refused: dict[str, list[str]] = {}
    for row in comparison.rows:
        if row.refused is not None:
            refused.setdefault(row.refused, []).append(row.algorithm)
    return lines + [f"{', '.join(dict.fromkeys(names))}: {why}" for why, names in refused.items()]


def _blocks(comparison: Comparison, width: int) -> list[Block]:
    """For each loss a summary, and the layers against each yardstick."""
    blocks = []
    for loss_over in dict.fromkeys(row.loss_over for row in comparison.rows):
        rows = [row for row in comparison.rows if row.loss_over == loss_over]
        title = f"{LOSSES[loss_over]}. Cosine and relative error of the worst parameter array"
        header = ("algorithm", "to full BPTT", "to detached BPTT", "peak", "kept", "time", "loss")
        blocks.append(Block(title, header, [_summary(row) for row in rows]))
        for yardstick in ("full", "detached"):
            title = f"{LOSSES[loss_over]}. By layer: cosine and relative error to {yardstick} BPTT"
            blocks += _by_layer(title, [row for row in rows if row.leaves], yardstick, width)
    return blocks


def _summary(row: Row) -> tuple[str, ...]:
    if row.refused is not None:
        return (row.algorithm, "refused", *("",) * 5)
    worst = row.worst()
    return (
        row.algorithm,
        _pair(worst.cosine_full, worst.error_full),
        _pair(worst.cosine_detached, worst.error_detached),
        *(_bytes(row.peak_bytes), _bytes(row.bytes_kept), _seconds(row.seconds), _number(row.loss, 6)),
    )


def _by_layer(title: str, rows: list[Row], yardstick: str, width: int) -> list[Block]:
    layers = list(rows[0].layers()) if rows else []
    name_width = max((len(row.algorithm) for row in rows), default=0)
    cell = max(_CELL, *(len(layer) + 2 for layer in layers)) if layers else _CELL
    fit = max(1, (width - name_width) // cell)
    blocks = []
    for first in range(0, len(layers), fit):
        some = layers[first : first + fit]
        lines = []
        for row in rows:
            found = row.layers()
            pairs = [
                (getattr(found[n], f"cosine_{yardstick}"), getattr(found[n], f"error_{yardstick}"))
                for n in some
            ]
            lines.append((row.algorithm, *(_pair(*pair) for pair in pairs)))
        blocks.append(Block(title, ("algorithm", *some), lines))
    return blocks


# -- figures --------------------------------------------------------------------------------------------


def _pair(cosine: float | None, error: float | None) -> str:
    """Cosine and relative error, in a fixed width."""
    left = "-" if cosine is None else f"{cosine:.4f}"
    if error is None:
        right = "-"
    else:
        right = f"{error:.1e}" if math.isfinite(error) and error else f"{error:g}"
    return f"{left:>6} {right:>7}"


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}g}"


def _bytes(value: int | None) -> str:
    if value is None:
        return "-"
    amount, units = float(value), ["B", "kB", "MB", "GB"]
    while amount >= 1000 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{amount:.3g} {units[0]}" if units[0] != "B" else f"{value} B"


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-6:.3g} us"
