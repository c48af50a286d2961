"""Graph networks on manifolds written out once more, with a switch for each mistake that is often made.

Dense matrices, loops over blocks and steps, cosines of either sign as power series.  The gradient is the
derivative of a second run by complex step, in which spikes are those of the first ("via manifold") or affine
around it ("via spikes").  Nothing is shared with the model but psi.
"""

from __future__ import annotations

from math import factorial
from typing import Any

import numpy as np

from refsnn.equations.surrogates import SURROGATES
from refsnn.vectors.case import Hyperparameters, Leaves, Problem
from refsnn.vectors.kinds.every_direction import derivatives, detached, with_slope

Arrays = dict[str, Any]
SERIES = 12  # terms of cosine and sine in q where |q| < 1: their closed forms cancel in derivatives there


def by_hand(problem: Problem) -> Leaves:
    """All leaves, with the mistakes that hyper-parameters ``mistake.*`` name.

    Parameters
    ----------
    problem : Problem
        Of a case, float64.

    Returns
    -------
    dict of str to ndarray
    """
    given, inputs = problem.hyperparameters, problem.inputs
    made = {name.removeprefix("mistake.") for name in given if name.startswith("mistake.")}
    nominal = _run(given, inputs, made)
    leaves: Leaves = {"adjacency": nominal["adjacency"], "loss": np.asarray(nominal["loss"])}
    for block in range(given["layers"] + 1):
        leaves[f"states/drive/{block}"] = nominal["drives"][block]
        leaves[f"states/points/{block}"] = nominal["points"][block]
        if block < given["layers"]:
            leaves[f"states/rate/{block}"] = np.mean(nominal["spikes"][block], axis=0)
    names = [name for name in inputs if name.startswith("parameters/")]
    found = derivatives(lambda moved: _run(given, moved, made, nominal)["loss"] + 0j, inputs, names)
    return leaves | {f"gradients/{name.removeprefix('parameters/')}": value for name, value in found.items()}


def _run(given: Hyperparameters, inputs: Leaves, made: set[str], nominal: Any = None) -> Arrays:
    """All blocks; arrays may have an axis of directions in front."""
    space, ahat = _Product(given, inputs, made), _adjacency(inputs, made)
    z = space.origin(len(inputs["features"]))
    heard = [inputs["features"]] * given["steps"]
    kept: Arrays = {"adjacency": ahat, "drives": [], "points": [], "spikes": [], "charged": []}
    for block in range(given["layers"] + 1):
        weight = inputs[f"parameters/layer.{block}.weight"]
        if "transposed" in made and weight.shape[-1] == weight.shape[-2]:
            weight = np.swapaxes(weight, -1, -2)
        currents = [ahat @ one @ np.swapaxes(weight, -1, -2) for one in heard]
        u = given["step_size"] * sum(currents[1:], start=currents[0])
        u = u if "summed-drive" in made else u / given["steps"]
        start = space.origin(len(inputs["features"])) if "from-the-origin" in made else z
        z = space.step(detached(start) if "points-stopped" in made else start, u)
        known = None if nominal is None else (nominal["charged"], nominal["spikes"])
        if block < given["layers"]:
            known = None if known is None else (known[0][block], known[1][block])
            charged, heard = _fire(given, currents, made, known)
            kept["charged"].append(charged)
            kept["spikes"].append(heard)
        kept["drives"].append(u)
        kept["points"].append(z)
    return kept | {"loss": _loss(given, inputs, space, kept, made)}


def _adjacency(inputs: Leaves, made: set[str]) -> np.ndarray:
    nodes = len(inputs["features"])
    joined = np.zeros((nodes, nodes)) if "no-loops" in made else np.eye(nodes)
    for one, other in inputs["edges"].T:
        joined[one, other] = joined[other, one] = 1
    degree = np.maximum(joined.sum(axis=1), 1)
    if "unnormalised" in made:
        return joined
    if "mean-of-neighbours" in made:
        return joined / degree[:, None]
    return joined / np.sqrt(degree[:, None] * degree[None])


