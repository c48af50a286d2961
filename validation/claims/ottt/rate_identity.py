"""O8: the weighted firing rate of a neuron with soft reset, exactly, and how far it stays from its current."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from refsnn.equations.spiking import SpikingNeuron
from validation.claims.ottt.rates import normalisers, run_neurons, weighted_rates
from validation.claims.rate_backpropagation.equalities import random_neuron
from validation.ledger import Measured, claim, require

CURRENTS = 1000
LENGTHS = (6, 24, 96, 384)


def identity_error(neuron: SpikingNeuron, current: np.ndarray, backend: str) -> float:
    """Largest deviation of a[t] from x[t] / threshold - v[t] / (threshold Z_t) over steps and neurons."""
    spikes, potentials = run_neurons(neuron, current, backend)
    require(0.05 < spikes.mean() < 0.95, f"the rate is {spikes.mean():.2f}")
    rest = potentials / normalisers(neuron.leak, len(current))[:, None]
    predicted = (weighted_rates(current, neuron.leak) - rest) / neuron.threshold
    return float(np.abs(weighted_rates(spikes, neuron.leak) - predicted).max())


@claim(
    "ottt/O8",
    r"A neuron with soft reset has the weighted rate $a[T]=\bar x[T]/V_{th}-v[T]/(V_{th}Z_T)$ exactly, at every step, for every current "
    r"and every leak up to the IF neuron's 1; $\bar x[T]=\sum_t\lambda^{T-t}I[t]/Z_T$ is its weighted mean current, $v$ the potential "
    r"after the reset.",
    source="Xiao 2022, section 3.2 and appendix A; specification, O8",
    metric="largest deviation over steps and neurons, six random neurons, compiled and plain",
    relation="<=",
    bound=1e-13,
    control="the same neurons with hard reset to 0",
)
def rate_identity(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for leak in (0.0, 1.0, 0.5, *rng.uniform(0.05, 0.95, 3)):
        neuron = replace(random_neuron(rng, SpikingNeuron()), leak=float(leak))
        mean = neuron.threshold * max(0.5, 1 - float(leak))
        current = rng.normal(mean, 0.5 * neuron.threshold, (int(rng.integers(20, 50)), 50))
        values += [identity_error(neuron, current, backend) for backend in ("cpu", "plain")]
        controls.append(identity_error(replace(neuron, reset="hard"), current, "cpu"))
    return Measured(max(values), min(controls))


def constant_current_errors(rng: np.random.Generator, leak: float, steps: int) -> np.ndarray:
    """|a[T] - x / threshold| of a thousand constant currents spread over [0, threshold)."""
    neuron = SpikingNeuron(leak=leak, threshold=float(rng.uniform(0.7, 1.4)))
    share = (np.arange(CURRENTS) + rng.random(CURRENTS)) / CURRENTS  # one in each thousandth of the range
    current = np.repeat(share[None] * neuron.threshold, steps, axis=0)
    spikes, potentials = run_neurons(neuron, current)
    # a sum of `steps` currents is rounded so often: it may end beyond the threshold by that much
    require(
        bool((potentials > -1e-12).all() and (potentials < neuron.threshold + 1e-12).all()),
        "v is not in [0, V)",
    )
    errors = np.abs(weighted_rates(spikes, leak)[-1] - share)
    most = 1 / normalisers(leak, steps)[-1]
    require(
        float(errors.max()) <= most * (1 + 1e-9), f"an error of {errors.max()} is more than 1 / Z = {most}"
    )
    return errors


@claim(
    "ottt/O8.floor",
    r"With a leak $\lambda<1$ the rate of a constant current $x\in[0,V_{th})$ does not converge to $x/V_{th}$: the error is at most "
    r"$1/Z_T$, and $1/Z_T\to1-\lambda$ is reached however long the run (a current just below $(1-\lambda)V_{th}$ never fires).",
    source="specification, O8 (against Xiao 2022, section 3.2, where rates of constant currents converge)",
    metric=r"smallest over five leaks of the largest error over 1000 currents, relative to $1-\lambda$, $T=384$",
    relation=">=",
    bound=0.98,
    control="the same currents into IF neurons",
)
def leak_floor(rng: np.random.Generator) -> Measured:
    values, controls, details = [], [], {}
    for leak in (0.5, *rng.uniform(0.1, 0.9, 4)):
        errors = constant_current_errors(rng, float(leak), LENGTHS[-1])
        values.append(float(errors.max()) / (1 - leak))
        controls.append(float(constant_current_errors(rng, 1.0, LENGTHS[-1]).max()) / (1 - leak))
        if leak == 0.5:
            details = {"largest error at leak 0.5": float(errors.max()), "mean error": float(errors.mean())}
    require(max(values) <= 1 + 1e-9, f"an error is {max(values)} times the floor")
    return Measured(min(values), max(controls), details)


def order(rng: np.random.Generator, leak: float) -> tuple[float, dict[str, float]]:
    """Slope of log(largest error) against log T, and the errors."""
    errors = {steps: float(constant_current_errors(rng, leak, steps).max()) for steps in LENGTHS}
    slope = np.polyfit(np.log(LENGTHS), np.log(list(errors.values())), 1)[0]
    return float(slope), {f"largest error at T = {steps}": error for steps, error in errors.items()}


@claim(
    "ottt/O8.if",
    r"The IF neuron's rate of a constant current $x\in[0,V_{th})$ converges to $x/V_{th}$ with an error just below $1/T$.",
    source="specification, O8; Xiao 2022, section 3.2",
    metric=r"slope of the logarithm of the largest error over 1000 currents against $\log T$, $T=6..384$",
    relation="in",
    bound=(-1.02, -0.98),
    control=r"the LIF neuron with $\lambda=0.9$",
)
def integrate_and_fire_order(rng: np.random.Generator) -> Measured:
    slope, errors = order(rng, 1.0)
    for steps, error in zip(LENGTHS, errors.values(), strict=True):
        require(error * steps > 0.9, f"the largest error at T = {steps} is {error}, far below 1 / T")
    return Measured(slope, order(rng, 0.9)[0], errors)
