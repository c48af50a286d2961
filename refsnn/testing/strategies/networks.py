"""Strategies of whole networks: options and a seed are drawn, `refsnn.testing.problems` makes the arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import event, reject
from hypothesis import strategies as st

from refsnn.equations.spiking import SpikingNeuron
from refsnn.testing import adaptive_problems, problems
from refsnn.testing.errors import VacuousCheck
from refsnn.testing.graph_problems import graph_problem
from refsnn.testing.problems import Problem
from refsnn.testing.strategies.parts import seeds, spiking_neurons, surrogates

LOSSES = "cross_entropy", "mean_squared_error"
SPACES = ((-1.0, 3),), ((0.7, 3),), ((0.0, 4),), ((-0.5, 2), (1.0, 2))
TANGENTS = "transport", "project", "ambient"
# psi over the whole line: a boxcar or a triangle often leaves a leaf of a small network without gradient
WIDE = "sigmoid", "arctan", "fast_sigmoid", "exponential", "gaussian"


def live(make: Callable[..., Problem], *arguments: Any, **options: Any) -> Problem:
    """What a maker makes; an example that stays dead is dropped and counted.

    Parameters
    ----------
    make : callable
        Of `refsnn.testing.problems`.
    *arguments, **options
        For it.

    Returns
    -------
    Problem
    """
    try:
        problem = make(*arguments, **options)
    except VacuousCheck:
        event(f"{make.__name__}: dead, dropped")
        reject()
    event(f"{make.__name__}: alive")
    return problem


@st.composite
def spiking_networks(
    draw: st.DrawFn,
    hidden: tuple[int, int] = (1, 2),
    widths: tuple[int, int] = (2, 5),
    steps: tuple[int, int] = (1, 6),
    neurons: st.SearchStrategy[SpikingNeuron] | None = None,
    recurrent: bool | None = None,
    losses_over: Sequence[str] = ("mean_readout", "each_step"),
    dtype: Any = np.float64,
    **graph: Any,
) -> Problem:
    """Dense spiking graphs of unequal widths, with loops or without, either loss.

    Parameters
    ----------
    draw : callable
        Given by hypothesis.
    hidden, widths, steps : tuple of int
        Least and largest number of hidden layers, units a layer, and steps.
    neurons : strategy, optional
        Any by default.
    recurrent : bool, optional
        Whether layers feed back on themselves; drawn by default.
    losses_over : sequence of str
        To choose from.
    dtype : dtype
        float32 or float64.
    **graph
        Further options of the graph.

    Returns
    -------
    Problem
    """
    depth = draw(st.integers(*hidden))
    sizes = tuple(draw(st.lists(st.integers(*widths), min_size=depth + 2, max_size=depth + 2)))
    default = spiking_neurons(surrogate=surrogates(WIDE, slopes=(0.3, 1.5)), leaks=(0.2, 1.0))
    over, function = draw(st.sampled_from(list(losses_over))), draw(st.sampled_from(LOSSES))
    event(f"loss over {over}, {function}")
    return live(
        problems.spiking_problem,
        draw(seeds()),
        sizes,
        draw(st.integers(*steps)),
        draw(st.integers(1, 3)),
        draw(default if neurons is None else neurons),
        draw(st.booleans()) if recurrent is None else recurrent,
        dtype,
        loss_over=over,
        loss_function=function,
        **graph,
    )


@st.composite
def recurrent_networks(
    draw: st.DrawFn,
    cells: Sequence[str] = tuple(problems.CELLS),
    steps: tuple[int, int] = (2, 8),
    dtype: Any = np.float64,
) -> Problem:
    """tanh, LSTM, GRU of one or two layers, and a spiking layer; a weighted target at each step.

    Parameters
    ----------
    draw : callable
        Given by hypothesis.
    cells : sequence of str
        Of `refsnn.testing.problems.CELLS`.
    steps : tuple of int
        Least and largest.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    Problem
    """
    cell = draw(st.sampled_from(list(cells)))
    layers = 1 if cell == "spiking" else draw(st.integers(1, 2))
    sizes = (draw(st.integers(1, 3)), *draw(st.lists(st.integers(2, 4), min_size=layers, max_size=layers)))
    event(f"recurrent: {cell}")
    return live(
        problems.recurrent_problem,
        draw(seeds()),
        cell,
        (*sizes, draw(st.integers(2, 3))),
        draw(st.integers(*steps)),
        draw(st.integers(1, 2)),
        draw(st.sampled_from(LOSSES)),
        dtype,
    )


@st.composite
def adaptive_networks(
    draw: st.DrawFn,
    schemes: Sequence[str] = ("official", "paper", "eprop"),
    trained: Sequence[str] | None = None,
    steps: tuple[int, int] = (10, 30),
) -> Problem:
    """Adaptive spiking neurons of each scheme and divisor, with refractory periods and delays.

    Parameters
    ----------
    draw : callable
        Given by hypothesis.
    schemes : sequence of str
        To choose from.
    trained : sequence of str, optional
        Constants of the neuron that are parameters; all by default.
    steps : tuple of int
        Least and largest.

    Returns
    -------
    Problem
    """
    options = {} if trained is None else {"trained": tuple(trained)}
    scheme = draw(st.sampled_from(list(schemes)))
    event(f"adaptive: {scheme}")
    return live(
        adaptive_problems.adaptive_problem,
        draw(seeds()),
        scheme,
        draw(st.sampled_from(["threshold", "baseline"])),
        draw(st.integers(2, 5)),
        draw(st.integers(*steps)),
        draw(st.integers(1, 2)),
        draw(st.integers(0, 4)),
        draw(st.integers(1, 4)),
        draw(st.booleans()),
        **options,
    )


@st.composite
def attentive_networks(
    draw: st.DrawFn, steps: tuple[int, int] = (8, 14), survivors: tuple[int, int] = (2, 4)
) -> Problem:
    """Networks that read their own past, of each score, cell and read-out.

    Parameters
    ----------
    draw : callable
        Given by hypothesis.
    steps, survivors : tuple of int
        Least and largest T and k_top.

    Returns
    -------
    Problem
    """
    return live(
        adaptive_problems.attentive_problem,
        draw(seeds()),
        (draw(st.integers(1, 3)), draw(st.integers(2, 4)), draw(st.integers(2, 3))),
        draw(st.integers(*steps)),
        draw(st.integers(1, 2)),
        draw(st.integers(*survivors)),
        draw(st.integers(1, 2)),
        draw(st.sampled_from([None, 1, 2, 3, 5])),
        cell=draw(st.sampled_from(["lstm", "tanh"])),
        sparsifier=draw(st.sampled_from(["paper", "dev"])),
        readout=draw(st.sampled_from(["all", "last"])),
    )


@st.composite
def convergent_networks(draw: st.DrawFn, families: Sequence[str] = tuple(problems.FAMILIES)) -> Problem:
    """Energy-based and prototypical networks that settle.

    Parameters
    ----------
    draw : callable
        Given by hypothesis.
    families : sequence of str
        To choose from.

    Returns
    -------
    Problem
    """
    family = draw(st.sampled_from(list(families)))
    sizes = tuple(draw(st.lists(st.integers(2, 5), min_size=3, max_size=4)))
    event(f"convergent: {family}, {len(sizes)} layers")
    return live(problems.convergent_problem, draw(seeds()), family, sizes, draw(st.integers(1, 3)))


@st.composite
def graph_networks(
    draw: st.DrawFn,
    spaces: Sequence[tuple[tuple[float, int], ...]] = SPACES,
    layers: tuple[int, int] = (1, 2),
) -> Problem:
    """Spiking graph networks on spaces of each curvature and products of them, with each tangent.

    Parameters
    ----------
    draw : callable
        Given by hypothesis.
    spaces : sequence
        Of (curvature, dimension) a factor, to choose from.
    layers : tuple of int
        Least and largest.

    Returns
    -------
    Problem
    """
    neuron = SpikingNeuron(
        leak=draw(st.sampled_from([1.0, 0.8])),
        threshold=0.3,
        reset=draw(st.sampled_from(["soft", "hard"])),
        detach_reset=draw(st.booleans()),
        fires=">",
    )
    tangent, space = draw(st.sampled_from(TANGENTS)), draw(st.sampled_from(list(spaces)))
    curved = any(kappa for kappa, _ in space)
    event(f"graph: {tangent}")
    return live(
        graph_problem,
        draw(seeds()),
        space,
        tangent,
        draw(st.integers(4, 9)),
        draw(st.integers(*layers)),
        draw(st.integers(2, 5)),
        neuron,
        learn_curvature=curved and draw(st.booleans()),
    )
