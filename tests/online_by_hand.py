"""Two small networks and their online gradients in plain NumPy: histories kept, all sums over time explicit.

At step t each weight has the gradient g[t]^T sum_{tau <= t} f[tau, t] z[tau], where g[t] is the error of that
step's loss, sent down at t alone, z[tau] is what the weight read at tau, and f is the factor of a trace.
"""

from __future__ import annotations

import numpy as np

from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.models.operators.convolution import Convolution2d
from refsnn.models.operators.dense import Dense
from refsnn.models.operators.dropout import Dropout
from refsnn.models.operators.pooling import AdaptiveAveragePool, AveragePool
from refsnn.models.operators.reshaping import Flatten, Scale, Upsample
from refsnn.models.spiking_graph import Node, Population, SpikingGraph, Sum

SLOPE = Surrogate("sigmoid", 4.0, 1.0)


def slope(x):
    """psi of a sigmoid with alpha = 4."""
    p = 1 / (1 + np.exp(-4 * x))
    return 4 * p * (1 - p)


def decayed(factor, history):
    """sum_{tau <= t} factor^(t - tau) history[tau]."""
    t = len(history) - 1
    return sum(factor ** (t - tau) * history[tau] for tau in range(t + 1))


def telescoped(leak, potentials, history):
    """The same with v[i] / v[i-1] of each neuron, held within its leak, in the place of the leak (NDOT)."""
    t, total = len(history) - 1, 0.0
    for tau in range(t + 1):
        factor = np.ones_like(history[0])
        for i in range(tau, t):
            below = potentials[i - 1] if i else np.zeros_like(factor)
            ratio = potentials[i] / np.where(below == 0, 1.0, below)
            factor = factor * np.clip(ratio, -leak, leak)
        total = total + factor * history[tau]
    return total


# whose leak is in the trace in front of the first operator, the second, the feedback and the read-out: that
# of the population it goes to or comes from; and whether biases are traced
PRESETS = {
    "paper": ("post", "post", "post", "pre", False),
    "official_code": (None, "pre", "pre", "pre", False),
    "exact_local": ("post", "post", "post", None, True),
    "sltt": (None, None, None, None, False),
    "ndot": ("post", "measured", "measured", "measured", False),
}


class Online:
    """A network that is run and differentiated one step at a time."""

    leaks: tuple[float, float] = (0.6, 0.85)
    threshold = 0.9

    def __init__(self, preset, steps):
        self.preset, self.steps, self.t = PRESETS[preset], steps, 0
        self.history = {name: [] for name in ("x", "z1", "s1", "s2", "back", "v1", "v2")}

    @classmethod
    def neurons(cls):
        return [SpikingNeuron(leak=leak, threshold=cls.threshold, surrogate=SLOPE) for leak in cls.leaks]

    def fired(self, layer, current):
        """u and s of a layer; its potential goes into the history."""
        before = self.history[f"v{layer}"]
        u = self.leaks[layer - 1] * (before[-1] if before else 0.0) + current
        s = (u >= self.threshold).astype(float)
        before.append(u - self.threshold * s)
        self.history[f"s{layer}"].append(s)
        return u, s

    def traced(self, kind, values, pre, post):
        """What a weight sees of `values`, which come from population `pre` and go to population `post`."""
        if kind in (None, "measured"):  # measured ones are put in later
            return values[-1]
        return decayed(self.leaks[(post if kind == "post" else pre) - 1], values)

    def bias(self, leak, steps):
        """1, or Z."""
        return sum(leak**j for j in range(steps)) if self.preset[4] else float(steps > 0)

    def readout(self, y, labels):
        """Loss of the step and its error, with the 1/T of L = sum_t L[t]."""
        shares = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
        batch = len(labels)
        loss = -np.log(shares[np.arange(batch), labels]).mean()
        return loss / self.steps, (shares - np.eye(y.shape[1])[labels]) / batch / self.steps


