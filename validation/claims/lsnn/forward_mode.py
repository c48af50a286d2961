"""O2: with spikes that are steps, forward mode and affine spikes give the adjoint."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from refsnn.algorithms.adaptive_bptt import adaptive_bptt
from refsnn.algorithms.forward_mode import rtrl
from refsnn.models.adaptive.core import ADAPTATION, POTENTIAL, SPIKES
from refsnn.models.adaptive.inputs import DrivenStep
from refsnn.models.adaptive.windows import WindowTargets
from refsnn.models.contract import Parameters, zeros_like
from validation.claims.lsnn.problems import (
    EXACT,
    Problem,
    every_kind,
    live,
    states_of,
    worst,
)
from validation.ledger import Measured, claim


def pushed(problem: Problem) -> Parameters:
    """The gradient of the loss in z, v, B by forward mode: every coordinate direction of every parameter."""
    model, parameters = problem.model, problem.parameters
    _, inputs = model.check_inputs(parameters, problem.drive)
    gradients = {}
    for name, value in parameters.items():
        if name.startswith("readout"):
            continue
        directions = zeros_like(parameters)
        directions[name] = np.eye(value.size).reshape(value.size, *value.shape)
        state = problem.start | {"loss.sum": np.zeros(1)}
        tangent, total = zeros_like(state), np.zeros(value.size)
        for k in range(len(inputs)):
            step = DrivenStep(inputs[k : k + 1])
            tangent = model.step_jvp(parameters, state, step, tangent, directions)
            state = model.step(parameters, state, step)
            threshold = (
                directions["layer.1.baseline"][..., None, :]
                + parameters["layer.1.adaptation_strength"] * tangent[ADAPTATION]
                + state[ADAPTATION] * directions["layer.1.adaptation_strength"][..., None, :]
            )
            looked_at = {"spikes": tangent[SPIKES], "potential": tangent[POTENTIAL], "threshold": threshold}
            for entry, moved in looked_at.items():
                total = total + (problem.cotangents[entry][k] * moved).sum(axis=(-2, -1))
        gradients[name] = total.reshape(value.shape)
    return gradients


def read_out(rng: np.random.Generator, problem: Problem) -> tuple:
    """Arguments of an algorithm that starts at rest, with two windows of the read-out to be classified."""
    batch = problem.inputs.shape[1]
    targets = WindowTargets([5, 20], [9, 39], rng.integers(0, 2, (2, batch)), rng.uniform(0.5, 2, (2, batch)))
    return problem.model, problem.parameters, problem.inputs, targets


@claim(
    "lsnn/O2",
    r"Forward mode along every direction of every parameter, with the pseudo-derivative in the place of $H'$, is the adjoint, for losses on $z$, $v$ and $\mathcal{B}$ and for the read-out.",
    source="specification, section 4 and O2",
    metric="largest error over the largest entry of a leaf, three schemes with both divisors",
    relation="<=",
    bound=EXACT,
    control="no gradient through recurrent connections",
)
def forward_mode(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for _kind, problem in every_kind(rng, neurons=5, steps=40):
        truth = pushed(problem)
        values.append(worst(problem.gradient().gradients, truth))
        arguments = read_out(rng, problem)
        values.append(worst(adaptive_bptt(*arguments).gradients, rtrl(*arguments).gradients))
        stopped = problem.with_options(stop_recurrent=True)
        controls.append(worst(stopped.gradient().gradients, truth))
    return Measured(max(values), min(controls))


@claim(
    "lsnn/O2.affine",
    r"Along spikes that are affine about the run, $z=z^0+(1-m)\psi(u^0)(u-u^0)/\delta$, the derivative of the network by hand is the surrogate gradient: by weights, $\alpha$, $\rho$, $\beta$, $b^0$, inputs and all parts of the first state, "
    r"with nothing stopped, with resets stopped, with recurrence stopped, and with both.",
    source="specification, sections 2.4 and 4",
    metric="largest error over the largest entry of a leaf to the complex step, three schemes with both divisors, from a state in mid-sequence, with noise",
    relation="<=",
    bound=EXACT,
    control="nothing stopped where resets are, and the other way round",
)
def affine_spikes(rng: np.random.Generator) -> Measured:
    values, controls, details = [], [], {}
    for kind, problem in every_kind(rng, noise=True):
        largest = []
        for reset in (False, True):
            for recurrent in (False, True):
                stopped = problem.with_options(stop_reset=reset, stop_recurrent=recurrent)
                truth = stopped.expected()
                largest += [worst(stopped.leaves(backend), truth) for backend in ("cpu", "plain")]
                other = stopped.with_options(stop_reset=not reset)
                controls.append(worst(other.leaves(), truth))
        values.append(max(largest))
        details[kind] = max(largest)
    return Measured(max(values), min(controls), details)


@claim(
    "lsnn/O2.autapse",
    r"A neuron does not hear itself: the diagonal of $W^{rec}$ changes no bit of a run, and its gradient is exactly 0.",
    source="specification, sections 2.3 and O2",
    metric=r"entries of the diagonal of $\bar W^{rec}$ that are not 0, and numbers of the run that other values on the diagonal change",
    relation="==",
    bound=0,
    control="the same beside the diagonal",
)
def autapses(rng: np.random.Generator) -> Measured:
    counts = {False: 0, True: 0}
    for _, problem in every_kind(rng):
        weight = problem.parameters["layer.1.recurrent_weight"]
        n = len(weight)
        for beside in (False, True):
            place = np.roll(np.eye(n, dtype=bool), int(beside), axis=1)
            other = problem.with_parameters(
                recurrent_weight=np.where(place, rng.normal(1, 1, (n, n)), weight)
            )
            for backend in ("cpu", "plain"):
                first, second = states_of(problem, backend), states_of(other, backend)
                changed = sum(int((a != b).sum()) for a, b in zip(first, second, strict=True))
                gradient = problem.gradient(backend).gradients["layer.1.recurrent_weight"]
                counts[beside] += changed + int((gradient[place] != 0).sum())
    return Measured(counts[False], counts[True])


@claim(
    "lsnn/O2.raster",
    r"The dampening $\gamma$ belongs to the gradient alone: no spike depends on it, nor on the divisor of $u$.",
    source="specification, sections 2.4 and 2.5",
    metric=r"spikes that differ between $\gamma=0$ and $\gamma=1$, and between the divisors $\mathcal{B}$ and $b^0$",
    relation="==",
    bound=0,
    control="scheme `paper` against `official`",
)
def raster_is_free(rng: np.random.Generator) -> Measured:
    count, control = 0, 0
    for scheme in ("official", "paper", "eprop"):
        problem = live(rng, scheme=scheme, steps=80)
        spikes = states_of(problem).spikes
        surrogate = problem.model.neuron.surrogate
        for height in (0.0, 1.0):
            other = problem.with_options(surrogate=replace(surrogate, height=height))
            count += int((states_of(other).spikes != spikes).sum())
        count += int((states_of(problem.with_options(divisor="baseline")).spikes != spikes).sum())
        if scheme == "official":
            control = int((states_of(problem.with_options(scheme="paper")).spikes != spikes).sum())
    return Measured(count, control)
