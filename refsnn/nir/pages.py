"""Grades, graphs and runs as pages for people: text tables, one HTML file, JSON."""

from __future__ import annotations

import html
from collections.abc import Sequence
from string import Template
from typing import Any

import numpy as np

from refsnn.nir.discretisation import ARITHMETICS, DISCRETISATIONS
from refsnn.nir.grading import SAME, Distance, Grade
from refsnn.nir.graph import NirGraph
from refsnn.nir.run import GraphRun
from refsnn.text_tables import Block, Page

_HEADER = ("trace", "is", "computed in", "unit", "difference", "first spikes", "to exact", "next nearest")

_HTML = Template("""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
body { margin: 2.5rem auto; padding: 0 1.2rem; max-width: 78rem; font: 1rem/1.55 Charter, Georgia, serif;
  color: #1d2127; background: #fbfaf7; }
h1 { font-size: 1.8rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
div { overflow-x: auto; }
table { border-collapse: collapse; font: .86rem/1.5 system-ui, sans-serif; }
th, td { padding: .35rem .8rem; text-align: left; border-bottom: 1px solid #e4e2dc; white-space: nowrap; }
th { color: #5c6470; font-weight: 600; }
@media (prefers-color-scheme: dark) { body { color: #e4e6e9; background: #14171b; }
  th, td { border-color: #2c3138; } th { color: #a3abb6; } }
</style>
<h1>$title</h1>
$body
</html>
""")


def grades_page(grades: Sequence[Grade], dt: float) -> list[str | Block]:
    """Which discretisation each trace is, and the equations of those that occur.

    Parameters
    ----------
    grades : sequence of Grade
        From `grade_trace`.
    dt : float
        Length of a step in seconds.

    Returns
    -------
    list of str or Block
    """
    lines: list[tuple[str, ...]] = [
        (
            grade.trace.name,
            verdict_text(grade),
            _numbers_text(grade.computed_in),
            grade.unit,
            difference_text(grade),
            ", ".join(map(str, grade.trace.spike_steps[:2])) or "none",
            _distance_text(grade.exact),
            f"{grade.runner_up.name}, {_distance_text(grade.runner_up)}" if grade.runner_up else "-",
        )
        for grade in grades
    ]
    found = sum(grade.identified for grade in grades)
    numbers = {name: None for grade in grades for name in grade.computed_in}
    return [
        f"{found} of {len(grades)} traces are a known solution: the same spikes in each step, and potentials "
        f"within {SAME:g} of v_threshold - v_reset.  dt = {dt:g} s.",
        "Differences are the largest of all steps, as a share of v_threshold - v_reset; "
        "a * marks other spikes.",
        *_remarks(grades),
        Block("Traces", _HEADER, lines, True),
        *(DISCRETISATIONS[name].describe() for name in _names(grades)),
        *(ARITHMETICS[name].describe() for name in numbers),
    ]


def verdict_text(grade: Grade) -> str:
    """What a trace is; all that it may be where it cannot tell them apart.

    Parameters
    ----------
    grade : Grade
        From `grade_trace`.

    Returns
    -------
    str
    """
    if not grade.identified:
        return f"none; nearest {grade.what}"
    return f"one of {', '.join(grade.one_of)}" if grade.also else grade.what


def _numbers_text(names: Sequence[str]) -> str:
    return " or ".join(names) if len(names) < 3 else f"{names[0]} or {len(names) - 1} others"


def _names(grades: Sequence[Grade]) -> list[str]:
    """Discretisations that occur, each once."""
    names = {name: None for grade in grades for name in (grade.what, *grade.one_of)}
    return [name for name in names if name in DISCRETISATIONS]


def _remarks(grades: Sequence[Grade]) -> list[str]:
    """What is not the same for all traces, or not as one would think."""
    lines = []
    if several := [grade.trace.name for grade in grades if grade.also]:
        lines.append(
            f"Could be one of several: {', '.join(several)}.  For that input these solutions are the same; "
            "another input may tell them apart."
        )
    if divided := [f"{g.trace.name} by {g.divided_by:g}" for g in grades if g.divided_by != 1]:
        lines.append(f"Inputs that were divided by their only level: {', '.join(divided)}.")
    if left_out := {name: None for grade in grades for name in grade.left_out}:
        lines.append(f"dt is above tau, so these do not exist and are left out: {', '.join(left_out)}.")
    return lines


def matrix_page(grades: Sequence[Grade]) -> list[str | Block]:
    """The distance of each trace from the exact solution and from each discretisation.

    Parameters
    ----------
    grades : sequence of Grade
        From `grade_trace`.

    Returns
    -------
    list of str or Block
    """
    names = sorted({entry.name for grade in grades for entry in grade.discretisations})
    lines: list[tuple[str, ...]] = []
    for name in ("exact", *names):
        cells = []
        for grade in grades:
            entries = {entry.name: entry for entry in (grade.exact, *grade.discretisations)}
            cells.append(_distance_text(entries[name]) if name in entries else "-")
        lines.append((name, *cells))
    header = ("solution in float64", *(grade.trace.name for grade in grades))
    return [Block("Distance of each trace from each solution", header, lines)]


def difference_text(grade: Grade) -> str:
    """The largest difference from what is nearest; "none" where each step is the same to the last bit.

    Parameters
    ----------
    grade : Grade
        From `grade_trace`.

    Returns
    -------
    str
    """
    return "none" if grade.difference == 0 else f"{grade.difference:.1e}"


