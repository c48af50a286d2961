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
from refsnn.vectors.kinds.equilibrium_network_by_hand import Network, State, slope
from refsnn.vectors.kinds.every_direction import derivatives

Arrays = dict[str, Any]


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
    x, y = inputs["input"], inputs["targets"]
    free = network.settle(p, network.zeros(len(x)), x, given["free_steps"])
    leaves = {f"states/free/layer.{n}": array for n, array in enumerate(free)}
    leaves["loss"] = np.asarray(network.loss(p, free, y))
    return leaves | RULES[given["algorithm"]](network, p, x, y, free)


def _of_couplings(p: Arrays) -> list[str]:
    return [name for name in p if name.startswith("coupling")]


def _products(network: Network, p: Arrays, s: State, x: Any) -> Arrays:
    """dPhi/dtheta, of a complex state by its real and its imaginary part."""
    names = _of_couplings(p)
    if not np.iscomplexobj(s[0]):
        return derivatives(lambda moved: network.primitive(moved, s, x), p, names)
    # Phi is linear in theta: its derivative at a complex state is the value at a unit vector
    found = {}
    for name in names:
        found[name] = np.empty(p[name].shape, complex)
        for index in np.ndindex(p[name].shape):
            unit = {other: np.zeros_like(array) for other, array in p.items()}
            unit[name][index] = 1
            found[name][index] = network.primitive(unit, s, x)
    return found


def _readout(network: Network, p: Arrays, nudged: list[State], y: Any) -> Arrays:
    """dl/dtheta of a read-out, a mean over the nudged states."""
    names = [name for name in p if name.startswith("readout")]
    if not names:
        return {}
    each = []
    for s in nudged:

        def loss(moved: Arrays, s: State = s) -> Any:
            return network.loss(moved, s, y)

        each.append(derivatives(loss, p, names))
    return {name: np.mean([one[name] for one in each], axis=0) for name in names}


def _scale(network: Network, beta: Any, batch: int, sides: int) -> Any:
    """What a contrast is divided by."""
    made = network.made
    beta = 1.0 if "no-beta" in made else beta
    return beta * (1 if "no-batch" in made else batch) * (1 if "no-two" in made else sides)


def _nudged(network: Network, p: Arrays, x: Any, y: Any, free: State) -> list[State]:
    """Ends of the nudged phases: +beta, and -beta if symmetric."""
    given = network.given
    ends = [network.settle(p, free, x, given["nudged_steps"], y, given["nudge"])]
    if given["symmetric"]:
        start = ends[0] if "second-from-first" in network.made else free
        ends.append(network.settle(p, start, x, given["nudged_steps"], y, -given["nudge"]))
    return ends


def _states(ends: list[State]) -> Leaves:
    phases = ("nudged", "opposite")
    return {f"states/{phases[k]}/layer.{n}": a for k, end in enumerate(ends) for n, a in enumerate(end)}


def _contrast(network: Network, p: Arrays, x: Any, y: Any, free: State) -> Leaves:
    """(E7)."""
    ends = _nudged(network, p, x, y, free)
    before = ends[1] if len(ends) > 1 else free
    after, earlier = _products(network, p, ends[0], x), _products(network, p, before, x)
    scale = _scale(network, network.given["nudge"], len(x), len(ends))
    gradients = {name: -(after[name] - earlier[name]) / scale for name in after}
    read = [free] if "readout-at-free" in network.made else ends
    gradients |= _readout(network, p, read, y)
    return _states(ends) | _gradients(gradients)


def _gradients(found: Arrays) -> Leaves:
    return {f"gradients/{name}": value for name, value in found.items()}


