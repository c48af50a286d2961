"""The papers' networks once more, step by step in plain NumPy: no graph, no operator, no builder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


class ByHand:
    """Layers with the parameters of a network, and the potentials of its neurons."""

    def __init__(self, parameters: dict[str, np.ndarray], leak: float) -> None:
        self.parameters, self.leak = parameters, leak
        self.potentials: dict[str, np.ndarray] = {}
        self.before: dict[str, np.ndarray] = {}
        self.counts: dict[str, list[float]] = {}

    def own(self, name: str, last: str) -> np.ndarray:
        return self.parameters[f"{name}.{last}"]

    def weight(self, name: str) -> np.ndarray:
        """Standardised where there is a gain (Eq. 13)."""
        weight = self.own(name, "weight")
        if f"{name}.gain" not in self.parameters:
            return weight
        rows = weight.reshape(len(weight), -1)
        spread = rows.shape[1] * rows.var(axis=1, ddof=1, keepdims=True) + 1e-4
        used = self.own(name, "gain")[:, None] * (rows - rows.mean(axis=1, keepdims=True)) / np.sqrt(spread)
        return used.reshape(weight.shape)

    def dense(self, name: str, z: np.ndarray) -> np.ndarray:
        bias = self.parameters.get(f"{name}.bias", np.zeros(1))
        return np.einsum("oi,bi->bo", self.weight(name), z) + bias

    def conv(self, name: str, z: np.ndarray, stride: int = 1) -> np.ndarray:
        weight = self.weight(name)
        pad = weight.shape[-1] // 2
        z = np.pad(z, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        patches = np.lib.stride_tricks.sliding_window_view(z, weight.shape[2:], (2, 3))[
            :, :, ::stride, ::stride
        ]
        current = np.einsum("ocij,bcyxij->boyx", weight, patches)
        bias = self.parameters.get(f"{name}.bias", np.zeros(1))
        return current + bias[:, None, None]

    def norm(self, name: str, current: np.ndarray) -> np.ndarray:
        """By the statistics of this step."""
        mean = current.mean(axis=(0, 2, 3), keepdims=True)
        normal = (current - mean) / np.sqrt(current.var(axis=(0, 2, 3), keepdims=True) + 1e-5)
        return self.own(name, "gamma")[:, None, None] * normal + self.own(name, "beta")[:, None, None]

    def conv_norm(self, name: str, z: np.ndarray, stride: int = 1) -> np.ndarray:
        return self.norm(f"{name}.norm", self.conv(f"{name}.conv", z, stride))

    def spikes(self, name: str, current: np.ndarray, leak: float | None = None) -> np.ndarray:
        charged = (self.leak if leak is None else leak) * self.potentials.get(name, 0.0) + current
        spikes = (charged >= 1).astype(float)
        self.potentials[name] = charged - spikes
        self.counts.setdefault(name, []).append(float(spikes.mean()))
        return spikes

    @property
    def rates(self) -> dict[str, float]:
        return {name: float(np.mean(rates)) for name, rates in self.counts.items()}


def pooled(z: np.ndarray, kind: str) -> np.ndarray:
    """2 x 2 windows."""
    windows = z.reshape(*z.shape[:2], z.shape[2] // 2, 2, z.shape[3] // 2, 2)
    return windows.mean(axis=(3, 5)) if kind == "average" else windows.max(axis=(3, 5))


def stem_windows(z: np.ndarray, outside: float) -> np.ndarray:
    """3 x 3 windows, two pixels apart, one pixel of padding."""
    z = np.pad(z, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=outside)
    return np.lib.stride_tricks.sliding_window_view(z, (3, 3), (2, 3))[:, :, ::2, ::2]


def dense(
    net: ByHand,
    x: np.ndarray,
    depth: int,
    scale: float,
    loops: set[int],
    masks: dict[int, Any],
    leaks: list[float],
) -> np.ndarray:
    z = x
    for l in range(1, depth + 1):
        current = net.dense(f"layer.{l}", z)
        if l in loops and f"o{l}" in net.before:
            current = current + net.dense(f"layer.{l}.recurrent", net.before[f"o{l}"])
        o = masks.get(l, 1.0) * net.spikes(f"layer.{l}", current, leaks[l - 1])
        net.before[f"o{l}"] = o
        z = scale * o
    return net.dense("readout", z)


def vgg(
    net: ByHand,
    x: np.ndarray,
    plan: tuple,
    pool: str,
    scale: float,
    normalised: bool,
    flat: bool,
    feedback: int,
) -> np.ndarray:
    z, l = x, 0
    for entry in plan:
        if entry == "pool":
            z = pooled(z, pool)
            continue
        l += 1
        current = net.conv(f"layer.{l}", z)
        if normalised:
            current = net.norm(f"layer.{l}.norm", current)
        if l == 1 and "features" in net.before:
            tiles = np.kron(net.before["features"], np.ones((feedback, feedback)))
            current = current + net.conv("feedback", tiles)
        z = scale * net.spikes(f"layer.{l}", current)
    if feedback:
        net.before["features"] = z
    return net.dense("readout", z.reshape(len(z), -1) if flat else z.mean(axis=(2, 3)))


# (name of the block, its stride, whether it is a transition)
SMALL_BLOCKS = [("stage.1.block.1", 1, False), ("stage.2.block.1", 2, True), ("stage.2.block.2", 1, False)]


def resnet18(net: ByHand, x: np.ndarray) -> np.ndarray:
    return net.dense("readout", _post_activation(net, x).mean(axis=(2, 3)))


def resnet19(net: ByHand, x: np.ndarray) -> np.ndarray:
    z = _post_activation(net, x).mean(axis=(2, 3))
    return net.dense("readout", net.spikes("hidden.spikes", net.dense("hidden.dense", z)))


def _post_activation(net: ByHand, x: np.ndarray) -> np.ndarray:
    z = net.spikes("stem.spikes", net.conv_norm("stem", x))
    for name, stride, transition in SMALL_BLOCKS:
        s = net.spikes(f"{name}.first.spikes", net.conv_norm(f"{name}.first", z, stride))
        beside = net.conv_norm(f"{name}.shortcut", z, stride) if transition else z
        z = net.spikes(f"{name}.second.spikes", net.conv_norm(f"{name}.second", s) + beside)
    return z


def preactivation(net: ByHand, x: np.ndarray) -> np.ndarray:
    z = stem_windows(net.conv_norm("stem", x, stride=2), -np.inf).max(axis=(4, 5))
    for name, stride, transition in SMALL_BLOCKS:
        s = net.spikes(f"{name}.first.spikes", z)
        s = net.spikes(f"{name}.second.spikes", net.conv_norm(f"{name}.first", s, stride))
        beside = net.conv_norm(f"{name}.shortcut", z, stride) if transition else z
        z = net.conv_norm(f"{name}.second", s) + beside
    return net.dense("readout", z.mean(axis=(2, 3)))


def sew(net: ByHand, x: np.ndarray) -> np.ndarray:
    z = net.spikes("stem.spikes", net.conv_norm("stem", x, stride=2))
    z = stem_windows(z, -np.inf).max(axis=(4, 5))
    for name, stride, transition in SMALL_BLOCKS:
        s = net.spikes(f"{name}.first.spikes", net.conv_norm(f"{name}.first", z, stride))
        s = net.spikes(f"{name}.second.spikes", net.conv_norm(f"{name}.second", s))
        if transition:
            z = net.spikes(f"{name}.shortcut.spikes", net.conv_norm(f"{name}.shortcut", z, stride))
        z = s + z
    return net.dense("readout", z.mean(axis=(2, 3)))


def normaliser_free(net: ByHand, x: np.ndarray) -> np.ndarray:
    z = stem_windows(net.conv("stem.conv", x, stride=2), 0.0).sum(axis=(4, 5)) / 9
    variance = 1.0
    for name, stride, transition in SMALL_BLOCKS:
        first = 2.74 * net.spikes(f"{name}.first.spikes", z / np.sqrt(variance))
        second = 2.74 * net.spikes(f"{name}.second.spikes", net.conv(f"{name}.first.conv", first, stride))
        branch = 0.2 * net.own(f"{name}.kappa", "scale") * net.conv(f"{name}.second.conv", second)
        z = branch + (net.conv(f"{name}.shortcut.conv", first, stride) if transition else z)
        variance = 1.04 if transition else variance + 0.04
    return net.dense("readout", z.mean(axis=(2, 3)))


def mean_readout(
    step: Callable[..., np.ndarray], parameters: dict, leak: float, inputs: np.ndarray, *options: Any
) -> tuple[np.ndarray, dict[str, float]]:
    """Of all steps, with the rate of each population."""
    net = ByHand(parameters, leak)
    return sum(step(net, x, *options) for x in inputs) / len(inputs), net.rates
