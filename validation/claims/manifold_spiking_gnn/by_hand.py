"""The network written down a second time: dense matrices, textbook maps, loops over blocks and steps.

As printed, x = Ahat s W: weights are (pre, post) here.  Every parameter may have an axis of runs in front, and
may be complex; nothing is shared with the package.  Spikes are steps, constants of a nominal run ("frozen"),
or affine about it, s = s0 + psi(V0) (V - V0): then the true derivative is that of surrogate gradients, to the
last digit.  Curvatures are cosines and hyperbolic cosines of sqrt|kappa| |v|, one formula for each sign, and
<v, v> is taken of the vector that has been transported.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Neuron:
    """beta, gain, theta; how it compares and resets; sigma' = height 4 s (1 - s), s the sigmoid of alpha u."""

    beta: float = 1.0
    gain: float = 1.0
    threshold: float = 0.3
    reset: str = "soft"
    compare: str = ">"
    detached: bool = True
    alpha: float = 4.0
    height: float = 1.0


@dataclass(frozen=True)
class Setting:
    """What no derivative is taken by.

    `factors` are pairs (kappa, stored width); `adjacencies` dense, one a block; `masks` one a block, None,
    (N, D) or (T, N, D); `loss` takes curvatures, this, a run and parameters; `step` and `logarithm` stand for
    other maps than the exact ones.
    """

    factors: tuple[tuple[float, int], ...]
    tangent: str
    steps: int
    step_size: float
    neuron: Neuron
    features: np.ndarray
    adjacencies: tuple[np.ndarray, ...]
    masks: tuple[Any, ...]
    loss: Any = field(repr=False)
    step: Any = None
    logarithm: Any = None


@dataclass
class Run:
    """Of each block: potentials and spikes (runs, T, N, D), currents, drives and points (runs, N, D)."""

    potentials: list[np.ndarray] = field(default_factory=list)
    spikes: list[np.ndarray] = field(default_factory=list)
    currents: list[np.ndarray] = field(default_factory=list)
    drives: list[np.ndarray] = field(default_factory=list)
    points: list[np.ndarray] = field(default_factory=list)
    margin: float = np.inf  # of the blocks whose spikes are used
    loss: Any = None


def adjacency(nodes: int, sources: Any, targets: Any) -> np.ndarray:
    """diag(deg^-1/2) A diag(deg^-1/2), with a loop at each node that has none."""
    counts = np.zeros((nodes, nodes))
    for source, target in zip(sources, targets, strict=True):
        counts[target, source] += 1
    for node in range(nodes):
        if counts[node, node] == 0:
            counts[node, node] = 1
    degrees = [sum(row) for row in counts]
    return np.array(
        [[counts[i, j] / np.sqrt(degrees[i] * degrees[j]) for j in range(nodes)] for i in range(nodes)]
    )


# -- geometry -------------------------------------------------------------------------------------------


def hyperbolic(kappa: Any) -> bool:
    """Whether kappa, or that of all runs, is negative."""
    return bool(np.all(np.real(kappa) < 0))


