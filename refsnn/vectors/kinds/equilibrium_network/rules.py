"""Learning rules of convergent networks written out once more, with switches for mistakes.

Without switches this is the oracle.  It shares with the package the equations of a step, as a reader would
take them from the papers, and nothing else: Hebbian products are derivatives of Phi by complex step, adjoints
are derivatives of steps by complex step, Jacobians are dense.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refsnn.vectors.case import Leaves, Problem
from refsnn.vectors.kinds.equilibrium_network.by_hand import Arrays, Network, State
from refsnn.vectors.kinds.equilibrium_network.products_by_hand import (
    by_step,
    field,
    gradients,
    nudge_of,
    products,
    readout,
    scale,
)
from refsnn.vectors.kinds.equilibrium_network.steps_by_hand import (
    continual,
    corrected,
    corrected_processes,
    cut,
    jacobian,
    processes,
    start_of,
    steps_back,
)
from refsnn.vectors.kinds.every_direction import derivatives


def by_hand(problem: Problem) -> Leaves:
    """All leaves, with the mistakes that the hyper-parameters ``mistake.*`` name.

    Parameters
    ----------
    problem : Problem
        Of a case, float64.

    Returns
    -------
    dict of str to ndarray
    """
    given, inputs = problem.hyperparameters, problem.inputs
    network = Network(given)
    p = {name.removeprefix("parameters/"): a for name, a in inputs.items() if name.startswith("parameters/")}
    x, y = (inputs[name].reshape(len(inputs[name]), -1) for name in ("input", "targets"))
    network.start = [
        a.reshape(len(x), -1) for name, a in sorted(inputs.items()) if name.startswith("start/")
    ] or None
    start, steps, leaves = start_of(network, p, x), given["free_steps"], {}
    if given.get("tolerance", 0) and given["algorithm"] != "recurrent-backpropagation":
        free, steps = network.settle_to(p, start, x, steps, given["tolerance"])
        leaves["steps"] = np.asarray(steps)
        network.given = given | {"free_steps": steps}
    else:
        free = network.settle(p, start, x, steps)
    leaves |= {f"states/free/{name}": array for name, array in network.shaped(free).items()}
    leaves["loss"] = np.asarray(network.loss(p, free, y))
    if given["algorithm"] == "continual":
        p |= {
            f"rate/{name.removeprefix('learning_rates/')}": array.item()
            for name, array in inputs.items()
            if name.startswith("learning_rates/")
        }
    return leaves | RULES[given["algorithm"]](network, p, x, y, free)


def _nudged(network: Network, p: Arrays, x: Any, y: Any, free: State, steps: int) -> list[State]:
    """Ends of the nudged phases: +beta, and -beta if symmetric."""
    beta = nudge_of(network)
    ends = [network.settle(p, free, x, steps, y, beta)]
    if network.given["symmetric"]:
        start = ends[0] if "second-from-first" in network.made else free
        ends.append(network.settle(p, start, x, steps, y, -beta))
    return ends


def _states(network: Network, ends: list[State]) -> Leaves:
    if network.given.get("imaginary", False):
        return {}  # they are the free state, and what the nudge moves is far below its last digit
    phases = ("nudged", "opposite")
    return {
        f"states/{phases[k]}/{name}": array
        for k, end in enumerate(ends)
        for name, array in network.shaped(end).items()
    }


def _contrast(network: Network, p: Arrays, x: Any, y: Any, free: State) -> Leaves:
    """(E7)."""
    given = network.given
    ends = _nudged(network, p, x, y, free, given["nudged_steps"])
    places: list[State | None] = [None, None]
    if given.get("stale_index", False):
        late = _nudged(network, p, x, y, free, given["nudged_steps"] - 1)
        early = network.settle(p, start_of(network, p, x), x, given["free_steps"] - 1)
        places = [late[0], late[1] if given["symmetric"] else early]
    before = ends[1] if len(ends) > 1 else free
    after = products(network, p, ends[0], x, places[0])
    earlier = products(network, p, before, x, places[1])
    by = scale(network, nudge_of(network), len(x), len(ends))
    found = {name: -(after[name] - earlier[name]) / by for name in after}
    read = [free] if "readout-at-free" in network.made else ends
    return _states(network, ends) | gradients(found | readout(network, p, read, y))


def _holomorphic(network: Network, p: Arrays, x: Any, y: Any, free: State) -> Leaves:
    given, made = network.given, network.made
    before = products(network, p, free, x)
    total: Arrays = dict.fromkeys(before, 0.0)
    start, ends = free, []
    for k in range(given["points"]):
        point = given["nudge"] * np.exp(2j * np.pi * k / given["points"])
        end = network.settle(p, start, x, given["nudged_steps"], y, point)
        start = end if given.get("warm_start", False) else free
        end = [array.conj() for array in end] if "conjugated" in made else [0j + array for array in end]
        ends.append(end)
        after = products(network, p, end, x)
        divisor = (given["nudge"] if "radius-for-point" in made else point) * len(x)
        divisor = divisor * (1 if "no-points" in made else given["points"])
        total = {name: total[name] + (after[name] - before[name]) / divisor for name in total}
    read = [free] if "readout-at-free" in made else ends
    return gradients({name: -value for name, value in total.items()} | readout(network, p, read, y))


def _vector_field(network: Network, p: Arrays, x: Any, y: Any, free: State) -> Leaves:
    """(E21): derivatives of motion times what arrives."""
    made = network.made
    ends = _nudged(network, p, x, y, free, network.given["nudged_steps"])
    moved = [a - b for a, b in zip(ends[0], ends[1] if len(ends) > 1 else free, strict=True)]
    found = field(network, p, moved, ends[0] if "reads-nudged" in made else free, x)
    by = scale(network, nudge_of(network), len(x), len(ends))
    read = [free] if "readout-at-free" in made else ends
    found = {name: -value / by for name, value in found.items()} | readout(network, p, read, y)
    return _states(network, ends) | gradients(found)


def _nonconservative(network: Network, p: Arrays, x: Any, y: Any, free: State) -> Leaves:
    given, beta = network.given, nudge_of(network)
    sides = (beta, -beta)[: 2 if given["symmetric"] else 1]
    ends = [corrected(network, p, x, y, free, side)[-1] for side in sides]
    epsilon = 1.0 if "no-epsilon" in network.made else network.epsilon
    by = scale(network, beta, len(x), len(ends)) * epsilon
    motion = [a - b for a, b in zip(ends[0], ends[1] if len(ends) > 1 else free, strict=True)]
    found = {name: -value / by for name, value in by_step(network, p, motion, free, x).items()}
    read = [free] if "readout-at-free" in network.made else ends
    return gradients(found | readout(network, p, read, y))


def _bptt(network: Network, p: Arrays, x: Any, y: Any, free: State) -> Leaves:
    """(E4): the last K steps are seen by the gradient."""
    given = network.given
    start = network.settle(p, start_of(network, p, x), x, given["free_steps"] - given["nudged_steps"])

    def last(theta: Arrays) -> Any:
        return network.loss(theta, network.settle(theta, start, x, given["nudged_steps"]), y)

    return gradients(derivatives(last, p, list(p)))


def _recurrent(network: Network, p: Arrays, x: Any, y: Any, free: State) -> Leaves:
    """Lambda_K by a dense Jacobian, and (dF/dtheta)^T Lambda_K by complex step."""
    made, given = network.made, network.given
    at_it = jacobian(network, p, free, x)
    back = at_it if "not-transposed" in made else np.swapaxes(at_it, -1, -2)
    source = np.zeros((len(x), back.shape[-1]))
    names = {f"s.{n}": array for n, array in enumerate(free)}
    by_state = derivatives(
        lambda s: network.loss(p, [s[f"s.{n}"] for n in range(len(free))], y), names, ["s.0"]
    )
    source[:, : free[0].shape[-1]] = by_state["s.0"]
    adjoint, taken, tolerance = source, 1, given.get("tolerance", 0)
    while taken < given["nudged_steps"]:
        after = source + np.einsum("bij,bj->bi", back, adjoint)
        if tolerance and np.abs(after - adjoint).max() <= tolerance * np.abs(source).max():
            break
        adjoint, taken = after, taken + 1
    parts = cut(adjoint, free)

    def pushed(theta: Arrays) -> Any:
        after = network.step(theta, free, x)
        through = sum((m * a).sum(axis=(-2, -1)) for m, a in zip(parts, after, strict=True))
        direct = given["readout"] and "readout-forgotten" not in made
        return through + (network.loss(theta, free, y) if direct else 0)

    found = {f"adjoint/{name}": part for name, part in network.shaped(parts).items()}
    if tolerance:
        found["steps"] = np.asarray(taken)
    return found | gradients(derivatives(pushed, p, list(p)))


RULES: dict[str, Callable[[Network, Arrays, Any, Any, State], Leaves]] = {
    "contrast": _contrast,
    "holomorphic": _holomorphic,
    "continual": continual,
    "vector-field": _vector_field,
    "non-conservative": _nonconservative,
    "bptt": _bptt,
    "recurrent-backpropagation": _recurrent,
    "step-by-step": processes,
    "non-conservative-step-by-step": corrected_processes,
    "bptt-step-by-step": steps_back,
}
