"""Convergent networks written out once more: a step, a loss and Phi, with switches for mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn.vectors.case import Hyperparameters
from refsnn.vectors.kinds.equilibrium_network.images_by_hand import ImageCoupling, Shape
from refsnn.vectors.kinds.every_direction import detached

Arrays = dict[str, Any]
State = list[Any]  # s^0, s^1, ...


HARD = {"hardsigm": (0.0, 1.0, 1.0), "my_hard_sig": (0.0, 1.0, 0.5), "ctrd_hard_sig": (-0.5, 0.5, 1.0)}


def rho(name: str, z: Any, closed: bool = False) -> Any:
    """The activation.

    Parameters
    ----------
    name : {"tanh", "sigm", "hardsigm", "my_hard_sig", "ctrd_hard_sig", "identity"}
        Which.
    z : ndarray
        Real or complex; a hard sigmoid decides by the real part.
    closed : bool
        Whether a complex step at an edge of a hard sigmoid passes.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> rho("hardsigm", np.array([-1.0, 0.25, 2.0])).tolist()
    [0.0, 0.25, 1.0]
    """
    if name == "tanh":
        return np.tanh(z)
    if name == "sigm":
        return 1 / (1 + np.exp(-4 * z + 2))
    if name in HARD:
        low, high, steep = HARD[name]
        z = steep * z
        if closed:
            return np.where(np.real(z) < low, low, np.where(np.real(z) > high, high, z))
        return np.where(np.real(z) <= low, low, np.where(np.real(z) >= high, high, z))
    return 1 / (1 + np.exp(-z)) if name == "logistic" else z


def slope(name: str, z: Any, closed: bool = True) -> Any:
    """The derivative of `rho`, at the kinks of the hard sigmoids that of between them.

    Parameters
    ----------
    name, z
        As in `rho`.
    closed : bool
        Whether the kinks belong to what is between them.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> slope("hardsigm", np.array([-1.0, 0.0, 0.25, 2.0])).tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    value = rho(name, z)
    if name == "tanh":
        return 1 - value**2
    if name in ("sigm", "logistic"):
        return (4 if name == "sigm" else 1) * value * (1 - value)
    if name in HARD:
        low, high, steep = HARD[name]
        place = steep * np.real(z)
        inside = (place >= low) & (place <= high) if closed else (place > low) & (place < high)
        return steep * inside
    return 1.0 + 0 * z


