"""O3: without a surrogate the adjoint is the derivative of the spiking network itself, at a fixed spike pattern."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from refsnn.equations.surrogates import Surrogate
from refsnn.oracles.finite_differences import directional_derivative
from validation.claims.lsnn.problems import (
    KINDS,
    Problem,
    every_kind,
    linear_loss,
    live,
    states_of,
)
from validation.ledger import Measured, VacuousError, claim

WEIGHTS = "layer.1.input_weight", "layer.1.recurrent_weight"
CONSTANTS = "layer.1.leak", "layer.1.adaptation_decay", "layer.1.adaptation_strength", "layer.1.baseline"
STEP = 1e-5


def undampened(problem: Problem, height: float = 0.0) -> Problem:
    """The same with psi = 0, and a loss on v and B alone."""
    looked_at = {name: value for name, value in problem.cotangents.items() if name != "spikes"}
    return replace(problem, cotangents=looked_at).with_options(surrogate=Surrogate("triangle", 1.0, height))


def without_autapses(name: str, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Places of a parameter that do anything."""
    hollow = name.endswith("recurrent_weight")
    return [index for index in np.ndindex(shape) if not (hollow and index[0] == index[1])]


def shifted_loss(
    problem: Problem, name: str, index: tuple[int, ...], amount: float
) -> tuple[float, np.ndarray]:
    """Loss and raster with one entry of one parameter moved."""
    value = problem.parameters[name].copy()
    value[index] += amount
    there = replace(problem, parameters=problem.parameters | {name: value})
    states = states_of(there)
    return float(linear_loss(there, states)), states.spikes


@claim(
    "lsnn/O3",
    r"With $\gamma=0$ and a loss on $v$ and $\mathcal{B}$ the adjoint is the derivative of the network with its spikes as they are: central differences, as long as no spike moves, agree up to rounding, for the loss is affine in $W$.",
    source="specification, O3",
    metric=r"largest error over the largest entry of the leaf times $h$, the largest step of $10^{-2},\dots,10^{-7}$ that keeps the raster; every weight, three schemes with both divisors",
    relation="<=",
    bound=1e-13,
    control=r"the gradient with $\gamma=0.3$",
)
def weights(rng: np.random.Generator) -> Measured:
    values, controls, largest = [], [], 0.0
    for _, drawn in every_kind(rng):
        problem = undampened(drawn)
        spikes = states_of(problem).spikes
        exact, dampened = (p.gradient().gradients for p in (problem, undampened(drawn, 0.3)))
        for name in WEIGHTS:
            size = np.abs(exact[name]).max()
            if size < 1e-3:
                raise VacuousError(f"the gradient by {name} is {size:.1e}")
            wrong = 0.0
            for index in without_autapses(name, exact[name].shape):
                step, slope = difference(problem, name, index, spikes)
                values.append(abs(slope - exact[name][index]) / size * step)
                wrong = max(wrong, abs(slope - dampened[name][index]) / size * step)
                largest = max(largest, step)
            controls.append(wrong)
    return Measured(max(values), min(controls), {"largest step": largest})


def difference(
    problem: Problem, name: str, index: tuple[int, ...], spikes: np.ndarray
) -> tuple[float, float]:
    """Central difference by one entry with the largest step that moves no spike."""
    for step in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7):
        ahead, behind = (shifted_loss(problem, name, index, h) for h in (step, -step))
        if all(np.array_equal(raster, spikes) for _, raster in (ahead, behind)):
            return step, (ahead[0] - behind[0]) / (2 * step)
    raise VacuousError(f"every step moves a spike: {name}, {index}")


@claim(
    "lsnn/O3.constants",
    r"So it is by $\alpha$, $\rho$, $\beta$ and $b^0$, through leak, adaptation, threshold and reset, without any surrogate.",
    source="specification, O3",
    metric=r"largest error over the largest entry of the leaf, five-point differences with $h=10^{-5}$ that keep the raster, three schemes with both divisors",
    relation="<=",
    bound=1e-13 / STEP,
    control=r"the gradient with $\gamma=0.3$",
)
def constants(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for scheme, divisor in KINDS:
        problem = with_a_firm_raster(rng, scheme, divisor)
        exact, dampened = (p.gradient().gradients for p in (problem, undampened(problem, 0.3)))
        for name in CONSTANTS:
            slopes = np.zeros_like(exact[name])
            for index in np.ndindex(slopes.shape):
                point = {"amount": np.zeros(1)}
                slopes[index] = directional_derivative(
                    lambda p, own=problem, n=name, i=index: shifted_loss(own, n, i, float(p["amount"][0]))[0],
                    point, {"amount": np.ones(1)}, STEP,
                )  # fmt: skip
            size = np.abs(slopes).max()
            if size < 1e-3:
                raise VacuousError(f"the gradient by {name} is {size:.1e}")
            values.append(float(np.abs(slopes - exact[name]).max() / size))
            controls.append(float(np.abs(slopes - dampened[name]).max() / size))
    return Measured(max(values), min(controls))


def with_a_firm_raster(rng: np.random.Generator, scheme: str, divisor: str) -> Problem:
    """A network that keeps its spikes when one constant of one neuron moves by two steps."""
    for _ in range(50):
        problem = undampened(live(rng, scheme=scheme, divisor=divisor))
        spikes = states_of(problem).spikes
        if all(
            np.array_equal(shifted_loss(problem, name, index, amount)[1], spikes)
            for name in CONSTANTS
            for index in np.ndindex(problem.parameters[name].shape)
            for amount in (-2 * STEP, -STEP, STEP, 2 * STEP)
        ):
            return problem
    raise VacuousError("every network moves a spike")
