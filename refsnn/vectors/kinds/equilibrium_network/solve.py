"""A case of a convergent network, solved by the package."""

from __future__ import annotations

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
from refsnn.algorithms.nonconservative_equilibrium_propagation import (
    nonconservative_equilibrium_propagation,
    nonconservative_processes,
)
from refsnn.algorithms.processes import Processes, bptt_processes, equilibrium_processes
from refsnn.algorithms.recurrent_backpropagation import AdjointResult, recurrent_backpropagation
from refsnn.algorithms.relaxation import Relaxation, relax
from refsnn.algorithms.vector_field_equilibrium_propagation import vector_field_equilibrium_propagation
from refsnn.models.contract import Parameters, State
from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork
from refsnn.models.convergent_network import ConvergentNetwork
from refsnn.models.convolution import Convolution, correlate, windows_of
from refsnn.models.coupling_maps import ConvolutionalMap
from refsnn.models.couplings import Arrays
from refsnn.vectors.case import Hyperparameters, Leaves, Problem, Solution
from refsnn.vectors.kinds.recurrent_network.kind import under


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
        "edge": given.get("edge", "open"),
        "couplings": tuple(tuple(map(int, pair.split("."))) for pair in given.get("couplings", ())),
    }
    if "kernels" in given:
        lists = (given[name] for name in ("kernels", "paddings", "poolings", "windows"))
        common["convolutions"] = tuple(
            Convolution(kernel, padding, pooling, window, given["crop"])
            for kernel, padding, pooling, window in zip(*lists, strict=True)
        )
        common["image"] = tuple(given["image"])
    if given["family"] == "energy":
        own = {name: given[name] for name in ("gated", "output", "clamp")}
        return EnergyBasedNetwork(**common, **own)
    output = "linear" if given["output"] == "linear" else "sigma"
    return PrototypicalNetwork(**common, nudge_placement=given["nudge_placement"], output=output)


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
    tolerance = given.get("tolerance", 0) or None
    free = relax(
        network, parameters, x, under("start", problem.inputs) or None, given["free_steps"],
        keep_last=given["nudged_steps"] + 1, backend=backend,
        tolerance=None if given["algorithm"] == "recurrent-backpropagation" else tolerance,
    )  # fmt: skip
    leaves = _states("free", free.state)
    if given["algorithm"] in STEP_BY_STEP:
        leaves |= _step_by_step(network, problem, free)
    else:
        leaves |= _by_rule(network, problem, backend)
        if tolerance and "steps" not in leaves:
            leaves["steps"] = np.asarray(free.steps_taken)
    stale = given.get("stale_index", False)
    back = given["nudged_steps"] + 1 if given["algorithm"].startswith("bptt") else 1
    decided = list(free.kept[-2 if stale else -back :])
    if given["algorithm"] in ("contrast", "vector-field", "step-by-step"):
        for name, sign in (("nudged", 1), ("opposite", -1))[: 2 if given["symmetric"] else 1]:
            end = relax(
                network, parameters, x, free.state, given["nudged_steps"], y, sign * _nudge(given),
                keep_last=2 if stale else 1, backend=backend,
            )  # fmt: skip
            decided += end.kept
            # an imaginary nudge moves them by less than their last digit
            leaves |= {} if given.get("imaginary", False) else _states(name, end.state)
    return Solution(leaves, min(_margin(network, problem, state) for state in decided))


def _nudge(given: Hyperparameters) -> complex:
    return 1j * given["nudge"] if given.get("imaginary", False) else given["nudge"]


STEP_BY_STEP = ("step-by-step", "non-conservative-step-by-step", "bptt-step-by-step")


def _step_by_step(network: ConvergentNetwork, problem: Problem, free: Relaxation) -> Leaves:
    given, parameters = problem.hyperparameters, under("parameters", problem.inputs)
    x, y = problem.inputs["input"], problem.inputs["targets"]
    arguments, steps = (network, parameters, x, y, free), given["nudged_steps"]
    if given["algorithm"] == "bptt-step-by-step":
        leaves = _processes("back", found := bptt_processes(*arguments, steps=steps))
        leaves |= {f"gradients/{name}": array for name, array in found.total().items()}
    else:
        corrected = given["algorithm"].startswith("non-conservative")
        rule = nonconservative_processes if corrected else equilibrium_processes
        leaves = _processes("updates", found := rule(*arguments, steps=steps, nudge=_nudge(given)))
        leaves |= {f"gradients/{name}": -array for name, array in found.total().items()}
    leaves["loss"] = np.asarray(network.loss(parameters, free.state, y), x.dtype)
    return leaves


