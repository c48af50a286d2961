"""Networks of spiking neurons under every algorithm that trains them: spikes, traces, rates, gradients."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.eprop import eprop
from refsnn.algorithms.forward_in_time import ForwardInTime
from refsnn.algorithms.layerwise import Pass
from refsnn.algorithms.ottt import ottt, trace_rule
from refsnn.algorithms.rate_backpropagation import rate_backpropagation, simulate
from refsnn.algorithms.result import GradientResult
from refsnn.algorithms.sltt import sltt
from refsnn.algorithms.temporal_galerkin import Modes, cosine_basis, temporal_galerkin
from refsnn.algorithms.trace_rules import PRESETS
from refsnn.kernels import spiking_kernels
from refsnn.models.contract import Parameters, zeros_like
from refsnn.models.operators.dense import Dense
from refsnn.models.spiking_graph import SpikingGraph
from refsnn.models.spiking_step import advance
from refsnn.network_files import build
from refsnn.vectors.case import Kind, Leaf, Leaves, Problem, Solution
from refsnn.vectors.kinds.spiking_network.by_hand import ByHand
from refsnn.vectors.kinds.spiking_network.cases import cases
from refsnn.vectors.kinds.spiking_network.mistakes import MISTAKES
from refsnn.vectors.kinds.spiking_network.truth import truth

_NEURON = "refsnn/equations/spiking.py"
_ALGORITHMS = "refsnn/algorithms"
LEAVES = (
    Leaf(
        "loss",
        "()",
        "L",
        "L = l(mean_t y_t) or (1/T) sum_t l(y_t), l a mean over the batch, refsnn/models/losses.py",
    ),
    Leaf(
        "outputs",
        "(B, C)",
        "mean_t y_t",
        "y_t = readout_leak y_{t-1} + W s_t + b, refsnn/algorithms/readout.py",
    ),
    Leaf(
        "states/spikes/*",
        "(T, B, n)",
        "s_t of a layer",
        f"s_t = H(h_t - threshold), {_NEURON}",
        0.0,
    ),
    Leaf(
        "states/charged/*",
        "(T, B, n)",
        "h_t of a layer, before the reset",
        f"h_t = leak v_{{t-1}} + I_t, I_t = W z_t + b + R s_{{t-1}}, {_NEURON}",
    ),
    Leaf("rate/*", "(B, n)", "of a layer, rate_backpropagation", "e = (1/T) sum_t s_t (Yu 2024, Eq. 5)"),
    Leaf(
        "rate_jacobian/*",
        "(B, n)",
        "of a layer, rate_backpropagation",
        "g = (1/T) sum_t psi_t rho_t, rho_{t+1} = 1 + f_t rho_t, rho_1 = 1, f_t = leak dv_t/dh_t "
        f"(Yu 2024, Eqs. 8 and 9), {_ALGORITHMS}/rate_backpropagation.py",
    ),
    Leaf(
        "coefficients/*",
        "(K, B, n)",
        "of the spikes of a layer, temporal_galerkin",
        f"E_k = sum_t phi_k(t) s_t, {_ALGORITHMS}/temporal_galerkin.py",
    ),
    Leaf(
        "gains/*",
        "(K, K, B, n)",
        "of a layer, temporal_galerkin",
        "G_jk = sum_t phi_j(t) psi_t rho_k(t), rho_k(t) = phi_k(t) + f_{t-1} rho_k(t-1), "
        f"{_ALGORITHMS}/temporal_galerkin.py",
    ),
    Leaf(
        "traces/*",
        "(B, m)",
        "of what a layer reads, after the last step, where its weights see a trace; ottt",
        f"z^_t = decay z^_{{t-1}} + z_t (Xiao 2022, Eq. 4), {_ALGORITHMS}/trace_rules.py",
    ),
    Leaf(
        "gradients/*",
        "as the parameter",
        "dL/d(parameter) as the algorithm has it",
        "bptt: dL/dh_t = psi_t dL/ds_t + leak dv_t/dh_t dL/dh_{t+1}, dL/dW = sum_t dL/dh_t z_t^T; "
        "rate_backpropagation: dW = d e^T, d below = g W^T d; temporal_galerkin: dW = sum_k a_k E_k^T, "
        "a_k below = sum_j G_jk W^T a_j; ottt, sltt: dW = sum_t g_t z^_t^T; eprop: dW = sum_t L_t e_t; "
        f"{_ALGORITHMS}/ALGORITHM.py",
    ),
)
INPUTS = {
    "algorithm": "which gradient: bptt, truncated_bptt, rate_backpropagation, temporal_galerkin, ottt, sltt "
    "or eprop, as refsnn/algorithms/ALGORITHM.py has it",
    "architecture": "'dense': layers one above the other, of which the names below say everything; 'graph': "
    "something else, of which 'network' alone does",
    "network": "the network as JSON, node by node (refsnn/network_files.py)",
    "widths": "of the input, the L hidden layers, and the read-out (C); dense networks",
    "recurrent": "one a hidden layer: whether it reads its own spikes of the step before, none at t = 1, by "
    "the weight layer.L.recurrent.weight",
    "leak": "one a hidden layer: share of the potential that survives a step",
    "threshold": "one a hidden layer: potential at which it fires",
    "reset": "one a hidden layer: 'soft' subtracts the threshold; 'hard' sets the potential to reset_value "
    "and leaks towards it",
    "reset_value": "one a hidden layer: where a hard reset goes, and all potentials start",
    "detach_reset": "one a hidden layer: whether the gradient takes the spike in the reset for a constant",
    "fires": "one a hidden layer: '>=' or '>'",
    "surrogate.shape": "one a hidden layer: psi, the slope of a spike (refsnn/equations/surrogates.py)",
    "surrogate.slope": "one a hidden layer: one over the width of psi, per unit of potential",
    "surrogate.height": "one a hidden layer: psi at the threshold",
    "loss_function": "l: 'cross_entropy' of the softmax, to labels; 'mean_squared_error', half the squared "
    "error summed over classes; both a mean over the batch",
    "loss_over": "'mean_readout': L = l(mean_t y_t); 'each_step': L = (1/T) sum_t l(y_t)",
    "squared_share": "a: (1 - a) cross-entropy + a times the mean over batch and classes of (y - onehot)^2",
    "readout_leak": "y_t = readout_leak y_{t-1} + o_t, o_t = W s_t + b of the read-out",
    "window": "truncated_bptt: steps of a window, counted from the end; no gradient passes from a window "
    "into the one before, not along the memory of the read-out either",
    "scale": "rate_backpropagation: 'paper' keeps the factor 1/T of the paper on all gradients, 'bptt' does "
    "not",
    "n_modes": "temporal_galerkin: K; phi_1 = 1/sqrt(T), phi_k(t) = sqrt(2/T) cos(pi (k-1)(t-1/2)/T)",
    "preset": "ottt: which weights see traces (refsnn/algorithms/trace_rules.py). 'paper': all, z^ decaying "
    "with the leak of the layer they feed, the read-out's with that of the layer it reads, biases none. "
    "'official_code': not those of the input, and with the leak of the layer that they read. "
    "'exact_local': not the read-out's unless it leaks, and biases with sum_{j<t} leak^j. "
    "'ndot': spikes decay with v_{t-1}/v_{t-2} of their neuron, clipped to its leak, 1 for v_{t-2} = 0. "
    "With a leaky read-out its weight and bias see traces that decay with its leak",
    "learning_steps": "sltt: the steps, from 0, at which an error is sent down (SLTT-K)",
    "inputs/input": "(T, B, n_0) or (T, B, channels, height, width)",
    "inputs/targets": "labels (B,) from 0, or real targets (B, C)",
    "inputs/feedback": "eprop: (n, C), B in L_j = sum_k B_jk dL/dy_k; the transposed read-out without it",
    "inputs/parameters/*": "layer.l.weight (n_l, n_{l-1}), layer.l.bias (n_l,), layer.l.recurrent.weight "
    "(n_l, n_l), readout.weight (C, n_L), readout.bias (C,); I = W z + b",
}


def parameters_of(problem: Problem) -> Parameters:
    """The network's parameters by their own names.

    Parameters
    ----------
    problem : Problem
        Of a case.

    Returns
    -------
    dict of str to ndarray
    """
    return {
        name.removeprefix("parameters/"): array
        for name, array in problem.inputs.items()
        if name.startswith("parameters/")
    }


def solve(problem: Problem, backend: str) -> Solution:
    """Run the algorithm of a case.

    Parameters
    ----------
    problem : Problem
        Of a case.
    backend : {"plain", "cpu", "cuda"}
        Whose kernels.

    Returns
    -------
    Solution
    """
    given, inputs = problem.hyperparameters, problem.inputs
    graph = build(json.loads(given["network"]))
    arguments = graph, parameters_of(problem), inputs["input"], inputs["targets"]
    algorithm = given["algorithm"]
    leaves = _states(*arguments, backend)
    if algorithm in ("bptt", "truncated_bptt"):
        result = bptt(*arguments, window=given.get("window") or None, backend=backend)
    elif algorithm == "rate_backpropagation":
        result = rate_backpropagation(*arguments, scale=given["scale"], backend=backend)
        record = simulate(*arguments[:3], backend=backend)
        leaves |= {f"rate/{name}": rate for name, rate in record.rates.items() if name != "input"}
        leaves |= {f"rate_jacobian/{name}": slopes for name, slopes in record.slopes.items()}
    elif algorithm == "temporal_galerkin":
        result = temporal_galerkin(*arguments, n_modes=given["n_modes"], backend=backend)
        leaves |= _modes(*arguments[:3], given["n_modes"], backend)
    elif algorithm == "eprop":
        result = eprop(*arguments, feedback=inputs.get("feedback"), backend=backend)
    elif algorithm == "ottt":
        result = ottt(*arguments, preset=given["preset"], backend=backend)
        leaves |= _online(*arguments, given["preset"], range(len(inputs["input"])), backend)[1]
    else:
        result = sltt(*arguments, backend=backend)
        gradients, _ = _online(*arguments, "sltt", given["learning_steps"], backend)
        result = GradientResult(result.loss, gradients, result.diagnostics)
    leaves |= {"loss": np.asarray(result.loss, inputs["input"].dtype), "outputs": result.diagnostics.outputs}
    leaves |= {f"gradients/{name}": gradient for name, gradient in result.gradients.items()}
    margin = result.diagnostics.margin
    return Solution(leaves, float("inf") if margin is None else margin)


def _states(graph: SpikingGraph, parameters: Parameters, inputs: Any, targets: Any, backend: str) -> Leaves:
    """Spikes and charged potentials; none where a normalisation needs all steps at once."""
    if any(operator.over == "sequence" for operator in graph.normalisations.values()):
        return {}
    parameters, inputs, _ = graph.check_arrays(parameters, inputs, targets)
    weights, kernels = graph.prepared(parameters), spiking_kernels(backend)
    state, tapes = graph.initial_state(parameters, len(inputs[0])), []
    for one in inputs:
        state, tape = advance(graph, weights, state, one, kernels)
        tapes.append(tape)
    found = {
        f"states/spikes/{name}": np.stack([tape.values[name] for tape in tapes]) for name in graph.populations
    }
    charged = {
        f"states/charged/{name}": np.stack([tape.charged[name] for tape in tapes])
        for name in graph.populations
    }
    return found | charged


def _modes(graph: SpikingGraph, parameters: Parameters, inputs: Any, modes: int, backend: str) -> Leaves:
    """Coefficients and gains of all populations."""
    parameters, inputs = graph.check_inputs(parameters, inputs)
    basis = cosine_basis(modes, len(inputs), inputs.dtype)
    keeper = Modes(basis, spiking_kernels(backend), graph.edges)
    Pass(graph, parameters, keeper).up(inputs)
    running = keeper.running.items()
    return {f"coefficients/{name}": neurons.spikes for name, neurons in running} | {
        f"gains/{name}": neurons.gains for name, neurons in running
    }


def _online(
    graph: SpikingGraph,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    preset: str,
    learning_steps: Any,
    backend: str,
) -> tuple[Parameters, Leaves]:
    """Gradients of the steps that learn, and the traces after the last step."""
    parameters, inputs, targets = graph.check_arrays(parameters, inputs, targets)
    rule = PRESETS["sltt"] if preset == "sltt" else trace_rule(preset)
    kernels, steps = spiking_kernels(backend), len(inputs)
    network = ForwardInTime(graph, rule, parameters, len(inputs[0]), steps, kernels)
    gradients = zeros_like(parameters)
    for t in range(steps):
        for name, share in network.step(parameters, inputs[t], targets, t in learning_steps).items():
            gradients[name] += share
    traces = {}
    for node in graph.nodes:
        decay = network.decays.get(node.name)
        if decay and not node.delayed and isinstance(node.what, Dense):
            traces[f"traces/{node.parameter_prefix}"] = network.traces.arrays[node.inputs[0], decay]
    return gradients, traces


def wrongly(problem: Problem) -> Leaves:
    """The network and its algorithm with its switches.

    Parameters
    ----------
    problem : Problem
        Whose hyper-parameters may hold names that begin with ``mistake.``; with architecture 'graph' only
        those that change the problem.

    Returns
    -------
    dict of str to ndarray
        All leaves.
    """
    if options := problem.hyperparameters.get("mistake.instead"):  # the gradients of another algorithm
        own = problem.changed(mistake__instead=None)
        other = wrongly(own.changed(**options))
        return wrongly(own) | {path: leaf for path, leaf in other.items() if path.startswith("gradients/")}
    if problem.hyperparameters["architecture"] == "graph":
        return solve(problem, "plain").leaves
    return ByHand(problem).leaves()


SPIKING_NETWORK = Kind(
    name="spiking_network",
    summary="Networks of spiking neurons: BPTT and its truncations, rate-based backpropagation, temporal "
    "Galerkin, OTTT, SLTT, e-prop.",
    inputs=INPUTS,
    leaves=LEAVES,
    solve=solve,
    truth=truth,
    oracle="affine spikes by complex step; networks of averages over brute-force Jacobians",
    cases=cases,
    mistakes=MISTAKES,
    wrongly=wrongly,
)
