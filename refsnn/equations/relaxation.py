"""Floor 1: one unit's step towards the steady state, and its derivatives.

Every step of a convergent network has the form s <- (1 - epsilon) s + epsilon * pull; the networks differ
in the pull, and in where the nudge enters: energy-based networks add beta (y - s) to the pull, so that a
step is nudged with epsilon * beta (E10); prototypical ones add it beside the activation (E16) or to its
argument (E17).  The tags, (E13) among them, are those of the equilibrium propagation specification
(Ernoult et al. 2019; the nudge inside: Laborieux et al. 2021).  All functions are analytic: states,
potentials and the nudge may be complex.
"""

from __future__ import annotations

from numba.extending import register_jitable

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