class Network:
    """A step and a loss, with switches.

    Parameters
    ----------
    given : dict
        Hyper-parameters; names that begin with ``mistake.`` are switches.
    """

    def __init__(self, given: Hyperparameters) -> None:
        self.given = given
        self.made = {name.removeprefix("mistake.") for name in given if name.startswith("mistake.")}
        self.depth, self.name = len(given["widths"]) - 1, given["activation"]
        if "plain-logistic" in self.made:
            self.name = "logistic"
        self.energy = given["family"] == "energy"
        self.epsilon = 1.0 if "no-leak" in self.made else given["step_size"]
        self.start: State | None = None  # of the free phase, if not 0
        self.closed = given.get("edge", "open") == "closed"
        chain = [f"{n}.{n + 1}" for n in range(self.depth)]
        self.pairs = [(int(n), int(m)) for n, m in (w.split(".") for w in given.get("couplings", chain))]
        self.shapes: list[Shape] = [(width,) for width in given["widths"]]
        self.images: dict[tuple[int, int], ImageCoupling] = {}
        self._lay_out_images()

    def _lay_out_images(self) -> None:
        """Sizes of the images from the input up."""
        given, kernels = self.given, self.given.get("kernels", [])
        if not kernels:
            return
        size = [int(side) for side in given["image"]]
        self.shapes[self.depth] = (given["widths"][-1], *size)
        for index in reversed(range(len(kernels))):
            layer = self.depth - len(kernels) + index
            padding, window = given["paddings"][index], given["windows"][index]
            pooling = given["poolings"][index]
            divisor = 1 if pooling == "none" else window
            size = [(side + 2 * padding - kernels[index] + 1) // divisor for side in size]
            self.shapes[layer] = (given["widths"][layer], *size)
            ends = self.shapes[layer], self.shapes[layer + 1]
            self.images[layer, layer + 1] = ImageCoupling(*ends, padding, window, pooling, self.made)

    def rate(self, layer: int, s: Any) -> Any:
        """h_n."""
        linear = not self.energy or (layer == 0 and self.given["output"] == "linear")
        return s if linear else rho(self.name, s, self.closed)

    def input_rate(self, x: Any) -> Any:
        """h_N."""
        return rho(self.name, x) if self.energy != ("other-input" in self.made) else x

    def row(self, layer: int, rates: Any) -> Any:
        """Units as a matrix reads them: images in the order (C, H, W)."""
        shape = self.shapes[layer]
        if "channels-last" not in self.made or len(shape) == 1:
            return rates
        images = np.moveaxis(rates.reshape(*rates.shape[:-1], *shape), -3, -1)
        return images.reshape(rates.shape)

    def unrow(self, layer: int, rates: Any) -> Any:
        """The reverse of `row`."""
        shape = self.shapes[layer]
        if "channels-last" not in self.made or len(shape) == 1:
            return rates
        images = rates.reshape(*rates.shape[:-1], *shape[1:], shape[0])
        return np.moveaxis(images, -1, -3).reshape(rates.shape)

    def arriving(
        self, p: Arrays, pair: tuple[int, int], heard: Any, seen: Any = None, back: bool = False
    ) -> Any:
        """W h or P(w * h) of the lower layer; `back` of Phi, where pooling is undone."""
        weight = p[f"coupling.{pair[0]}.{pair[1]}.weight"]
        if pair in self.images:
            return self.images[pair].up(weight, heard, seen, back)
        return self.row(pair[1], heard) @ np.swapaxes(weight, -1, -2)

    def fed_back(self, p: Arrays, pair: tuple[int, int], told: Any, seen: Any) -> Any:
        """W^T h or V h of the upper layer, `seen` is the lower one."""
        name = f"coupling.{pair[0]}.{pair[1]}"
        tied = self.given["tied"] or "feedback-is-transposed" in self.made
        if pair in self.images:
            weight = p[f"{name}.weight"]
            kernels = weight if tied else p[f"{name}.feedback"]
            return self.images[pair].down(kernels, weight, told, seen)
        back = p[f"{name}.weight"] if tied else np.swapaxes(p[f"{name}.feedback"], -1, -2)
        return self.unrow(pair[1], told @ back)

    def bias(self, p: Arrays, pair: tuple[int, int]) -> Any:
        """b, one a unit or one a channel."""
        b = p[f"coupling.{pair[0]}.{pair[1]}.bias"]
        if pair in self.images:
            b = np.repeat(b, int(np.prod(self.shapes[pair[0]][1:])), axis=-1)
        return b[..., None, :]

    def heard(self) -> list[tuple[int, int]]:
        """The couplings that count."""
        skips = "no-skips" in self.made
        return [(n, m) for n, m in self.pairs if not skips or m == n + 1]

    def potentials(self, p: Arrays, rates: State, seen: State | None = None) -> State:
        """u_n; `rates` has the input last, pooling has the maxima of `seen`."""
        u: State = [0.0] * self.depth
        seen = rates if seen is None else seen
        for n, m in self.heard():
            u[n] = u[n] + self.arriving(p, (n, m), rates[m], seen[m])
            first = next(pair for pair in self.pairs if pair[0] == n)
            if "one-bias" not in self.made or (n, m) == first:
                u[n] = u[n] + self.bias(p, (n, m))
            if m < self.depth and "no-feedback" not in self.made:
                u[m] = u[m] + self.fed_back(p, (n, m), rates[n], seen[m])
        return u

    def step(self, p: Arrays, s: State, x: Any, force: Any = 0.0) -> State:
        """F, nudged with a force on layer 0."""
        after, u = list(s), self.potentials(p, self.rates(s, x))
        for n in range(self.depth):
            if "sequential" in self.made:
                u = self.potentials(p, self.rates(after, x))
            push = force if n == 0 else 0.0
            if "force-whole" in self.made:
                after[n] = self.advance(n, s[n], u[n], 0.0) + push
            else:
                after[n] = self.advance(n, s[n], u[n], push)
        return after

    def advance(self, n: int, s: Any, u: Any, force: Any) -> Any:
        """One unit."""
        e = self.epsilon
        if self.energy:
            gate = 1.0
            if self.given["gated"] and not (n == 0 and self.given["output"] != "rho"):
                place = u if "gate-at-potential" in self.made else s
                gate = slope(self.name, place, closed="gate-open" not in self.made)
            after = (1 - e) * s + e * (gate * u + force)
            return rho("hardsigm", after, self.closed) if self.given["clamp"] else after
        name = "identity" if n == 0 and self.given["output"] == "linear" else self.name
        if self.given["nudge_placement"] == "inside":
            return (1 - e) * s + e * rho(name, u + force, self.closed)
        return (1 - e) * s + e * (rho(name, u, self.closed) + force)

    def outputs(self, p: Arrays, s: State) -> Any:
        """What the loss is taken of."""
        if not self.given["readout"]:
            return s[0]
        top = self.row(0, s[0])
        return top @ np.swapaxes(p["readout.weight"], -1, -2) + p["readout.bias"][..., None, :]

    def force(self, p: Arrays, s: State, y: Any, nudge: complex) -> Any:
        """-beta dl/ds^0."""
        z = self.outputs(p, s)
        if self.given["loss_function"] == "cross_entropy":
            z = np.exp(z - detached(z).max(axis=-1, keepdims=True))
            z = z / z.sum(axis=-1, keepdims=True)
        error = nudge * (y - z) * (2 if "no-half" in self.made else 1)
        error = error / (y.shape[-1] if "mean-over-outputs" in self.made else 1)
        error = -error if "nudge-sign" in self.made else error
        return self.unrow(0, error @ p["readout.weight"]) if self.given["readout"] else error

    def loss(self, p: Arrays, s: State, y: Any) -> Any:
        """A mean over the batch."""
        z = self.outputs(p, s)
        if self.given["loss_function"] == "cross_entropy":
            largest = detached(z).max(axis=-1, keepdims=True)
            each = (y * (np.log(np.exp(z - largest).sum(axis=-1, keepdims=True)) + largest - z)).sum(axis=-1)
        else:
            each = ((z - y) ** 2).sum(axis=-1) * (1.0 if "no-half" in self.made else 0.5)
            each = each / (y.shape[-1] if "mean-over-outputs" in self.made else 1)
        return each.sum(axis=-1) if "sum-over-batch" in self.made else each.mean(axis=-1)

    def primitive(self, p: Arrays, s: State, x: Any, at: State | None = None) -> Any:
        """Phi, summed over the batch, with the pooling maxima of the state `at`, by default s."""
        rates = self.rates(s, x)
        seen = rates if at is None else self.rates(at, x)
        if "products-of-states" in self.made:
            rates[:-1] = s
        total = 0.0
        for n, m in self.heard():
            arrives = self.arriving(p, (n, m), rates[m], seen[m], back=True)
            times = 2 if "counted-twice" in self.made and m < self.depth else 1
            total = total + (rates[n] * (times * arrives + self.bias(p, (n, m)))).sum(axis=(-2, -1))
        return total

    def rates(self, s: State, x: Any) -> State:
        """h of all layers, the input last."""
        return [*(self.rate(n, array) for n, array in enumerate(s)), self.input_rate(x)]

    def settle(self, p: Arrays, s: State, x: Any, steps: int, y: Any = None, nudge: complex = 0.0) -> State:
        """Free or nudged steps."""
        held = None if y is None else self.force(p, s, y, nudge)
        for _ in range(steps):
            force = 0.0 if y is None else self.force(p, s, y, nudge)
            s = self.step(p, s, x, held if "force-held" in self.made and y is not None else force)
        return s

    def settle_to(self, p: Arrays, s: State, x: Any, steps: int, tolerance: float) -> tuple[State, int]:
        """Free steps until one moves no unit by more than the tolerance, and how many they were."""
        for taken in range(steps):
            after = self.step(p, s, x)
            moves = [np.abs(a - b) for a, b in zip(after, s, strict=True)]
            s = after
            norm = np.mean if "tolerance-of-mean" in self.made else np.max
            if norm(np.concatenate(moves, axis=-1)) <= tolerance:
                return s, taken + 1
        return s, steps

    def zeros(self, batch: int) -> State:
        """Where the free phase starts."""
        return [np.zeros((batch, int(np.prod(shape)))) for shape in self.shapes[:-1]]

    def shaped(self, s: State) -> Arrays:
        """A state as the leaves have it, images as images."""
        shapes = self.shapes
        return {f"layer.{n}": a.reshape(*a.shape[:-1], *shapes[n]) for n, a in enumerate(s)}