def _holomorphic(network: Network, p: Arrays, x: Any, y: Any, free: State) -> Leaves:
    given, made = network.given, network.made
    before = _products(network, p, free, x)
    total: Arrays = dict.fromkeys(before, 0.0)
    for k in range(given["points"]):
        point = given["nudge"] * np.exp(2j * np.pi * k / given["points"])
        end = network.settle(p, free, x, given["nudged_steps"], y, point)
        end = [array.conj() for array in end] if "conjugated" in made else [0j + array for array in end]
        after = _products(network, p, end, x)
        divisor = (given["nudge"] if "radius-for-point" in made else point) * len(x)
        divisor = divisor * (1 if "no-points" in made else given["points"])
        total = {name: total[name] + (after[name] - before[name]) / divisor for name in total}
    return _gradients({name: -value.real for name, value in total.items()})


def _continual(network: Network, p: Arrays, x: Any, y: Any, free: State) -> Leaves:
    given, made = network.given, network.made
    theta, s = dict(p), free
    total: Arrays = dict.fromkeys(p, 0.0)
    for _ in range(given["nudged_steps"]):
        after = network.step(theta, s, x, network.force(theta, s, y, given["nudge"]))
        before = free if "contrast-from-free" in made else s
        late, early = _products(network, theta, after, x), _products(network, theta, before, x)
        scale = _scale(network, given["nudge"], len(x), 1)
        for name in late:
            update = (late[name] - early[name]) / scale
            total[name] = total[name] + update
            if "parameters-held" not in made:
                theta[name] = theta[name] + given["learning_rate"] * update
        s = after
    learned = {f"learned/{name}": value for name, value in theta.items()}
    return learned | _gradients({name: -value for name, value in total.items()})


def _vector_field(network: Network, p: Arrays, x: Any, y: Any, free: State) -> Leaves:
    """(E21): derivatives of motion times what arrives."""
    made = network.made
    ends = _nudged(network, p, x, y, free)
    moved = [a - b for a, b in zip(ends[0], ends[1] if len(ends) > 1 else free, strict=True)]
    read = ends[0] if "reads-nudged" in made else free
    rates = [*(network.rate(n, array) for n, array in enumerate(read)), network.input_rate(x)]
    if "slope-in-update" in made:
        u = network.potentials(p, rates)
        moved = [m * slope(network.name, a) for m, a in zip(moved, u, strict=True)]

    def heard(theta: Arrays) -> Any:
        u = network.potentials(theta, rates)
        return sum((m * a).sum(axis=(-2, -1)) for m, a in zip(moved, u, strict=True))

    names, scale = _of_couplings(p), _scale(network, network.given["nudge"], len(x), len(ends))
    found = derivatives(heard, p, names)
    return _states(ends) | _gradients({name: -value / scale for name, value in found.items()})


def _jacobian(network: Network, p: Arrays, s: State, x: Any) -> np.ndarray:
    """dF/ds of each sample, (B, D, D), by complex step."""
    whole = np.concatenate(s, axis=-1)
    cuts = np.cumsum([array.shape[-1] for array in s])[:-1]
    columns = []
    for unit in range(whole.shape[-1]):
        moved = whole + 1e-30j * (np.arange(whole.shape[-1]) == unit)
        after = network.step(p, np.split(moved, cuts, axis=-1), x)
        columns.append(np.concatenate(after, axis=-1).imag / 1e-30)
    return np.stack(columns, axis=-1)


def _nonconservative(network: Network, p: Arrays, x: Any, y: Any, free: State) -> Leaves:
    given, made = network.given, network.made
    cuts = np.cumsum([array.shape[-1] for array in free])[:-1]
    steady, jacobian = np.concatenate(free, axis=-1), _jacobian(network, p, free, x)
    turned = np.swapaxes(jacobian, -1, -2) - jacobian
    turned = 0 * turned if "uncorrected" in made else -turned if "correction-sign" in made else turned
    ends = []
    for nudge in (given["nudge"], -given["nudge"])[: 2 if given["symmetric"] else 1]:
        s = free
        for _ in range(given["nudged_steps"]):
            after = network.step(p, s, x, network.force(p, s, y, nudge))
            extra = np.einsum("bij,bj->bi", turned, np.concatenate(s, axis=-1) - steady)
            s = [a + b for a, b in zip(after, np.split(extra, cuts, axis=-1), strict=True)]
        ends.append(s)
    epsilon = 1.0 if "no-epsilon" in made else network.epsilon
    scale = _scale(network, given["nudge"], len(x), len(ends)) * epsilon
    motion = [a - b for a, b in zip(ends[0], ends[1] if len(ends) > 1 else free, strict=True)]

    def pushed(theta: Arrays) -> Any:
        after = network.step(theta, free, x)
        return sum((m * a).sum(axis=(-2, -1)) for m, a in zip(motion, after, strict=True))

    found = derivatives(pushed, p, _of_couplings(p))
    return _gradients({name: -value / scale for name, value in found.items()})


