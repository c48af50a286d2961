"""Convergent networks written out once more: a step, a loss and Phi, with switches for mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn.vectors.case import Hyperparameters
from refsnn.vectors.kinds.every_direction import detached

Arrays = dict[str, Any]
State = list[Any]  # s^0, s^1, ...


def rho(name: str, z: Any) -> Any:
    """The activation.

    Parameters
    ----------
    name : {"tanh", "sigm", "hardsigm", "identity"}
        Which.
    z : ndarray
        Real or complex; the hard sigmoid decides by the real part.

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
    if name == "hardsigm":
        return np.where(np.real(z) < 0, 0.0, np.where(np.real(z) > 1, 1.0, z))
    return z


def slope(name: str, z: Any) -> Any:
    """The derivative of `rho`, 1 at the kinks of the hard sigmoid.

    Parameters
    ----------
    name, z
        As in `rho`.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> slope("hardsigm", np.array([-1.0, 0.25, 2.0])).tolist()
    [0.0, 1.0, 0.0]
    """
    value = rho(name, z)
    if name == "tanh":
        return 1 - value**2
    if name == "sigm":
        return 4 * value * (1 - value)
    return 1.0 * ((np.real(z) >= 0) & (np.real(z) <= 1)) if name == "hardsigm" else 1.0 + 0 * z


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
        self.energy = given["family"] == "energy"
        self.epsilon = 1.0 if "no-leak" in self.made else given["step_size"]

    def rate(self, layer: int, s: Any) -> Any:
        """h_n."""
        linear = not self.energy or (layer == 0 and self.given["output"] == "linear")
        return s if linear else rho(self.name, s)

    def input_rate(self, x: Any) -> Any:
        """h_N."""
        return rho(self.name, x) if self.energy != ("other-input" in self.made) else x

    def potentials(self, p: Arrays, rates: State) -> State:
        """u_n; `rates` has the input last."""
        u: State = [0.0] * self.depth
        for n in range(self.depth):
            weight, bias = p[f"coupling.{n}.{n + 1}.weight"], p[f"coupling.{n}.{n + 1}.bias"]
            u[n] = u[n] + rates[n + 1] @ np.swapaxes(weight, -1, -2) + bias[..., None, :]
            if n + 1 < self.depth and "no-feedback" not in self.made:
                tied = self.given["tied"] or "feedback-is-transposed" in self.made
                back = weight if tied else np.swapaxes(p[f"coupling.{n}.{n + 1}.feedback"], -1, -2)
                u[n + 1] = u[n + 1] + rates[n] @ back
        return u

    def step(self, p: Arrays, s: State, x: Any, force: Any = 0.0) -> State:
        """F, nudged with a force on layer 0."""
        after = list(s)
        for n in range(self.depth):
            read = after if "sequential" in self.made else s
            rates = [*(self.rate(m, array) for m, array in enumerate(read)), self.input_rate(x)]
            u = self.potentials(p, rates)[n]
            push = force if n == 0 else 0.0
            if "force-whole" in self.made:
                after[n] = self.advance(n, s[n], u, 0.0) + push
            else:
                after[n] = self.advance(n, s[n], u, push)
        return after

    def advance(self, n: int, s: Any, u: Any, force: Any) -> Any:
        """One unit."""
        e = self.epsilon
        if self.energy:
            gate = 1.0
            if self.given["gated"] and not (n == 0 and self.given["output"] != "rho"):
                gate = slope(self.name, u if "gate-at-potential" in self.made else s)
            after = (1 - e) * s + e * (gate * u + force)
            return rho("hardsigm", after) if self.given["clamp"] else after
        if self.given["nudge_placement"] == "inside":
            return (1 - e) * s + e * rho(self.name, u + force)
        return (1 - e) * s + e * (rho(self.name, u) + force)

    def outputs(self, p: Arrays, s: State) -> Any:
        """What the loss is taken of."""
        if not self.given["readout"]:
            return s[0]
        return s[0] @ np.swapaxes(p["readout.weight"], -1, -2) + p["readout.bias"][..., None, :]

    def force(self, p: Arrays, s: State, y: Any, nudge: complex) -> Any:
        """-beta dl/ds^0."""
        z = self.outputs(p, s)
        if self.given["loss_function"] == "cross_entropy":
            z = np.exp(z - detached(z).max(axis=-1, keepdims=True))
            z = z / z.sum(axis=-1, keepdims=True)
        error = nudge * (y - z) * (2 if "no-half" in self.made else 1)
        error = -error if "nudge-sign" in self.made else error
        return error @ p["readout.weight"] if self.given["readout"] else error

    def loss(self, p: Arrays, s: State, y: Any) -> Any:
        """A mean over the batch."""
        z = self.outputs(p, s)
        if self.given["loss_function"] == "cross_entropy":
            largest = detached(z).max(axis=-1, keepdims=True)
            each = (y * (np.log(np.exp(z - largest).sum(axis=-1, keepdims=True)) + largest - z)).sum(axis=-1)
        else:
            each = ((z - y) ** 2).sum(axis=-1) * (1.0 if "no-half" in self.made else 0.5)
        return each.sum(axis=-1) if "sum-over-batch" in self.made else each.mean(axis=-1)

    def primitive(self, p: Arrays, s: State, x: Any) -> Any:
        """Phi, summed over the batch."""
        rates = [self.rate(n, array) for n, array in enumerate(s)]
        if "products-of-states" in self.made:
            rates = list(s)
        rates.append(self.input_rate(x))
        total = 0.0
        for n in range(self.depth):
            heard = rates[n + 1] @ np.swapaxes(p[f"coupling.{n}.{n + 1}.weight"], -1, -2)
            times = 2 if "counted-twice" in self.made and n + 1 < self.depth else 1
            heard = times * heard + p[f"coupling.{n}.{n + 1}.bias"][..., None, :]
            total = total + (rates[n] * heard).sum(axis=(-2, -1))
        return total

    def settle(self, p: Arrays, s: State, x: Any, steps: int, y: Any = None, nudge: complex = 0.0) -> State:
        """Free or nudged steps."""
        held = None if y is None else self.force(p, s, y, nudge)
        for _ in range(steps):
            force = 0.0 if y is None else self.force(p, s, y, nudge)
            s = self.step(p, s, x, held if "force-held" in self.made and y is not None else force)
        return s

    def zeros(self, batch: int) -> State:
        """Where the free phase starts."""
        return [np.zeros((batch, width)) for width in self.given["widths"][:-1]]
