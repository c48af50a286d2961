"""`refsnn compare`: every algorithm's gradient against BPTT's, with memory and time."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.array_files import Arrays, load_arrays
from refsnn.comparison import Comparison, as_csv, compare
from refsnn.comparison.contenders import NAMES
from refsnn.comparison.table import show
from refsnn.equations.spiking import SpikingNeuron
from refsnn.files import check_writable, write_whole
from refsnn.kernels import BACKENDS
from refsnn.models.builders.dense import dense_network
from refsnn.models.spiking_graph import SpikingGraph
from refsnn.network_files import labelled, load_network

GOOD, NONE_RAN = 0, 1
STEPS, BATCH = 16, 16


def add_commands(tasks: Any) -> None:
    """Add the command to a command line.

    Parameters
    ----------
    tasks : argparse subparsers
        Of `refsnn`.
    """
    table = tasks.add_parser(
        "compare",
        help="every algorithm's gradient against BPTT's, with memory and time",
        description=(
            "Run every algorithm on one network and one input, and print per layer the cosine and the "
            "relative error of its gradient to full BPTT and to BPTT with detached resets, with peak memory "
            "and time.  Without files: a small network and input to look at."
        ),
        epilog=(
            "Exit status: 0 if at least one algorithm could treat the network, 1 if none could, 2 for bad "
            "files or options."
        ),
    )
    table.add_argument(
        "network", nargs="?", type=Path, metavar="NETWORK.json", help="see refsnn.network_files"
    )
    table.add_argument(
        "arrays",
        nargs="?",
        type=Path,
        metavar="ARRAYS",
        help="npz or HDF5 with inputs (T, B, ...), targets (B,) and perhaps parameters/<name>; without it "
        "the input is drawn",
    )
    table.add_argument(
        "--algorithms", metavar="A,B", help=f"by default a selection of all: {', '.join(NAMES)}"
    )
    table.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn (default: 0)")
    table.add_argument("--steps", type=int, metavar="T", help=f"of a drawn input (default: {STEPS})")
    table.add_argument("--batch", type=int, metavar="B", help=f"of a drawn input (default: {BATCH})")
    table.add_argument("--json", type=Path, metavar="FILE", help="write every figure as JSON")
    table.add_argument("--csv", type=Path, metavar="FILE", help="write a line for each parameter array")
    table.add_argument(
        "--backend", choices=BACKENDS, default="cpu", help="kernels of the neurons (default: cpu)"
    )
    table.add_argument("--repeat", type=int, default=3, metavar="N", help="calls to time (default: 3)")
    table.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare, write files, print the table.

    Parameters
    ----------
    options : argparse.Namespace
        Of the command line.

    Returns
    -------
    int
        0 if at least one algorithm could treat the network, 1 if none could.
    """
    comparison = _compared(options)
    if options.json is not None:
        write_whole(options.json, json.dumps(comparison.as_dict(), indent=2, allow_nan=False) + "\n")
    if options.csv is not None:
        write_whole(options.csv, as_csv(comparison))
    show(comparison, sys.stdout)
    return GOOD if any(row.refused is None for row in comparison.rows) else NONE_RAN


def _compared(options: argparse.Namespace) -> Comparison:
    for option in ("json", "csv"):
        if (path := getattr(options, option)) is not None:
            check_writable(f"--{option}", path)
    checks.count("--seed", options.seed, minimum=0)
    checks.count("--repeat", options.repeat)
    if options.arrays is not None and (options.steps, options.batch) != (None, None):
        raise ValueError("--steps, --batch: expected with a drawn input only; the file of arrays has its own")
    drawing, choosing = np.random.default_rng(options.seed).spawn(2)
    graph = example_network() if options.network is None else load_network(options.network)
    if options.arrays is None:
        steps = checks.count("--steps", STEPS if options.steps is None else options.steps)
        batch = checks.count("--batch", BATCH if options.batch is None else options.batch)
        arrays = drawn_arrays(graph, drawing, steps, batch)
    else:
        arrays = load_arrays(options.arrays)
    parameters = arrays.parameters
    if parameters is None:
        parameters = graph.initialise(drawing, arrays.inputs.dtype)
    if options.arrays is not None:
        with labelled(str(options.arrays)):  # whether they fit the network
            graph.check_arrays(parameters, arrays.inputs, arrays.targets)
    return compare(
        graph,
        parameters,
        arrays.inputs,
        arrays.targets,
        algorithms=None if options.algorithms is None else options.algorithms.split(","),
        backend=options.backend,
        repeat=options.repeat,
        rng=choosing,
        progress=_progress if sys.stderr.isatty() else None,
    )


def example_network() -> SpikingGraph:
    """The network of a command without files: three layers of spiking neurons, with the loss of the mean.

    Returns
    -------
    SpikingGraph

    Examples
    --------
    >>> list(example_network().populations)
    ['layer.1', 'layer.2', 'layer.3']
    """
    return dense_network((20, 16, 16, 16, 4), SpikingNeuron(leak=0.5))


def drawn_arrays(graph: SpikingGraph, rng: np.random.Generator, steps: int, batch: int) -> Arrays:
    """An input for any network: random images as spikes, and random targets.

    An entry x of an image, uniform in [0, 1), is a spike at each step with probability x: a rate with noise.

    Parameters
    ----------
    graph : SpikingGraph
        The network.
    rng : numpy.random.Generator
        Source of randomness.
    steps, batch : int
        T and B.

    Returns
    -------
    Arrays
        Without parameters.

    Examples
    --------
    >>> drawn_arrays(example_network(), np.random.default_rng(0), 3, 2).inputs.shape
    (3, 2, 20)
    """
    images = rng.random((batch, *graph.input_shape))
    inputs = (rng.random((steps, *images.shape)) < images).astype(float)
    targets: Any
    if graph.loss_function == "cross_entropy":
        targets = rng.integers(graph.classes, size=batch)
    else:
        targets = rng.standard_normal((batch, graph.classes))
    return Arrays(inputs, targets, None)


def _progress(done: int, total: int, name: str) -> None:
    """One line on a terminal, written over; gone at the end of the work."""
    last = done + 1 == total
    print(f"\r\x1b[K{done + 1}/{total} {name}", end="\r\x1b[K" if last else "", file=sys.stderr, flush=True)
