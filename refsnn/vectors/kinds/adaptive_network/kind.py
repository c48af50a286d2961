"""LSNN: a recurrent layer of adaptive spiking neurons with delays, its gradient by BPTT and by e-prop."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from refsnn.algorithms.adaptive_bptt import AdaptiveResult, RateRegulariser, adaptive_bptt
from refsnn.algorithms.adaptive_eprop import adaptive_eprop
from refsnn.equations.surrogates import Surrogate
from refsnn.models.adaptive.core import (
    ADAPTATION,
    COUNTER,
    CURRENTS,
    POTENTIAL,
    REFRACTORY,
    SPIKES,
    TRACE,
)
from refsnn.models.adaptive.delays import Delays
from refsnn.models.adaptive.inputs import DrivenInput
from refsnn.models.adaptive.network import AdaptiveSpikingNetwork
from refsnn.models.adaptive.neuron import NEURON_PARAMETERS, AdaptiveNeuron, SpikePairsWarning
from refsnn.models.adaptive.run import Run
from refsnn.models.adaptive.windows import WindowTargets
from refsnn.models.contract import State
from refsnn.vectors.case import Kind, Leaf, Leaves, Problem, Solution
from refsnn.vectors.kinds.adaptive_network.by_hand import by_hand
from refsnn.vectors.kinds.adaptive_network.cases import cases
from refsnn.vectors.kinds.adaptive_network.mistakes import MISTAKES

_EQUATIONS = "refsnn/equations/adaptive.py"
_ADJOINT = "refsnn/algorithms/ALGORITHM.py"
# name in a case: name in the state of the network
START = {
    "spikes": SPIKES,
    "potential": POTENTIAL,
    "adaptation": ADAPTATION,
    "refractory": REFRACTORY,
    "currents": CURRENTS,
    "trace": TRACE,
}
LEAVES = (
    Leaf(
        "states/spikes",
        "(T, B, n)",
        "z_{k+1}, 0 or 1/time_step",
        f"z_{{k+1}} = (1 - m_{{k+1}}) H(u_{{k+1}}) / delta, H(0) = 0 (Bellec 2018), {_EQUATIONS}",
        0.0,
    ),
    Leaf(
        "states/potential",
        "(T, B, n)",
        "v_{k+1}",
        f"v_{{k+1}} = alpha v_k + (1 - alpha) I_k - delta reset (Bellec 2018), {_EQUATIONS}",
    ),
    Leaf(
        "states/adaptation",
        "(T, B, n)",
        "b_{k+1}",
        f"b_{{k+1}} = rho b_k + (1 - rho) z_k (Bellec 2018, Eq. 2), {_EQUATIONS}",
    ),
    Leaf(
        "states/threshold",
        "(T, B, n)",
        "B_{k+1}",
        f"B_{{k+1}} = b^0 + beta b_{{k+1}} (Bellec 2018, Eq. 1), {_EQUATIONS}",
    ),
    Leaf(
        "outputs",
        "(W, B, C)",
        "the mean read-out of each window",
        "y_k = W^out p_k + c, p_k = kappa p_{k-1} + (1 - kappa) z_{k+1}, refsnn/models/adaptive/network.py",
    ),
    Leaf(
        "loss",
        "()",
        "L, without the penalty on rates",
        "L = sum_w sum_b weight_wb l(mean y_wb) / B, refsnn/models/adaptive/windows.py",
    ),
    Leaf(
        "penalty",
        "()",
        "on rates",
        "rate_strength sum_j (r_j - rate_target)^2, refsnn/algorithms/adaptive_bptt.py",
    ),
    Leaf(
        "gradients/start/*",
        "as the start",
        "d(L + penalty)/d(state before the first step); adaptive_bptt",
        f"zhat, vhat, bhat and the adjoint of the delay line, {_ADJOINT}",
    ),
    Leaf(
        "gradients/input",
        "(T, B, n_in)",
        "d(L + penalty)/dx_k; adaptive_bptt",
        f"dL/dx_ki = sum_j W^in_ji Ibar_{{k + d_ji, j}}, {_ADJOINT}",
    ),
    Leaf(
        "gradients/*",
        "as the parameter",
        "d(L + penalty)/d(parameter)",
        f"dL/dW_ji = sum_k z_ki Ibar_{{k + d_ji, j}}; e-prop: learning signal times eligibility, {_ADJOINT}",
    ),
)
INPUTS = {
    "algorithm": "'adaptive_bptt', or 'adaptive_eprop': the same with the spikes that other neurons hear "
    "taken for constants, stop_recurrent or not",
    "widths": "n_in, n and C",
    "scheme": "what is reset, and what is compared: 'official' takes z_k B_{k+1} off and compares v_k, "
    "'paper' z_{k+1} B_{k+1} and v_k, 'eprop' z_k b^0 and v_{k+1}",
    "divisor": "N in u_{k+1} = (compared - B_{k+1}) / N: 'threshold' is B_{k+1}, 'baseline' is b^0",
    "refractory": "R: no spike in so many steps after one; psi counts for 0 there",
    "time_step": "delta: a spike is 1/delta",
    "stop_reset": "whether the gradient takes the spike in the reset for a constant",
    "stop_recurrent": "whether it takes the spikes that other neurons hear for constants",
    "surrogate.shape": "psi(u), the slope of H (refsnn/equations/surrogates.py)",
    "surrogate.slope": "one over the width of psi",
    "surrogate.height": "psi(0): gamma, the dampening",
    "slots": "D: delays are 0 to D - 1 steps",
    "readout_decay": "kappa",
    "loss_function": "l: 'cross_entropy' of the softmax to labels, or 'mean_squared_error', half the squared "
    "error summed over outputs",
    "window_first": "first step of each window, from 0",
    "window_last": "last step of each window",
    "trained": "whether there are gradients by the constants of the neurons too",
    "rate_strength": "of the penalty on the mean of z over steps and samples",
    "rate_target": "of the penalty",
    "inputs/input": "(T, B, n_in): x_k",
    "inputs/noise": "(T, B, n): added to the current as it arrives; 0 without it",
    "inputs/targets": "labels (W, B), or (W, B, C)",
    "inputs/window_weights": "(W, B); 1 without it",
    "inputs/constants/leak": "(n,): alpha",
    "inputs/constants/adaptation_decay": "(n,): rho",
    "inputs/constants/adaptation_strength": "(n,): beta",
    "inputs/constants/baseline": "(n,): b^0",
    "inputs/delays/input": "(n, n_in): d, an input of step k adds to the current of step k + d",
    "inputs/delays/recurrent": "(n, n): d, of z_k to the current I_{k+d}",
    "inputs/parameters/*": "input_weight (n, n_in), recurrent_weight (n, n) without regard to its diagonal "
    "(no neuron hears itself), readout_weight (C, n), readout_bias (C,)",
    "inputs/start/*": "state before the first step, 0 without it: spikes, potential, adaptation (B, n), "
    "refractory (B, n) steps that are left, currents (B, D, n) under way, slot d arriving d steps "
    "later, trace (B, n) of the read-out, p",
}


def names_of(problem: Problem) -> dict[str, str]:
    """The names of parameters in the network, and in a case.

    Parameters
    ----------
    problem : Problem
        Of a case.

    Returns
    -------
    dict of str to str
    """
    names = {
        "layer.1.input_weight": "parameters/input_weight",
        "layer.1.recurrent_weight": "parameters/recurrent_weight",
        "readout.weight": "parameters/readout_weight",
        "readout.bias": "parameters/readout_bias",
    }
    if problem.hyperparameters["trained"]:
        names |= {f"layer.1.{name}": f"constants/{name}" for name in NEURON_PARAMETERS}
    return names


def network_of(problem: Problem) -> AdaptiveSpikingNetwork:
    """The network of a case.

    Parameters
    ----------
    problem : Problem
        Of a case.

    Returns
    -------
    AdaptiveSpikingNetwork
    """
    given, inputs = problem.hyperparameters, problem.inputs
    options: dict[str, Any] = {
        name: given[name]
        for name in ("scheme", "divisor", "refractory", "time_step", "stop_reset", "stop_recurrent")
    }
    surrogate = Surrogate(*(given[f"surrogate.{name}"] for name in ("shape", "slope", "height")))
    constants: dict[str, Any] = {
        name: tuple(inputs[f"constants/{name}"].tolist()) for name in NEURON_PARAMETERS
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikePairsWarning)
        return AdaptiveSpikingNetwork(
            tuple(given["widths"]),
            given["loss_function"],
            neuron=AdaptiveNeuron(**constants, **options, surrogate=surrogate),
            delays=Delays(given["slots"], inputs["delays/input"], inputs["delays/recurrent"]),
            readout_decay=given["readout_decay"],
            trained=NEURON_PARAMETERS if given["trained"] else (),
        )


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
    given, inputs, names = problem.hyperparameters, problem.inputs, names_of(problem)
    network, dtype = network_of(problem), inputs["input"].dtype
    parameters = {name: inputs[path] for name, path in names.items()}
    drive = DrivenInput(inputs["input"], inputs.get("noise"))
    targets = WindowTargets(
        given["window_first"], given["window_last"], inputs["targets"], inputs.get("window_weights")
    )
    start = _start(network, inputs, dtype)
    options: dict[str, Any] = {"initial_state": start, "backend": backend}
    if given["rate_strength"]:
        options["regulariser"] = RateRegulariser(given["rate_strength"], given["rate_target"])
    result: AdaptiveResult
    if given["algorithm"] == "adaptive_bptt":
        result = adaptive_bptt(network, parameters, drive, targets, input_gradients=True, **options)
    else:
        result = adaptive_eprop(network, parameters, drive, targets, **options)
    leaves = _states(network, parameters, drive, start, inputs, backend)
    leaves |= {"outputs": result.window_outputs, "loss": np.asarray(result.loss, dtype)}
    if given["rate_strength"]:
        leaves["penalty"] = np.asarray(result.penalty, dtype)
    leaves |= {
        f"gradients/{path.split('/')[1]}": np.ascontiguousarray(result.gradients[name])
        for name, path in names.items()
    }
    if result.input_gradients is not None:
        leaves["gradients/input"] = result.input_gradients
        for name in ("spikes", "potential", "adaptation", "currents", "trace"):
            leaves[f"gradients/start/{name}"] = result.initial_gradients[START[name]]
    margin = result.diagnostics.margin
    return Solution(leaves, float("inf") if margin is None else margin)


def _start(network: AdaptiveSpikingNetwork, inputs: Leaves, dtype: np.dtype) -> State:
    batch = inputs["input"].shape[1]
    start = {name: np.zeros(shape, dtype) for name, shape in network.state_shapes(batch).items()}
    start |= {own: inputs[f"start/{name}"] for name, own in START.items() if f"start/{name}" in inputs}
    return start | {REFRACTORY: start[REFRACTORY].astype(COUNTER)}


def _states(
    network: AdaptiveSpikingNetwork, parameters: Any, drive: Any, start: State, inputs: Leaves, backend: str
) -> Leaves:
    """z, v, b and B after each step."""
    parameters, checked = network.check_inputs(parameters, drive)
    run = Run(network.working_core(parameters, checked, None, backend=backend), None)
    run.forward(start)
    adaptation = run.states.adaptation[1:]
    return {
        "states/spikes": run.states.spikes[1:],
        "states/potential": run.states.potential[1:],
        "states/adaptation": adaptation,
        "states/threshold": inputs["constants/baseline"]
        + inputs["constants/adaptation_strength"] * adaptation,
    }


def truth(problem: Problem) -> Leaves:
    """All leaves by the second writing, without mistakes.

    Parameters
    ----------
    problem : Problem
        Of a case, float64.

    Returns
    -------
    dict of str to ndarray
    """
    return by_hand(problem)


ADAPTIVE_NETWORK = Kind(
    name="adaptive_network",
    summary="LSNN, adaptive spiking neurons with delays and refractory periods: BPTT and e-prop.",
    inputs=INPUTS,
    leaves=LEAVES,
    solve=solve,
    truth=truth,
    oracle="a second writing with sums over the past, affine spikes by complex step",
    cases=cases,
    mistakes=MISTAKES,
    wrongly=by_hand,
)
