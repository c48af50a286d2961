"""Recurrent cells, one unit at one step: tanh, LSTM, GRU and spikes, and the two losses of a read-out.

What a product of a matrix with a vector brings is a *drive*; it comes in as a number.  Gates and candidates
are kept as values, and their slopes are functions of the value:

    tanh    h_k = tanh(a)
    LSTM    c_k = f c_{k-1} + i g,  h_k = o tanh(c_k)                    i, f, o = logistic(a), g = tanh(a)
    GRU     n = tanh(a + r q),  h_k = (1 - z) n + z h_{k-1}              r, z = logistic(a)
    LIF     v_k = leak v_{k-1} + I_k - threshold z_{k-1},  z_k = H(v_k - threshold)

The LIF neuron here is not the one of `refsnn.equations.spiking`: its state is the potential before the reset,
and the threshold that is taken off at the next step has not leaked.  Its charge and its reset are the same
functions in another order.
"""

from __future__ import annotations

import cmath
import math

import numpy as np
from numba import types
from numba.extending import overload, register_jitable

from refsnn.equations.activations import hyperbolic_tangent
from refsnn.equations.elementary import Value
from refsnn.equations.spiking import charge, charged_adjoint, soft_reset


def logarithm(x: Value) -> Value:
    """Natural logarithm, under one name in NumPy, compiled loops and CUDA kernels.

    Examples
    --------
    >>> float(logarithm(1.0))
    0.0
    """
    return np.log(x)


overload(logarithm)(
    lambda x: (lambda x: cmath.log(x)) if isinstance(x, types.Complex) else (lambda x: math.log(x))
)


@register_jitable
def total_drive(from_input: Value, from_past: Value, bias: Value) -> Value:
    """a = (W_x x_k) + (W_h h_{k-1}) + b.

    Examples
    --------
    >>> total_drive(1.0, 2.0, 0.5)
    3.5
    """
    return from_input + from_past + bias


# ---- gates ------------------------------------------------------------------------------------------------


@register_jitable
def logistic(a: Value, one: Value) -> Value:
    """1 / (1 + exp(-a)), written with tanh so that it never overflows.

    Examples
    --------
    >>> logistic(0.0, 1.0).item()
    0.5
    """
    two = one + one
    return (one + hyperbolic_tangent(a / two)) / two


@register_jitable
def logistic_slope(value: Value, one: Value) -> Value:
    """Its derivative s (1 - s), from its value s.

    Examples
    --------
    >>> logistic_slope(0.5, 1.0)
    0.25
    """
    return value * (one - value)


@register_jitable
def tanh_slope_of(value: Value, one: Value) -> Value:
    """The derivative (1 - h)(1 + h) of h = tanh(a), from h.

    Examples
    --------
    >>> tanh_slope_of(0.5, 1.0)
    0.75
    """
    return (one - value) * (one + value)


# ---- long short-term memory -------------------------------------------------------------------------------


@register_jitable
def lstm_cell(before: Value, input_gate: Value, forget_gate: Value, candidate: Value) -> Value:
    """c_k = f c_{k-1} + i g.

    Examples
    --------
    >>> lstm_cell(2.0, 0.5, 0.25, 1.0)
    1.0
    """
    return forget_gate * before + input_gate * candidate


@register_jitable
def lstm_hidden(cell: Value, output_gate: Value) -> Value:
    """h_k = o tanh(c_k).

    Examples
    --------
    >>> lstm_hidden(0.0, 0.5).item()
    0.0
    """
    return output_gate * hyperbolic_tangent(cell)


@register_jitable
def lstm_adjoint(
    hidden_adjoint: Value,
    cell_adjoint: Value,
    before: Value,
    cell: Value,
    input_gate: Value,
    forget_gate: Value,
    candidate: Value,
    output_gate: Value,
    one: Value,
) -> tuple[Value, Value, Value, Value, Value]:
    """dL/da of i, f, g, o, and dL/dc_{k-1}, from dL/dh_k and what later steps say about c_k.

    With t = tanh(c_k) and dc = (from later) + dh o (1 - t^2):
    dc g i(1 - i), dc c_{k-1} f(1 - f), dc i (1 - g^2), dh t o(1 - o), and dc f.

    Examples
    --------
    >>> [float(x) for x in lstm_adjoint(1.0, 1.0, 4.0, 0.0, 0.5, 0.5, 0.0, 0.5, 1.0)]
    [0.0, 1.5, 0.75, 0.0, 0.75]
    """
    squashed = hyperbolic_tangent(cell)
    into_cell = cell_adjoint + hidden_adjoint * output_gate * tanh_slope_of(squashed, one)
    return (
        into_cell * candidate * logistic_slope(input_gate, one),
        into_cell * before * logistic_slope(forget_gate, one),
        into_cell * input_gate * tanh_slope_of(candidate, one),
        hidden_adjoint * squashed * logistic_slope(output_gate, one),
        into_cell * forget_gate,
    )