class DenseOnline(Online):
    """x -> 6 (with feedback of the layer above) -> mask, scale -> 5, standardised -> read-out."""

    scale = 1.4

    @classmethod
    def graph(cls):
        first, second = cls.neurons()
        return SpikingGraph(
            (
                Node("in", ("input",), Dense(6)),
                Node("back", ("layer.2",), Dense(6), delayed=True),
                Node("sum", ("in", "back"), Sum()),
                Node("layer.1", ("sum",), Population(first)),
                Node("drop", ("layer.1",), Dropout(0.3)),
                Node("scaled", ("drop",), Scale(cls.scale)),
                Node("up", ("scaled",), Dense(5, standardise=True)),
                Node("layer.2", ("up",), Population(second)),
                Node("readout", ("layer.2",), Dense(3)),
            ),
            (4,),
            loss_over="each_step",
        ).with_dropout(np.random.default_rng(1), 3)

    def __init__(self, preset, steps, graph):
        super().__init__(preset, steps)
        self.mask = next(node.what.mask for node in graph.nodes if node.name == "drop")

    def step(self, q, x, labels):
        """One step: its loss, and its gradient."""
        h, (first, hidden, back, top, _) = self.history, self.preset
        self.t += 1
        started = self.t > 1
        fed = h["s2"][-1] if started else np.zeros((len(x), 5))
        used = standardised(q["up.weight"], q["up.gain"])
        current = x @ q["in.weight"].T + q["in.bias"]
        if started:
            current = current + fed @ q["back.weight"].T + q["back.bias"]
        h["x"].append(x)
        h["back"].append(fed)
        u1, s1 = self.fired(1, current)
        h["z1"].append(self.scale * self.mask * s1)
        u2, s2 = self.fired(2, h["z1"][-1] @ used.T + q["up.bias"])
        loss, error = self.readout(s2 @ q["readout.weight"].T + q["readout.bias"], labels)

        g2 = slope(u2 - self.threshold) * (error @ q["readout.weight"])
        g1 = slope(u1 - self.threshold) * self.mask * self.scale * (g2 @ used)
        seen = {
            "in": self.traced(first, h["x"], None, 1),
            "up": self.traced(hidden, h["z1"], 1, 2),
            "back": self.traced(back, h["back"], 2, 1),
            "readout": self.traced(top, h["s2"], 2, None),
        }
        if "measured" in self.preset:
            seen["up"] = self.scale * self.mask * telescoped(self.leaks[0], h["v1"], h["s1"])
            seen["back"] = telescoped(self.leaks[1], h["v2"][:-1], h["s2"][:-1]) if started else 0 * s2
            seen["readout"] = telescoped(self.leaks[1], h["v2"], h["s2"])
        by_used = g2.T @ seen["up"]
        by_weight, by_gain = through_standardisation(q["up.weight"], q["up.gain"], by_used)
        return loss, {
            "in.weight": g1.T @ seen["in"],
            "in.bias": self.bias(self.leaks[0], self.t) * g1.sum(axis=0),
            "back.weight": g1.T @ seen["back"],
            "back.bias": self.bias(self.leaks[0], self.t - 1) * g1.sum(axis=0),
            "up.weight": by_weight,
            "up.gain": by_gain,
            "up.bias": self.bias(self.leaks[1], self.t) * g2.sum(axis=0),
            "readout.weight": error.T @ seen["readout"],
            "readout.bias": error.sum(axis=0),
        }


def standardised(weight, gain):
    """g (V - mean) / sqrt(F var + eps), the variance unbiased (Eq. 13)."""
    centred = weight - weight.mean(axis=1, keepdims=True)
    variance = (centred**2).sum(axis=1, keepdims=True) / (weight.shape[1] - 1)
    return gain[:, None] * centred / np.sqrt(weight.shape[1] * variance + 1e-4)


def through_standardisation(weight, gain, adjoint, step=1e-30):
    """Complex step of <adjoint, standardised(weight, gain)>."""
    by_weight, by_gain = np.empty_like(weight), np.empty_like(gain)
    for entry in np.ndindex(weight.shape):
        moved = weight.astype(complex)
        moved[entry] += 1j * step
        by_weight[entry] = (adjoint * standardised(moved, gain)).sum().imag / step
    for entry in range(len(gain)):
        moved = gain.astype(complex)
        moved[entry] += 1j * step
        by_gain[entry] = (adjoint * standardised(weight, moved)).sum().imag / step
    return by_weight, by_gain


