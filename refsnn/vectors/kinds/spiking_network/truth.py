"""The gradients of spiking networks once more, as derivatives of networks that are affine around their run.

Through time: spikes s0_t + psi(h0_t) (h_t - h0_t), edges of time that an algorithm cuts held at the nominal
run.  A trace stands for a current W0 z_t + (W - W0) z^_t, whose derivative by W it is.  In averages and
temporal modes: a layer answers to coefficients of its current by its dense Jacobian over time.  The
complex step takes every derivative; along the first axis there is one run an entry of a parameter.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn.models.operators.normalisation import BatchNormalisation, channel_mean, per_channel
from refsnn.models.spiking_graph import INPUT, Population, SpikingGraph, Sum
from refsnn.models.spiking_nodes import linear_operator
from refsnn.network_files import build
from refsnn.oracles.affine_graph import AffineGraph
from refsnn.oracles.brute_force import neuron_jacobian
from refsnn.oracles.complex_step import complex_step_gradient
from refsnn.vectors.case import Leaves, Problem
from refsnn.vectors.kinds.spiking_network.words import Layer, layers_of

_STEP = 1e-30
ONLINE = ("ottt", "sltt")
AVERAGES = ("rate_backpropagation", "temporal_galerkin")


def truth(problem: Problem) -> Leaves:
    """States, loss and gradients by an oracle.

    Parameters
    ----------
    problem : Problem
        Of a case, float64.

    Returns
    -------
    dict of str to ndarray
    """
    given = problem.hyperparameters
    graph = build(json.loads(given["network"]))
    parameters = {
        name.removeprefix("parameters/"): array
        for name, array in problem.inputs.items()
        if name.startswith("parameters/")
    }
    if given["algorithm"] in AVERAGES:
        return _averages(problem, graph, parameters)
    if given["architecture"] == "graph":
        oracle = AffineGraph(graph, parameters, problem.inputs["input"], problem.inputs["targets"])
        gradients = {f"gradients/{name}": value for name, value in oracle.gradient().items()}
        return gradients | {"loss": np.asarray(np.real(oracle.loss(parameters)))}
    return _through_time(problem, graph, parameters)


@dataclass
class Run:
    """One run of a dense network: h, s, v of each layer by step, and the read-outs y."""

    charged: list[list[Any]]
    spikes: list[list[Any]]
    potentials: list[list[Any]]
    outputs: list[Any]


def _through_time(problem: Problem, graph: SpikingGraph, parameters: Mapping[str, np.ndarray]) -> Leaves:
    given, targets = problem.hyperparameters, problem.inputs["targets"]
    layers, inputs = layers_of(problem), problem.inputs["input"]
    nominal = _run(given, layers, parameters, inputs)
    traces = Traces(given, layers, nominal, inputs) if given["algorithm"] in ONLINE else None
    found: Leaves = {"loss": np.asarray(_loss(graph, nominal.outputs, targets))}
    found["outputs"] = np.mean(nominal.outputs, axis=0)
    for layer, h, s in zip(layers, nominal.charged, nominal.spikes, strict=True):
        found[f"states/charged/{layer.name}"], found[f"states/spikes/{layer.name}"] = np.stack(h), np.stack(s)
    for name, value in parameters.items():
        directions = np.eye(value.size).reshape(value.size, *value.shape)
        moved = {**parameters, name: value + 1j * _STEP * directions}
        if (feedback := problem.inputs.get("feedback")) is not None and name.startswith("layer."):
            # the error of the nominal run, sent down by B: a loss that is linear in another read-out
            moved["readout.weight"] = feedback.T
            outputs = _run(given, layers, moved, inputs, nominal, traces, parameters).outputs
            errors = [graph.loss_of_gradient(one, targets) / len(outputs) for one in nominal.outputs]
            loss = sum((e * y).sum(axis=(-2, -1)) for e, y in zip(errors, outputs, strict=True))
        else:
            outputs = _run(given, layers, moved, inputs, nominal, traces, parameters).outputs
            learning = given.get("learning_steps", range(len(outputs)))
            loss = _loss(graph, [y if t in learning else y.real for t, y in enumerate(outputs)], targets)
        found[f"gradients/{name}"] = np.imag(loss).reshape(value.shape) / _STEP
    if traces is not None:
        found |= {path: trace[-1] for path, trace in traces.shown.items()}
    return found


def _run(
    given: Mapping[str, Any],
    layers: list[Layer],
    parameters: Mapping[str, Any],
    inputs: np.ndarray,
    nominal: Run | None = None,
    traces: Traces | None = None,
    at: Mapping[str, np.ndarray] | None = None,
) -> Run:
    """A run; affine around a nominal one where that is given, along the edges of time that are live."""
    steps, batch = len(inputs), inputs.shape[1]
    run = Run([[] for _ in layers], [[] for _ in layers], [[] for _ in layers], [])
    live = _live(given, steps)

    def current(t: int, name: str, read: Any, index: str) -> Any:
        weight, bias = parameters[f"{name}.weight"], parameters.get(f"{name}.bias")
        total = read @ np.swapaxes(weight, -1, -2)
        shift = 0.0 if bias is None else bias[..., None, :]
        if traces is not None and at is not None:
            seen, constant = traces.of(index, t)
            total = total + (seen - np.real(read)) @ np.swapaxes(weight - at[f"{name}.weight"], -1, -2)
            if bias is not None:
                shift = shift + (constant - 1) * (bias - at[f"{name}.bias"])[..., None, :]
        return total + shift

    for t in range(steps):
        read = inputs[t]
        for k, layer in enumerate(layers):
            total = current(t, layer.name, read, layer.name)
            if layer.recurrent and t:
                spoken = (run if live("feedback", t) or nominal is None else nominal).spikes[k][t - 1]
                total = total + current(t, f"{layer.name}.recurrent", spoken, f"{layer.name}.recurrent")
            if t == 0:
                before: Any = np.full((batch, given["widths"][k + 1]), layer.rest)
            else:
                before = (run if live("leak", t) or nominal is None else nominal).potentials[k][t - 1]
            h = layer.leak * before + total + ((1 - layer.leak) * layer.rest if layer.hard else 0.0)
            if nominal is None:
                s = in_reset = layer.fires(h)
            else:
                h0, s0 = nominal.charged[k][t], nominal.spikes[k][t]
                s = s0 + layer.psi(h0) * (h - h0)
                in_reset = s0 if layer.constants["detach_reset"] else s
            if nominal is not None and given["algorithm"] == "eprop":
                v = nominal.potentials[k][t] + (h - h0)  # as if nothing was reset
            elif layer.hard:
                v = (1 - in_reset) * h + in_reset * layer.rest
            else:
                v = h - layer.constants["threshold"] * in_reset
            run.charged[k].append(h)
            run.spikes[k].append(s)
            run.potentials[k].append(v)
            read = s
        y = current(t, "readout", read, "readout")
        if t:
            past = run if live("readout", t) or nominal is None else nominal
            y = y + given["readout_leak"] * past.outputs[t - 1]
        run.outputs.append(y)
    return run


def _live(given: Mapping[str, Any], steps: int) -> Callable[[str, int], bool]:
    """Whether an edge of time from t - 1 to t carries a derivative."""
    algorithm = given["algorithm"]

    def live(edge: str, t: int) -> bool:
        if algorithm in ONLINE:
            return False
        if algorithm == "eprop":
            return edge != "feedback"
        return algorithm == "bptt" or (steps - t) % given["window"] != 0

    return live


def _loss(graph: SpikingGraph, outputs: list[Any], targets: np.ndarray) -> Any:
    if graph.loss_over == "each_step":
        return sum(graph.loss_of(y, targets) for y in outputs) / len(outputs)
    return graph.loss_of(sum(outputs[1:], start=outputs[0]) / len(outputs), targets)


class Traces:
    """z^ of what each operator reads, and the trace of 1 of its bias, as sums of products, not as recursions.

    Parameters
    ----------
    given : mapping
        Hyper-parameters.
    layers : list of Layer
        Hidden ones.
    nominal : Run
        Of the network.
    inputs : ndarray, (T, B, n)
        Of the network.
    """

    def __init__(
        self, given: Mapping[str, Any], layers: list[Layer], nominal: Run, inputs: np.ndarray
    ) -> None:
        rule = given["preset"] if given["algorithm"] == "ottt" else "sltt"
        steps, kappa = len(inputs), given["readout_leak"]
        self.seen: dict[str, list[Any]] = {}
        self.constants: dict[str, list[float]] = {}
        self.shown: dict[str, list[Any]] = {}
        reads = [list(inputs), *nominal.spikes]
        for k, layer in enumerate([*layers, None]):
            name = "readout" if layer is None else layer.name
            factors = None
            if layer is None:
                if rule == "sltt":
                    decay = 0.0
                else:
                    decay = kappa or (0.0 if rule == "exact_local" or not layers else layers[-1].leak)
                bias = 0.0 if rule == "sltt" else kappa
            else:
                decay, bias = layer.leak, (layer.leak if rule == "exact_local" else 0.0)
                if rule == "sltt" or (rule == "official_code" and k == 0):
                    decay = 0.0
                elif rule == "official_code":
                    decay = layers[k - 1].leak
            if rule == "ndot" and k:
                factors = _measured(layers[k - 1], nominal.potentials[k - 1])
            self.seen[name] = _sums(reads[k], decay, factors if decay else None)
            self.constants[name] = [sum(bias**j for j in range(t + 1)) for t in range(steps)]
            if decay:
                self.shown[f"traces/{name}"] = self.seen[name]
            if layer is not None and layer.recurrent:
                own = _measured(layer, nominal.potentials[k]) if rule == "ndot" else None
                decay = 0.0 if rule == "sltt" else layer.leak
                late = _sums(nominal.spikes[k], decay, own if decay else None)
                self.seen[f"{name}.recurrent"] = [np.zeros_like(late[0]), *late[:-1]]
                self.constants[f"{name}.recurrent"] = [1.0] * steps

    def of(self, name: str, t: int) -> tuple[Any, float]:
        """Of an operator at a step."""
        return self.seen[name][t], self.constants[name][t]


def _sums(values: list[Any], decay: float, factors: list[Any] | None) -> list[Any]:
    """z^_t = sum_{i<=t} decay^(t-i) z_i, or with the product of the factors of the steps between."""
    found = []
    for t in range(len(values)):
        total = np.zeros_like(values[0])
        for i in range(t + 1):
            share = (
                decay ** (t - i) if factors is None else np.prod([1.0 + 0 * values[0], *factors[i:t]], axis=0)
            )
            total = total + share * values[i]
        found.append(total)
    return found


def _measured(layer: Layer, potentials: list[Any]) -> list[Any]:
    """v_t / v_{t-1}, clipped; that of step t multiplies the trace on its way to t + 1."""
    before = [np.full_like(potentials[0], layer.rest), *potentials[:-1]]
    return [
        np.clip(now / np.where(then == 0, 1.0, then), -layer.leak, layer.leak)
        for now, then in zip(potentials, before, strict=True)
    ]


# -- averages and temporal modes --------------------------------------------------------------------------


def _averages(problem: Problem, graph: SpikingGraph, parameters: dict[str, np.ndarray]) -> Leaves:
    """The network of coefficients: each population answers by its gains, everything else as it is."""
    given, inputs, targets = problem.hyperparameters, problem.inputs["input"], problem.inputs["targets"]
    steps = len(inputs)
    oracle = AffineGraph(graph, parameters, inputs, targets)
    rate = given["algorithm"] == "rate_backpropagation"
    basis = np.full((1, steps), 1 / steps) if rate else _cosines(given["n_modes"], steps)
    dual = np.ones((1, steps)) if rate else basis  # a series is sum_k (its coefficient k) dual_k(t)
    constant = basis.sum(axis=1)
    gains, spikes = {}, {}
    found: Leaves = {}
    for name, population in graph.populations.items():
        h = np.stack([oracle.nominal.charged[name, t] for t in range(steps)])
        jacobian = neuron_jacobian(population.neuron, h.reshape(steps, -1)).reshape(steps, *h.shape)
        gains[name] = np.einsum("ju,ut...,kt->jk...", basis, jacobian, dual)
        spikes[name] = np.stack([values[name] for values in oracle.nominal.values])
        s = np.tensordot(basis, spikes[name], axes=1)
        found |= (
            {f"rate/{name}": s[0], f"rate_jacobian/{name}": gains[name][0, 0]}
            if rate
            else {f"coefficients/{name}": s, f"gains/{name}": gains[name]}
        )
        if not graph.normalisations:
            found |= {f"states/spikes/{name}": spikes[name], f"states/charged/{name}": h}

    def series(name: str) -> np.ndarray:
        return np.stack([values[name] for values in oracle.nominal.values])

    def readout(moved: dict[str, np.ndarray]) -> Any:
        """Coefficients of o_t that the moved parameters give."""
        weights, now = graph.prepared(moved), {INPUT: np.tensordot(basis, inputs, axes=1)}
        for node in graph.nodes:
            read = [now[name] for name in node.inputs]
            if isinstance(node.what, Population):
                c0 = np.tensordot(basis, series(node.inputs[0]), axes=1)
                s0 = np.tensordot(basis, spikes[node.name], axes=1)
                # c0 from the run; the difference has only an imaginary part
                now[node.name] = s0 + np.einsum(
                    "jk...,k...->j...", gains[node.name], 1j * np.imag(read[0]) + 0 * c0
                )
            elif isinstance(node.what, Sum):
                now[node.name] = sum(read[1:], start=read[0])
            elif isinstance(node.what, BatchNormalisation):
                now[node.name] = _normalised(node.what, weights[node.name], series(node.inputs[0]), read[0])
            else:
                operator, own = linear_operator(node), weights[node.name]
                flat = read[0].reshape(-1, *read[0].shape[2:])
                outputs = operator.linear(own, flat) if own else operator.forward(own, flat)
                outputs = outputs.reshape(*read[0].shape[:2], *outputs.shape[1:])
                bias = operator.bias(own) if own else None
                ones = constant.reshape(-1, *(1,) * (outputs.ndim - 1))
                now[node.name] = outputs if bias is None else outputs + ones * bias
        return now[graph.readout.name]

    errors = _readout_errors(graph, series(graph.readout.name), targets)
    sent = np.tensordot(dual, errors, axes=1) / (steps if rate and given["scale"] == "paper" else 1)
    gradients = complex_step_gradient(lambda moved: (sent * readout(moved)).sum() + 0j, parameters)
    loss = oracle.loss(parameters)
    return found | {f"gradients/{n}": g for n, g in gradients.items()} | {"loss": np.asarray(np.real(loss))}


def _readout_errors(graph: SpikingGraph, readouts: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """dL/do_t by complex step, (T, B, C)."""

    def loss(moved: dict[str, np.ndarray]) -> Any:
        outputs: list[Any] = []
        for one in moved["o"]:
            outputs.append(one + (graph.readout_leak * outputs[-1] if outputs else 0.0))
        return _loss(graph, outputs, targets)

    return complex_step_gradient(loss, {"o": readouts})["o"]


def _normalised(operator: BatchNormalisation, weights: Any, currents: np.ndarray, average: Any) -> Any:
    """Value replacement: statistics of all steps that move as those of the average do (Yu 2024)."""
    flat, moved = currents.reshape(-1, *currents.shape[2:]), average[0]
    still = moved.real
    mean = channel_mean(flat) + channel_mean(moved) - channel_mean(still)
    variance = (
        channel_mean((flat - per_channel(channel_mean(flat), flat)) ** 2)
        + channel_mean((moved - per_channel(channel_mean(moved), moved)) ** 2)
        - channel_mean((still - per_channel(channel_mean(still), still)) ** 2)
    )
    normal = (moved - per_channel(mean, moved)) / per_channel(np.sqrt(variance + operator.epsilon), moved)
    return (per_channel(weights["gamma"], moved) * normal + per_channel(weights["beta"], moved))[None]


def _cosines(modes: int, steps: int) -> np.ndarray:
    """phi_k(t), written out."""
    k, t = np.arange(modes)[:, None], np.arange(steps)[None]
    return np.where(k == 0, np.sqrt(1 / steps), np.sqrt(2 / steps) * np.cos(np.pi * k * (t + 0.5) / steps))
