"""O9: how far credit reaches: exactly through silence, and against the dampening in random networks."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np

from refsnn.algorithms.adaptive_bptt import adaptive_bptt
from refsnn.equations.surrogates import Surrogate
from refsnn.models.adaptive.core import ADAPTATION, POTENTIAL
from refsnn.models.adaptive.delays import Delays
from refsnn.models.adaptive.network import AdaptiveSpikingNetwork
from validation.claims.lsnn.problems import EXACT, driven, neuron_of, states_of
from validation.ledger import Measured, claim, require

SEEDS, STEPS, NEURONS, INPUTS = 15, 1000, 100, 60
LAGS = 20, 300, 900


@claim(
    "lsnn/O9.silence",
    r"Through a silent, inhibited neuron credit decays with its own time constants alone: $\partial\mathcal{B}_n/\partial b_0=\beta\rho^n$ and $\partial v_n/\partial v_0=\alpha^n$, whatever $\gamma$ is.",
    source="specification, O9a",
    metric=r"largest relative error, $n=1000$, $\gamma=0,0.3,1$, three schemes with both divisors",
    relation="<=",
    bound=EXACT,
    control=r"$(1-1/\tau)^n$ in the place of $e^{-n/\tau}$",
)
def through_silence(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    steps, tau = 1000, 500.0
    leak, decay = (float(np.exp(-1 / t)) for t in (tau / 2, tau))
    strength = float(rng.uniform(0.5, 2))
    for scheme in ("official", "paper", "eprop"):
        for divisor in ("threshold", "baseline"):
            for height in (0.0, 0.3, 1.0):
                problem = driven(
                    -np.ones((steps, 1, 1)), scheme, 1, leak=leak, decay=decay, strength=strength,
                    divisor=divisor, surrogate=Surrogate("triangle", 1.0, height),
                )  # fmt: skip
                require(not states_of(problem).spikes.any(), "it fires")
                last = np.zeros((steps, 1, 1))
                last[-1] = 1.0
                for looked_at, by, rate, scale in (
                    ("threshold", ADAPTATION, decay, strength),
                    ("potential", POTENTIAL, leak, 1.0),
                ):
                    found = (
                        replace(problem, cotangents={looked_at: last}).gradient().initial_gradients[by][0, 0]
                    )
                    values.append(abs(found / (scale * rate**steps) - 1))
                    controls.append(abs(found / (scale * (1 + np.log(rate)) ** steps) - 1))
    return Measured(max(values), min(controls))


@dataclass(frozen=True)
class Reach:
    """log10 of the Euclidean norms over neurons of the adjoints of v and b at some lags, of one network."""

    potential: np.ndarray
    adaptation: np.ndarray


def reach(rng: np.random.Generator, adaptive: bool, height: float, lags: tuple[int, ...] = LAGS) -> Reach:
    """What a cotangent on the spikes of the last 20 of 1000 steps is at earlier ones."""
    half = NEURONS // 2
    strength = (0.0,) * half + (1.7 if adaptive else 0.0,) * half
    neuron = neuron_of(
        leak=float(np.exp(-1 / 20)), adaptation_decay=float(np.exp(-1 / 500)), adaptation_strength=strength,
        refractory=3, surrogate=Surrogate("triangle", 1.0, height),
    )  # fmt: skip
    delays = Delays.uniform(rng, 5, INPUTS, NEURONS)
    model = AdaptiveSpikingNetwork((INPUTS, NEURONS, 1), neuron=neuron, delays=delays)
    parameters = model.initialise(rng)
    inputs = (rng.random((STEPS, 1, INPUTS)) < 0.02).astype(float)
    signal = np.zeros((STEPS, 1, NEURONS))
    signal[-20:] = rng.standard_normal((20, 1, NEURONS))
    starts = [0, *(STEPS - lag for lag in reversed(lags)), STEPS]
    states = [None]
    for first, last in itertools.pairwise(starts):
        result = adaptive_bptt(model, parameters, inputs[first:last], None, initial_state=states[-1])
        states.append(result.final_state)
        require(0.001 < result.diagnostics.spike_rates["layer.1"] < 0.2, "silence, or a storm")
    adjoint, found = None, []
    for part in range(len(lags), 0, -1):
        steps = slice(starts[part], starts[part + 1])
        adjoint = adaptive_bptt(
            model, parameters, inputs[steps], None, cotangents={"spikes": signal[steps]},
            initial_state=states[part], final_adjoint=adjoint,
        ).initial_gradients  # fmt: skip
        found.append([np.linalg.norm(adjoint[name]) for name in (POTENTIAL, ADAPTATION)])
    with np.errstate(divide="ignore"):
        return Reach(*np.log10(np.array(found).T))


def change(rng: np.random.Generator, adaptive: bool, height: float, of: str = "potential") -> float:
    """Median over networks of the decades from the first lag to the last."""
    runs = [getattr(reach(rng, adaptive, height), of) for _ in range(SEEDS)]
    return float(np.median([run[-1] - run[0] for run in runs]))


@claim(
    "lsnn/O9.growth",
    r"Without dampening ($\gamma=1$) the gradient of random networks of 100 neurons explodes from spike to spike, of LIF neurons as of mixed ones.",
    source="specification, O9b",
    metric=r"decades that $|\hat v|$ grows from lag 20 to lag 900, median of 15 networks, the smaller of LIF and mixed",
    relation=">=",
    bound=5.0,
    control=r"$\gamma=0.3$, the larger of the two",
)
def growth(rng: np.random.Generator) -> Measured:
    found = {
        (name, height): change(rng, name == "mixed", height)
        for name in ("LIF", "mixed")
        for height in (1.0, 0.3)
    }
    details = {f"{name}, {height:g}": value for (name, height), value in found.items()}
    return Measured(
        min(found["LIF", 1.0], found["mixed", 1.0]), max(found["LIF", 0.3], found["mixed", 0.3]), details
    )


@claim(
    "lsnn/O9.decay",
    r"With $\gamma=0.3$ the gradient of LIF neurons vanishes.",
    source="specification, O9b",
    metric=r"decades that $|\hat v|$ changes from lag 20 to lag 900, median of 15 networks",
    relation="<=",
    bound=-5.0,
    control=r"LIF neurons with $\gamma=1$",
)
def decay(rng: np.random.Generator) -> Measured:
    return Measured(change(rng, False, 0.3), change(rng, False, 1.0))


@claim(
    "lsnn/O9.memory",
    r"With $\gamma=0.3$ the threshold keeps credit over 900 ms: $|\hat b|$ of mixed networks loses little more than the $0.78$ decades of $\rho^{900}$ at $\tau_a=500$ ms.",
    source="specification, O9b",
    metric=r"decades that $|\hat b|$ loses from lag 20 to lag 900, median of 15 networks",
    relation="<=",
    bound=1.5,
    control=r"$|\hat v|$ of LIF neurons, whose $\hat b$ is 0",
)
def memory(rng: np.random.Generator) -> Measured:
    none = reach(rng, False, 0.3).adaptation
    require(bool((none == -np.inf).all()), "credit by the adaptation of LIF neurons")
    own = np.log10(np.exp(-(LAGS[-1] - LAGS[0]) / 500))
    lost = -change(rng, True, 0.3, "adaptation")
    return Measured(lost, -change(rng, False, 0.3), {"by its own decay alone": float(-own)})
