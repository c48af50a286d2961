"""`refsnn nir show | run | grade`: NIR graphs and recorded traces on the command line."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.files import check_writable, plain, write_whole
from refsnn.nir.data_files import Events, data_of, read_data, write_data
from refsnn.nir.discretisation import ARITHMETICS, DISCRETISATIONS
from refsnn.nir.files import read_graph
from refsnn.nir.grading import Grade, grade_trace
from refsnn.nir.graph import NirGraph
from refsnn.nir.pages import as_html, grades_json, grades_page, graph_page, matrix_page, run_page
from refsnn.nir.run import run_graph
from refsnn.nir.traces import read_trace
from refsnn.text_tables import Page, show

RIGHT, UNKNOWN = 0, 1
STEPS, BATCH, RATE = 100, 1, 0.1


def add_commands(tasks: Any) -> None:
    """Add the commands to a command line.

    Parameters
    ----------
    tasks : argparse subparsers
        Of `refsnn`.
    """
    room = tasks.add_parser(
        "nir",
        help="NIR graphs: show and run them, grade traces of platforms",
        description="NIR graphs, run under a discretisation that has a name.",
    )
    actions = room.add_subparsers(dest="action", required=True, metavar="ACTION")
    showing = actions.add_parser("show", help="nodes, edges and arrays of a graph")
    showing.add_argument("graph", type=Path, metavar="GRAPH.nir")
    running = actions.add_parser("run", help="run a graph on an input from a file, or on random spikes")
    _add_run(running)
    grading = actions.add_parser(
        "grade",
        help="say which discretisation made a recorded trace",
        epilog="Exit status: 0 if each trace is a known solution, 1 if not, 2 for bad files or options.",
    )
    grading.add_argument(
        "traces",
        type=Path,
        metavar="TRACE.csv|FOLDER",
        help="columns input, potential, spike; of a folder all its .csv files",
    )
    grading.add_argument(
        "--graph", type=Path, metavar="GRAPH.nir", help="by default lif_norse.nir beside the traces"
    )
    grading.add_argument("--dt", type=float, default=1e-4, help="seconds of a step (default: 1e-4)")
    for action in (running, grading, showing):
        action.add_argument("--json", type=Path, metavar="FILE", help="write every figure as JSON")
        action.add_argument("--html", type=Path, metavar="FILE", help="write the page as HTML")
        action.set_defaults(run=run)


def _add_run(running: argparse.ArgumentParser) -> None:
    running.add_argument("graph", type=Path, metavar="GRAPH.nir")
    running.add_argument("--dt", type=float, required=True, help="seconds of a step; 1 if all neurons are IF")
    running.add_argument(
        "--discretisation", choices=DISCRETISATIONS, default="forward_euler", help="default: forward_euler"
    )
    running.add_argument("--arithmetic", choices=ARITHMETICS, default="float64", help="default: float64")
    running.add_argument(
        "--input",
        type=Path,
        metavar="FILE",
        help=".npy with (T, B, ...), or NIR data (HDF5) with an entry for each Input; else random spikes",
    )
    running.add_argument("--steps", type=int, metavar="T", help=f"of random spikes (default: {STEPS})")
    running.add_argument("--batch", type=int, metavar="B", help=f"of random spikes (default: {BATCH})")
    running.add_argument("--rate", type=float, metavar="P", help=f"spikes a step (default: {RATE})")
    running.add_argument("--seed", type=int, default=0, metavar="N", help="of random spikes (default: 0)")
    running.add_argument("--out", type=Path, metavar="FILE", help="write potentials and spikes as NIR data")


def run(options: argparse.Namespace) -> int:
    """Run an action.

    Parameters
    ----------
    options : argparse.Namespace
        Of the command line.

    Returns
    -------
    int
        The exit status: 1 if a trace is no known solution.

    Raises
    ------
    TypeError, ValueError, OSError
        For bad files and options.
    """
    for option in ("json", "html", "out"):
        if getattr(options, option, None) is not None:
            check_writable(f"--{option}", getattr(options, option))
    return {"show": _show, "run": _run, "grade": _grade}[options.action](options)


def _show(options: argparse.Namespace) -> int:
    graph = read_graph(options.graph)
    facts = {
        "nodes": {
            name: {"type": node.kind, "shape": graph.shapes[name]} for name, node in graph.nodes.items()
        },
        "edges": graph.edges,
        "late_edges": graph.late_edges,
        "notes": graph.notes,
    }
    _written(options, options.graph.name, facts, graph_page(graph, options.graph.name))
    return RIGHT


def _run(options: argparse.Namespace) -> int:
    graph = read_graph(options.graph)
    result = run_graph(
        graph,
        _inputs(options, graph),
        dt=options.dt,
        discretisation=options.discretisation,
        arithmetic=options.arithmetic,
    )
    if options.out is not None:
        write_data(options.out, data_of(result))
    facts = {
        "dt": result.dt,
        "discretisation": result.discretisation.as_dict(),
        "arithmetic": result.arithmetic.describe(),
        "late_edges": result.late_edges,
        "rates": result.rates(),
        "margin": result.margin,
        "outputs": {name: values.mean(axis=(0, 1)) for name, values in result.outputs.items()},
    }
    _written(options, options.graph.name, facts, run_page(result, options.graph.name))
    return RIGHT


def _inputs(options: argparse.Namespace, graph: NirGraph) -> Any:
    """From the file, or random spikes."""
    drawn = {name: getattr(options, name) for name in ("steps", "batch", "rate")}
    if options.input is None:
        steps = checks.count("--steps", STEPS if options.steps is None else options.steps)
        batch = checks.count("--batch", BATCH if options.batch is None else options.batch)
        rate = checks.number("--rate", RATE if options.rate is None else options.rate, 0, 1)
        rng = np.random.default_rng(checks.count("--seed", options.seed, minimum=0))
        return {
            name: (rng.random((steps, batch, *graph.shapes[name])) < rate).astype(float)
            for name in graph.inputs
        }
    given = [f"--{name}" for name, value in drawn.items() if value is not None]
    if given:
        raise ValueError(f"{', '.join(given)}: expected with random spikes only; {options.input} has its own")
    path = options.input
    if not path.is_file():
        raise FileNotFoundError(f"--input: expected a file with an input, found none: {path}")
    if path.suffix == ".npy":
        try:
            return np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise ValueError(f"{path}: expected one array as numpy.save writes it: {error}") from None
    return {name: _observed(path, graph, name, options.dt) for name in graph.inputs}


def _observed(path: Path, graph: NirGraph, name: str, dt: float) -> np.ndarray:
    """The only observable of an Input in NIR data, as (T, B, ...)."""
    data = read_data(path)
    if len(data.get(name, {})) != 1:
        raise ValueError(
            f"{path}: expected data with one observable for the Input {name!r}, found nodes {list(data)}"
        )
    (seen,) = data[name].values()
    grid = seen.to_grid(dt) if isinstance(seen, Events) else seen
    if abs(grid.dt - dt) > 1e-9 * dt:
        raise ValueError(f"--dt: expected {grid.dt:g} s, the step of {path}, got {dt:g}")
    values = np.swapaxes(grid.data, 0, 1)
    return values.reshape(*values.shape[:2], *graph.shapes[name]).astype(float)


def _grade(options: argparse.Namespace) -> int:
    folder = options.traces if options.traces.is_dir() else options.traces.parent
    paths = sorted(options.traces.glob("*.csv")) if options.traces.is_dir() else [options.traces]
    if not paths:
        raise FileNotFoundError(f"{options.traces}: expected .csv files with traces, found none")
    source = options.graph or folder / "lif_norse.nir"
    if options.graph is None and not source.is_file():
        raise FileNotFoundError(
            f"--graph: expected the graph that the traces are of, got none, and there is no {source}"
        )
    graph = read_graph(source)
    grades: list[Grade] = [grade_trace(read_trace(path), graph, dt=options.dt) for path in paths]
    page = [*grades_page(grades, options.dt), *matrix_page(grades)]
    _written(options, "Traces of one LIF neuron", grades_json(grades, options.dt), page)
    return RIGHT if all(grade.identified for grade in grades) else UNKNOWN


def _written(options: argparse.Namespace, title: str, facts: dict[str, Any], page: Page) -> None:
    if options.json is not None:
        write_whole(options.json, json.dumps(plain(facts), indent=2, allow_nan=False) + "\n")
    if options.html is not None:
        write_whole(options.html, as_html(title, page))
    show(page, sys.stdout)