class ConvolutionalOnline(Online):
    """4 x 4 images -> 3 channels (upsampled feedback) -> means of 2 x 2 -> 2 channels -> mean -> read-out."""

    @classmethod
    def graph(cls):
        first, second = cls.neurons()
        return SpikingGraph(
            (
                Node("in", ("input",), Convolution2d(3, 3, padding=1)),
                Node("back", ("tiles",), Convolution2d(3, 3, padding=1), delayed=True),
                Node("sum", ("in", "back"), Sum()),
                Node("layer.1", ("sum",), Population(first)),
                Node("pool", ("layer.1",), AveragePool(2)),
                Node("up", ("pool",), Convolution2d(2, 3, padding=1)),
                Node("layer.2", ("up",), Population(second)),
                Node("tiles", ("layer.2",), Upsample(2)),
                Node("mean", ("layer.2",), AdaptiveAveragePool(1)),
                Node("flat", ("mean",), Flatten()),
                Node("readout", ("flat",), Dense(3)),
            ),
            (2, 4, 4),
            loss_over="each_step",
        )

    def __init__(self, preset, steps, graph):
        super().__init__(preset, steps)

    def step(self, q, x, labels):
        """One step: its loss, and its gradient."""
        h, (first, hidden, back, top, _) = self.history, self.preset
        self.t += 1
        started = self.t > 1
        tiles = lambda z: np.kron(z, np.ones((2, 2)))  # noqa: E731
        means = lambda z: z.reshape(*z.shape[:2], 2, 2, 2, 2).mean(axis=(3, 5))  # noqa: E731
        fed = h["s2"][-1] if started else np.zeros((len(x), 2, 2, 2))
        current = correlated(q["in.weight"], x) + q["in.bias"][:, None, None]
        if started:
            current = current + correlated(q["back.weight"], tiles(fed)) + q["back.bias"][:, None, None]
        h["x"].append(x)
        h["back"].append(fed)
        u1, s1 = self.fired(1, current)
        h["z1"].append(s1)
        u2, s2 = self.fired(2, correlated(q["up.weight"], means(s1)) + q["up.bias"][:, None, None])
        loss, error = self.readout(s2.mean(axis=(2, 3)) @ q["readout.weight"].T + q["readout.bias"], labels)

        e2 = np.broadcast_to((error @ q["readout.weight"])[:, :, None, None] / 4, s2.shape)
        g2 = slope(u2 - self.threshold) * e2
        g1 = slope(u1 - self.threshold) * tiles(spread(q["up.weight"], g2)) / 4
        seen = {
            "in": self.traced(first, h["x"], None, 1),
            "up": self.traced(hidden, h["z1"], 1, 2),
            "back": self.traced(back, h["back"], 2, 1),
            "readout": self.traced(top, h["s2"], 2, None),
        }
        if "measured" in self.preset:
            seen["up"] = telescoped(self.leaks[0], h["v1"], h["s1"])
            seen["back"] = telescoped(self.leaks[1], h["v2"][:-1], h["s2"][:-1]) if started else 0 * s2
            seen["readout"] = telescoped(self.leaks[1], h["v2"], h["s2"])
        return loss, {
            "in.weight": products(g1, seen["in"]),
            "in.bias": self.bias(self.leaks[0], self.t) * g1.sum(axis=(0, 2, 3)),
            "back.weight": products(g1, tiles(seen["back"])),
            "back.bias": self.bias(self.leaks[0], self.t - 1) * g1.sum(axis=(0, 2, 3)),
            "up.weight": products(g2, means(seen["up"])),
            "up.bias": self.bias(self.leaks[1], self.t) * g2.sum(axis=(0, 2, 3)),
            "readout.weight": error.T @ seen["readout"].mean(axis=(2, 3)),
            "readout.bias": error.sum(axis=0),
        }


def correlated(weight, z):
    """I[o, y, x] = sum_cij W[o, c, i, j] z[c, y + i - 1, x + j - 1]."""
    size, padded = z.shape[2], np.pad(z, ((0, 0), (0, 0), (1, 1), (1, 1)))
    total = 0.0
    for i in range(3):
        for j in range(3):
            total = total + np.einsum(
                "oc,bcyx->boyx", weight[:, :, i, j], padded[:, :, i : i + size, j : j + size]
            )
    return total


def spread(weight, g):
    """The adjoint of `correlated`."""
    size, padded = g.shape[2], np.zeros((len(g), weight.shape[1], g.shape[2] + 2, g.shape[3] + 2))
    for i in range(3):
        for j in range(3):
            padded[:, :, i : i + size, j : j + size] += np.einsum("oc,boyx->bcyx", weight[:, :, i, j], g)
    return padded[:, :, 1:-1, 1:-1]


def products(g, z):
    """d<g, correlated(W, z)>/dW."""
    size, padded = z.shape[2], np.pad(z, ((0, 0), (0, 0), (1, 1), (1, 1)))
    gradient = np.empty((g.shape[1], z.shape[1], 3, 3))
    for i in range(3):
        for j in range(3):
            gradient[:, :, i, j] = np.einsum("boyx,bcyx->oc", g, padded[:, :, i : i + size, j : j + size])
    return gradient
