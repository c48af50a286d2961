"""The forward pass against its second writing: delays, refractory periods, noise, given masks, any start."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from validation.claims.lsnn import by_hand
from validation.claims.lsnn.problems import (
    DEMONSTRATION,
    EXACT,
    KINDS,
    Problem,
    batch_first,
    driven,
    live,
    raster_text,
    states_of,
    thresholds_of,
)
from validation.ledger import Measured, claim


def apart(problem: Problem, setting: by_hand.Setting, backend: str) -> float:
    """Largest difference of z, v, b and B to those by hand, over the largest of each."""
    states, truth = states_of(problem, backend), by_hand.run(problem.values, setting)
    pairs = (
        (states.spikes, truth.z),
        (states.potential, truth.v),
        (states.adaptation, truth.b),
        (thresholds_of(problem, states), truth.threshold),
    )
    return max(
        float(np.abs(batch_first(found) - expected).max() / np.abs(expected).max())
        for found, expected in pairs
    )


@claim(
    "lsnn/X.by_hand",
    r"Spikes, potentials, adaptation and thresholds are those of the recursion with sums over the past in the place of a delay line, "
    r"$I_{k,j}=c_{0,j}^{(k)}+\sum_i W^{in}_{ij}x_{k-d_{ij},i}+\sum_{i\ne j}W^{rec}_{ij}z_{k-d_{ij},i}$, and the spikes of the last $R$ steps in the place of a counter.",
    source="Bellec 2018, Eqs. (1), (2); specification, sections 2.3 and 2.4",
    metric="largest difference over the largest entry: all schemes and divisors, from a state in mid-sequence, with noise, with given masks",
    relation="<=",
    bound=EXACT,
    control="by hand, with everything that neurons say arriving one step later",
)
def same_by_hand(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    cases: tuple[dict, ...] = (
        {"noise": True},
        {"masks": True},
        {"slots": 1},
        {"refractory": 5, "slots": 7},
        {"refractory": 0},
    )
    for scheme, divisor in KINDS:
        for options in cases:
            problem = live(rng, scheme=scheme, divisor=divisor, **options)
            own = problem.setting
            values += [apart(problem, own, backend) for backend in ("cpu", "plain")]
            later = replace(own, d_rec=own.d_rec + 1)
            controls.append(apart(problem, later, "cpu"))
    return Measured(max(values), min(controls))


@claim(
    "lsnn/X.latency",
    r"From spike to spike at delay 0 it takes two steps: a neuron that is woken by one spike of strength $2$ at step $k$ is $z_{k+2}$ (`official`, `paper`), and $z_{k+1}$ in scheme `eprop`; a delay $d$ adds $d$.",
    source="specification, section 2.3",
    metric="steps that are missed, summed over schemes and delays 0 to 4",
    relation="==",
    bound=0,
    control="the latency of `official` asked of `eprop`",
)
def latency(rng: np.random.Generator) -> Measured:
    missed, control = 0, 0
    for scheme, steps in (("official", 2), ("paper", 2), ("eprop", 1)):
        for delay in range(5):
            inputs = np.zeros((12, 1, 1))
            inputs[3] = 1.0
            first = raster_text(driven(inputs, scheme, 1, weight=2.0, delay=delay)).index("1")
            missed += abs(first - (3 + steps + delay - 1))
            control += abs(first - (3 + 2 + delay - 1))
    return Measured(missed, control)


@claim(
    "lsnn/X.demonstration",
    r"One neuron with $b^0=0.01$, $\tau_m=20$ ms and a constant current of $0.05$: `official` without a refractory period fires pairs of spikes, `paper` single ones, as `official` does with $R=1$.",
    source="specification, section 7.1",
    metric="characters of three rasters of 30 steps that differ from the printed ones",
    relation="==",
    bound=0,
    control="scheme `eprop`, which fires one step sooner, against the raster of `paper`",
)
def demonstration(rng: np.random.Generator) -> Measured:
    inputs = np.full((30, 1, 1), 0.05)

    def wrong(scheme: str, refractory: int, printed: str) -> int:
        found = raster_text(driven(inputs, scheme, refractory, leak=float(np.exp(-1 / 20)), baseline=0.01))
        return sum(a != b for a, b in zip(found, printed, strict=True))

    differing = sum(wrong(*case) for case in DEMONSTRATION)
    return Measured(differing, wrong("eprop", 0, DEMONSTRATION[1][2]))


def at_the_threshold(scheme: str, excess: float) -> float:
    """One neuron whose compared potential is the threshold, exactly: its spikes, and the error of psi = gamma."""
    problem = driven(np.zeros((1, 1, 1)), scheme, 1, leak=0.5, baseline=0.5)
    compared = 1.0 if scheme == "eprop" else 0.5  # what the leak makes of it is 0.5
    start = problem.start | {"layer.1.potential": np.full((1, 1), compared + excess)}
    problem = replace(problem, start=start, cotangents={"spikes": np.ones((1, 1, 1))})
    slope = 0.5 if scheme == "eprop" else 1.0
    worst = 0.0
    for backend in ("cpu", "plain"):
        spikes = states_of(problem, backend).spikes[1:]
        found = problem.gradient(backend).initial_gradients["layer.1.potential"][0, 0]
        worst = max(worst, float(spikes.sum()) + abs(found * 0.5 / (0.3 * slope) - 1))
    return worst


@claim(
    "lsnn/X.tie",
    r"At $u=0$ exactly there is no spike, but the pseudo-derivative is at its maximum $\gamma$.",
    source="specification, section 2.3, step 7",
    metric=r"spikes, plus the relative error of $\partial z_1/\partial v_0=\gamma/(\delta b^0)$ (times $\alpha$ in `eprop`), three schemes",
    relation="<=",
    bound=1e-15,
    control=r"a potential that is higher by $2^{-50}$",
)
def tie(rng: np.random.Generator) -> Measured:
    schemes = "official", "paper", "eprop"
    return Measured(
        max(at_the_threshold(scheme, 0.0) for scheme in schemes),
        min(at_the_threshold(scheme, 2.0**-50) for scheme in schemes),
    )