def _fire(
    given: Hyperparameters, currents: list[Any], made: set[str], known: Any
) -> tuple[list[Any], list[Any]]:
    """Charged potentials and spikes of all steps."""
    leak, threshold, rest = given["leak"], given["threshold"], given["reset_value"]
    gain = 1.0 if "no-gain" in made else given["gain"]
    v: Any = np.full(np.shape(currents[0]), rest)
    charged, spikes = [], []
    for t, current in enumerate(currents):
        h = leak * v + gain * current + ((1 - leak) * rest if given["reset"] == "hard" else 0.0)
        if known is None:
            above = np.real(h) > threshold if given["fires"] == ">" else np.real(h) >= threshold
            fired = off = above * 1.0
        elif given["algorithm"] == "differentiation_via_manifold":
            fired = off = known[1][t]
        else:
            parts = (given[f"surrogate.{name}"] for name in ("shape", "slope", "height"))
            shape, slope, height = parts
            psi = SURROGATES[shape](known[0][t] - threshold, slope, height, 1.0)
            fired = with_slope(known[1][t], h, psi)
            off = known[1][t] if given["detach_reset"] else fired
        if "no-reset" in made:
            v = h
        else:
            v = h - threshold * off if given["reset"] == "soft" else (1 - off) * h + off * rest
        charged.append(h)
        spikes.append(fired)
    return charged, spikes


class _Product:
    """A product of spaces, its columns side by side."""

    def __init__(self, given: Hyperparameters, inputs: Leaves, made: set[str]) -> None:
        self.made, self.tangent, self.literal = made, given["tangent"], given["adjoint"] == "paper"
        learned = inputs.get("parameters/curvature")
        self.factors: list[tuple[Any, int, int]] = []  # curvature, its sign, stored width
        for place, (curvature, d) in enumerate(zip(given["curvature"], given["dimension"], strict=True)):
            kappa = curvature if learned is None or not curvature else learned[..., place, None, None]
            self.factors.append((kappa, int(np.sign(curvature)), d + (curvature != 0)))
        self.edges = np.cumsum([width for _, _, width in self.factors])[:-1]

    def split(self, values: Any) -> list[Any]:
        """The columns of each factor."""
        return np.split(values, self.edges, axis=-1)

    def origin(self, nodes: int) -> Any:
        """o of each node."""
        pieces = []
        for kappa, sign, width in self.factors:
            kappa = detached(kappa) if "origin-stopped" in self.made else kappa
            pole = np.eye(width)[0] * np.ones((nodes, 1))
            pieces.append(0 * pole if not sign else -sign * pole / np.sqrt(sign * kappa))
        return _side_by_side(pieces)

    def step(self, z: Any, u: Any) -> Any:
        """Exp_z(v(u))."""
        pieces, o = [], self.split(self.origin(z.shape[-2]))
        for (kappa, sign, _), point, drive, pole in zip(
            self.factors, self.split(z), self.split(u), o, strict=True
        ):
            if not sign:
                pieces.append(point + drive)
                continue
            moving, point = point, detached(point) if self.literal else point
            v = self._tangent(kappa, sign, point, drive, pole)
            q = kappa * inner(sign, v, v)
            if "coefficients-stopped" in self.made:
                q = detached(q)
            if "unit-radius" in self.made:
                q = q / (sign * kappa)
            moved = cosine(q) * point + sine(q) * v
            pieces.append(moved + detached(cosine(q)) * (moving - point) if self.literal else moved)
        return _side_by_side(pieces)

    def _tangent(self, kappa: Any, sign: int, z: Any, u: Any, o: Any) -> Any:
        if self.tangent == "ambient":
            return u
        still = detached(z) if "transport-stopped" in self.made else z
        if self.tangent == "project":
            return u - kappa * inner(sign, still, u) * still
        w = np.concatenate([0 * u[..., :1], u[..., 1:]], axis=-1)
        return w - kappa * inner(sign, still, w) / (1 + kappa * inner(sign, o, still)) * (o + still)

    def read(self, kept: Arrays, head: str) -> Any:
        """What logits are made of."""
        pieces = []
        columns = self.split(kept["points"][-1]), self.split(sum(kept["drives"]))
        for (kappa, sign, _), z, u in zip(self.factors, *columns, strict=True):
            if not sign:
                pieces.append(z if head == "manifold" else u)
                continue
            y = z[..., 1:] if head == "manifold" else u[..., 1:]
            if head == "manifold" and "coordinates-read" not in self.made:
                y = self._length(kappa, sign, z) * y
            pieces.append(np.concatenate([0 * u[..., :1], y], axis=-1))
        return _side_by_side(pieces)

    def _length(self, kappa: Any, sign: int, z: Any) -> Any:
        """The length of Log_o(z) over that of (z_1, ..)."""
        rho = np.sqrt((z[..., 1:] * z[..., 1:]).sum(axis=-1, keepdims=True))
        rho = np.where(rho == 0, 1e-150, rho)
        if sign < 0:
            return np.arcsinh(np.sqrt(-kappa) * rho) / (np.sqrt(-kappa) * rho)
        whole = np.sqrt(rho * rho + z[..., :1] * z[..., :1])
        return 2 * np.arctan(rho / (whole - z[..., :1])) / (np.sqrt(kappa) * rho)

    def distance(self, x: Any, y: Any, kind: str) -> Any:
        """(..., pairs)."""
        lengths = []
        for (kappa, sign, _), one, other in zip(self.factors, self.split(x), self.split(y), strict=True):
            length = np.sqrt(inner(sign, one - other, one - other))[..., 0]
            kappa = kappa if np.ndim(kappa) == 0 else kappa[..., 0]
            if sign and "chord" not in self.made:
                half, root = np.sqrt(sign * kappa) * length / 2, np.sqrt(sign * kappa)
                length = 2 * (np.arcsinh(half) if sign < 0 else np.arcsin(half)) / root
            lengths.append(length)
        if len(lengths) == 1 or kind == "l1":
            return sum(lengths[1:], start=lengths[0])
        return np.sqrt(sum(length * length for length in lengths))


