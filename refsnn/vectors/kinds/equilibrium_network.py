"""Convergent networks with static input, and how they learn from relaxations or by adjoints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from refsnn.algorithms.bptt_convergent import bptt_convergent
from refsnn.algorithms.continual_equilibrium_propagation import (
    ContinualResult,
    continual_equilibrium_propagation,
)
from refsnn.algorithms.equilibrium_propagation import equilibrium_propagation
from refsnn.algorithms.holomorphic_equilibrium_propagation import holomorphic_equilibrium_propagation
from refsnn.algorithms.nonconservative_equilibrium_propagation import nonconservative_equilibrium_propagation
from refsnn.algorithms.processes import equilibrium_processes
from refsnn.algorithms.recurrent_backpropagation import AdjointResult, recurrent_backpropagation
from refsnn.algorithms.relaxation import relax
from refsnn.algorithms.vector_field_equilibrium_propagation import vector_field_equilibrium_propagation
from refsnn.models.contract import State
from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork
from refsnn.models.convergent_network import ConvergentNetwork
from refsnn.vectors.case import Case, Hyperparameters, Kind, Leaf, Leaves, Problem, Solution
from refsnn.vectors.kinds.equilibrium_network_mistakes import (
    ADJOINT,
    CONTINUAL,
    CONTRAST,
    LOSS,
    MISTAKES,
    NUDGE,
    STEP,
)
from refsnn.vectors.kinds.equilibrium_network_rules import by_hand
from refsnn.vectors.kinds.recurrent_network import under

_RULES = "refsnn/algorithms"
LEAVES = (
    Leaf(
        "states/free/*",
        "(B, d_n)",
        "s_T, the end of the free phase",
        f"{STEP}, refsnn/equations/relaxation.py",
    ),
    Leaf("states/nudged/*", "(B, d_n)", "s^beta_K", NUDGE),
    Leaf("states/opposite/*", "(B, d_n)", "s^{-beta}_K, from the free state too", NUDGE),
    Leaf("loss", "()", "of the free state", LOSS),
    Leaf("adjoint/*", "(B, d_n)", "Lambda_K, the 1/B of the loss in it", ADJOINT),
    Leaf(
        "updates/*",
        "(K, ...)",
        "Delta(t): the motion of states over eps beta B, the change of dPhi/dparameter over beta B",
        f"(E6) {CONTRAST}, {_RULES}/processes.py",
    ),
    Leaf("learned/*", "as the parameter", "theta_K, after the nudged phase", CONTINUAL),
    Leaf(
        "gradients/*",
        "as the parameter",
        "the rule's estimate of dL/dparameter; of rules that state updates, minus their sum",
        f"{CONTRAST}, {_RULES}",
    ),
)
INPUTS = {
    "algorithm": "'contrast' (one-sided or symmetric equilibrium propagation), 'holomorphic', 'continual', "
    "'vector-field', 'non-conservative', 'bptt' of the free phase, "
    "'recurrent-backpropagation', 'step-by-step' (updates of each step)",
    "family": "'energy': s <- (1 - eps) s + eps (h'(s) u + force); 'prototypical': with sigma(u)",
    "widths": "(d_0, ..., d_N), output first, input last; each layer is coupled with the next",
    "activation": "'tanh'; 'sigm': 1 / (1 + exp(-4 (z - 1/2))); 'hardsigm': z clipped to [0, 1]",
    "step_size": "eps; all layers step at once",
    "tied": "whether layer n + 1 hears layer n through W_n^T, else through its feedback weight V_n",
    "gated": "of the energy family: whether u is multiplied with h'(s)",
    "output": "of the energy family: 'rho': h_0 = rho; 'linear': h_0 is the identity and its gate 1",
    "clamp": "of the energy family: whether states are clipped to [0, 1] after each step",
    "nudge_placement": "of the other: 'outside': eps (sigma(u) + force); 'inside': eps sigma(u + force)",
    "loss_function": "'mean_squared_error': |z - y|^2 / 2; 'cross_entropy': of the softmax of z; mean over B",
    "readout": "number of outputs z = W_out s^0 + b_out outside of the dynamics; 0: z = s^0",
    "free_steps": "T, from the state 0",
    "nudged_steps": "K; of 'bptt' how many of the last free steps the gradient goes back, of "
    "'recurrent-backpropagation' the terms of the adjoint",
    "nudge": "beta; the force on layer 0 is -beta dl/ds^0 of each sample, without 1/B",
    "symmetric": "whether +beta is contrasted with -beta over 2 beta, else with the free state over beta",
    "points": "N, of 'holomorphic'",
    "learning_rate": "eta of all parameters, of 'continual'",
    "inputs/input": "(B, d_N): x; the energy family reads rho(x), the other x",
    "inputs/targets": "(B, d_0) or (B, readout): y; distributions for a cross-entropy",
    "inputs/parameters/coupling*": "of coupling.0.1, coupling.1.2, ...: weight W (d_n, d_{n+1}) and bias b "
    "(d_n,) of layer n from layer n + 1, feedback V (d_{n+1}, d_n) unless tied or n + 1 is the input",
    "inputs/parameters/readout*": "weight W_out (readout, d_0), bias b_out (readout,)",
}


def network_of(given: Hyperparameters) -> ConvergentNetwork:
    """The network of a case.

    Parameters
    ----------
    given : dict
        Hyper-parameters.

    Returns
    -------
    EnergyBasedNetwork or PrototypicalNetwork
    """
    common: dict[str, Any] = {
        "widths": tuple(given["widths"]),
        "readout": given["readout"] or None,
        **{name: given[name] for name in ("activation", "step_size", "tied", "loss_function")},
    }
    if given["family"] == "energy":
        own = {name: given[name] for name in ("gated", "output", "clamp")}
        return EnergyBasedNetwork(**common, **own)
    return PrototypicalNetwork(**common, nudge_placement=given["nudge_placement"])


def solve(problem: Problem, backend: str) -> Solution:
    """The rule that the case names.

    Parameters
    ----------
    problem : Problem
        Of a case.
    backend : {"plain", "cpu", "cuda"}
        Who runs the relaxations.

    Returns
    -------
    Solution
    """
    given, network = problem.hyperparameters, network_of(problem.hyperparameters)
    parameters = under("parameters", problem.inputs)
    x, y = problem.inputs["input"], problem.inputs["targets"]
    free = relax(network, parameters, x, steps=given["free_steps"], keep_last=1, backend=backend)
    leaves = _states("free", free.state)
    if given["algorithm"] == "step-by-step":
        updates = equilibrium_processes(
            network, parameters, x, y, free, steps=given["nudged_steps"], nudge=given["nudge"]
        )
        both = {**updates.states, **updates.parameters}
        leaves |= {f"updates/{name}": array for name, array in both.items()}
        leaves |= {f"gradients/{name}": -array for name, array in updates.total().items()}
        leaves["loss"] = np.asarray(network.loss(parameters, free.state, y), x.dtype)
    else:
        leaves |= _by_rule(network, problem, backend)
    if given["algorithm"] in ("contrast", "vector-field", "step-by-step"):
        for name, sign in (("nudged", 1), ("opposite", -1))[: 2 if given["symmetric"] else 1]:
            end = relax(
                network, parameters, x, free.state, given["nudged_steps"], y, sign * given["nudge"],
                backend=backend,
            )  # fmt: skip
            leaves |= _states(name, end.state)
    return Solution(leaves, _margin(network, problem, free.state))


def _by_rule(network: ConvergentNetwork, problem: Problem, backend: str) -> Leaves:
    given = problem.hyperparameters
    parameters = under("parameters", problem.inputs)
    arguments = network, parameters, problem.inputs["input"], problem.inputs["targets"]
    phases: dict[str, Any] = {"free_steps": given["free_steps"], "backend": backend}
    nudged = phases | {"nudged_steps": given["nudged_steps"], "nudge": given["nudge"]}
    found: Any
    if given["algorithm"] == "bptt":
        found = bptt_convergent(*arguments, **phases, steps_back=given["nudged_steps"])
    elif given["algorithm"] == "recurrent-backpropagation":
        found = recurrent_backpropagation(*arguments, **phases, adjoint_steps=given["nudged_steps"])
    elif given["algorithm"] == "holomorphic":
        found = holomorphic_equilibrium_propagation(*arguments, **nudged, points=given["points"])
    elif given["algorithm"] == "continual":
        found = continual_equilibrium_propagation(*arguments, **nudged, learning_rates=given["learning_rate"])
    else:
        rules: dict[str, Any] = {
            "contrast": equilibrium_propagation,
            "vector-field": vector_field_equilibrium_propagation,
            "non-conservative": nonconservative_equilibrium_propagation,
        }
        found = rules[given["algorithm"]](*arguments, **nudged, symmetric=given["symmetric"])
    leaves = {f"gradients/{name}": array for name, array in found.gradients.items()}
    leaves["loss"] = np.asarray(found.loss, problem.inputs["input"].dtype)
    if isinstance(found, AdjointResult):
        leaves |= {f"adjoint/{name}": array for name, array in found.adjoint.items()}
    if isinstance(found, ContinualResult):
        leaves |= {f"learned/{name}": array for name, array in found.parameters.items()}
    return leaves


def _states(phase: str, state: State) -> Leaves:
    return {f"states/{phase}/{name}": array for name, array in state.items()}


def _margin(network: ConvergentNetwork, problem: Problem, state: State) -> float:
    """How far what is clipped is from the edges of the hard sigmoid, at the free state."""
    given = problem.hyperparameters
    if given["activation"] != "hardsigm":
        return float("inf")
    parameters, x = under("parameters", problem.inputs), problem.inputs["input"]
    if isinstance(network, EnergyBasedNetwork):
        clipped = list(replace(network, clamp=False).step(parameters, state, x).values())
    else:
        rates = network.rates(state)
        drive = network.static_drive(parameters, x)
        potentials = network.wiring.potentials(
            parameters, rates, drive, network.wiring.records(parameters, rates)
        )
        clipped = list(potentials.values())
    return float(min(np.minimum(np.abs(u), np.abs(u - 1)).min() for u in clipped))


DEFAULTS: Hyperparameters = {
    "algorithm": "contrast", "family": "energy", "widths": [2, 4, 3], "activation": "tanh",
    "step_size": 0.4, "tied": True, "gated": True, "output": "rho", "clamp": False,
    "nudge_placement": "inside", "loss_function": "mean_squared_error", "readout": 0, "free_steps": 300,
    "nudged_steps": 6, "nudge": 0.1, "symmetric": False, "points": 3, "learning_rate": 0.05,
}  # fmt: skip
FAMILIES: dict[str, Hyperparameters] = {
    "energy": {},
    "prototypical": {"family": "prototypical", "step_size": 1.0},
}


def cases(large: bool) -> Iterator[Case]:
    """Both families under all rules, and what goes wrong at the edges.

    Parameters
    ----------
    large : bool
        Wider and deeper ones in addition.

    Yields
    ------
    Case
    """
    rng = np.random.default_rng(20190722)
    for name, family in FAMILIES.items():
        yield _case(rng, f"one-sided/{name}", "+beta and the free state", **family)
        yield _case(rng, f"symmetric/{name}", "+beta and -beta", symmetric=True, **family)
        yield _case(
            rng, f"holomorphic/{name}", "a circle of nudges", algorithm="holomorphic", nudge=0.3, **family
        )
        yield _case(
            rng, f"continual/{name}", "parameters move with the states", algorithm="continual", **family
        )
        yield _case(
            rng, f"step-by-step/{name}", "what each nudged step says", algorithm="step-by-step", **family
        )
        yield _case(rng, f"bptt/{name}", "the last K steps", algorithm="bptt", **family)
        adjoint = "recurrent-backpropagation"
        yield _case(rng, f"{adjoint}/{name}", "the adjoint of a steady state", algorithm=adjoint, **family)
        untied: Hyperparameters = family | {"tied": False}
        yield _case(
            rng, f"vector-field/{name}", "weights of their own both ways", algorithm="vector-field", **untied
        )
        both = "weights of their own both ways, made exact"
        outside = untied | {"nudge_placement": "outside"}
        yield _case(
            rng, f"non-conservative/{name}", both, algorithm="non-conservative", symmetric=True, **outside
        )
        yield _case(rng, f"untied-bptt/{name}", "the last K steps", algorithm="bptt", **untied)
    yield from _variants(rng)
    if large:
        deep: Hyperparameters = {"widths": [5, 12, 10, 8], "free_steps": 300, "nudged_steps": 15}
        for name, family in FAMILIES.items():
            yield _case(rng, f"deep/{name}", "three layers", symmetric=True, **family | deep)


def _variants(rng: np.random.Generator) -> Iterator[Case]:
    prototypical = FAMILIES["prototypical"]
    for rule in ("contrast", "bptt"):
        options: Hyperparameters = {"algorithm": rule, "nudge_placement": "outside"} | prototypical
        yield _case(rng, f"outside/{rule}", "the nudge is added after the activation", **options)
        entropy: Hyperparameters = {"algorithm": rule, "loss_function": "cross_entropy", "output": "linear"}
        yield _case(rng, f"cross-entropy/{rule}", "a softmax in the force", **entropy)
        read: Hyperparameters = {
            "algorithm": rule,
            "readout": 4,
            "loss_function": "cross_entropy",
            "symmetric": rule == "contrast",
        }
        yield _case(rng, f"readout/{rule}", "a read-out outside of the dynamics", **read)
        hard: Hyperparameters = {"algorithm": rule, "activation": "hardsigm"} | prototypical
        yield _case(rng, f"hardsigm/{rule}", "units at the edges, and between", hard=True, **hard)
        yield _case(
            rng, f"sigm/{rule}", "the logistic function of the papers", activation="sigm", algorithm=rule
        )
    clamped: Hyperparameters = {"activation": "hardsigm", "clamp": True, "nudge": 0.2}
    yield _case(rng, "clamped/contrast", "states are clipped to [0, 1]", hard=True, **clamped)
    ungated: Hyperparameters = {"gated": False, "tied": False, "algorithm": "vector-field", "symmetric": True}
    yield _case(rng, "ungated/vector-field", "no gate h'(s)", **ungated)
    yield _case(
        rng,
        "deep/contrast",
        "a layer between two that move",
        widths=[2, 3, 4, 1],
        nudged_steps=9,
        symmetric=True,
    )
    yield _case(rng, "negative-nudge/contrast", "beta < 0", nudge=-0.15)
    yield _case(rng, "one-layer/contrast", "no layer but the output", widths=[2, 3])
    yield _case(rng, "one-unit/contrast", "every weight is a number", widths=[1, 1, 1], batch=1)
    yield _case(
        rng, "one-step/bptt", "T = 1, from the state 0", algorithm="bptt", free_steps=1, nudged_steps=1
    )
    yield _case(
        rng, "one-step/contrast", "T = K = 1: the free phase is not settled", free_steps=1, nudged_steps=1
    )
    yield _case(
        rng,
        "unfinished/bptt",
        "all T steps, far from settled",
        algorithm="bptt",
        free_steps=7,
        nudged_steps=7,
    )
    yield _case(
        rng,
        "long/contrast",
        "a free phase of hundreds of small steps",
        step_size=0.05,
        free_steps=600,
        nudged_steps=60,
        symmetric=True,
    )
    still = _case(rng, "zero-upstream/contrast", "the output is the target: nothing moves")
    inputs = dict(still.problem.inputs)
    for name in ("parameters/coupling.0.1.weight", "parameters/coupling.0.1.bias", "targets"):
        inputs[name] = 0 * inputs[name]
    yield Case(
        still.name,
        still.purpose,
        (*still.flags, "zero-upstream"),
        Problem(still.problem.hyperparameters, inputs),
    )


def _case(
    rng: np.random.Generator, name: str, purpose: str, *, batch: int = 3, hard: bool = False, **options: Any
) -> Case:
    given = DEFAULTS | options
    network = network_of(given)
    for _ in range(200):
        inputs = {f"parameters/{path}": array for path, array in network.initialise(rng, scale=1.2).items()}
        inputs["input"] = rng.uniform(-1, 1, (batch, given["widths"][-1]))
        if hard:  # drives about the middle of [0, 1], and beyond
            inputs["input"] = rng.uniform(0, 1, (batch, given["widths"][-1]))
            for path in inputs:
                if path.endswith("bias"):
                    inputs[path] = rng.uniform(-0.2, 1.0, inputs[path].shape)
        outputs = given["readout"] or given["widths"][0]
        inputs["targets"] = rng.uniform(0, 1, (batch, outputs))
        if given["loss_function"] == "cross_entropy":
            inputs["targets"] = np.eye(outputs)[rng.integers(0, outputs, batch)]
        problem = Problem(given, inputs)
        found = solve(problem, "plain")
        # in one step from the state 0 nothing comes to the upper weights
        least = 1e-3 if given["free_steps"] > 1 else 0.0
        gradients = [np.abs(a).max() for path, a in found.leaves.items() if path.startswith("gradients/")]
        alive = max(gradients) > 0 and min(gradients) >= least * max(gradients)
        if alive and found.margin > 1e-2:
            return Case(name, purpose, _flags(given, batch), problem)
    raise ArithmeticError(f"equilibrium_network/{name}: no live network in 200 tries")


def _flags(given: Hyperparameters, batch: int) -> tuple[str, ...]:
    widths = given["widths"]
    holds = {
        "random": given["free_steps"] > 1,
        "one-step": given["free_steps"] == 1,
        "one-neuron": widths[:-1] == [1] * (len(widths) - 1),
        "one-sample": batch == 1,
        "unequal-widths": len(set(widths)) == len(widths),
        "long": given["free_steps"] >= 500,
    }
    return tuple(flag for flag, it_does in holds.items() if it_does)


EQUILIBRIUM_NETWORK = Kind(
    name="equilibrium_network",
    summary="Convergent networks: equilibrium propagation in its variants, BPTT and the steady adjoint.",
    inputs=INPUTS,
    leaves=LEAVES,
    solve=solve,
    truth=by_hand,
    oracle="a transcription with dense Jacobians, and products as derivatives of Phi by complex step",
    cases=cases,
    mistakes=MISTAKES,
    wrongly=by_hand,
    agreement=1e-9,
)
