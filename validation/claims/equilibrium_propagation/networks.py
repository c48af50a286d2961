"""Random networks that have settled, and the error measures of these claims."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from refsnn.algorithms.bptt_convergent import bptt_convergent as _bptt_convergent
from refsnn.algorithms.equilibrium_propagation import equilibrium_propagation as _equilibrium_propagation
from refsnn.algorithms.holomorphic_equilibrium_propagation import (
    holomorphic_equilibrium_propagation as _holomorphic_equilibrium_propagation,
)
from refsnn.algorithms.processes import Processes, bptt_processes, equilibrium_processes
from refsnn.algorithms.relaxation import Relaxation
from refsnn.algorithms.relaxation import relax as _relax
from refsnn.models.contract import Parameters
from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork, toy_network
from refsnn.models.convergent_network import ConvergentNetwork
from validation.ledger import VacuousError, require

# beta so small that a quotient of the nudged phase is its own limit beta -> 0, in float64
LIMIT = 1e-30j
# Identities are held to 1e-13, so steady states must be steadier than that: a few units in the last place.
RESIDUAL = 1e-15
# An array of gradients far smaller than its neighbours carries their rounding errors.
BALANCE = 1e-2
CHUNK = 100
MOST_STEPS = 1500

# the ledger measures the step of the model in a loop, as it is written, and compiles nothing
relax = partial(_relax, backend="plain")
equilibrium_propagation = partial(_equilibrium_propagation, backend="plain")
holomorphic_equilibrium_propagation = partial(_holomorphic_equilibrium_propagation, backend="plain")
bptt_convergent = partial(_bptt_convergent, backend="plain")


@dataclass(frozen=True)
class Settled:
    """A network at its steady state, with data."""

    model: ConvergentNetwork
    parameters: Parameters
    inputs: np.ndarray
    targets: np.ndarray
    free: Relaxation
    steps: int

    @property
    def problem(self) -> tuple[ConvergentNetwork, Parameters, np.ndarray, np.ndarray]:
        """Network, parameters, inputs, targets: what every algorithm takes first."""
        return self.model, self.parameters, self.inputs, self.targets

    def longer(self, steps: int) -> Settled:
        """The same network after more free steps: a residual of rounding size may still be on its way down."""
        model, parameters, inputs, _ = self.problem
        free = relax(model, parameters, inputs, self.free.state, steps=steps, keep_last=len(self.free.kept))
        return replace(self, free=free, steps=self.steps + steps)

    def updates(self, steps: int, nudge: complex = LIMIT) -> Processes:
        """The nudged phase, step by step."""
        return equilibrium_processes(*self.problem, self.free, steps=steps, nudge=nudge)

    def gradients(self, steps: int, **start: Any) -> Processes:
        """Backpropagation through the end of the free phase, step by step."""
        return bptt_processes(*self.problem, self.free, steps=steps, **start)

    def estimate(self, nudged_steps: int, nudge: complex, symmetric: bool = False) -> Parameters:
        """Equilibrium propagation from the zero state."""
        phases = {"free_steps": max(self.steps, nudged_steps), "nudged_steps": nudged_steps}
        return equilibrium_propagation(*self.problem, **phases, nudge=nudge, symmetric=symmetric).gradients

    def truncated(self, steps_back: int) -> Parameters:
        """Backpropagation through the last steps of the free phase."""
        return bptt_convergent(*self.problem, free_steps=self.steps, steps_back=steps_back).gradients


def settled(
    rng: np.random.Generator,
    make: Callable[[tuple[int, ...]], ConvergentNetwork],
    *,
    widths: Sequence[int] | None = None,
    layers: tuple[int, int] = (1, 4),
    narrowest: int = 1,
    batch: int | None = None,
    scale: tuple[float, float] = (0.5, 1.5),
    keep_last: int = 32,
    residual: float = RESIDUAL,
    balance: float = BALANCE,
    most_steps: int = MOST_STEPS,
    edit: Callable[[Parameters, np.random.Generator], Any] | None = None,
    output_reaches: float = 0.0,
) -> Settled:
    """Draw networks until one settles to `residual`, at smaller and smaller scales.

    `widths` are drawn (`layers` of `narrowest` to 8 units, and the input) unless they are given, and so is
    the batch, of 1 to 4; `edit` changes the drawn parameters before the relaxation.  An output unit must
    come to `output_reaches`, for claims about nonlinearity that say nothing near 0.  Networks with a dead array are passed over: the largest
    gradient of every layer and parameter must reach `balance` times the largest of all.
    """
    for attempt in range(60):
        size = int(rng.integers(layers[0], layers[1] + 1)) + 1
        drawn = tuple(int(width) for width in rng.integers(narrowest, 9, size=size))
        model = make(tuple(widths) if widths is not None else drawn)
        factor = 0.98**attempt
        parameters = model.initialise(rng, scale=factor * rng.uniform(*scale))
        if edit is not None:
            edit(parameters, rng)
        samples = int(rng.integers(1, 5)) if batch is None else batch
        inputs = rng.uniform(size=(samples, *model.shapes[-1]))
        (classes,) = model.target_shape
        targets = np.eye(classes)[rng.integers(classes, size=samples)]
        free, steps = relax_long(model, parameters, inputs, keep_last, most_steps)
        case = Settled(model, parameters, inputs, targets, free, steps)
        outputs = np.abs(model.outputs(parameters, free.state)).max()
        if free.residual > residual or outputs < output_reaches:
            continue
        if balance == 0 or _balance(case, keep_last - 1) >= balance:
            return case
    raise VacuousError(f"none of 60 networks settled to {residual:g} with all of its arrays alive")


def _balance(case: Settled, steps: int) -> float:
    """Size of the smallest gradient array over that of the largest, layers and parameters apart."""
    gradients = case.gradients(steps)
    ratios = []
    for arrays in (gradients.states, gradients.parameters):
        sizes = [float(np.abs(array).max()) for array in arrays.values()]
        ratios.append(min(sizes) / max(sizes) if max(sizes) > 0 else 0.0)
    return min(ratios)


def relax_long(
    model: ConvergentNetwork, parameters: Parameters, inputs: np.ndarray, keep_last: int, most_steps: int
) -> tuple[Relaxation, int]:
    """Relax until nothing moves any more, or the steps are used up, or an orbit has closed."""
    free = relax(model, parameters, inputs, steps=CHUNK, keep_last=keep_last)
    steps = CHUNK
    while free.residual > 0 and steps < most_steps:
        previous = free
        free = relax(model, parameters, inputs, free.state, steps=CHUNK, keep_last=keep_last)
        steps += CHUNK
        stuck = previous.residual <= RESIDUAL and free.residual >= 0.5 * previous.residual
        cycling = free.two_cycle_residual < 1e-3 * free.residual and free.residual > 1e-3
        if stuck or cycling:
            break
    return free, steps


def leaf_error(candidate: Parameters, reference: Parameters) -> float:
    """Largest |difference| / largest |reference| of each array, and of those the worst."""
    worst = 0.0
    for name, expected in reference.items():
        size = float(np.abs(expected).max())
        require(size > 0, f"the reference of {name} is zero: nothing to compare with")
        worst = max(worst, float(np.abs(candidate[name] - expected).max()) / size)
    return worst


def overall_error(candidate: Parameters, reference: Parameters) -> float:
    """Largest |difference| / largest |reference|, both over all arrays."""
    size = max(float(np.abs(array).max()) for array in reference.values())
    require(size > 0, "the reference is zero: nothing to compare with")
    return max(float(np.abs(candidate[name] - reference[name]).max()) for name in reference) / size


def negated(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every array with the other sign."""
    return {name: -array for name, array in arrays.items()}


