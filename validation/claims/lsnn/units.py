"""The units of e-prop's code are those of scheme "eprop" with divisor b^0."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from refsnn.models.adaptive.conversion import EpropUnits
from refsnn.models.adaptive.neuron import NEURON_PARAMETERS
from validation.claims.lsnn.problems import EXACT, Problem, activity, changed, live
from validation.ledger import Measured, claim


def in_eprop_units(problem: Problem, units: EpropUnits) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Raster, v' and b' (batch, T + 1, n) of neurons that scale neither inputs nor spikes, from rest."""
    p, s = problem.values, problem.setting
    alpha, rho, threshold, beta = (
        np.asarray(value)
        for value in (units.leak, units.adaptation_decay, units.threshold, units.adaptation_strength)
    )
    z, v, b = [p.z], [p.v], [p.b]
    fired_at = np.full(p.z.shape, -(10**6))
    for k in range(p.x.shape[1]):
        current = np.zeros_like(p.v)
        for d in range(min(k + 1, p.c.shape[1])):
            current = current + p.x[:, k - d] @ (p.w_in * (s.d_in == d))
            current = current + z[k - d] @ (p.w_rec * (s.d_rec == d) * (1 - np.eye(len(p.b0))))
        v.append(alpha * v[k] + current - s.delta * z[k] * threshold)
        b.append(rho * b[k] + z[k])
        free = k - fired_at > s.history.shape[1]
        fired = (v[k + 1] > threshold + beta * b[k + 1]) & free
        fired_at = np.where(fired, k, fired_at)
        z.append(fired / s.delta)
    return np.stack(z, axis=1), np.stack(v, axis=1), np.stack(b, axis=1)


@claim(
    "lsnn/X.units",
    r"With $thr'=b^0/(1-\alpha)$ and $\beta'=\beta(1-\rho)/(1-\alpha)$ neurons that scale neither their input by $1-\alpha$ nor their spikes by $1-\rho$ fire the raster of scheme `eprop`, with $v'=v/(1-\alpha)$, $b'=b/(1-\rho)$ and thresholds $\mathcal{B}/(1-\alpha)$; the way back gives the constants again.",
    source="Bellec 2020; specification, section 7.8",
    metric="largest relative error of potentials, adaptation, thresholds and constants, or spikes that differ",
    relation="<=",
    bound=EXACT,
    control=r"$\beta'=\beta/(1-\alpha)$",
)
def eprop_units(rng: np.random.Generator) -> Measured:
    problem = live(rng, scheme="eprop", divisor="baseline", from_rest=True, steps=80)
    while activity(problem)["least |u|"] < 1e-6:  # rounding may not decide over a spike
        problem = live(rng, scheme="eprop", divisor="baseline", from_rest=True, steps=80)
    constants = {name: tuple(problem.parameters[f"layer.1.{name}"].tolist()) for name in NEURON_PARAMETERS}
    neuron = changed(problem.model, **constants).neuron
    units, truth = EpropUnits.of(neuron), problem.trajectory()
    p = problem.values

    def error(given: EpropUnits) -> float:
        z, v, b = in_eprop_units(problem, given)
        threshold = np.asarray(given.threshold) + np.asarray(given.adaptation_strength) * b[:, 1:]
        scales = (
            (v, truth.v / (1 - p.alpha)),
            (b, truth.b / (1 - p.rho)),
            (threshold, truth.threshold / (1 - p.alpha)),
        )
        apart = [float(np.abs(found - expected).max() / np.abs(expected).max()) for found, expected in scales]
        return max(float((z != truth.z).sum()), *apart)

    back = units.neuron(refractory=neuron.refractory, time_step=neuron.time_step, surrogate=neuron.surrogate)
    again = [
        float(np.abs(np.subtract(getattr(back, name), getattr(neuron, name))).max())
        for name in NEURON_PARAMETERS
    ]
    wrong = replace(units, adaptation_strength=np.asarray(neuron.adaptation_strength) / (1 - p.alpha))
    return Measured(max(error(units), *again), error(wrong))
