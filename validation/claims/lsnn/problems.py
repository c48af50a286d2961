"""Random networks of adaptive neurons that are alive, in the package's layout and by hand."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refsnn.algorithms.adaptive_bptt import AdaptiveResult, adaptive_bptt
from refsnn.equations.surrogates import Surrogate
from refsnn.kernels.adaptive import States
from refsnn.models.adaptive.core import (
    ADAPTATION,
    CURRENTS,
    POTENTIAL,
    REFRACTORY,
    SPIKES,
)
from refsnn.models.adaptive.delays import Delays
from refsnn.models.adaptive.inputs import DrivenInput, check_driven_input
from refsnn.models.adaptive.network import AdaptiveSpikingNetwork
from refsnn.models.adaptive.neuron import NEURON_PARAMETERS, AdaptiveNeuron, SpikePairsWarning
from refsnn.models.adaptive.run import Run
from refsnn.models.contract import Parameters, State
from validation.claims.lsnn import by_hand
from validation.ledger import VacuousError

EXACT = 1e-12
SCHEMES, DIVISORS = ("official", "paper", "eprop"), ("threshold", "baseline")
KINDS = [(scheme, divisor) for scheme in SCHEMES for divisor in DIVISORS]

# the loss looks at; the name by hand
DIRECT = {"spikes": "z", "potential": "v", "threshold": "B"}
LEAVES = {
    "layer.1.input_weight": "w_in",
    "layer.1.recurrent_weight": "w_rec",
    "layer.1.leak": "alpha",
    "layer.1.adaptation_decay": "rho",
    "layer.1.adaptation_strength": "beta",
    "layer.1.baseline": "b0",
}
STARTS = {SPIKES: "z", POTENTIAL: "v", ADAPTATION: "b", CURRENTS: "c"}


def neuron_of(**options: Any) -> AdaptiveNeuron:
    """A neuron, without the warning that scheme "official" fires pairs where it has no refractory period."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikePairsWarning)
        return AdaptiveNeuron(**options)