def inner(kappa: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """<a, b>, with the first product subtracted on the hyperboloid."""
    total = (a * b).sum(axis=-1, keepdims=True)
    return total - 2 * (a * b)[..., :1] if hyperbolic(kappa) else total


def exponential(kappa: Any, z: np.ndarray, v: np.ndarray) -> np.ndarray:
    """cosh(r) z + sinh(r)/r v with r = |v| / R, or the same with cosine and sine."""
    if np.all(kappa == 0):
        return z + v
    sign = -1 if hyperbolic(kappa) else 1
    square = -kappa * inner(kappa, v, v)
    r = np.sqrt(-sign * square + 0j)  # imaginary for a time-like v
    safe = np.where(np.abs(square) < 0.1, 1, r)
    cosine, sine = (np.cosh(safe), np.sinh(safe)) if sign < 0 else (np.cos(safe), np.sin(safe))
    even, odd = powers(square)
    cosine = np.where(np.abs(square) < 0.1, even, cosine)
    ratio = np.where(np.abs(square) < 0.1, odd, sine / safe)
    moved = cosine * z + ratio * v
    return moved if np.iscomplexobj(z) or np.iscomplexobj(v) or np.iscomplexobj(kappa) else moved.real


def powers(square: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """cosh(r) and sinh(r)/r as series in r^2: near 0 the slopes of the closed forms cancel."""
    even = sum((square**n / math.factorial(2 * n) for n in range(10)), np.zeros_like(square))
    odd = sum((square**n / math.factorial(2 * n + 1) for n in range(10)), np.zeros_like(square))
    return even, odd


def tangent_vector(mode: str, kappa: Any, z: np.ndarray, u: np.ndarray, o: np.ndarray) -> np.ndarray:
    """u; its projection at z; or what its projection at o becomes on the way to z."""
    if mode == "ambient" or np.all(kappa == 0):
        return u
    if mode == "project":
        return u - kappa * inner(kappa, z, u) * z
    w = np.concatenate([0 * u[..., :1], u[..., 1:]], axis=-1)
    return w - kappa * inner(kappa, z, w) / (1 + kappa * inner(kappa, o, z)) * (o + z)


def origin(kappa: Any, width: int) -> np.ndarray:
    """(R, 0, ..), the south pole, or 0."""
    unit = np.eye(width)[0]
    if np.all(kappa == 0):
        return 0 * unit
    return unit / np.sqrt(-kappa) if hyperbolic(kappa) else -unit / np.sqrt(kappa)


def origin_logarithm(kappa: Any, z: np.ndarray) -> np.ndarray:
    """The vector at o that leads to z, without its first coordinate, which is 0."""
    if np.all(kappa == 0):
        return z
    y, z0 = z[..., 1:], z[..., :1]
    rho = np.sqrt((y * y).sum(axis=-1, keepdims=True))
    rho = np.where(rho == 0, 1e-200, rho)
    if hyperbolic(kappa):
        length = np.arcsinh(np.sqrt(-kappa) * rho) / np.sqrt(-kappa)
    else:
        length = _arctangent(rho, -z0) / np.sqrt(kappa)
    return np.concatenate([0 * z0, length / rho * y], axis=-1)


def _arctangent(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The angle of (x, y) for y >= 0."""
    steep = np.abs(y) > np.abs(x)
    safe_x, safe_y = np.where(steep, 1, x), np.where(steep, y, 1)
    flat = np.arctan(y / safe_x) + np.pi * (np.real(x) < 0)
    return np.where(steep, np.pi / 2 - np.arctan(x / safe_y), flat)


def distance(kappa: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """2 R asinh(c / 2R), 2 R asin(c / 2R) or c, of the chord c."""
    chord = np.sqrt(inner(kappa, x - y, x - y))
    if np.all(kappa == 0):
        return chord
    if hyperbolic(kappa):
        root = np.sqrt(-kappa)
        return 2 / root * np.arcsinh(root * chord / 2)
    return 2 / np.sqrt(kappa) * np.arcsin(np.sqrt(kappa) * chord / 2)


def split(factors: Any, points: np.ndarray) -> list[np.ndarray]:
    """The columns of each factor."""
    edges = np.cumsum([width for _, width in factors])[:-1]
    return np.split(points, edges, axis=-1)


# -- losses ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Classes:
    """Mean cross-entropy of the nodes."""

    labels: np.ndarray
    nodes: np.ndarray
    head: str = "manifold"

    def __call__(self, kappas: list, setting: Setting, run: Run, parameters: Arrays) -> Any:
        weight = np.swapaxes(parameters["readout.weight"], -1, -2)
        read = embedding(kappas, setting, run, self.head)
        total: Any = 0
        for node in self.nodes:
            row = read[..., node, :][..., None, :] @ weight
            top = np.real(row).max(axis=-1, keepdims=True)
            spread = np.log(np.exp(row - top).sum(axis=-1)) + top[..., 0]
            total = total + (spread - row[..., self.labels[node]])[..., 0]
        return total / len(self.nodes)


def embedding(kappas: list, setting: Setting, run: Run, head: str) -> np.ndarray:
    """Log_o of the last points, or the sum of the drives without their first coordinates."""
    pieces = []
    widths = setting.factors
    summed = sum(run.drives)
    for kappa, z, u in zip(kappas, split(widths, run.points[-1]), split(widths, summed), strict=True):
        if head == "manifold":
            pieces.append((setting.logarithm or origin_logarithm)(kappa, z))
        else:
            pieces.append(u if np.all(kappa == 0) else np.concatenate([0 * u[..., :1], u[..., 1:]], axis=-1))
    return np.concatenate(pieces, axis=-1)


@dataclass(frozen=True)
class FermiDirac:
    """-mean log p over links, -mean log(1 - p) over the others, p = 1 / (exp((d^power - r)/t) + 1)."""

    links: np.ndarray
    absent: np.ndarray
    radius: float = 2.0
    temperature: float = 1.0
    power: int = 1
    product_distance: str = "l2"

    def __call__(self, kappas: list, setting: Setting, run: Run, parameters: Arrays) -> Any:
        total: Any = 0
        for pairs, linked in ((self.links, True), (self.absent, False)):
            for i, j in pairs.T:
                lengths = [
                    distance(kappa, z[..., i : i + 1, :], z[..., j : j + 1, :])
                    for kappa, z in zip(kappas, split(setting.factors, run.points[-1]), strict=True)
                ]
                if self.product_distance == "l1":
                    length = sum(lengths)
                else:
                    length = np.sqrt(sum(one * one for one in lengths)) if len(lengths) > 1 else lengths[0]
                energy = (length**self.power - self.radius) / self.temperature
                probability = 1 / (np.exp(energy) + 1)
                total = total - np.log(probability if linked else 1 - probability) / pairs.shape[1]
        return total[..., 0, 0]


# -- the network ----------------------------------------------------------------------------------------


def forward(setting: Setting, parameters: Arrays, base: Run | None = None, how: str = "spikes") -> Run:
    """All blocks, one after the other; `how` says what spikes are: "spikes", "frozen" or "affine"."""
    run, blocks = Run(), len(setting.adjacencies)
    kappas: list[Any] = [kappa for kappa, _ in setting.factors]
    if "curvature" in parameters:
        kappas = [
            kappa if kappa == 0 else parameters["curvature"][..., place, None, None]
            for place, kappa in enumerate(kappas)
        ]
    pieces = [origin(kappa, width) for kappa, (_, width) in zip(kappas, setting.factors, strict=True)]
    runs = np.broadcast_shapes(*(piece.shape[:-1] for piece in pieces))
    z = np.concatenate([np.broadcast_to(p, (*runs, p.shape[-1])) for p in pieces], axis=-1)
    z = np.broadcast_to(z, (*runs[:-1], len(setting.features), z.shape[-1]))
    origins = split(setting.factors, z)
    heard = setting.features
    for block in range(blocks):
        weight = np.swapaxes(parameters[f"layer.{block}.weight"], -1, -2)
        ahat, mask = setting.adjacencies[block], setting.masks[block]
        currents = []
        for t in range(setting.steps):
            signal = heard if block == 0 else heard[..., t, :, :]
            current = (ahat @ signal) @ weight
            if mask is not None:
                current = current * (mask[t] if mask.ndim == 3 else mask)
            currents.append(current)
        known = None if base is None else (base.potentials[block], base.spikes[block])
        potentials, spikes = fire(setting.neuron, currents, known, how)
        if block < blocks - 1:
            gap = np.abs(np.real(potentials) - setting.neuron.threshold).min()
            run.margin = min(run.margin, float(gap))
        u = setting.step_size * sum(currents) / setting.steps
        pieces = []
        columns = (split(setting.factors, part) for part in (z, u))
        for kappa, own, drive, o in zip(kappas, *columns, origins, strict=True):
            if setting.step is not None:
                pieces.append(setting.step(kappa, own, drive))
                continue
            vector = tangent_vector(setting.tangent, kappa, own, drive, o)
            pieces.append(exponential(kappa, own, vector))
        z, heard = np.concatenate(pieces, axis=-1), spikes
        for kept, value in zip(
            (run.potentials, run.spikes, run.currents, run.drives, run.points),
            (potentials, spikes, np.stack(currents, axis=-3), u, z),
            strict=True,
        ):
            kept.append(value)
    run.loss = setting.loss(kappas, setting, run, parameters)
    return run


def fire(neuron: Neuron, currents: list, known: Any, how: str) -> tuple[np.ndarray, np.ndarray]:
    """Potentials before the reset and spikes, stacked in time."""
    potential, potentials, spikes = np.zeros_like(currents[0]), [], []
    for t, current in enumerate(currents):
        charged = neuron.beta * potential + neuron.gain * current
        real = np.real(charged)
        fired = 1.0 * (real > neuron.threshold if neuron.compare == ">" else real >= neuron.threshold)
        resetting = fired
        if how == "frozen":
            resetting = fired = known[1][..., t, :, :]
        elif how == "affine":
            fired0, charged0 = known[1][..., t, :, :], known[0][..., t, :, :]
            share = 1 / (1 + np.exp(-neuron.alpha * (charged0 - neuron.threshold)))
            fired = fired0 + neuron.height * 4 * share * (1 - share) * (charged - charged0)
            resetting = fired0 if neuron.detached else fired
        if neuron.reset == "soft":
            potential = charged - neuron.threshold * resetting
        else:
            potential = (1 - resetting) * charged
        potentials.append(charged)
        spikes.append(fired)
    return np.stack(potentials, axis=-3), np.stack(spikes, axis=-3)


def ensembles(parameters: Arrays, step: complex) -> Arrays:
    """As many runs as there are entries, each moved in one of them."""
    size, first, moved = sum(value.size for value in parameters.values()), 0, {}
    for name, value in parameters.items():
        runs = np.repeat(value[None] + 0 * step, size, axis=0)
        runs.reshape(size, -1)[first + np.arange(value.size), np.arange(value.size)] += step
        moved[name], first = runs, first + value.size
    return moved


def leafwise(found: np.ndarray, parameters: Arrays) -> Arrays:
    """One number a run, sorted into the parameters."""
    leaves, first = {}, 0
    for name, value in parameters.items():
        leaves[name] = found[first : first + value.size].reshape(value.shape)
        first += value.size
    return leaves
