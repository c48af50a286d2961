"""O6: changes of units, of the order of samples and neurons, and silence before the start."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from refsnn.models.adaptive.core import ADAPTATION, CURRENTS, POTENTIAL, SPIKES
from refsnn.models.adaptive.delays import Delays
from validation.claims.lsnn.problems import (
    EXACT,
    LEAVES,
    Problem,
    every_kind,
    states_of,
    worst,
)
from validation.ledger import Measured, claim

Arrays = dict[str, np.ndarray]
BACKENDS = "cpu", "plain"


def differing(found: Arrays, expected: Arrays) -> int:
    """Numbers that are not the same bits."""
    return sum(int((found[name] != expected[name]).sum()) for name in expected)


def visible(problem: Problem, backend: str) -> Arrays:
    """z, v and b of a run."""
    return dict(zip(("z", "v", "b"), states_of(problem, backend)[:3], strict=True))


def scaled(arrays: Arrays, factors: dict[str, float]) -> Arrays:
    return {name: array * factors.get(name, 1.0) for name, array in arrays.items()}


def in_other_volts(problem: Problem, factor: float, baseline: bool = True) -> Problem:
    """Weights, adaptation strength, threshold and potentials times one factor."""
    names = ["input_weight", "recurrent_weight", "adaptation_strength"] + ["baseline"] * baseline
    p = problem.parameters
    start = problem.start | {
        POTENTIAL: factor * problem.start[POTENTIAL],
        CURRENTS: factor * problem.start[CURRENTS],
    }
    noise = None if problem.noise is None else factor * problem.noise
    return replace(
        problem.with_parameters(**{name: factor * p[f"layer.1.{name}"] for name in names}),
        start=start,
        noise=noise,
    )


def in_other_time(problem: Problem, factor: float) -> Problem:
    """A time step that is longer by a factor, with spikes that are lower, and the decays as they are."""
    names = "input_weight", "recurrent_weight", "adaptation_strength"
    p = problem.parameters
    start = problem.start | {name: problem.start[name] / factor for name in (SPIKES, ADAPTATION)}
    other = problem.with_parameters(**{name: factor * p[f"layer.1.{name}"] for name in names})
    other = other.with_options(time_step=factor * problem.model.neuron.time_step)
    return replace(other, inputs=problem.inputs / factor, start=start, history=problem.history / factor)


@claim(
    "lsnn/O6.volts",
    r"$(W^{in},W^{rec},\beta,b^0)\to V_0\,(\cdot)$ leaves the raster, makes $v\to V_0v$, and divides the gradients of a loss on spikes by $V_0$; bit by bit for a power of two.",
    source="specification, O6a",
    metric="numbers of runs and gradients that are other bits, three schemes with both divisors, with noise",
    relation="==",
    bound=0,
    control=r"$b^0$ left as it is, as the option `V0` of the official code does",
)
def volts(rng: np.random.Generator) -> Measured:
    counts = {True: 0, False: 0}
    over = ("w_in", "w_rec", "beta", "b0", "v", "c")
    for _, problem in every_kind(rng, loss=("spikes",), noise=True):
        factor = float(2.0 ** rng.choice([-3, -2, -1, 1, 2, 3]))
        for baseline in (True, False):
            other = in_other_volts(problem, factor, baseline)
            for backend in BACKENDS:
                expected = scaled(visible(problem, backend), {"v": factor})
                counts[baseline] += differing(visible(other, backend), expected)
                expected = scaled(problem.leaves(backend), dict.fromkeys(over, 1 / factor))
                counts[baseline] += differing(other.leaves(backend), expected)
    return Measured(counts[True], counts[False])


@claim(
    "lsnn/O6.time",
    r"$(\delta,x,W,\beta)\to(\lambda\delta,x/\lambda,\lambda W,\lambda\beta)$ with $\alpha$, $\rho$ as they are divides spikes by $\lambda$, leaves $v$ and $\mathcal{B}$, and divides $\bar W$ of a fixed linear loss in $z$ by $\lambda^2$.",
    source="specification, O6b",
    metric="numbers of runs and gradients that are other bits, three schemes with both divisors",
    relation="==",
    bound=0,
    control=r"$\bar W$ divided by $\lambda$",
)
def time(rng: np.random.Generator) -> Measured:
    counts = {1: 0, 2: 0}
    once = "alpha", "rho", "b0", "v", "c"
    for _, problem in every_kind(rng, loss=("spikes",)):
        factor = float(2.0 ** rng.choice([-2, -1, 1, 2]))
        other = in_other_time(problem, factor)
        for backend in BACKENDS:
            runs = differing(
                visible(other, backend), scaled(visible(problem, backend), {"z": 1 / factor, "b": 1 / factor})
            )
            for power in counts:
                factors = dict.fromkeys(once, 1 / factor) | dict.fromkeys(
                    ("w_in", "w_rec", "beta"), factor**-power
                )
                counts[power] += runs + differing(
                    other.leaves(backend), scaled(problem.leaves(backend), factors)
                )
    return Measured(counts[2], counts[1])


def sample(problem: Problem, index: int) -> Problem:
    """One sample alone."""
    one = slice(index, index + 1)
    return replace(
        problem,
        inputs=problem.inputs[:, one],
        cotangents={name: value[:, one] for name, value in problem.cotangents.items()},
        start={name: value[one] for name, value in problem.start.items()},
        history=problem.history[:, one],
    )


@claim(
    "lsnn/O6.batch",
    r"Samples do not know of each other: the gradient of a batch is the sum of those of its samples, and that of each first state is the sample's own.",
    source="specification, O6c",
    metric="largest error over the largest entry of a leaf, three schemes with both divisors; first states and inputs bit by bit",
    relation="<=",
    bound=EXACT,
    control="the mean of the samples' gradients",
)
def batch(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for _, problem in every_kind(rng, batch=3):
        whole = problem.leaves()
        parts = [sample(problem, index).leaves() for index in range(3)]
        for name in ("z", "v", "b", "c", "x"):
            own = np.concatenate([part[name] for part in parts])
            values.append(float((own != whole[name]).sum()))
        total = {name: sum(part[name] for part in parts) for name in LEAVES.values()}
        values.append(worst(total, {name: whole[name] for name in total}))
        mean = {name: value / 3 for name, value in total.items()}
        controls.append(worst(mean, {name: whole[name] for name in total}))
    return Measured(max(values), min(controls))


def reordered(problem: Problem, order: np.ndarray, with_delays: bool = True) -> Problem:
    """The neurons in another order."""
    p, delays = problem.parameters, problem.model.delays
    recurrent = delays.recurrent[np.ix_(order, order)] if with_delays else delays.recurrent
    model = replace(problem.model, delays=Delays(delays.slots, delays.input[order], recurrent))
    each: dict[str, Any] = {name: value[order] for name, value in p.items() if name.startswith("layer.1.")}
    weight = p["layer.1.recurrent_weight"]
    each["layer.1.recurrent_weight"] = weight[np.ix_(order, order)]
    return replace(
        problem,
        model=model,
        parameters=p | each,
        cotangents={name: value[..., order] for name, value in problem.cotangents.items()},
        start={name: value[..., order] for name, value in problem.start.items()},
        history=problem.history[..., order],
    )


@claim(
    "lsnn/O6.order",
    r"Neurons in another order, with their weights, delays and constants, fire the same spikes and have the same gradients.",
    source="specification, O6d",
    metric="largest error over the largest entry of a leaf, or spikes that differ, three schemes with both divisors",
    relation="<=",
    bound=EXACT,
    control="their delays left where they were",
)
def order(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for _, problem in every_kind(rng):
        n = problem.model.widths[1]
        places = rng.permutation(n)
        while (
            problem.model.delays.recurrent[np.ix_(places, places)] == problem.model.delays.recurrent
        ).all():
            places = rng.permutation(n)
        truth = problem.leaves()
        expected = {name: value[..., places] for name, value in truth.items() if name != "x"}
        expected["w_rec"], expected["x"] = truth["w_rec"][np.ix_(places, places)], truth["x"]
        spikes = states_of(problem).spikes[..., places]
        for out, with_delays in ((values, True), (controls, False)):
            other = reordered(problem, places, with_delays)
            moved = float((states_of(other).spikes != spikes).sum())
            out.append(max(moved, worst(other.leaves(), expected)))
    return Measured(max(values), min(controls))


def after_silence(problem: Problem, steps: int) -> Problem:
    """Steps before the start in which nothing is heard and nobody looks."""
    return replace(
        problem,
        inputs=np.concatenate([np.zeros_like(problem.inputs[:steps]), problem.inputs]),
        cotangents={
            name: np.concatenate([np.zeros_like(value[:steps]), value])
            for name, value in problem.cotangents.items()
        },
    )


@claim(
    "lsnn/O6.silence",
    r"Silent steps before the start of a network at rest change nothing: no spike, no potential, no gradient.",
    source="specification, O6e",
    metric="numbers of runs and gradients that are other bits, three schemes with both divisors",
    relation="==",
    bound=0,
    control="a network in mid-sequence",
)
def silence(rng: np.random.Generator) -> Measured:
    counts = {True: 0, False: 0}
    for at_rest in counts:
        for _, problem in every_kind(rng, from_rest=at_rest):
            steps = int(rng.integers(1, 20))
            later = after_silence(problem, steps)
            for backend in BACKENDS:
                own, others = visible(problem, backend), visible(later, backend)
                counts[at_rest] += differing({name: value[steps:] for name, value in others.items()}, own)
                found = later.leaves(backend)
                weights = {
                    name: value for name, value in problem.leaves(backend).items() if name in LEAVES.values()
                }
                counts[at_rest] += differing(found, weights)
    return Measured(counts[True], counts[False])
