"""Recurrent networks: forward by hand, gradients against independent truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from recurrent_cases import (
    ALL,
    LOSSES,
    SMOOTH,
    SPIKING,
    assert_close,
    leaves,
    problem,
    pulled_back,
    state_of,
)

from refsnn.algorithms.bptt import bptt_over_steps
from refsnn.algorithms.forward_mode import rtrl
from refsnn.models.losses import LOSSES as LOSS_FUNCTIONS
from refsnn.models.recurrent import (
    GatedRecurrentUnit,
    LongShortTermMemory,
    RecurrentSpikingLayer,
    TanhNetwork,
)
from refsnn.oracles.complex_step import complex_step_gradient
from refsnn.oracles.finite_differences import central_gradient

BY_NAME = pytest.mark.parametrize("name", ALL)
SMOOTH_BY_NAME = pytest.mark.parametrize("name", SMOOTH)
SPIKING_BY_NAME = pytest.mark.parametrize("name", SPIKING)
BY_LOSS = pytest.mark.parametrize("loss", LOSSES)


# -- forward, written a second time --------------------------------------------------------------------------


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def by_hand(network, p, inputs):
    """y_k of a network of one layer, from the formulas of the field, in whatever order NumPy sums."""
    into, back = p["layer.1.input_weight"], p["layer.1.recurrent_weight"]
    out, out_bias = p["readout.weight"], p["readout.bias"]
    n = network.widths[1]
    h, c, z, o = (np.zeros((inputs.shape[1], n)) for _ in range(4))
    if isinstance(network, RecurrentSpikingLayer):
        o = np.zeros((inputs.shape[1], network.widths[2]))
    outputs, fired = [], 0
    for x in inputs:
        if isinstance(network, GatedRecurrentUnit):
            a, b = x @ into.T + p["layer.1.input_bias"], h @ back.T + p["layer.1.recurrent_bias"]
            r, u = sigmoid(a[:, :n] + b[:, :n]), sigmoid(a[:, n : 2 * n] + b[:, n : 2 * n])
            h = (1 - u) * np.tanh(a[:, 2 * n :] + r * b[:, 2 * n :]) + u * h
        else:
            a = x @ into.T + (z if isinstance(network, RecurrentSpikingLayer) else h) @ back.T
            a += p["layer.1.bias"]
        if isinstance(network, TanhNetwork):
            h = np.tanh(a)
        if isinstance(network, LongShortTermMemory):
            i, f, g, gate = (a[:, k * n : (k + 1) * n] for k in range(4))
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(gate) * np.tanh(c)
        if isinstance(network, RecurrentSpikingLayer):
            neuron = network.neuron
            c = neuron.leak * c + a - neuron.threshold * z
            z = (c >= neuron.threshold if neuron.fires == ">=" else c > neuron.threshold).astype(float)
            fired += z.sum()
            o = network.readout_leak * o + z @ out.T + out_bias
            outputs.append(o)
        else:
            outputs.append(h @ out.T + out_bias)
    if isinstance(network, RecurrentSpikingLayer):
        assert 0.05 < fired / c.size / len(inputs) < 0.9
    return np.array(outputs)


@pytest.mark.parametrize("name", ["tanh", "lstm", "gru", *SPIKING])
@pytest.mark.parametrize("backend", ["plain", "cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_forward_by_hand(name, backend):
    network, parameters, inputs, _ = problem(ALL[name], steps=12)
    expected = by_hand(network, parameters, inputs)
    np.testing.assert_allclose(
        network.run(parameters, inputs, backend=backend), expected, rtol=1e-11, atol=1e-13
    )


@BY_NAME
@BY_LOSS
def test_loss_is_the_weighted_sum(name, loss):
    """Over steps, not a mean; B is the whole batch."""
    network, parameters, inputs, targets = problem(ALL[name], loss=loss)
    if network.counts_steps:
        core = network.working_core(parameters, inputs, None)
        core.start(None)
        outputs = np.empty((len(inputs), inputs.shape[1], network.widths[-1]))
        for step in range(1, len(inputs) + 1):
            core.forward(step)
            outputs[step - 1] = core.read_out()
            np.copyto(core.before.memory, core.after.memory)
    else:
        outputs = network.run(parameters, inputs)
    batch, expected = inputs.shape[1], 0.0
    for k in range(len(inputs)):
        for b in range(batch):
            one = LOSS_FUNCTIONS[loss][0](outputs[k, b : b + 1], targets.values[k, b : b + 1])
            expected += targets.weights[k, b] * one / batch
    assert pulled_back(network, parameters, inputs, targets).loss == pytest.approx(expected, rel=1e-13)
    assert bptt_over_steps(network, parameters, inputs, targets).loss == pytest.approx(expected, rel=1e-13)


# -- gradients against independent truth ---------------------------------------------------------------------


def complex_loss(network, parameters, inputs, targets, state=None, adjoint=None):
    """L (+ <adjoint, h_T>) with everything complex."""
    inputs = inputs.astype(complex)
    parameters = {name: value.astype(complex) for name, value in parameters.items()}
    core = network.working_core(parameters, inputs, targets, backend="plain")
    core.start(None if state is None else {name: value.astype(complex) for name, value in state.items()})
    loss = 0
    for step in range(1, len(inputs) + 1):
        core.forward(step)
        loss += core.step_loss(step)
        np.copyto(core.before.memory, core.after.memory)
    return loss + sum((value * core.after.arrays[name]).sum() for name, value in (adjoint or {}).items())


@SMOOTH_BY_NAME
@BY_LOSS
@pytest.mark.parametrize("backend", ["plain", "cpu"])
def test_complex_step(name, loss, backend):
    """Of all parameters, of the inputs, and of a given start, with a given adjoint of the end."""
    network, parameters, inputs, targets = problem(SMOOTH[name], loss=loss)
    start, end = state_of(network), state_of(network, seed=8)
    found = leaves(pulled_back(network, parameters, inputs, targets, backend, start, end))
    everything = parameters | {f"start.{key}": value for key, value in start.items()} | {"inputs": inputs}

    checked = network.check(parameters, inputs, targets)[2]

    def whole(arrays):
        own = {key: arrays[key] for key in parameters}
        given = {key: arrays[f"start.{key}"] for key in start}
        return complex_loss(network, own, arrays["inputs"], checked, given, end)

    assert_close(found, complex_step_gradient(whole, everything), 1e-12)


@SMOOTH_BY_NAME
def test_finite_differences(name):
    """Of the contract's own loss."""
    network, parameters, inputs, targets = problem(SMOOTH[name], steps=4, batch=2)
    result = bptt_over_steps(network, parameters, inputs, targets)
    expected = central_gradient(
        lambda p: bptt_over_steps(network, parameters | p, inputs, targets).loss,
        {key: parameters[key] for key in list(parameters)[:3]},
    )
    assert_close({key: result.gradients[key] for key in expected}, expected, 1e-6)