def _bptt(network: Network, p: Arrays, x: Any, y: Any, free: State) -> Leaves:
    """(E4): the last K steps are seen by the gradient."""
    given = network.given
    start = network.settle(p, network.zeros(len(x)), x, given["free_steps"] - given["nudged_steps"])

    def last(theta: Arrays) -> Any:
        return network.loss(theta, network.settle(theta, start, x, given["nudged_steps"]), y)

    return _gradients(derivatives(last, p, list(p)))


def _recurrent(network: Network, p: Arrays, x: Any, y: Any, free: State) -> Leaves:
    """Lambda_K by a dense Jacobian, and (dF/dtheta)^T Lambda_K by complex step."""
    made = network.made
    jacobian = _jacobian(network, p, free, x)
    back = jacobian if "not-transposed" in made else np.swapaxes(jacobian, -1, -2)
    source = np.zeros((len(x), back.shape[-1]))
    names = {f"s.{n}": array for n, array in enumerate(free)}
    by_state = derivatives(
        lambda s: network.loss(p, [s[f"s.{n}"] for n in range(len(free))], y), names, ["s.0"]
    )
    source[:, : free[0].shape[-1]] = by_state["s.0"]
    adjoint = source
    for _ in range(network.given["nudged_steps"] - 1):
        adjoint = source + np.einsum("bij,bj->bi", back, adjoint)
    cuts = np.cumsum([array.shape[-1] for array in free])[:-1]
    parts = np.split(adjoint, cuts, axis=-1)

    def pushed(theta: Arrays) -> Any:
        after = network.step(theta, free, x)
        through = sum((m * a).sum(axis=(-2, -1)) for m, a in zip(parts, after, strict=True))
        return through + (network.loss(theta, free, y) if network.given["readout"] else 0)

    found = {f"adjoint/layer.{n}": part for n, part in enumerate(parts)}
    return found | _gradients(derivatives(pushed, p, list(p)))


def _processes(network: Network, p: Arrays, x: Any, y: Any, free: State) -> Leaves:
    """(E6), step by step."""
    given = network.given
    s, found = free, []
    scale = _scale(network, given["nudge"], len(x), 1)
    for _ in range(given["nudged_steps"]):
        after = network.step(p, s, x, network.force(p, s, y, given["nudge"]))
        epsilon = 1.0 if "no-epsilon" in network.made else network.epsilon
        late, early = _products(network, p, after, x), _products(network, p, s, x)
        entry = {
            f"layer.{n}": (a - b) / scale / epsilon for n, (a, b) in enumerate(zip(after, s, strict=True))
        }
        found.append(entry | {name: (late[name] - early[name]) / scale for name in late})
        s = after
    stacked = {name: np.stack([entry[name] for entry in found]) for name in found[0]}
    leaves = {f"updates/{name}": value for name, value in stacked.items()}
    return _states([s]) | leaves | _gradients({n: -stacked[n].sum(axis=0) for n in _of_couplings(p)})


RULES: dict[str, Callable[[Network, Arrays, Any, Any, State], Leaves]] = {
    "contrast": _contrast,
    "holomorphic": _holomorphic,
    "continual": _continual,
    "vector-field": _vector_field,
    "non-conservative": _nonconservative,
    "bptt": _bptt,
    "recurrent-backpropagation": _recurrent,
    "step-by-step": _processes,
}