def inner(sign: int, a: Any, b: Any) -> Any:
    """<a, b>: the first product counts negative on a hyperboloid.

    Parameters
    ----------
    sign : int
        Of the curvature.
    a, b : ndarray, (..., d)
        Vectors.

    Returns
    -------
    ndarray, (..., 1)
    """
    total = (a * b).sum(axis=-1, keepdims=True)
    return total - 2 * a[..., :1] * b[..., :1] if sign < 0 else total


def cosine(q: Any) -> Any:
    """cos sqrt(q), cosh sqrt(-q).

    Examples
    --------
    >>> round(float(cosine(-1.0)), 12) == round(float(np.cosh(1.0)), 12)
    True
    """
    return _closed(q, np.cosh, [1 / factorial(2 * n) for n in range(SERIES)])


def sine(q: Any) -> Any:
    """sin sqrt(q) / sqrt(q), sinh sqrt(-q) / sqrt(-q).

    Examples
    --------
    >>> float(sine(0.0))
    1.0
    """
    return _closed(q, lambda r: np.sinh(r) / r, [1 / factorial(2 * n + 1) for n in range(SERIES)])


def _closed(q: Any, function: Any, coefficients: list[float]) -> Any:
    """A series in -q where it is short, or a function of sqrt(-q)."""
    short = np.abs(q) < 1
    root = np.sqrt(np.where(short, 1, -q) + 0j)
    far, near = function(root), np.where(short, q, 0)
    found = np.where(short, sum(c * (-near) ** n for n, c in enumerate(coefficients)), far)
    return found if np.iscomplexobj(q) else found.real


def _side_by_side(pieces: list[Any]) -> Any:
    shape = np.broadcast_shapes(*(piece.shape[:-1] for piece in pieces))
    return np.concatenate([np.broadcast_to(p, (*shape, p.shape[-1])) for p in pieces], axis=-1)


def _loss(given: Hyperparameters, inputs: Leaves, space: _Product, kept: Arrays, made: set[str]) -> Any:
    """Of nodes or of links."""
    if given["loss"] == "classes":
        head = given["head"]
        if "other-head" in made:
            head = {"manifold": "tangent", "tangent": "manifold"}[head]
        logits = space.read(kept, head) @ np.swapaxes(inputs["parameters/readout.weight"], -1, -2)
        chosen, labels = logits[..., inputs["nodes"], :], inputs["labels"][inputs["nodes"]]
        shifted = chosen - np.real(chosen).max(axis=-1, keepdims=True)
        wanted = np.eye(logits.shape[-1])[labels]
        each = np.log(np.exp(shifted).sum(axis=-1)) - (shifted * wanted).sum(axis=-1)
        return each.sum(axis=-1) / (1 if "summed-loss" in made else len(labels))
    total, points = 0.0, kept["points"][-1]
    kind = (
        {"l1": "l2", "l2": "l1"}[given["product_distance"]]
        if "other-distance" in made
        else given["product_distance"]
    )
    power = 3 - given["power"] if "other-power" in made else given["power"]
    for name, linked in (("links", True), ("absent", False)):
        one, other = inputs[name]
        apart = space.distance(points[..., one, :], points[..., other, :], kind)
        energy = apart**power - given["radius"]
        energy = energy if "no-temperature" in made else energy / given["temperature"]
        probability = 1 / (np.exp(energy) + 1)
        losses = -np.log(probability if linked else 1 - probability)
        total = total + losses.sum(axis=-1) / (1 if "summed-loss" in made else len(one))
    return total
