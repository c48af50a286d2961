"""N1-N9: paths removed from the backward pass only, spikes that cannot be differenced, nets that say nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from refsnn.kernels.adaptive import Cotangents, Synapses
from refsnn.kernels.plain import adaptive as plain
from refsnn.models.adaptive.core import AdaptiveCore
from refsnn.models.adaptive.inputs import check_driven_input
from refsnn.models.adaptive.run import Run
from validation.claims.lsnn.problems import (
    Problem,
    activity,
    draw,
    driven,
    live,
    require_alive,
    states_of,
)
from validation.ledger import Measured, VacuousError, claim, require

NETS = 4
VISIBLE = 1e-3

# what a wrong copy does to a core between its forward and its backward pass
Mistake = Callable[[AdaptiveCore, Problem], None]


def backward_only(problem: Problem, mistake: Mistake) -> np.ndarray:
    """The gradient by W^in of the plain kernels, the adjoint with a mistake."""
    inputs = check_driven_input(problem.drive, *problem.model.widths[:2], np.dtype(float))
    core = problem.model.working_core(problem.parameters, inputs, None, backend="plain")
    run = Run(core, None)
    shapes = problem.model.state_shapes(inputs.batch)
    run.forward({name: np.zeros(shape) for name, shape in shapes.items()} | problem.start)
    core.seed()
    mistake(core, problem)
    shape = problem.inputs.shape[:2] + problem.model.widths[1:2]
    direct = [problem.cotangents.get(name, np.zeros(shape)) for name in ("spikes", "potential", "threshold")]
    nothing = np.zeros((0, *shape[1:]))
    cotangents = Cotangents(direct[0], direct[1], direct[2], nothing, np.zeros(shape[2]))
    run.backward(core.adjoint.arrays, cotangents, np.zeros((0, shape[1], problem.model.widths[0])))
    return core.gradients["layer.1.input_weight"]


def nothing_wrong(core: AdaptiveCore, problem: Problem) -> None:
    """No mistake."""


def with_numbers(**changes: float) -> Mistake:
    """Other switches."""

    def mistake(core: AdaptiveCore, problem: Problem) -> None:
        core.options = core.options[0], core.options[1]._replace(**changes)

    return mistake


def without_mask(core: AdaptiveCore, problem: Problem) -> None:
    """Gradients through neurons that are refractory."""
    core.heard = core.heard._replace(
        masks=np.zeros((*problem.inputs.shape[:2], problem.model.widths[1]), bool)
    )


def without_delays(core: AdaptiveCore, problem: Problem) -> None:
    """All delays 0."""
    n = problem.model.widths[1]

    def at_once(synapses: Synapses) -> Synapses:
        return synapses._replace(places=synapses.places % n, all_places=synapses.all_places % n)

    core.wiring = replace(core.wiring, into=at_once(core.wiring.into), back=at_once(core.wiring.back))


@contextmanager
def blind_to_adaptation() -> Iterator[None]:
    """The threshold is taken as it is, but nothing goes back from it to b."""
    right = plain.adaptive_adjoint

    def wrong(*arguments: Any) -> Any:
        by_adaptation, decay, strength, one = arguments[3], arguments[11], arguments[12], arguments[-1]
        found = list(right(*arguments))
        by_threshold = found[5]
        found[1] = found[1] - (one - decay) * strength * by_threshold
        found[3], found[7] = decay * by_adaptation, by_adaptation
        return tuple(found)

    plain.adaptive_adjoint = wrong  # type: ignore[assignment]
    try:
        yield
    finally:
        plain.adaptive_adjoint = right


def changes(rng: np.random.Generator, mistake: Mistake, **options: Any) -> Measured:
    """The least relative change of the gradient by W^in over random networks, and that of no mistake."""
    values, controls, details = [], [], {}
    for number in range(NETS):
        problem = live(rng, from_rest=True, **options)
        truth = problem.gradient().gradients["layer.1.input_weight"]
        size = np.abs(truth).max()
        require(size > 0, "no gradient")
        values.append(float(np.abs(backward_only(problem, mistake) - truth).max() / size))
        controls.append(float(np.abs(backward_only(problem, nothing_wrong) - truth).max() / size))
        details[f"net {number + 1}"] = values[-1]
    return Measured(min(values), max(controls), details)


def removed(id: str, statement: str) -> Any:
    """A claim that a mistake in the adjoint shows."""
    return claim(
        f"lsnn/{id}",
        statement,
        source="specification, negative controls of section 5",
        metric=r"change of $\bar W^{in}$ in maximum norm over its largest entry, the least of four live networks ($n=6$, $T=40$, $R=2$, $D=3$), a random linear loss in $z$, $v$, $\mathcal{B}$",
        relation=">=",
        bound=VISIBLE,
        control="the same copy of the adjoint without the mistake",
    )


@removed("N1", "The gradient through the spike of a reset removed from the adjoint alone shows.")
def reset_detached(rng: np.random.Generator) -> Measured:
    return changes(rng, with_numbers(attached=0.0))


@removed("N2", "The gradient through recurrent connections removed from the adjoint alone shows.")
def recurrence_detached(rng: np.random.Generator) -> Measured:
    return changes(rng, with_numbers(recurrent=0.0))


@removed("N3", r"$\beta$ set to 0 in the adjoint alone shows.")
def adaptation_detached(rng: np.random.Generator) -> Measured:
    def mistake(core: AdaptiveCore, problem: Problem) -> None:
        core.kernel = Blind()

    return changes(rng, mistake)


class Blind:
    """The plain kernels, blind to the adaptation on the way back."""

    @staticmethod
    def adaptive_backward(*arguments: Any) -> None:
        with blind_to_adaptation():
            plain.adaptive_backward(*arguments)


@removed("N4", r"The divisor $b^0$ in the adjoint of a network that divides by $\mathcal{B}$ shows.")
def other_divisor(rng: np.random.Generator) -> Measured:
    return changes(rng, with_numbers(by_threshold=0.0))


@removed("N5", "Gradients through refractory neurons show.")
def mask_ignored(rng: np.random.Generator) -> Measured:
    return changes(rng, without_mask)


@removed("N6", "Delays that the adjoint takes for 0 show.")
def delays_ignored(rng: np.random.Generator) -> Measured:
    return changes(rng, without_delays)


@claim(
    "lsnn/N7",
    r"Spikes that are steps cannot be differenced: the central difference of a loss on spikes alone is exactly 0 in every weight, where the surrogate gradient is not.",
    source="specification, negative controls of section 5",
    metric=r"entries of the difference ($h=10^{-7}$) by $W^{in}$ and $W^{rec}$ that are not 0",
    relation="==",
    bound=0,
    control="entries of the surrogate gradient that are not 0",
)
def steps_have_no_slope(rng: np.random.Generator) -> Measured:
    count, control = 0, 0
    for scheme in ("official", "paper", "eprop"):
        problem = live(rng, scheme=scheme, loss=("spikes",))
        while activity(problem)["least |u|"] < 1e-5:  # a step of 1e-7 may not move a spike
            problem = live(rng, scheme=scheme, loss=("spikes",))
        gradient = problem.gradient().gradients
        for name in ("layer.1.input_weight", "layer.1.recurrent_weight"):
            for index in np.ndindex(gradient[name].shape):
                losses = []
                for step in (1e-7, -1e-7):
                    weight = problem.parameters[name].copy()
                    weight[index] += step
                    other = replace(problem, parameters=problem.parameters | {name: weight})
                    losses.append((problem.cotangents["spikes"] * states_of(other).spikes[1:]).sum())
                count += int(losses[0] != losses[1])
                control += int(gradient[name][index] != 0)
    return Measured(count, control)


@claim(
    "lsnn/N8",
    r"Where no refractory period hides it, `official` and `paper` fire differently: strongly driven neurons with $R=0$ fire pairs in the one and single spikes in the other.",
    source="specification, negative controls of section 5 and section 7.1",
    metric=r"least share of spikes of `official` that follow a spike at once, less that of `paper`; four drives",
    relation=">=",
    bound=0.3,
    control=r"the same with $R=1$",
)
def pairs(rng: np.random.Generator) -> Measured:
    found: dict[int, list[float]] = {0: [], 1: []}
    for drive in (0.02, 0.03, 0.05, 0.06):
        for refractory, out in found.items():
            shares = {}
            for scheme in ("official", "paper"):
                problem = driven(
                    np.full((400, 1, 1), drive * rng.uniform(0.95, 1.05)), scheme, refractory,
                    leak=float(np.exp(-1 / 20)), baseline=0.01,
                )  # fmt: skip
                fired = states_of(problem).spikes[1:, 0, 0] > 0
                shares[scheme] = float((fired[1:] & fired[:-1]).sum() / fired.sum())
            out.append(shares["official"] - shares["paper"])
    return Measured(min(found[0]), max(found[1]))


@claim(
    "lsnn/N9",
    r"A test of a gradient that a silent network passes, or one without adaptation, tests nothing: the check of activity refuses both, and a storm of spikes.",
    source="specification, negative controls of section 5",
    metric="networks of three kinds, four of each, that the check refuses",
    relation=">=",
    bound=12,
    control="live networks that it refuses",
)
def vacuous(rng: np.random.Generator) -> Measured:
    refused, control = 0, 0
    for _ in range(4):
        alive = live(rng)
        n = alive.model.widths[1]
        silent = replace(draw(rng, from_rest=True), inputs=np.zeros((40, 2, 4)))
        unadapted = alive.with_parameters(adaptation_strength=np.zeros(n))
        stormy = alive.with_parameters(input_weight=np.full((n, 4), 1e3)).with_options(refractory=0)
        refused += sum(is_refused(problem) for problem in (silent, unadapted, stormy))
        control += is_refused(alive)
    return Measured(refused, control)


def is_refused(problem: Problem) -> bool:
    try:
        require_alive(problem)
    except VacuousError:
        return True
    return False
