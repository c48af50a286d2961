"""O8, O10: thresholds of given spike trains, and the interval between spikes for short time steps."""

from __future__ import annotations

import numpy as np

from validation.claims.lsnn.problems import EXACT, driven, every_kind, states_of, thresholds_of
from validation.ledger import Measured, claim


@claim(
    "lsnn/O8",
    r"Given the spikes, the adaptation is a sum over the past, $b_k=\rho^kb_0+(1-\rho)\sum_{r<k}\rho^{k-1-r}z_r$.",
    source="Bellec 2018, Eqs. (1), (2); specification, O8",
    metric="largest error of the threshold over the largest threshold, three schemes",
    relation="<=",
    bound=EXACT,
    control=r"without the factor $1-\rho$, as several libraries have it",
)
def sum_over_the_past(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for _, problem in every_kind(rng, steps=60):
        p, states = problem.parameters, states_of(problem)
        rho, beta = p["layer.1.adaptation_decay"], p["layer.1.adaptation_strength"]
        threshold = thresholds_of(problem, states)
        for out, share in ((values, 1 - rho), (controls, np.ones_like(rho))):
            expected = []
            for k in range(1, len(states.spikes)):
                past = sum(rho ** (k - 1 - r) * states.spikes[r] for r in range(k))
                expected.append(p["layer.1.baseline"] + beta * (rho**k * states.adaptation[0] + share * past))
            out.append(float(np.abs(threshold - np.array(expected)).max() / threshold.max()))
    return Measured(max(values), min(controls))


@claim(
    "lsnn/O8.jump",
    r"One spike raises the threshold by $\beta(1-\rho)/\delta=\frac{\beta}{\tau_a}\left(1-\frac{\delta}{2\tau_a}+\dots\right)$: the next term is $\frac16(\delta/\tau_a)^2$.",
    source="specification, section 2.2 and O8",
    metric=r"largest error of the jump of a run, relative, over $(\delta/\tau_a)^2$; time constants of 20 to 2000 steps",
    relation="<=",
    bound=1 / 6 + 1e-3,
    control=r"$\beta/\tau_a$ alone",
)
def jump(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for delta in (0.5, 1.0, 2.0):
        for steps in (20.0, 200.0, 2000.0):
            tau, beta = steps * delta, float(rng.uniform(0.5, 2))
            inputs = np.zeros((6, 1, 1))
            inputs[0] = 1e3
            problem = driven(
                inputs, "official", 4, decay=float(np.exp(-delta / tau)), strength=beta, time_step=delta
            )
            states = states_of(problem)
            threshold = thresholds_of(problem, states)
            at = int(np.flatnonzero(states.spikes[1:, 0, 0])[0])
            found = threshold[at + 1, 0, 0] - threshold[at, 0, 0]
            for out, expected in ((values, 1 - delta / (2 * tau)), (controls, 1.0)):
                out.append(abs(found / (beta / tau) - expected) * steps**2)
    return Measured(max(values), min(controls))


@claim(
    "lsnn/O8.rate",
    r"At a constant rate $r$ the mean threshold is $b^0+\beta r$: a neuron that fires whenever its refractory period lets it has $r=1/((R+1)\delta)$.",
    source="specification, O8",
    metric="largest relative error of the mean over a period at the end of a run of 40 time constants, three schemes",
    relation="<=",
    bound=EXACT,
    control=r"$r=1/(R\delta)$",
)
def constant_rate(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for scheme in ("official", "paper", "eprop"):
        for refractory in (1, 3, 6):
            delta, beta = float(rng.choice([0.5, 1.0, 2.0])), float(rng.uniform(0.5, 2))
            problem = driven(
                np.full((1600, 1, 1), 1e3),
                scheme,
                refractory,
                decay=float(np.exp(-1 / 40)),
                strength=beta,
                time_step=delta,
            )
            states = states_of(problem)
            period = refractory + 1
            mean = float(thresholds_of(problem, states)[-20 * period :].mean())
            values.append(abs(mean / (0.5 + beta / (period * delta)) - 1))
            controls.append(abs(mean / (0.5 + beta / (refractory * delta)) - 1))
    return Measured(max(values), min(controls))


CURRENT, BASELINE, MEMBRANE, RESTING = 0.012, 0.01, 20.0, 2.0


def interval(scheme: str, delta: float) -> float:
    """Mean time between spikes over 400 ms of constant current, in ms."""
    inputs = np.full((round(400 / delta), 1, 1), CURRENT)
    problem = driven(
        inputs,
        scheme,
        round(RESTING / delta),
        leak=float(np.exp(-delta / MEMBRANE)),
        baseline=BASELINE,
        time_step=delta,
    )
    times = delta * np.flatnonzero(states_of(problem).spikes[1:, 0, 0])
    return float((times[-1] - times[0]) / (len(times) - 1))


@claim(
    "lsnn/O10",
    r"For $\delta\to0$ the interval between spikes of a neuron under constant current tends to $\tau_m\ln\frac{I}{I-b^0}$, to first order in $\delta$; its potential goes on integrating while it is refractory.",
    source="specification, O10",
    metric=r"largest error over $\delta$, three schemes, $\delta=1,\frac14,\frac1{16},\frac1{32}$ ms, $R\delta=2$ ms, $I=0.012$, $b^0=0.01$, $\tau_m=20$ ms",
    relation="<=",
    bound=2.5,
    control="an interval that is longer by the refractory period",
)
def short_steps(rng: np.random.Generator) -> Measured:
    limit = MEMBRANE * np.log(CURRENT / (CURRENT - BASELINE))
    values, controls, details = [], [], {}
    for scheme in ("official", "paper", "eprop"):
        for delta in (1.0, 0.25, 0.0625, 0.03125):
            found = interval(scheme, delta)
            details[f"{scheme}, {delta:g} ms"] = found - limit
            values.append(abs(found - limit) / delta)
            if delta < 0.1:
                controls.append(abs(found - limit - RESTING) / delta)
    return Measured(max(values), min(controls), details)