def process_error(updates: Processes, gradients: Processes) -> float:
    """Worst leaf error of Delta against -nabla, states and parameters."""
    return max(
        leaf_error(updates.states, negated(gradients.states)),
        leaf_error(updates.parameters, negated(gradients.parameters)),
    )


def energy_based(rng: np.random.Generator, **options: Any) -> Callable[[tuple[int, ...]], EnergyBasedNetwork]:
    """Energy-based networks with epsilon from 0.2 to 0.3, tanh or sigm."""
    options = {"activation": str(rng.choice(["tanh", "sigm"])), "step_size": rng.uniform(0.2, 0.3), **options}
    return lambda widths: EnergyBasedNetwork(widths, **options)


def prototypical(
    rng: np.random.Generator, **options: Any
) -> Callable[[tuple[int, ...]], PrototypicalNetwork]:
    """Prototypical networks, tanh or sigm, epsilon 1 unless said otherwise."""
    options = {"activation": str(rng.choice(["tanh", "sigm"])), **options}
    return lambda widths: PrototypicalNetwork(widths, **options)


def toy(rng: np.random.Generator, **options: Any) -> Callable[[tuple[int, ...]], EnergyBasedNetwork]:
    """The toy wiring with a skip from the input to the output, small widths."""
    widths = tuple(int(width) for width in rng.integers(1, 9, size=3))
    network = toy_network(widths, step_size=options.get("step_size", 0.25))
    require(len(network.couplings) == 3, "the toy network has lost its skip connection")
    return lambda _: network
