"""One time step of a leaky integrate-and-fire neuron whose threshold rises with its own spikes (LSNN).

    b_{k+1} = rho b_k + (1 - rho) z_k                              adaptation        (Bellec 2018, Eq. 2)
    B_{k+1} = b^0 + beta b_{k+1}                                   threshold         (Eq. 1)
    v_{k+1} = alpha v_k + (1 - alpha) I_k - delta * reset          potential
    u_{k+1} = (V - B_{k+1}) / N                                    scaled distance
    z_{k+1} = (1 - m_{k+1}) H(u_{k+1}) / delta                     spike, 0 or 1/delta

m is 1 in the refractory period, delta is the time step.  Three schemes differ in what is reset and what is
compared, and the divisor N is B_{k+1} ("threshold") or b^0 ("baseline"):

    scheme      reset               V             switches: late_reset, new_potential, threshold_reset
    official    z_k B_{k+1}         v_k                     0           0              1
    paper       z_{k+1} B_{k+1}     v_k                     1           0              1
    eprop       z_k b^0             v_{k+1}                 0           1              0

Switches are numbers, 0 or 1, so that one compiled loop serves all.  In the adjoint, psi = dH/du, `attached`
is 0 where no gradient goes through the spike of a reset, and bars are derivatives of the loss.
"""

from __future__ import annotations

from numba.extending import register_jitable

from refsnn.equations.elementary import Value, real_part, rounded_product


@register_jitable
def chosen(switch: Value, if_one: Value, if_zero: Value, one: Value) -> Value:
    """One of two values by a switch that is 0 or 1.

    Examples
    --------
    >>> chosen(1.0, 2.5, 0.3, 1.0), chosen(0.0, 2.5, 0.3, 1.0)
    (2.5, 0.3)
    """
    return switch * if_one + (one - switch) * if_zero


@register_jitable
def leaky_mean(value: Value, drive: Value, decay: Value, one: Value) -> Value:
    """decay * value + (1 - decay) * drive: adaptation (Eq. 2), potential, and the trace of the read-out.

    Examples
    --------
    >>> leaky_mean(1.0, 0.0, 0.75, 1.0)
    0.75
    """
    return rounded_product(decay, value) + rounded_product(one - decay, drive)


@register_jitable
def raised_threshold(adaptation: Value, baseline: Value, strength: Value) -> Value:
    """B = b^0 + beta b (Eq. 1).

    Examples
    --------
    >>> raised_threshold(0.5, 1.0, 2.0)
    2.0
    """
    return baseline + rounded_product(strength, adaptation)


@register_jitable
def reset_height(threshold: Value, baseline: Value, threshold_reset: Value, one: Value) -> Value:
    """What a spike takes from the potential: B_{k+1} or b^0.

    Examples
    --------
    >>> reset_height(2.0, 1.0, 0.0, 1.0)
    1.0
    """
    return chosen(threshold_reset, threshold, baseline, one)


@register_jitable
def fire_above_zero(distance: Value, slope: Value, height: Value, one: Value) -> Value:
    """H(u): 1 where u > 0, and 0 at u = 0; takes the arguments of the smooth spikes it is replaced by.

    Examples
    --------
    >>> fire_above_zero(0.0, 1.0, 0.3, 1.0), fire_above_zero(0.1, 1.0, 0.3, 1.0)
    (0.0, 1.0)
    """
    return (real_part(distance) > one - one) * one


@register_jitable
def before_the_spike(
    spike: Value,
    potential: Value,
    adaptation: Value,
    current: Value,
    leak: Value,
    decay: Value,
    strength: Value,
    baseline: Value,
    late_reset: Value,
    new_potential: Value,
    threshold_reset: Value,
    by_threshold: Value,
    time_step: Value,
    one: Value,
) -> tuple[Value, Value, Value, Value]:
    """b_{k+1}, B_{k+1}, the potential without a reset by z_{k+1}, and u_{k+1}.

    Examples
    --------
    >>> before_the_spike(0.0, 2.0, 0.0, 4.0, 0.5, 0.5, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0)
    (0.0, 1.0, 3.0, 1.0)
    """
    adapted = leaky_mean(adaptation, spike, decay, one)
    threshold = raised_threshold(adapted, baseline, strength)
    height = reset_height(threshold, baseline, threshold_reset, one)
    early = (one - late_reset) * rounded_product(rounded_product(time_step, spike), height)
    charged = leaky_mean(potential, current, leak, one) - early
    compared = chosen(new_potential, charged, potential, one)
    distance = (compared - threshold) / chosen(by_threshold, threshold, baseline, one)
    return adapted, threshold, charged, distance


@register_jitable
def after_the_spike(
    charged: Value, spike: Value, threshold: Value, late_reset: Value, time_step: Value
) -> Value:
    """v_{k+1}: where the reset is late, - delta z_{k+1} B_{k+1}.

    Examples
    --------
    >>> after_the_spike(3.0, 1.0, 2.0, 1.0, 1.0)
    1.0
    """
    return charged - late_reset * rounded_product(rounded_product(time_step, spike), threshold)


