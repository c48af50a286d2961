"""The algorithms that can be compared, each as a call of (graph, parameters, inputs, targets).

Those that learn at each step (`online`) need the loss at each step; the others take either.  What looks at
the reset takes it as the network says, `detach_reset`; only the two yardsticks choose for themselves.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isqrt
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.eprop import eprop
from refsnn.algorithms.forward_mode import rtrl
from refsnn.algorithms.memory_efficient_bptt import memory_efficient_bptt
from refsnn.algorithms.ottt import ottt
from refsnn.algorithms.rate_backpropagation import rate_backpropagation
from refsnn.algorithms.result import GradientResult
from refsnn.algorithms.sltt import sltt
from refsnn.algorithms.temporal_galerkin import temporal_galerkin
from refsnn.algorithms.truncated_bptt import truncated_bptt
from refsnn.models.edges import Edges
from refsnn.models.spiking_graph import SpikingGraph
from refsnn.schedules.frames import PolicySchedule
from refsnn.schedules.policies import HiddenStates

FULL, DETACHED = "bptt_full", "bptt_detached"
# One tangent a parameter and number of the state: above this, minutes and gigabytes.
RTRL_PARAMETERS = 1000

# (graph, parameters, inputs, targets, backend)
Run = Callable[[SpikingGraph, Any, Any, Any, str], GradientResult]


@dataclass(frozen=True)
class Contender:
    """One algorithm with its options.

    Attributes
    ----------
    name : str
        What it is asked for by.
    run : callable of (graph, parameters, inputs, targets, backend)
        Gives a GradientResult, always the same one.
    online : bool
        Whether it needs the loss at each step.
    """

    name: str
    run: Run
    online: bool = False


def _resets(graph: SpikingGraph, live: bool) -> SpikingGraph:
    """All edges of time but perhaps the resets, whatever the network's own switches say."""
    return replace(graph, edges=Edges(reset=live))


def _rtrl(graph: SpikingGraph, parameters: Any, inputs: Any, targets: Any, backend: str) -> GradientResult:
    numbers = sum(value.size for value in parameters.values())
    if numbers > RTRL_PARAMETERS:
        raise ValueError(
            f"parameters: expected at most {RTRL_PARAMETERS} numbers for forward mode, which carries one "
            f"tangent for each, got {numbers}; take a smaller network"
        )
    return rtrl(graph, parameters, inputs, targets)


def _ottt(preset: str) -> Run:
    return lambda graph, p, x, y, backend: ottt(graph, p, x, y, preset=preset, backend=backend)


def _rate(mode: str) -> Run:
    return lambda graph, p, x, y, backend: rate_backpropagation(
        graph, p, x, y, mode=mode, scale="bptt", backend=backend
    )


_FIXED = {
    contender.name: contender
    for contender in (
        Contender(FULL, lambda g, p, x, y, backend: bptt(_resets(g, True), p, x, y, backend=backend)),
        Contender(DETACHED, lambda g, p, x, y, backend: bptt(_resets(g, False), p, x, y, backend=backend)),
        Contender("rate_multi_step", _rate("multi_step")),
        Contender("rate_single_step", _rate("single_step")),
        Contender("rtrl", _rtrl),
        Contender("ottt_paper", _ottt("paper"), online=True),
        Contender("ottt_official_code", _ottt("official_code"), online=True),
        Contender("ottt_exact_local", _ottt("exact_local"), online=True),
        Contender("ndot", _ottt("ndot"), online=True),
        Contender("sltt", lambda g, p, x, y, backend: sltt(g, p, x, y, backend=backend), online=True),
        Contender("eprop", lambda g, p, x, y, backend: eprop(g, p, x, y, backend=backend), online=True),
    )
}


def _truncated(window: int, rng: np.random.Generator) -> Contender:
    def run(graph: SpikingGraph, p: Any, x: Any, y: Any, backend: str) -> GradientResult:
        if window > len(x):
            raise ValueError(f"window: expected at most T = {len(x)}, got {window}; W = T is BPTT already")
        return truncated_bptt(graph, p, x, y, window=window, backend=backend)

    return Contender(f"truncated_{window}", run)


def _galerkin(modes: int, rng: np.random.Generator) -> Contender:
    return Contender(
        f"galerkin_{modes}",
        lambda g, p, x, y, backend: temporal_galerkin(g, p, x, y, n_modes=modes, backend=backend),
    )


def _sltt(learning_steps: int, rng: np.random.Generator) -> Contender:
    def run(graph: SpikingGraph, p: Any, x: Any, y: Any, backend: str) -> GradientResult:
        draws = copy.deepcopy(rng)  # each call learns at the same steps
        return sltt(graph, p, x, y, learning_steps=learning_steps, rng=draws, backend=backend)

    return Contender(f"sltt_{learning_steps}", run, online=True)


def _checkpointed(states: int, rng: np.random.Generator) -> Contender:
    def run(graph: SpikingGraph, p: Any, x: Any, y: Any, backend: str) -> GradientResult:
        schedule = PolicySchedule(HiddenStates(), len(x), min(states, len(x) - 1))
        return memory_efficient_bptt(graph, p, x, y, schedule=schedule, backend=backend)

    return Contender(f"checkpointed_{states}", run)


_NUMBERED = {
    "truncated": _truncated, "galerkin": _galerkin, "sltt": _sltt, "checkpointed": _checkpointed,
}  # fmt: skip
NAMES = (*_FIXED, "truncated_W", "galerkin_K", "sltt_K", "checkpointed_M")


def default_names(steps: int) -> tuple[str, ...]:
    """The algorithms of a table, for so many steps.

    Parameters
    ----------
    steps : int
        T; the window of truncated BPTT and the K of SLTT-K are half of it, and checkpointed BPTT keeps about
        sqrt(T) states.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> default_names(8)[:4]
    ('bptt_full', 'bptt_detached', 'checkpointed_2', 'truncated_4')
    """
    half = max(1, checks.count("steps", steps) // 2)
    return (
        *(FULL, DETACHED, f"checkpointed_{isqrt(steps)}", f"truncated_{half}"),
        *("rate_multi_step", "rate_single_step", "galerkin_2", "galerkin_4", "rtrl"),
        *("ottt_paper", "ottt_official_code", "ottt_exact_local", "ndot", "sltt", f"sltt_{half}", "eprop"),
    )


def contenders(names: Sequence[str], rng: np.random.Generator) -> list[Contender]:
    """The algorithms of these names.

    Parameters
    ----------
    names : sequence of str
        Among `NAMES`, with a number for W (window, steps), K (modes, steps that learn) and M (states kept).
    rng : numpy.random.Generator
        Draws the steps of SLTT-K; it is not moved on.

    Returns
    -------
    list of Contender

    Raises
    ------
    TypeError, ValueError
        For unknown names, the same name twice, or none.

    Examples
    --------
    >>> [contender.online for contender in contenders(["galerkin_2", "sltt"], np.random.default_rng(0))]
    [False, True]
    """
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"algorithms: expected a sequence of names, got {names!r}")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"algorithms: expected at least one name, each once, got {list(names)}")
    found = []
    for name in names:
        numbered = re.fullmatch(r"(truncated|galerkin|sltt|checkpointed)_([1-9][0-9]{0,8})", name)
        if name in _FIXED:
            found.append(_FIXED[name])
        elif numbered:
            found.append(_NUMBERED[numbered[1]](int(numbered[2]), rng))
        else:
            raise ValueError(
                f"algorithms: expected names among {', '.join(NAMES)} (with numbers for W, K and M), got "
                f"{name!r}"
            )
    return found
