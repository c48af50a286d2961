"""The exact solution of a NIR neuron whose input changes only at the ends of steps.

    tau dv/dt = v_leak - v + r x    within a step:  v(t) = e + (v_0 - e) exp(-t/tau),    e = v_leak + r x
    it reaches the threshold at                     t = tau log((e - v_0) / (e - v_threshold)),  if e > it
    and goes to v_reset there, as often as it does so within the step.

No step size enters but through the input.  At the crossing v is the threshold itself, so that a reset by
subtraction of v_threshold - v_reset is the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.nir.nodes import Node

_MOST_SPIKES = 10_000  # in one step


@dataclass(frozen=True)
class ExactSolution:
    """Potential at the ends of steps, and when the neuron fired.

    Attributes
    ----------
    potential : ndarray, (T,)
        v at the end of each step.
    spikes : ndarray, (T,)
        Spikes within each step, from its beginning (not included) to its end (included).
    times : ndarray
        Of the spikes, in seconds.
    """

    potential: np.ndarray
    spikes: np.ndarray
    times: np.ndarray


def exact_solution(node: Node, drive: Any, dt: float, start: float | None = None) -> ExactSolution:
    """Solve the equation of one LIF neuron in closed form.

    Parameters
    ----------
    node : Node
        An LIF with one neuron.
    drive : array_like, (T,)
        What arrives in each step, constant within it.
    dt : float
        Length of a step in seconds.
    start : float, optional
        v at time 0; v_reset by default.

    Returns
    -------
    ExactSolution

    Raises
    ------
    TypeError, ValueError
        For another kind of node, or more than one neuron; for a neuron that fires more than ten thousand
        times in a step.

    Examples
    --------
    >>> node = Node("LIF", {"tau": [1.0], "r": [1.0], "v_leak": [0.0], "v_threshold": [1.0]})
    >>> solution = exact_solution(node, [2.0], 1.0)
    >>> solution.times.round(6), solution.potential.round(6)
    (array([0.693147]), array([0.528482]))
    """
    checks.instance("node", node, Node, "Node('LIF', {...})")
    if node.kind != "LIF" or node.values["r"].size != 1:
        raise ValueError(
            f"node: expected an LIF with one neuron, got {node.kind} with {node.values.get('r', ()).size}"
            if node.is_neuron
            else f"node: expected an LIF with one neuron, got {node.kind}"
        )
    dt = checks.number("dt", dt, 0, low_open=True)
    drive = checks.float_array("drive", np.asarray(drive, np.float64), ("T",))
    tau, r, rest, threshold, reset = (
        float(node.values[name].reshape(())) for name in ("tau", "r", "v_leak", "v_threshold", "v_reset")
    )
    v = reset if start is None else checks.number("start", start, high=threshold)
    potential, spikes, times = np.empty(len(drive)), np.zeros(len(drive)), []
    for step, x in enumerate(drive):
        limit, left = rest + r * float(x), dt
        while True:
            crossing = tau * math.log((limit - v) / (limit - threshold)) if limit > threshold else math.inf
            if crossing > left:
                break
            if spikes[step] >= _MOST_SPIKES:
                raise ValueError(
                    f"drive: expected at most {_MOST_SPIKES} spikes in a step, got more in step {step}; "
                    "take shorter steps"
                )
            left -= crossing
            times.append((step + 1) * dt - left)
            spikes[step] += 1
            v = reset
        v = limit + (v - limit) * math.exp(-left / tau)
        potential[step] = v
    return ExactSolution(potential, spikes, np.array(times))