@register_jitable
def adaptive_adjoint(
    spike_adjoint: Value,
    potential_adjoint: Value,
    threshold_adjoint: Value,
    adaptation_adjoint: Value,
    spike_slope: Value,
    spike: Value,
    spike_after: Value,
    potential: Value,
    potential_after: Value,
    adapted: Value,
    leak: Value,
    decay: Value,
    strength: Value,
    baseline: Value,
    late_reset: Value,
    new_potential: Value,
    threshold_reset: Value,
    by_threshold: Value,
    attached: Value,
    time_step: Value,
    one: Value,
) -> tuple[Value, Value, Value, Value, Value, Value, Value, Value]:
    """The adjoint of both halves of a step: what goes to I_k, z_k, v_k, b_k, and on the way to B, b^0, b.

    `spike_slope` is dz_{k+1}/du_{k+1} = (1 - m) psi / delta.  What other neurons hear of z_k is not in it.

        A   v = vbar,  z = zbar - late delta B v (where attached),  B = Bbar
        B   u = slope z,   B -= u V / B^2   or   B -= u / b^0, b0 -= u (V - B) / b0^2;   new:  v += u / N
        C   B -= delta z v of the spike that resets,   or   b0 -= delta z_k v
        D   b = bbar + beta B
        E   I = (1 - alpha) v
        G   z_k: (1 - rho) b - delta height v (where attached, not late);  v_k: alpha v (+ u / N, not new)
            b_k: rho b

    Returns
    -------
    tuple
        Adjoints of I_k, z_k, v_k, b_k, then those of v_{k+1}, of B_{k+1}, of b^0 beside B's, of b_{k+1}.
    """
    threshold = raised_threshold(adapted, baseline, strength)
    height = reset_height(threshold, baseline, threshold_reset, one)
    over = one / chosen(by_threshold, threshold, baseline, one)
    compared = chosen(new_potential, potential_after, potential, one)
    resets = time_step * chosen(late_reset, spike_after, spike, one)
    # A, B
    late = late_reset * attached * time_step * threshold * potential_adjoint
    by_distance = spike_slope * (spike_adjoint - late)
    by_threshold_now = threshold_adjoint - by_distance * over * chosen(
        by_threshold, compared * over, one, one
    )
    by_baseline = -(one - by_threshold) * by_distance * (compared - threshold) * over * over
    by_compared = by_distance * over
    by_potential = potential_adjoint + new_potential * by_compared
    # C
    by_height = -resets * by_potential
    by_threshold_now += threshold_reset * by_height
    by_baseline += (one - threshold_reset) * by_height
    # D, E, G
    by_adapted = adaptation_adjoint + strength * by_threshold_now
    early = (one - late_reset) * attached * time_step * height * by_potential
    return (
        (one - leak) * by_potential,
        (one - decay) * by_adapted - early,
        leak * by_potential + (one - new_potential) * by_compared,
        decay * by_adapted,
        by_potential,
        by_threshold_now,
        by_baseline,
        by_adapted,
    )


@register_jitable
def tangent_before_the_spike(
    spike_tangent: Value,
    potential_tangent: Value,
    adaptation_tangent: Value,
    current_tangent: Value,
    leak_tangent: Value,
    decay_tangent: Value,
    strength_tangent: Value,
    baseline_tangent: Value,
    spike: Value,
    potential: Value,
    adaptation: Value,
    current: Value,
    leak: Value,
    decay: Value,
    strength: Value,
    baseline: Value,
    late_reset: Value,
    new_potential: Value,
    threshold_reset: Value,
    by_threshold: Value,
    attached: Value,
    time_step: Value,
    one: Value,
) -> tuple[Value, Value, Value, Value]:
    """Tangents of the four results of `before_the_spike`, in their order."""
    adapted, threshold, charged, distance = before_the_spike(
        spike, potential, adaptation, current, leak, decay, strength, baseline,
        late_reset, new_potential, threshold_reset, by_threshold, time_step, one,
    )  # fmt: skip
    adapted_tangent = (
        decay * adaptation_tangent + (one - decay) * spike_tangent + (adaptation - spike) * decay_tangent
    )
    threshold_tangent = baseline_tangent + strength * adapted_tangent + adapted * strength_tangent
    height = reset_height(threshold, baseline, threshold_reset, one)
    height_tangent = chosen(threshold_reset, threshold_tangent, baseline_tangent, one)
    early = (one - late_reset) * time_step * (attached * height * spike_tangent + spike * height_tangent)
    charged_tangent = (
        leak * potential_tangent
        + (one - leak) * current_tangent
        + (potential - current) * leak_tangent
        - early
    )
    compared_tangent = chosen(new_potential, charged_tangent, potential_tangent, one)
    divisor = chosen(by_threshold, threshold, baseline, one)
    divisor_tangent = chosen(by_threshold, threshold_tangent, baseline_tangent, one)
    distance_tangent = (compared_tangent - threshold_tangent - distance * divisor_tangent) / divisor
    return adapted_tangent, threshold_tangent, charged_tangent, distance_tangent


@register_jitable
def tangent_after_the_spike(
    charged_tangent: Value,
    spike_tangent: Value,
    threshold_tangent: Value,
    spike: Value,
    threshold: Value,
    late_reset: Value,
    attached: Value,
    time_step: Value,
) -> Value:
    """Tangent of v_{k+1}.

    Examples
    --------
    >>> tangent_after_the_spike(1.0, 0.5, 0.0, 1.0, 2.0, 1.0, 1.0, 1.0)
    0.0
    """
    late = attached * threshold * spike_tangent + spike * threshold_tangent
    return charged_tangent - late_reset * time_step * late
