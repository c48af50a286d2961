r"""Algorithm 1 written out in plain NumPy for dense networks, apart from the package: forward, traces, errors, updates.

    u = \lambda v + W z + b,  s = (u >= V_{th}),  v = u - V_{th} s,  o = m s,  \hat a = \lambda \hat a + o
    g_u = \psi(u - V_{th}) m \gamma W_{above}^T g_above,   dW = g_u^T \hat z,   db = sum g_u

No graph, no operator and no kernel of the package is used, nor its losses and their gradients: sigmoid slopes, standardisation
with its derivative, and the loss of each step are spelled out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
Update = Callable[[Arrays, Arrays], Arrays]


@dataclass(frozen=True)
class Net:
    """What Algorithm 1 needs to know of a dense network with sigmoid slopes."""

    layers: int
    leak: float
    threshold: float
    slope: float
    scale: float = 1.0
    standardise: bool = False
    recurrent: bool = False
    squared_share: float = 0.0


def run(
    net: Net, start: Arrays, inputs: np.ndarray, labels: np.ndarray, masks: Any, update: Update | None = None
):
    """Gradients summed over steps, the parameters after the last update, and the loss; updates at each step if any."""
    parameters, steps, batch = start, len(inputs), len(labels)
    sizes = [len(start[f"layer.{k}.bias"]) for k in range(1, net.layers + 1)]
    v, a_hat, spoken = ([np.zeros((batch, n)) for n in sizes] for _ in range(3))
    x_hat, total, loss = np.zeros_like(inputs[0]), {name: np.zeros_like(p) for name, p in start.items()}, 0.0
    for t in range(steps):
        x_hat = net.leak * x_hat + inputs[t]
        z, z_hat = inputs[t], x_hat
        read, potentials, before = [], [], [array.copy() for array in a_hat]
        for k in range(net.layers):
            layer = f"layer.{k + 1}"
            current = z @ weight_of(net, parameters, layer).T + parameters[f"{layer}.bias"]
            if net.recurrent and t > 0:
                current = current + spoken[k] @ parameters[f"{layer}.recurrent.weight"].T
            u = net.leak * v[k] + current
            s = (u >= net.threshold).astype(float)
            v[k] = u - net.threshold * s
            read.append(z_hat)
            potentials.append(u)
            spoken[k] = s * masks[k]
            a_hat[k] = net.leak * a_hat[k] + spoken[k]
            z, z_hat = net.scale * spoken[k], net.scale * a_hat[k]
        y = z @ parameters["readout.weight"].T + parameters["readout.bias"]
        value, g = loss_and_error(net, y, labels)
        loss += value / steps
        g = g / steps
        gradients = {"readout.weight": g.T @ z_hat, "readout.bias": g.sum(axis=0)}
        e = g @ parameters["readout.weight"]
        for k in reversed(range(net.layers)):
            layer = f"layer.{k + 1}"
            g_u = sigmoid_slope(net, potentials[k] - net.threshold) * masks[k] * net.scale * e
            gradients |= by_parameters(net, parameters, layer, g_u.T @ read[k])
            gradients[f"{layer}.bias"] = g_u.sum(axis=0)
            if net.recurrent:
                gradients[f"{layer}.recurrent.weight"] = g_u.T @ before[k] if t else np.zeros((sizes[k],) * 2)
            e = g_u @ weight_of(net, parameters, layer)
        for name, share in gradients.items():
            total[name] = total[name] + share
        if update is not None:
            parameters = update(parameters, gradients)
    return total, parameters, loss


def sigmoid_slope(net: Net, x: np.ndarray) -> np.ndarray:
    """alpha sigma (1 - sigma)."""
    sigma = 1 / (1 + np.exp(-net.slope * x))
    return net.slope * sigma * (1 - sigma)


def loss_and_error(net: Net, y: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """(1 - a) CE + a MSE of one step, MSE a mean over samples and classes, and its derivative by y."""
    batch, classes = y.shape
    wanted = np.zeros_like(y)
    for b, label in enumerate(labels):
        wanted[b, label] = 1
    probability = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
    entropy = -np.log((probability * wanted).sum(axis=1)).mean()
    squares = ((y - wanted) ** 2).sum() / (batch * classes)
    a = net.squared_share
    error = (1 - a) * (probability - wanted) / batch + a * 2 * (y - wanted) / (batch * classes)
    return (1 - a) * entropy + a * squares, error


def weight_of(net: Net, parameters: Arrays, layer: str) -> np.ndarray:
    """The weight that acts (Eq. 13)."""
    weight = parameters[f"{layer}.weight"]
    if not net.standardise:
        return weight
    d = weight - weight.mean(axis=1, keepdims=True)
    return (
        parameters[f"{layer}.gain"][:, None]
        * d
        / np.sqrt(weight.shape[1] * weight.var(axis=1, ddof=1)[:, None] + 1e-4)
    )


def by_parameters(net: Net, parameters: Arrays, layer: str, by_used: np.ndarray) -> Arrays:
    """Derivatives by V and g from that by the weight that acts, row by row through the Jacobian of Eq. 13."""
    if not net.standardise:
        return {f"{layer}.weight": by_used}
    weight, gain = parameters[f"{layer}.weight"], parameters[f"{layer}.gain"]
    fan_in = weight.shape[1]
    by_weight, by_gain = np.zeros_like(weight), np.zeros_like(gain)
    centring = np.eye(fan_in) - 1 / fan_in
    for i in range(len(weight)):
        d = centring @ weight[i]
        root = np.sqrt(fan_in / (fan_in - 1) * d @ d + 1e-4)
        jacobian = (
            gain[i] * (np.eye(fan_in) / root - fan_in / (fan_in - 1) * np.outer(d, d) / root**3) @ centring
        )
        by_weight[i] = by_used[i] @ jacobian
        by_gain[i] = by_used[i] @ d / root
    return {f"{layer}.weight": by_weight, f"{layer}.gain": by_gain}
