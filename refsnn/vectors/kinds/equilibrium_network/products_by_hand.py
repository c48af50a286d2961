"""What learning rules of convergent networks are made of: products, all of them as derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refsnn.vectors.case import Leaves
from refsnn.vectors.kinds.equilibrium_network.by_hand import Arrays, Network, State, slope
from refsnn.vectors.kinds.every_direction import derivatives

LIMIT = 1e-30  # how large an imaginary nudge is


def of_couplings(p: Arrays) -> list[str]:
    """Names of the parameters of couplings."""
    return [name for name in p if name.startswith("coupling")]


def products(network: Network, p: Arrays, s: State, x: Any, at: State | None = None) -> Arrays:
    """dPhi/dtheta; `at` is the state whose pooling maxima are taken."""
    names = of_couplings(p)
    if not np.iscomplexobj(s[0]):
        return derivatives(lambda moved: network.primitive(moved, s, x, at), p, names)
    # Phi is linear in theta: its derivative at a complex state is the value at the unit vectors
    found = {}
    for name in names:
        size, shape = p[name].size, p[name].shape
        units = {other: np.zeros((size, *array.shape)) for other, array in p.items()}
        units[name] = np.eye(size).reshape(size, *shape)
        found[name] = network.primitive(units, s, x).reshape(shape)
    return found


def field(network: Network, p: Arrays, moved: State, read: State, x: Any) -> Arrays:
    """Derivatives of <motion, u> by the parameters: motion times what arrives."""
    rates = network.rates(read, x)
    if "slope-in-update" in network.made:
        u = network.potentials(p, rates)
        moved = [m * slope(network.name, a) for m, a in zip(moved, u, strict=True)]
    return pulled(lambda theta: network.potentials(theta, rates), p, moved)


def by_step(network: Network, p: Arrays, motion: State, steady: State, x: Any) -> Arrays:
    """(dF/dtheta)^T of a motion, at the steady state."""
    if "products-without-slope" in network.made:
        return field(network, p, [network.epsilon * m for m in motion], steady, x)
    return pulled(lambda theta: network.step(theta, steady, x), p, motion)


def pulled(function: Callable[[Arrays], State], p: Arrays, motion: State) -> Arrays:
    """Derivatives of <motion, f(theta)>, by real and imaginary part of the motion."""

    def derived(part: State) -> Arrays:
        def inner(theta: Arrays) -> Any:
            return sum((m * a).sum(axis=(-2, -1)) for m, a in zip(part, function(theta), strict=True))

        return derivatives(inner, p, of_couplings(p))

    real = derived([np.real(m) for m in motion])
    if not np.iscomplexobj(motion[0]):
        return real
    imaginary = derived([np.imag(m) / LIMIT for m in motion])
    return {name: real[name] + 1j * LIMIT * imaginary[name] for name in real}


def readout_slopes(network: Network, p: Arrays, s: State, y: Any) -> Arrays:
    """dl/dtheta of a read-out at a state, a mean over the batch."""
    names = [name for name in p if name.startswith("readout")]
    if not names:
        return {}
    if not np.iscomplexobj(s[0]):
        return derivatives(lambda moved: network.loss(moved, s, y), p, names)
    # l is analytic in theta: Cauchy's formula on 16 points of a circle, where states are complex themselves
    points, radius = 16, 0.05
    circle = radius * np.exp(2j * np.pi * np.arange(points) / points)
    found = {}
    for name in names:
        found[name] = np.empty(p[name].shape, complex)
        for index in np.ndindex(p[name].shape):
            moved = np.array(p[name] * np.ones((points, *(1,) * p[name].ndim)), complex)
            moved[(slice(None), *index)] += circle
            # the batch is the axis before the last, points stand in front of it
            lifted = {other: array[None] for other, array in p.items()} | {name: moved}
            found[name][index] = (network.loss(lifted, s, y) / circle).mean()
    return found


def readout(network: Network, p: Arrays, nudged: list[State], y: Any) -> Arrays:
    """dl/dtheta of a read-out, a mean over the nudged states."""
    each = [readout_slopes(network, p, s, y) for s in nudged]
    return {name: np.mean([one[name] for one in each], axis=0) for name in each[0]}


def readout_change(network: Network, p: Arrays, after: State, s: State, y: Any, first: bool) -> Arrays:
    """Minus the change of dl/dtheta in one nudged step; the free phase does not feel it."""
    late, early = readout_slopes(network, p, after, y), readout_slopes(network, p, s, y)
    whole = first and "readout-from-free" not in network.made
    return {name: -late[name] if whole else early[name] - late[name] for name in late}


def scale(network: Network, beta: Any, batch: int, sides: int) -> Any:
    """What a contrast is divided by."""
    made = network.made
    beta = 1.0 if "no-beta" in made else beta
    return beta * (1 if "no-batch" in made else batch) * (1 if "no-two" in made else sides)


def nudge_of(network: Network) -> Any:
    """beta, or i beta."""
    beta = network.given["nudge"]
    return 1j * beta if network.given.get("imaginary", False) else beta


def gradients(found: Arrays) -> Leaves:
    """As leaves, the real part of what an imaginary nudge gives."""
    return {f"gradients/{name}": np.real(value) for name, value in found.items()}
