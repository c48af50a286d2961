"""LSNN written down a second time, with sums over the past in the place of a delay line.

Arrays are (batch, time, neuron) and weights (pre, post), as in the official code; every entry of `Values` may
have an axis of runs in front, and may be complex.  Nothing is shared with the package.  Spikes are steps, the
integral of the triangle, or affine: s = s0 + psi(u0) (u - u0) about a nominal run.  The derivative of an
affine run is the surrogate gradient, so that the complex step takes it to the last digit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

_STEP = 1e-30


@dataclass(frozen=True)
class Values:
    """What derivatives are taken by.

    `w_in` (n_in, n), `w_rec` (n, n), `alpha`, `rho`, `beta`, `b0` (n,), `x` (batch, time, n_in), `z`, `v`, `b`
    (batch, n), `c` (batch, D, n).
    """

    w_in: Any
    w_rec: Any
    alpha: Any
    rho: Any
    beta: Any
    b0: Any
    x: Any
    z: Any
    v: Any
    b: Any
    c: Any


@dataclass(frozen=True)
class Setting:
    """What is fixed: delays (pre, post), spike history (batch, R, n) with the oldest first, and options."""

    d_in: np.ndarray
    d_rec: np.ndarray
    history: np.ndarray
    delta: float
    scheme: str
    norm: str
    gamma: float
    stop_reset: bool = False
    stop_rec: bool = False
    smooth: bool = False
    masks: Any = None  # (batch, time, n), in the place of the history
    noise: Any = None  # (batch, time, n)


@dataclass(frozen=True)
class Trajectory:
    """z, v and b with their start (batch, T + 1, n); thresholds, distances, masks, currents (batch, T, n)."""

    z: np.ndarray
    v: np.ndarray
    b: np.ndarray
    threshold: np.ndarray
    u: np.ndarray
    m: np.ndarray
    current: np.ndarray


def triangle(u: Any, gamma: float) -> Any:
    """psi(u) = gamma max(0, 1 - |u|)."""
    return gamma * np.maximum(0, 1 - np.abs(np.real(u)))


def integral(u: Any, gamma: float) -> Any:
    """F(u), four pieces; the piece is chosen by the real part."""
    r = np.real(u)
    left, right = (1 + u) ** 2 / 2, 0.5 + u - u**2 / 2
    return gamma * np.where(r <= -1, 0 * u, np.where(r <= 0, left, np.where(r <= 1, right, 0 * u + 1)))


def _per_neuron(value: Any) -> Any:
    """(..., n) against (..., batch, n)."""
    return value[..., None, :]


def run(values: Values, setting: Setting, nominal: Trajectory | None = None) -> Trajectory:
    """All steps; with `nominal` along affine spikes, and what is stopped keeps its nominal spikes."""
    s, p = setting, values
    alpha, rho, beta, b0 = (_per_neuron(np.asarray(entry)) for entry in (p.alpha, p.rho, p.beta, p.b0))
    steps, slots = p.x.shape[-2], p.c.shape[-2]
    n = s.d_rec.shape[0]
    into = [np.where(s.d_in == d, p.w_in, 0) for d in range(slots)]
    back = [np.where((s.d_rec == d) & ~np.eye(n, dtype=bool), p.w_rec, 0) for d in range(slots)]
    z, v, b = [p.z], [p.v], [p.b]
    memory = s.history.shape[1]
    past = [s.history[:, r] > 0 for r in range(memory)]
    rows: dict[str, list] = {name: [] for name in ("threshold", "u", "m", "current")}
    for k in range(steps):
        heard_z = z if nominal is None or not s.stop_rec else [nominal.z[:, i] for i in range(k + 1)]
        current = p.c[..., k, :] if k < slots else 0
        for d in range(min(slots, k + 1)):
            current = current + p.x[..., k - d, :] @ into[d] + heard_z[k - d] @ back[d]
        if s.noise is not None:
            current = current + s.noise[:, k]
        b.append(rho * b[k] + (1 - rho) * z[k])
        threshold = b0 + beta * b[k + 1]
        spike_of_reset = z[k] if nominal is None or not s.stop_reset else nominal.z[:, k]
        height = b0 if s.scheme == "eprop" else threshold
        charged = alpha * v[k] + (1 - alpha) * current
        if s.scheme != "paper":
            charged = charged - s.delta * spike_of_reset * height
        compared = charged if s.scheme == "eprop" else v[k]
        u = (compared - threshold) / (threshold if s.norm == "B" else b0)
        if s.masks is not None:
            m = s.masks[:, k]
        elif memory:
            m = np.any(past[-memory:], axis=0)
        else:
            m = np.zeros(np.shape(z[0])[-2:], bool)
        if nominal is not None:
            u0 = nominal.u[:, k]
            fired = nominal.z[:, k + 1] + (1 - m) * triangle(u0, s.gamma) / s.delta * (u - u0)
        elif s.smooth:
            fired = (1 - m) * integral(u, s.gamma) / s.delta
        else:
            fired = (1 - m) * (np.real(u) > 0) / s.delta
        if s.scheme == "paper":
            spike_of_reset = fired if nominal is None or not s.stop_reset else nominal.z[:, k + 1]
            charged = charged - s.delta * spike_of_reset * threshold
        z.append(fired)
        v.append(charged)
        past.append(np.real(nominal.z[:, k + 1] if nominal is not None else fired) > 0)
        for name, entry in zip(rows, (threshold, u, m, current), strict=True):
            rows[name].append(entry)
    return Trajectory(*(_in_time(entries) for entries in (z, v, b, *rows.values())))


def _in_time(entries: list) -> np.ndarray:
    shape = np.broadcast_shapes(*(np.shape(entry) for entry in entries))
    return np.stack([np.broadcast_to(entry, shape) for entry in entries], axis=-2)


def linear_loss(found: Trajectory, g: dict[str, np.ndarray]) -> Any:
    """sum g^z z + g^v v + g^B B over the ends of all steps; one number a run."""
    total = (g["z"] * found.z[..., 1:, :]).sum(axis=(-3, -2, -1))
    total = total + (g["v"] * found.v[..., 1:, :]).sum(axis=(-3, -2, -1))
    return total + (g["B"] * found.threshold).sum(axis=(-3, -2, -1))


def gradient(values: Values, setting: Setting, g: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The complex step by every entry of `values`; along affine spikes where spikes are steps."""
    nominal = None if setting.smooth else run(values, setting)
    found = {}
    for name, value in vars(values).items():
        value = np.asarray(value, float)
        moved = value + 1j * _STEP * np.eye(value.size).reshape(value.size, *value.shape)
        losses = linear_loss(run(replace(values, **{name: moved}), setting, nominal), g)
        found[name] = (np.imag(losses) / _STEP).reshape(value.shape)
    return found
