"""O18: steps computed again give the bits of steps kept, the growing memory outside of what is freed."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from refsnn.algorithms.memory_efficient_bptt import sizes_of
from refsnn.models.attentive.core import AttentiveCore
from refsnn.models.attentive.network import ReminderWarning
from refsnn.models.sequences import StepTargets
from validation.claims.sparse_attentive_backtracking.by_hand import Arrays, cuts_of
from validation.claims.sparse_attentive_backtracking.problems import (
    BACKENDS,
    OFF,
    Problem,
    differing,
    draw,
    leaves_of,
    variety,
)
from validation.ledger import Measured, claim, require

STRATEGIES: tuple[dict[str, Any], ...] = (
    {"strategy": "periodic", "every": 4},
    {"strategy": "all_states"},
    {"strategy": "nothing"},
    {"strategy": "chen"},
    {"strategy": "bisection"},
    {"strategy": "hsm"},
    {"strategy": "ism"},
    {"strategy": "msm"},
)


def all_of(result: object) -> Arrays:
    """Leaves, loss, outputs, weights and reach."""
    own = {name: getattr(result, name) for name in ("loss", "outputs", "weights", "reach", "threshold_slots")}
    return leaves_of(result) | {name: np.asarray(value) for name, value in own.items()}  # type: ignore[arg-type]


def by_chunks(problem: Problem, backend: str, forgetful: bool = False) -> Arrays:
    """Each chunk between two cuts is run again from its (h, c); `forgetful`: without the slots written before."""
    core, cut = core_of(problem, backend), cuts_of(problem.network)
    core.input_gradients = np.zeros_like(problem.inputs)
    core.start(problem.start)
    kept = {}
    for t in range(1, problem.steps + 1):
        if t == 1 or cut(t):
            kept[t] = core.before.memory.copy()
        core.advance(t, t)
    core.seed()
    end = problem.steps
    for first in sorted(kept, reverse=True):
        if forgetful:
            core.memory.fill(0)
            core.keys.fill(0)
        core.before.memory[:] = kept[first]
        befores, tapes = [], []
        for t in range(first, end + 1):
            befores.append(core.before.memory.copy())
            core.forward(t)
            tapes.append(core.tape.memory.copy())
            core.before.memory[:] = core.after.memory
        for t in range(end, first - 1, -1):
            core.before.memory[:], core.tape.memory[:] = befores[t - first], tapes[t - first]
            core.recover(t)
            core.backward(t)
        end = first - 1
    start = {f"start.{name}": value for name, value in core.initial_gradients().items()}
    return core.gradients | start | {"inputs": core.input_gradients, "loss": np.asarray(core.loss)}


def core_of(problem: Problem, backend: str = "cpu") -> AttentiveCore:
    """The core of a problem with a loss at each step, ready to start."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReminderWarning)
        weights = np.full(problem.steps, 1 / problem.steps)
        targets = StepTargets(problem.targets, weights)
        return AttentiveCore(
            problem.network, *problem.network.check(problem.parameters, problem.inputs, targets), backend
        )


def within_budget(problem: Problem, options: dict[str, Any]) -> dict[str, Any]:
    """With room for two tapes, for the strategies that ask for a budget."""
    if options["strategy"] not in ("hsm", "ism", "msm"):
        return options
    sizes = sizes_of(core_of(problem))
    return options | {
        "budget": sizes.fixed + 2 * (sizes.state + sizes.tape) + 4096 * (options["strategy"] == "msm")
    }


@claim(
    "sparse_attentive_backtracking/O18",
    r"Chunks between cuts, run again from their $(h,c)$ with the slots written before, give the bits of the sweep that keeps everything.",
    source="specification, O18 and 4.5",
    metric="leaves that differ, 12 networks with cuts, both backends",
    relation="==",
    bound=0,
    control="the slots forgotten",
)
def chunks(rng: np.random.Generator) -> Measured:
    value = control = 0
    for setting in ((2, 2, 3), (3, 1, 1), (1, 2, 4), (0, 2, 3), (9, 2, 5), (2, 1, 5)):
        for score in ("mlp", "separable"):
            problem = draw(rng, setting, score=score)
            for backend in BACKENDS:
                kept = all_of(problem.result(backend, strategy="all_tapes"))
                again = by_chunks(problem, backend)
                value += differing(again, {name: kept[name] for name in again})
            wrong = by_chunks(problem, "cpu", forgetful=True)
            control += differing(wrong, {name: kept[name] for name in wrong})
    return Measured(value, control)


@claim(
    "sparse_attentive_backtracking/O18.schedules",
    r"So does every schedule of memory-efficient BPTT, chunks of $k_{trunc}$ steps among them.",
    source="specification, O18; Gruslys 2016",
    metric="leaves, losses, outputs, weights and reaches that differ, 18 networks and 9 schedules",
    relation="==",
    bound=0,
    control="one weight moved by its last bit",
)
def schedules(rng: np.random.Generator) -> Measured:
    value = control = runs = 0
    for number, problem in enumerate(variety(rng, readout="all")):
        backend, cut = BACKENDS[number % 2], problem.network.truncate_every
        kept = all_of(problem.result(backend))
        given = [STRATEGIES[k] for k in (number % 8, (number + 3) % 8)]
        given += [] if cut in (None, 1, OFF) else [{"strategy": "periodic", "every": cut}]
        for options in given:
            value += differing(all_of(problem.result(backend, **within_budget(problem, options))), kept)
            runs += 1
        bias = problem.parameters["readout.bias"]
        problem.parameters["readout.bias"] = np.nextafter(bias, 2)
        control += differing(all_of(problem.result(backend)), kept)
    require(runs > 30, "hardly a run")
    return Measured(value, control, {"runs": runs})