@BY_NAME
@BY_LOSS
def test_real_time_recurrent_learning(name, loss):
    network, parameters, inputs, targets = problem(ALL[name], loss=loss)
    expected = rtrl(network, parameters, inputs, targets)
    core = pulled_back(network, parameters, inputs, targets)
    assert_close(core.gradients, expected.gradients, 1e-12)
    assert core.loss == pytest.approx(expected.loss, rel=1e-13)


@BY_NAME
def test_forward_mode_from_a_start(name):
    """dL/dh_0 with an adjoint of h_T: tangents of the start pushed along; for spikes psi(v_0) is in it."""
    network, parameters, inputs, targets = problem(ALL[name])
    start, end = state_of(network), state_of(network, seed=8)
    found = pulled_back(network, parameters, inputs, targets, "cpu", start, end).initial_gradients()
    _, sequence, _ = network.check(parameters, inputs, targets)
    nothing = {key: np.zeros_like(value) for key, value in parameters.items()}
    expected = {key: np.zeros_like(value) for key, value in start.items()}
    for key, value in start.items():
        state = network.initial_state(parameters, inputs.shape[1]) | start
        tangent = {entry: np.zeros_like(array) for entry, array in state.items()}
        tangent[key] = np.eye(value.size).reshape(value.size, *value.shape)
        for step in sequence:
            tangent = network.step_jvp(parameters, state, step, tangent, nothing)
            state = network.step(parameters, state, step)
        slopes = tangent["loss.sum"][:, 0]
        for entry, weight in end.items():
            slopes = slopes + (tangent[entry] * weight).sum(axis=(-2, -1))
        expected[key] = slopes.reshape(value.shape)
    assert_close(found, expected, 1e-12)