def changed(model: AdaptiveSpikingNetwork, **options: Any) -> AdaptiveSpikingNetwork:
    """The same network with other options of its neurons."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikePairsWarning)
        return replace(model, neuron=replace(model.neuron, **options))


@dataclass(frozen=True)
class Problem:
    """A network with all constants of its neurons trained, and a loss that is linear in z, v, B.

    `history` (R, B, n) holds the spikes before the start, oldest first; the counter of the state follows.
    """

    model: AdaptiveSpikingNetwork
    parameters: Parameters
    inputs: np.ndarray
    cotangents: dict[str, np.ndarray]
    start: State
    history: np.ndarray
    noise: Any = None
    masks: Any = None

    @property
    def drive(self) -> DrivenInput:
        return DrivenInput(self.inputs, self.noise, self.masks)

    def with_options(self, **options: Any) -> Problem:
        """With other options of the neurons."""
        return replace(self, model=changed(self.model, **options))

    def with_parameters(self, **values: np.ndarray) -> Problem:
        """With other parameters, by the last part of their names."""
        return replace(
            self, parameters=self.parameters | {f"layer.1.{name}": value for name, value in values.items()}
        )

    def gradient(self, backend: str = "cpu", **options: Any) -> AdaptiveResult:
        """The adjoint on trial."""
        chosen = {"cotangents": self.cotangents, "initial_state": self.start} | options
        return adaptive_bptt(self.model, self.parameters, self.drive, None, backend=backend, **chosen)

    def leaves(self, backend: str = "cpu", **options: Any) -> dict[str, np.ndarray]:
        """Derivatives by parameters, start and inputs, named and laid out as by hand."""
        result = self.gradient(backend, input_gradients=True, **options)
        return in_hand_layout(result)

    # -- by hand --------------------------------------------------------------------------------------

    @property
    def values(self) -> by_hand.Values:
        p = self.parameters
        return by_hand.Values(
            w_in=p["layer.1.input_weight"].T,
            w_rec=p["layer.1.recurrent_weight"].T,
            alpha=p["layer.1.leak"],
            rho=p["layer.1.adaptation_decay"],
            beta=p["layer.1.adaptation_strength"],
            b0=p["layer.1.baseline"],
            x=batch_first(self.inputs),
            z=self.start[SPIKES],
            v=self.start[POTENTIAL],
            b=self.start[ADAPTATION],
            c=self.start[CURRENTS],
        )

    @property
    def setting(self) -> by_hand.Setting:
        neuron, delays = self.model.neuron, self.model.delays
        return by_hand.Setting(
            d_in=delays.input.T,
            d_rec=delays.recurrent.T,
            history=batch_first(self.history),
            delta=neuron.time_step,
            scheme=neuron.scheme,
            norm="B" if neuron.divisor == "threshold" else "b0",
            gamma=neuron.surrogate.height,
            stop_reset=neuron.stop_reset,
            stop_rec=neuron.stop_recurrent,
            smooth=neuron.smooth,
            masks=None if self.masks is None else batch_first(self.masks),
            noise=None if self.noise is None else batch_first(self.noise),
        )

    @property
    def weights_of_loss(self) -> dict[str, np.ndarray]:
        """g^z, g^v, g^B by hand."""
        shape = self.inputs.shape[1], self.inputs.shape[0], self.model.widths[1]
        given = {DIRECT[name]: batch_first(array) for name, array in self.cotangents.items()}
        return {name: given.get(name, np.zeros(shape)) for name in "zvB"}

    def trajectory(self) -> by_hand.Trajectory:
        return by_hand.run(self.values, self.setting)

    def expected(self) -> dict[str, np.ndarray]:
        """Derivatives by hand."""
        return by_hand.gradient(self.values, self.setting, self.weights_of_loss)


def batch_first(array: np.ndarray) -> np.ndarray:
    """(T, B, ...) as (B, T, ...)."""
    return np.swapaxes(array, 0, 1)


def in_hand_layout(result: AdaptiveResult) -> dict[str, np.ndarray]:
    """Gradients under the names by hand, weights (pre, post)."""
    found = {LEAVES[name]: value.T for name, value in result.gradients.items() if name in LEAVES}
    found |= {own: result.initial_gradients[name] for name, own in STARTS.items()}
    if result.input_gradients is not None:
        found["x"] = batch_first(result.input_gradients)
    return found


def counter_of(history: np.ndarray) -> np.ndarray:
    """The refractory counter after spikes of R steps, (R, B, n) with the oldest first."""
    place = np.arange(1, len(history) + 1)[:, None, None] * (history > 0)
    return (place.max(axis=0) if len(history) else np.zeros(history.shape[1:])).astype(np.int16)


def states_of(problem: Problem, backend: str = "cpu") -> States:
    """z, v, b of every step with their start, (T + 1, B, n), by the package; parameters may be complex."""
    inputs = check_driven_input(problem.drive, *problem.model.widths[:2], np.dtype(float))
    core = problem.model.working_core(problem.parameters, inputs, None, backend=backend)
    state = problem.start | {
        name: np.zeros(shape)
        for name, shape in problem.model.state_shapes(inputs.batch).items()
        if name not in problem.start
    }
    run = Run(core, None)
    run.forward(state)
    return run.states


def linear_loss(problem: Problem, states: States) -> Any:
    """sum of cotangents times z, v and B of the ends of all steps."""
    looked_at = states.spikes[1:], states.potential[1:], thresholds_of(problem, states)
    return sum(
        (problem.cotangents[name] * array).sum()
        for name, array in zip(DIRECT, looked_at, strict=True)
        if name in problem.cotangents
    )


def thresholds_of(problem: Problem, states: States) -> np.ndarray:
    """B_{k+1}, (T, B, n)."""
    p = problem.parameters
    return p["layer.1.baseline"] + p["layer.1.adaptation_strength"] * states.adaptation[1:]


# -- activity ---------------------------------------------------------------------------------------------


def activity(problem: Problem) -> dict[str, float]:
    """Share of spikes, of steps where a neuron is near its threshold, of those after own spikes that adapt."""
    found = problem.trajectory()
    delta = problem.model.neuron.time_step
    near = (np.abs(found.u) < 1) & ~np.asarray(found.m, bool)
    fired = found.z[:, 1:] > 0
    before = np.cumsum(fired, axis=1) - fired > 0
    adaptive = problem.parameters["layer.1.adaptation_strength"] > 0
    return {
        "spikes": float(found.z[:, 1:].mean() * delta),
        "near the threshold": float(near.mean()),
        "near a raised threshold": float((near & before & adaptive).mean()),
        "least |u|": float(np.abs(found.u[~np.asarray(found.m, bool)]).min(initial=np.inf)),
    }


def require_alive(problem: Problem) -> dict[str, float]:
    """The activity, if a gradient of this network says anything.

    Raises
    ------
    VacuousError
        For silence, for a storm of spikes, and where no adaptive neuron is near its raised threshold.
    """
    found = activity(problem)
    low = 0.02 < found["spikes"] < 0.5
    if not (low and found["near the threshold"] > 0 and found["near a raised threshold"] > 0):
        raise VacuousError(f"the network says nothing: {found}")
    return found


def live(rng: np.random.Generator, **options: Any) -> Problem:
    """`draw` until the network is alive and no distance is so small that rounding decides over a spike."""
    for _ in range(200):
        problem = draw(rng, **options)
        try:
            if require_alive(problem)["least |u|"] > 1e-9:
                return problem
        except VacuousError:
            continue
    raise VacuousError(f"no network that is alive in 200 tries: {options}")


def draw(
    rng: np.random.Generator,
    scheme: str = "official",
    divisor: str = "threshold",
    *,
    neurons: int = 6,
    inputs: int = 4,
    steps: int = 40,
    batch: int = 2,
    refractory: int = 2,
    slots: int = 3,
    gamma: float = 0.3,
    gain: float = 1.5,
    time_step: float | None = None,
    from_rest: bool = False,
    loss: tuple[str, ...] = tuple(DIRECT),
    noise: bool = False,
    masks: bool = False,
    **others: Any,
) -> Problem:
    """A network with other constants for each neuron, half of them adaptive, and its state in mid-sequence."""
    delta = float(rng.choice([0.5, 1.0, 2.0])) if time_step is None else time_step
    decay, baseline = rng.uniform(0.8, 0.97, neurons), rng.uniform(0.3, 0.7, neurons)
    # one spike raises a threshold by 20 to 60 % of the baseline
    strength = delta * rng.uniform(0.2, 0.6, neurons) * baseline / (1 - decay)
    strength[: neurons // 2] = 0
    neuron = neuron_of(
        leak=0.9, refractory=refractory, time_step=delta, scheme=scheme, divisor=divisor,
        surrogate=Surrogate("triangle", 1.0, gamma), **others,
    )  # fmt: skip
    delays = Delays.uniform(rng, slots, inputs, neurons)
    model = AdaptiveSpikingNetwork(
        (inputs, neurons, 2), neuron=neuron, delays=delays, trained=NEURON_PARAMETERS, readout_decay=0.8
    )
    parameters = model.initialise(rng, gain=gain * delta) | {
        "layer.1.leak": rng.uniform(0.75, 0.95, neurons),
        "layer.1.adaptation_decay": decay,
        "layer.1.adaptation_strength": strength,
        "layer.1.baseline": baseline,
    }
    parameters["layer.1.input_weight"] += 0.5 * delta
    shape = steps, batch, neurons
    history = (rng.random((refractory, batch, neurons)) < 0.2) / delta
    if from_rest:
        history = 0 * history
    start = model.initial_state(parameters, batch)
    del start["loss.sum"]
    if not from_rest:
        latest = history[-1] if refractory else (rng.random((batch, neurons)) < 0.2) / delta
        start |= {
            SPIKES: latest,
            POTENTIAL: rng.uniform(-0.3, 0.6, (batch, neurons)),
            ADAPTATION: rng.uniform(0, 0.2, (batch, neurons)) / delta,
            CURRENTS: rng.normal(0.3, 0.5, (batch, slots, neurons)),
            REFRACTORY: counter_of(history),
        }
        start[CURRENTS][:, -1] = 0
    return Problem(
        model,
        parameters,
        (rng.random((steps, batch, inputs)) < 0.3) / delta,
        {name: rng.standard_normal(shape) for name in loss},
        start,
        history,
        noise=0.1 * rng.standard_normal(shape) if noise else None,
        masks=rng.random(shape) < 0.2 if masks else None,
    )


def every_kind(rng: np.random.Generator, **options: Any) -> Iterator[tuple[str, Problem]]:
    """A live network of each scheme with each divisor."""
    for scheme, divisor in KINDS:
        yield f"{scheme}, {divisor}", live(rng, scheme=scheme, divisor=divisor, **options)


# -- comparing --------------------------------------------------------------------------------------------


def errors(found: dict[str, np.ndarray], truth: dict[str, np.ndarray]) -> dict[str, float]:
    """Largest error over the largest entry, leaf by leaf.

    Raises
    ------
    VacuousError
        If a leaf of the truth is 0, or is missing.
    """
    apart = {}
    for name, value in truth.items():
        size = float(np.abs(value).max())
        if size < 1e-9 or name not in found:
            raise VacuousError(f"the gradient by {name} is {size:.1e}")
        apart[name] = float(np.abs(found[name] - value).max()) / size
    return apart


def worst(found: dict[str, np.ndarray], truth: dict[str, np.ndarray]) -> float:
    """The largest of `errors`."""
    return max(errors(found, truth).values())


# -- one neuron -------------------------------------------------------------------------------------------

# scheme, refractory steps, and what a constant drive makes of them
DEMONSTRATION = (
    ("official", 0, "000001100000001100000001100000"),
    ("paper", 0, "000001000010000100010000100001"),
    ("official", 1, "000001000010000100001000010000"),
)


def driven(
    inputs: np.ndarray,
    scheme: str,
    refractory: int,
    *,
    leak: float = 0.5,
    decay: float = 0.9,
    strength: float = 0.0,
    baseline: float = 0.5,
    weight: float = 1.0,
    delay: int = 0,
    **options: Any,
) -> Problem:
    """One neuron at rest that hears one input, (T, B, 1)."""
    neuron = neuron_of(
        leak=leak, adaptation_decay=decay, adaptation_strength=strength, baseline=baseline,
        refractory=refractory, scheme=scheme, **options,
    )  # fmt: skip
    delays = Delays(delay + 1, np.full((1, 1), delay), np.full((1, 1), delay))
    model = AdaptiveSpikingNetwork((1, 1, 1), neuron=neuron, delays=delays, trained=NEURON_PARAMETERS)
    parameters = model.initialise(np.random.default_rng(0), gain=0.0)
    parameters["layer.1.input_weight"] = np.full((1, 1), weight)
    start = model.initial_state(parameters, inputs.shape[1])
    del start["loss.sum"]
    history = np.zeros((refractory, inputs.shape[1], 1))
    shape = (*inputs.shape[:2], 1)
    return Problem(model, parameters, inputs, {name: np.zeros(shape) for name in DIRECT}, start, history)


def raster_text(problem: Problem) -> str:
    """The spikes of the first neuron of the first sample, a character a step."""
    return "".join("01"[int(spike > 0)] for spike in states_of(problem).spikes[1:, 0, 0])


def distances(problem: Problem, states: States) -> np.ndarray:
    """u_{k+1}, (T, B, n)."""
    threshold, neuron = thresholds_of(problem, states), problem.model.neuron
    compared = states.potential[1:] if neuron.scheme == "eprop" else states.potential[:-1]
    by_threshold = neuron.divisor == "threshold"
    return (compared - threshold) / (threshold if by_threshold else problem.parameters["layer.1.baseline"])
