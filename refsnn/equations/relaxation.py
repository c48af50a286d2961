"""Floor 1: one unit's step towards the steady state, and its derivatives.

Every step of a convergent network has the form s <- (1 - epsilon) s + epsilon * pull; the networks differ
in the pull, and in where the nudge enters: energy-based networks add beta (y - s) to the pull, so that a
step is nudged with epsilon * beta (E10); prototypical ones add it beside the activation (E16) or to its
argument (E17).  The tags, (E13) among them, are those of the equilibrium propagation specification
(Ernoult et al. 2019; the nudge inside: Laborieux et al. 2021).  All functions are analytic: states,
potentials and the nudge may be complex.  At the end stand the equations of one unit of either family, whole:
what its neighbours read of it, its step, and the derivatives of both.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

from numba.extending import register_jitable

from refsnn.equations.activations import hardsigm, identity, identity_slope
from refsnn.equations.elementary import Value


@register_jitable
def leaky_step(state: Value, pull: Value, step_size: Value, one: Value) -> Value:
    """(E10): (1 - epsilon) s + epsilon * pull.

    Examples
    --------
    >>> leaky_step(1.0, 3.0, 0.5, 1.0)
    2.0
    """
    return (one - step_size) * state + step_size * pull


@register_jitable
def leaky_step_slopes(step_size: Value, one: Value) -> Value:
    """Derivatives of `leaky_step` with respect to the state and to the pull.

    Examples
    --------
    >>> leaky_step_slopes(0.25, 1.0)
    (0.75, 0.25)
    """
    return one - step_size, step_size


@register_jitable
def nudge_force(state: Value, target: Value, nudge: Value) -> Value:
    """-beta dl/ds = beta (y - s) for the squared error; felt by the output layer.

    Examples
    --------
    >>> nudge_force(0.25, 1.0, 2.0)
    1.5
    """
    return nudge * (target - state)


@register_jitable
def nudge_force_slopes(state: Value, target: Value, nudge: Value) -> Value:
    """Derivatives of `nudge_force` with respect to the state and to the nudge.

    Examples
    --------
    >>> nudge_force_slopes(0.25, 1.0, 2.0)
    (-2.0, 0.75)
    """
    return -nudge, target - state


@register_jitable
def energy_pull(gate: Value, potential: Value) -> Value:
    """(E13), free part: h'(s) u, the gate times what arrives.

    Examples
    --------
    >>> energy_pull(0.5, 3.0)
    1.5
    """
    return gate * potential


@register_jitable
def energy_pull_slopes(gate: Value, gate_slope: Value, potential: Value) -> Value:
    """Derivatives of `energy_pull` with respect to the state (through the gate) and to the potential.

    Examples
    --------
    >>> energy_pull_slopes(0.5, 2.0, 3.0)
    (6.0, 0.5)
    """
    return gate_slope * potential, gate


@register_jitable
def nudged_outside(response: Value, force: Value) -> Value:
    """(E16): sigma(u) + force; the nudge does not pass through the activation.

    Examples
    --------
    >>> nudged_outside(0.5, 0.25)
    0.75
    """
    return response + force


@register_jitable
def nudged_outside_slopes(slope: Value, one: Value) -> Value:
    """Derivatives of `nudged_outside` with respect to the potential and to the force.

    Examples
    --------
    >>> nudged_outside_slopes(0.5, 1.0)
    (0.5, 1.0)
    """
    return slope, one


@register_jitable
def nudged_inside(potential: Value, force: Value) -> Value:
    """(E17): the argument u + force of the activation.

    Examples
    --------
    >>> nudged_inside(0.5, 0.25)
    0.75
    """
    return potential + force


@register_jitable
def nudged_inside_slopes(slope: Value, one: Value) -> Value:
    """Derivatives of sigma(`nudged_inside`) with respect to the potential and to the force.

    Examples
    --------
    >>> nudged_inside_slopes(0.5, 1.0)
    (0.5, 0.5)
    """
    return slope, slope


class UnitEquations(NamedTuple):
    """All that one unit of a convergent network computes.

    Attributes
    ----------
    rate, rate_slope : callable of (state, one)
        h(s), what the couplings read, and h'(s).
    advance : callable of (state, potential, force, step_size, one)
        The next state; the force is what the nudge adds, 0 in a free phase.
    slopes : callable of (state, potential, step_size, one)
        Derivatives of the free step with respect to the state, at a fixed potential, and to the potential.
    """

    rate: Callable[[Value, Value], Value]
    rate_slope: Callable[[Value, Value], Value]
    advance: Callable[[Value, Value, Value, Value, Value], Value]
    slopes: Callable[[Value, Value, Value, Value], tuple[Value, Value]]


@functools.cache
def prototypical_unit(sigma: Callable, sigma_slope: Callable, placement: str) -> UnitEquations:
    """(E16) or (E17): s <- (1 - epsilon) s + epsilon sigma(u), nudged "outside" or "inside" of sigma.

    Parameters
    ----------
    sigma, sigma_slope : callable of (z, one)
        The activation, and the derivative that backpropagation takes of it.
    placement : {"outside", "inside"}
        Where the force enters.

    Returns
    -------
    UnitEquations

    Examples
    --------
    >>> prototypical_unit(identity, identity_slope, "inside").advance(1.0, 2.0, 0.5, 0.5, 1.0)
    1.75
    """

    @register_jitable
    def outside(state: Value, potential: Value, force: Value, step_size: Value, one: Value) -> Value:
        return leaky_step(state, nudged_outside(sigma(potential, one), force), step_size, one)

    @register_jitable
    def inside(state: Value, potential: Value, force: Value, step_size: Value, one: Value) -> Value:
        return leaky_step(state, sigma(nudged_inside(potential, force), one), step_size, one)

    @register_jitable
    def slopes(state: Value, potential: Value, step_size: Value, one: Value) -> tuple[Value, Value]:
        by_state, by_pull = leaky_step_slopes(step_size, one)
        return by_state, by_pull * sigma_slope(potential, one)

    return UnitEquations(identity, identity_slope, inside if placement == "inside" else outside, slopes)


@functools.cache
def energy_based_unit(
    rate: Callable, rate_slope: Callable, gate: Callable, gate_slope: Callable, clamp_slope: Callable | None
) -> UnitEquations:
    """(E13): s <- (1 - epsilon) s + epsilon (m(s) u + force), clamped to [0, 1] if `clamp_slope` is given.

    Parameters
    ----------
    rate, rate_slope : callable of (s, one)
        h and the derivative that backpropagation takes of it.
    gate, gate_slope : callable of (s, one)
        m, which is h' in a gradient system, and m'.
    clamp_slope : callable of (s, one), optional
        Derivative of the clamp at what the step gives before it.

    Returns
    -------
    UnitEquations

    Examples
    --------
    >>> linear = energy_based_unit(identity, identity_slope, identity_slope, identity_slope, None)
    >>> linear.advance(1.0, 2.0, 0.5, 0.5, 1.0)
    1.75
    """

    @register_jitable
    def advance(state: Value, potential: Value, force: Value, step_size: Value, one: Value) -> Value:
        return leaky_step(state, energy_pull(gate(state, one), potential) + force, step_size, one)

    @register_jitable
    def slopes(state: Value, potential: Value, step_size: Value, one: Value) -> tuple[Value, Value]:
        by_state, by_pull = leaky_step_slopes(step_size, one)
        by_gate, by_potential = energy_pull_slopes(gate(state, one), gate_slope(state, one), potential)
        return by_state + by_pull * by_gate, by_pull * by_potential

    if clamp_slope is None:
        return UnitEquations(rate, rate_slope, advance, slopes)

    @register_jitable
    def clamped(state: Value, potential: Value, force: Value, step_size: Value, one: Value) -> Value:
        return hardsigm(advance(state, potential, force, step_size, one), one)

    @register_jitable
    def clamped_slopes(state: Value, potential: Value, step_size: Value, one: Value) -> tuple[Value, Value]:
        kept = clamp_slope(advance(state, potential, one - one, step_size, one), one)
        by_state, by_potential = slopes(state, potential, step_size, one)
        return kept * by_state, kept * by_potential

    return UnitEquations(rate, rate_slope, clamped, clamped_slopes)