def grades_json(grades: Sequence[Grade], dt: float) -> dict[str, Any]:
    """Every figure of some grades.

    Parameters
    ----------
    grades : sequence of Grade
        From `grade_trace`.
    dt : float
        Length of a step in seconds.

    Returns
    -------
    dict
        For JSON.
    """
    return {
        "dt": dt,
        "same_within": SAME,
        "traces": [
            {
                "name": grade.trace.name,
                "steps": len(grade.trace.potential),
                "stored": grade.trace.stored,
                "spike_steps": list(grade.trace.spike_steps),
                "identified": grade.identified,
                "is": grade.what if grade.identified and not grade.also else None,
                "one_of": list(grade.one_of),
                "nearest": grade.what,
                "arithmetic": grade.arithmetic or None,
                "computed_in": list(grade.computed_in),
                "input_divided_by": grade.divided_by,
                "left_out": list(grade.left_out),
                "unit": grade.unit,
                "difference": grade.difference,
                "margin": grade.margin,
                "exact": _distance_json(grade.exact),
                "discretisations": [_distance_json(entry) for entry in grade.discretisations],
                "arithmetics": [_distance_json(entry) for entry in grade.arithmetics],
            }
            for grade in grades
        ],
        "discretisations": {name: DISCRETISATIONS[name].as_dict() for name in sorted(_names(grades))},
    }


def graph_page(graph: NirGraph, name: str) -> list[str | Block]:
    """Nodes of a graph with their arrays, its edges, and which of them come one step late.

    Parameters
    ----------
    graph : NirGraph
        The graph.
    name : str
        Of the file.

    Returns
    -------
    list of str or Block
    """
    lines: list[tuple[str, ...]] = []
    for place in graph.order:
        node = graph.nodes[place]
        values = ", ".join(f"{field} {_value_text(value)}" for field, value in node.values.items())
        shape = "x".join(map(str, graph.shapes[place]))
        lines.append((place, node.kind, shape, ", ".join(graph.sources(place)) or "-", values))
    page: list[str | Block] = [f"{name}: {len(graph.nodes)} nodes, {len(tuple(graph.edges))} edges."]
    late = ", ".join(f"{a} -> {b}" for a, b in graph.late_edges)
    page.append(f"Edges on circles, one step late in a run: {late or 'none'}.")
    page += [f"Note: {note}." for note in graph.notes]
    page.append(
        Block("Nodes in the order of a step", ("node", "kind", "gives", "reads", "arrays"), lines, True)
    )
    return page


def run_page(run: GraphRun, name: str) -> list[str | Block]:
    """How a graph was stepped, and how active its neurons were.

    Parameters
    ----------
    run : GraphRun
        From `run_graph`.
    name : str
        Of the file.

    Returns
    -------
    list of str or Block
    """
    rates = run.rates()
    lines: list[tuple[str, ...]] = []
    for node, potential in run.potentials.items():
        fires = node in rates
        lines.append(
            (
                node,
                f"{rates[node]:.4f}" if fires else "-",
                f"{run.margin[node]:.2g}" if fires else "-",
                f"{potential.min():.4g}",
                f"{potential.max():.4g}",
            )
        )
    header = ("neurons", "spikes a step", "margin", "lowest v", "highest v")
    steps, batch = next(iter(run.outputs.values())).shape[:2]
    ends: list[tuple[str, ...]] = [
        (node, f"{values.mean():.4g}", f"{values.min():.4g}", f"{values.max():.4g}")
        for node, values in run.outputs.items()
    ]
    return [
        f"{name}: {steps} steps, batch of {batch}.",
        *run.describe().splitlines(),
        Block("Neurons", header, lines),
        Block("Outputs", ("output", "mean", "lowest", "highest"), ends),
    ]


def as_html(title: str, page: Page) -> str:
    """A page as one HTML file that needs nothing else.

    Parameters
    ----------
    title : str
        On top.
    page : sequence of str or Block
        Lines and tables.

    Returns
    -------
    str

    Examples
    --------
    >>> "<td>1 &lt; 2</td>" in as_html("Traces", [Block("A table", ("what",), [("1 < 2",)])])
    True
    """
    parts = []
    for part in page:
        if isinstance(part, Block):
            head = "".join(f"<th>{html.escape(cell)}</th>" for cell in part.header)
            rows = "".join(
                f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in line)}</tr>\n"
                for line in part.lines
            )
            parts.append(
                f"<h2>{html.escape(part.title)}</h2>\n<div><table>\n<tr>{head}</tr>\n{rows}</table></div>"
            )
        else:
            parts.append(f"<p>{html.escape(part)}</p>")
    return _HTML.substitute(title=html.escape(title), body="\n".join(parts))


def _distance_text(distance: Distance) -> str:
    return f"{distance.potential:.1e}{'' if distance.same_spikes else ' *'}"


def _distance_json(distance: Distance) -> dict[str, Any]:
    return {
        "name": distance.name,
        "arithmetic": distance.arithmetic or None,
        "unit": distance.unit,
        "potential": distance.potential,
        "same_spikes": distance.same_spikes,
        "first_spikes": list(distance.first_spikes),
    }


def _value_text(value: np.ndarray | str) -> str:
    """An array in few words: its value where it has one, else shape and range."""
    if isinstance(value, str):
        return repr(value)
    if value.size <= 4 or (value == value.flat[0]).all():
        return ", ".join(f"{entry:g}" for entry in np.unique(value).tolist())
    if value.dtype.kind in "iu":
        return str(value.tolist())
    return f"{'x'.join(map(str, value.shape))} in [{value.min():.3g}, {value.max():.3g}]"