@SPIKING_BY_NAME
def test_reset_and_start_matter(name):
    """The cases above are alive: psi(v_0), the reset and its detachment each change the gradient."""
    network, parameters, inputs, targets = problem(SPIKING[name])
    other = replace(network, neuron=replace(network.neuron, detach_reset=not network.neuron.detach_reset))
    results = [pulled_back(n, parameters, inputs, targets, "cpu", state_of(n)) for n in (network, other)]
    weights = [result.gradients["layer.1.recurrent_weight"] for result in results]
    assert np.abs(weights[0] - weights[1]).max() > 1e-2 * np.abs(weights[0]).max()
    starts = [result.initial_gradients()["layer.1.potential"] for result in results]
    assert np.abs(starts[0] - starts[1]).max() > 1e-2 * np.abs(starts[0]).max()


@pytest.mark.parametrize("name", ["lstm, two layers", "gru, two layers", "tanh, two layers"])
def test_torch(name):
    torch = pytest.importorskip("torch", reason="torch is not installed: autograd is not asked")
    network, parameters, inputs, targets = problem(SMOOTH[name])
    n_in, *hidden, outputs = network.widths
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "tanh": torch.nn.RNN}[name.split(",")[0]]
    leaf = {key: torch.tensor(value, requires_grad=True) for key, value in parameters.items()}
    below = torch.tensor(inputs)
    for layer, (width_in, width) in enumerate(zip((n_in, *hidden), hidden, strict=False), start=1):
        module, prefix = kind(width_in, width).double(), f"layer.{layer}"
        biases = (
            [f"{prefix}.bias"] if name[:3] != "gru" else [f"{prefix}.input_bias", f"{prefix}.recurrent_bias"]
        )
        used = {
            "weight_ih_l0": leaf[f"{prefix}.input_weight"],
            "weight_hh_l0": leaf[f"{prefix}.recurrent_weight"],
            "bias_ih_l0": leaf[biases[0]],
            "bias_hh_l0": leaf[biases[1]] if biases[1:] else torch.zeros_like(leaf[biases[0]]),
        }
        below, _ = torch.func.functional_call(module, used, (below,))
    y = below @ leaf["readout.weight"].T + leaf["readout.bias"]
    each = torch.nn.functional.cross_entropy(
        y.reshape(-1, outputs), torch.tensor(targets.values).reshape(-1), reduction="none"
    )
    loss = (each * torch.tensor(targets.weights).reshape(-1)).sum() / inputs.shape[1]
    loss.backward()
    core = pulled_back(network, parameters, inputs, targets)
    assert core.loss == pytest.approx(loss.item(), rel=1e-12)
    assert_close(core.gradients, {key: value.grad.numpy() for key, value in leaf.items()}, 1e-10)


def test_forget_gates_and_they_alone_start_open():
    network = LongShortTermMemory((3, 4, 5, 2))
    parameters = network.initialise(np.random.default_rng(0))
    for prefix, width in (("layer.1", 4), ("layer.2", 5)):
        gates = parameters[f"{prefix}.bias"].reshape(4, width)
        assert (gates[1] == 1).all()
        assert not gates[[0, 2, 3]].any()