def _by_rule(network: ConvergentNetwork, problem: Problem, backend: str) -> Leaves:
    given = problem.hyperparameters
    parameters = under("parameters", problem.inputs)
    arguments = network, parameters, problem.inputs["input"], problem.inputs["targets"]
    phases: dict[str, Any] = {"free_steps": given["free_steps"], "backend": backend}
    nudged = phases | {"nudged_steps": given["nudged_steps"], "nudge": _nudge(given)}
    tolerance: dict[str, Any] = {"tolerance": given.get("tolerance", 0) or None}
    found: Any
    if given["algorithm"] == "bptt":
        found = bptt_convergent(*arguments, **phases | tolerance, steps_back=given["nudged_steps"])
    elif given["algorithm"] == "recurrent-backpropagation":
        found = recurrent_backpropagation(
            *arguments, **phases | tolerance, adjoint_steps=given["nudged_steps"]
        )
    elif given["algorithm"] == "holomorphic":
        warm = given.get("warm_start", False)
        found = holomorphic_equilibrium_propagation(
            *arguments, **nudged, points=given["points"], warm_start=warm
        )
    elif given["algorithm"] == "continual":
        rates = {name: float(rate) for name, rate in under("learning_rates", problem.inputs).items()}
        found = continual_equilibrium_propagation(
            *arguments, **nudged, learning_rates=rates or given["learning_rate"],
            keep_processes=given.get("updates", False),
        )  # fmt: skip
    elif given["algorithm"] == "contrast":
        stale = given.get("stale_index", False)
        found = equilibrium_propagation(
            *arguments, **nudged | tolerance, symmetric=given["symmetric"], stale_index=stale
        )
    else:
        rules: dict[str, Any] = {
            "vector-field": vector_field_equilibrium_propagation,
            "non-conservative": nonconservative_equilibrium_propagation,
        }
        found = rules[given["algorithm"]](*arguments, **nudged, symmetric=given["symmetric"])
    leaves = {f"gradients/{name}": array for name, array in found.gradients.items()}
    leaves["loss"] = np.asarray(found.loss, problem.inputs["input"].dtype)
    if isinstance(found, AdjointResult):
        leaves |= {f"adjoint/{name}": array for name, array in found.adjoint.items()}
        leaves |= {"steps": np.asarray(found.adjoint_steps)} if tolerance["tolerance"] else {}
    if isinstance(found, ContinualResult):
        leaves |= {f"learned/{name}": array for name, array in found.parameters.items()}
        leaves |= _processes("updates", found.processes) if found.processes else {}
    return leaves


def _processes(head: str, found: Processes) -> Leaves:
    return {f"{head}/{name}": array for name, array in (found.states | found.parameters).items()}


def _states(phase: str, state: State) -> Leaves:
    return {f"states/{phase}/{name}": array for name, array in state.items()}


def _margin(network: ConvergentNetwork, problem: Problem, state: State) -> float:
    """How far a state is from the edges of what is clipped, and from another maximum of a window."""
    edges = {"hardsigm": (0.0, 1.0), "my_hard_sig": (0.0, 2.0), "ctrd_hard_sig": (-0.5, 0.5)}
    parameters, x = under("parameters", problem.inputs), problem.inputs["input"]
    state = {name: np.real(array) for name, array in state.items()}
    rates = network.rates(state, x)
    least = _to_the_next_maximum(network, parameters, rates)
    name = problem.hyperparameters["activation"]
    if name not in edges:
        return least
    if isinstance(network, EnergyBasedNetwork):
        clipped = list(replace(network, clamp=False).step(parameters, state, x).values())
    else:
        drive = network.static_drive(parameters, x)
        potentials = network.wiring.potentials(
            parameters, rates, drive, network.wiring.records(parameters, rates)
        )
        clipped = list(potentials.values())
    return min(least, *(float(np.abs(u - edge).min()) for u in clipped for edge in edges[name]))


def _to_the_next_maximum(network: ConvergentNetwork, parameters: Parameters, rates: Arrays) -> float:
    least = float("inf")
    for (post, pre), coupling in network.wiring.maps.items():
        if not isinstance(coupling, ConvolutionalMap) or coupling.convolution.pooling != "max":
            continue
        weight = parameters[f"coupling.{post}.{pre}.weight"]
        maps = correlate(rates[pre], weight, coupling.convolution.padding)
        ranked = np.sort(windows_of(maps, coupling.convolution.window), axis=-1)
        least = min(least, float((ranked[..., -1] - ranked[..., -2]).min()))
    return least
