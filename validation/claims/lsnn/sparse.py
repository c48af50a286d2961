"""O13: intervals between spikes, and the same raster from events and from dense sums."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from refsnn.models.spike_events import SpikeEvents
from validation.claims.lsnn.problems import Problem, batch_first, draw, states_of
from validation.ledger import Measured, VacuousError, claim

SCHEMES = "official", "paper", "eprop"


def crowded(rng: np.random.Generator, scheme: str, refractory: int) -> Problem:
    """40 neurons, 300 steps, numbers with few binary digits: sums of currents are exact in any order."""
    for _ in range(50):
        problem = draw(
            rng, scheme=scheme, neurons=40, inputs=12, steps=300, batch=3, refractory=refractory, slots=5, gain=2.0,
            time_step=float(rng.choice([0.5, 1.0, 2.0])),
        )  # fmt: skip
        names = (
            "leak",
            "adaptation_decay",
            "adaptation_strength",
            "baseline",
            "input_weight",
            "recurrent_weight",
        )
        rounded = {name: np.round(problem.parameters[f"layer.1.{name}"] * 1024) / 1024 for name in names}
        start = {
            name: np.round(value * 1024) / 1024 if value.dtype.kind == "f" else value
            for name, value in problem.start.items()
        }
        problem = replace(problem.with_parameters(**rounded), start=start)
        rate = float((states_of(problem).spikes[1:] > 0).mean())
        if 0.02 < rate < 0.5:
            return problem
    raise VacuousError("no network that is alive")


def intervals(spikes: np.ndarray) -> np.ndarray:
    """Steps between successive spikes of each neuron of each sample."""
    fired = np.moveaxis(spikes[1:] > 0, 0, -1).reshape(-1, len(spikes) - 1)
    return np.concatenate([np.diff(np.flatnonzero(row)) for row in fired])


@claim(
    "lsnn/O13.interval",
    r"Two spikes of a neuron are at least $R+1$ steps apart, and strongly driven ones are no more apart.",
    source="specification, sections 2.3 and O13",
    metric=r"largest distance from $R+1$ of the shortest interval, three schemes, $R=1,2,4$",
    relation="==",
    bound=0,
    control=r"intervals with $R-1$ steps of refractory period",
)
def shortest_interval(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for scheme in SCHEMES:
        for refractory in (1, 2, 4):
            problem = crowded(rng, scheme, refractory)
            strong = replace(problem, inputs=20 * problem.inputs)
            for out, steps in ((values, refractory), (controls, refractory - 1)):
                other = strong.with_options(refractory=steps)
                out.append(abs(int(intervals(states_of(other).spikes).min()) - (refractory + 1)))
    return Measured(max(values), min(controls))


def as_events(problem: Problem) -> Problem:
    """The input as a list of events, in an order of its own."""
    return replace(problem, inputs=SpikeEvents.from_array(problem.inputs))


@claim(
    "lsnn/O13",
    r"With weights that are multiples of $2^{-10}$ sums have no order: compiled loops over events, plain ones, and dense products by hand fire the same spikes and leave the same potentials, bit by bit.",
    source="specification, O13",
    metric="numbers of the run that are other bits, three schemes, 300 steps, input as an array and as events",
    relation="==",
    bound=0,
    control="weights that are moved by $2^{-10}$",
)
def same_raster(rng: np.random.Generator) -> Measured:
    count, control, spikes = 0, [], 0
    for scheme in SCHEMES:
        problem = crowded(rng, scheme, int(rng.integers(1, 5)))
        truth = problem.trajectory()
        spikes += int((truth.z > 0).sum())
        weight = problem.parameters["layer.1.input_weight"]
        for own, out in ((problem, None), (problem.with_parameters(input_weight=weight + 2.0**-10), control)):
            differing = 0
            for given in (own, as_events(own)):
                for backend in ("cpu", "plain"):
                    states = states_of(given, backend)
                    for found, expected in zip(states[:3], (truth.z, truth.v, truth.b), strict=True):
                        differing += int((batch_first(found) != expected).sum())
            if out is None:
                count += differing
            else:
                out.append(differing)
    return Measured(count, min(control), {"spikes": spikes})