# ---- gated recurrent unit ---------------------------------------------------------------------------------


@register_jitable
def gru_candidate(drive: Value, reset_gate: Value, past: Value) -> Value:
    """n = tanh(a + r q), q what the past says of the candidate.

    Examples
    --------
    >>> gru_candidate(1.0, 0.5, -2.0).item()
    0.0
    """
    return hyperbolic_tangent(drive + reset_gate * past)


@register_jitable
def gru_hidden(before: Value, update_gate: Value, candidate: Value, one: Value) -> Value:
    """h_k = (1 - z) n + z h_{k-1}.

    Examples
    --------
    >>> gru_hidden(2.0, 0.25, 1.0, 1.0)
    1.25
    """
    return (one - update_gate) * candidate + update_gate * before


@register_jitable
def gru_adjoint(
    adjoint: Value,
    before: Value,
    reset_gate: Value,
    update_gate: Value,
    candidate: Value,
    past: Value,
    one: Value,
) -> tuple[Value, Value, Value, Value, Value]:
    """dL/da of r, z, n, then dL/dq, and the part of dL/dh_{k-1} that passes no matrix; d = dL/dh_k.

    With an = d (1 - z)(1 - n^2): an q r(1 - r), d (h_{k-1} - n) z(1 - z), an, an r, and d z.

    Examples
    --------
    >>> gru_adjoint(1.0, 2.0, 0.5, 0.5, 0.0, 4.0, 1.0)
    (0.5, 0.5, 0.5, 0.25, 0.5)
    """
    into_candidate = adjoint * (one - update_gate) * tanh_slope_of(candidate, one)
    return (
        into_candidate * past * logistic_slope(reset_gate, one),
        adjoint * (before - candidate) * logistic_slope(update_gate, one),
        into_candidate,
        into_candidate * reset_gate,
        adjoint * update_gate,
    )


# ---- spikes -----------------------------------------------------------------------------------------------


@register_jitable
def recurrent_potential(
    potential: Value, current: Value, spike: Value, leak: Value, threshold: Value, one: Value
) -> Value:
    """v_k = leak v_{k-1} + I_k - threshold z_{k-1}, with z_{k-1} the spike of v_{k-1}.

    Examples
    --------
    >>> recurrent_potential(1.5, 0.25, 1.0, 0.5, 1.0, 1.0)
    0.0
    """
    nothing = one - one
    return soft_reset(charge(potential, current, leak, nothing, one), spike, threshold, nothing, one)


@register_jitable
def recurrent_potential_adjoint(
    adjoint: Value,
    heard: Value,
    spike_slope: Value,
    leak: Value,
    threshold: Value,
    attached: Value,
    one: Value,
) -> Value:
    """dL/dv_{k-1} = leak V + (V W_rec - threshold V) psi(v_{k-1}), from V = dL/dv_k.

    `heard` is what the recurrent weights bring back; `attached` is 0 where the gradient ignores the reset.

    Examples
    --------
    >>> recurrent_potential_adjoint(1.0, 3.0, 0.25, 0.5, 1.0, 1.0, 1.0)
    1.0
    """
    return charged_adjoint(heard - attached * threshold * adjoint, leak * adjoint, spike_slope, one)


# ---- losses -----------------------------------------------------------------------------------------------


@register_jitable
def squared_error(output: Value, target: Value, weight: Value, samples: Value, one: Value) -> Value:
    """w (y - y*)^2 / (2 B), of one output of one sample.

    Examples
    --------
    >>> squared_error(3.0, 1.0, 1.0, 2.0, 1.0)
    1.0
    """
    difference = output - target
    return weight * difference * difference / (samples + samples)


@register_jitable
def output_error(prediction: Value, target: Value, weight: Value, samples: Value) -> Value:
    """dl/dy = w (p - t) / B: p = y for the squared error, the softmax of y for the cross-entropy.

    Examples
    --------
    >>> output_error(3.0, 1.0, 1.0, 2.0)
    1.0
    """
    return weight * (prediction - target) / samples


@register_jitable
def weighted_cross_entropy(total: Value, picked: Value, weight: Value, samples: Value) -> Value:
    """w (log sum_c exp(y_c) - y_label) / B, of one sample; `total` is that sum.

    Examples
    --------
    >>> weighted_cross_entropy(1.0, -2.0, 1.0, 2.0).item()
    1.0
    """
    return weight * (logarithm(total) - picked) / samples
