"""The relaxation of a network of dense layers: one compiled loop over time.

A step first computes what arrives at every layer, products of whole batches that BLAS does, and then lets
all units advance, one vectorised loop a layer.

Two habits keep compilation short.  The states of all layers lie in one buffer and so do the weights, with
small tables that say where: the numbers of layers and couplings are data.  And the loops over the units are
callbacks: the loop over time is compiled once for each kind of number, whatever the units compute.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from refsnn.equations.activations import identity
from refsnn.equations.elementary import exp
from refsnn.equations.relaxation import nudge_force
from refsnn.kernels.compilation import call_at, compiled, compiled_callback
from refsnn.kernels.convergent import Nudge, Relaxing


def relax(
    problem: Relaxing,
    state: tuple[np.ndarray, ...],
    steps: int,
    nudge: Nudge | None,
    tolerance: float,
    kept: tuple[np.ndarray, ...] | None,
) -> int:
    """See `refsnn.kernels.cpu.relaxation.relax`; all layers are (B, d).

    Raises
    ------
    ValueError
        If layers below the output compute different things.
    """
    if any(unit is not problem.units[-1] for unit in problem.units[1:]):
        raise ValueError("units: expected the same equations in all layers but the output, got several")
    dtype = state[0].dtype
    real = np.empty(0, dtype).real.dtype.type
    ends = problem.units[0], problem.units[-1]
    states = np.concatenate([layer.ravel() for layer in state])
    starts = np.cumsum([0, *(layer.size for layer in state)])
    ring = np.empty((0 if kept is None else len(kept[0]), states.size), dtype)
    taken = _relax(
        *(_rate_loop(unit.rate, dtype).address for unit in ends),
        *(_advance_loop(unit.advance, dtype).address for unit in ends),
        all(unit.rate is identity for unit in problem.units),
        states,
        np.concatenate([drive.ravel() for drive in problem.drive]),
        starts,
        len(state[0]),
        *_packed_couplings(problem, dtype),
        *_force_of(nudge, dtype),
        ring,
        steps,
        _rounded_down(tolerance, real),
        real(problem.step_size),
        real(1),
    )
    for n, layer in enumerate(state):
        layer[...] = states[starts[n] : starts[n + 1]].reshape(layer.shape)
        if kept is not None:
            kept[n][...] = ring[:, starts[n] : starts[n + 1]].reshape(kept[n].shape)
    return int(taken)


def _rounded_down(tolerance: float, real: Any) -> Any:
    """The largest number of the format that is not above the tolerance: the same moves pass as in float64."""
    rounded = real(tolerance)
    return np.nextafter(rounded, real(-1)) if float(rounded) > tolerance else rounded


def _packed_couplings(problem: Relaxing, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """A row (post, pre, start of W, start of the feedback) a coupling, and all weights in one buffer."""
    rows, arrays, size = [], [np.empty(0, dtype)], 0
    for coupling in problem.couplings:
        forth = back = size
        arrays.append(coupling.weight.ravel())
        size += coupling.weight.size
        if coupling.feedback is not coupling.weight:
            back = size
            arrays.append(coupling.feedback.ravel())
            size += coupling.feedback.size
        rows.append((coupling.post, coupling.pre, forth, back))
    return np.array(rows, np.int64).reshape(-1, 4), np.concatenate(arrays)


def _force_of(nudge: Nudge | None, dtype: np.dtype) -> tuple:
    """Targets, beta, whether p is a softmax, and the read-out; empty arrays where there is none."""
    none, nothing = np.empty((0, 0), dtype), np.empty(0, dtype)
    if nudge is None:
        return none, dtype.type(0), False, none, nothing
    force = nudge.targets, dtype.type(nudge.amount), nudge.softmax
    if nudge.readout_weight is None:
        return *force, none, nothing
    return *force, nudge.readout_weight, nudge.readout_bias


# ---- compiled ---------------------------------------------------------------------------------------------


def _numbers(dtype: np.dtype) -> tuple[Any, Any]:
    """Numba's types of the states and of real constants."""
    number = numba.from_dtype(dtype)
    return number, getattr(number, "underlying_float", number)


@functools.cache
def _rate_loop(rate: Callable, dtype: np.dtype) -> Any:
    """The callback that says what the other layers read of all units of a layer."""

    def read(state, rates, one):
        for j in range(state.size):
            rates[j] = rate(state[j], one)

    number, real = _numbers(dtype)
    return compiled_callback(read, (number[::1], number[::1], real))


@functools.cache
def _advance_loop(advance: Callable, dtype: np.dtype) -> Any:
    """The callback that lets all units of a layer advance; a force without elements is none."""

    def move(state, arriving, drive, force, step_size, one):
        if force.size > 0:
            for j in range(state.size):
                state[j] = advance(state[j], arriving[j] + drive[j], force[j], step_size, one)
        else:
            for j in range(state.size):
                state[j] = advance(state[j], arriving[j] + drive[j], one - one, step_size, one)

    number, real = _numbers(dtype)
    return compiled_callback(move, (*(number[::1],) * 4, real, real))


@compiled
def _multiply(left, right, out):
    np.dot(left, right, out)


@compiled
def _copy(source, target):
    for j in range(source.size):
        target[j] = source[j]


@compiled
def _largest(row):
    """The largest real part."""
    largest = row[0].real
    for j in range(1, row.size):
        if row[j].real > largest:
            largest = row[j].real
    return largest


@compiled
def _nudge(outputs, targets, amount, softmax, force):
    """-beta dl/d(outputs) = beta (y - p) of each sample, with p the outputs or their softmax."""
    for b in range(outputs.shape[0]):
        row, target, out = outputs[b], targets[b], force[b]
        if softmax:
            largest, total = _largest(row), amount - amount
            for j in range(row.size):
                out[j] = exp(row[j] - largest)
                total += out[j]
            for j in range(row.size):
                out[j] = nudge_force(out[j] / total, target[j], amount)
        else:
            for j in range(row.size):
                out[j] = nudge_force(row[j], target[j], amount)


@compiled
def _stands_still(after, before, tolerance):
    """Whether nothing moved by more than the tolerance; what is not a number has moved."""
    moved = 0
    for j in range(after.size):
        moved += not (abs(after[j] - before[j]) <= tolerance)
    return moved == 0


@compiled
def _arrive(rates, starts, batch, couplings, weights, arriving, share):
    """What every layer hears of the others: h_pre W^T on the way up, h_post W on the way down."""
    heard = np.zeros(starts.size - 1, np.bool_)
    for k in range(couplings.shape[0]):
        post, pre, forth, back = couplings[k]
        upper, lower = rates[starts[post] : starts[post + 1]], rates[starts[pre] : starts[pre + 1]]
        d_post, d_pre = upper.size // batch, lower.size // batch
        weight = weights[forth : forth + d_post * d_pre].reshape(d_post, d_pre)
        feedback = weights[back : back + d_post * d_pre].reshape(d_post, d_pre)
        for upwards in (True, False):
            layer = post if upwards else pre
            u = arriving[starts[layer] : starts[layer + 1]]
            # the first product is written where it belongs, the others are added
            out = share[: u.size] if heard[layer] else u
            if upwards:
                _multiply(lower.reshape(batch, d_pre), weight.T, out.reshape(batch, d_post))
            else:
                _multiply(upper.reshape(batch, d_post), feedback, out.reshape(batch, d_pre))
            if heard[layer]:
                for j in range(u.size):
                    u[j] += out[j]
            heard[layer] = True


@compiled
def _relax(
    read_output, read_hidden, move_output, move_hidden, read_as_they_are, states, drive, starts, batch,
    couplings, weights, targets, amount, softmax, readout, bias, ring, steps, tolerance, step_size, one,
):  # fmt: skip
    layers, slots, top = starts.size - 1, ring.shape[0], slice(0, starts[1])
    output = states[top].reshape(batch, starts[1] // batch)
    rates = states if read_as_they_are else np.empty_like(states)
    arriving, share, before = np.zeros_like(states), np.empty_like(states), np.empty_like(states)
    outputs, errors = np.empty_like(targets), np.empty_like(targets)
    force = np.empty(starts[1] if targets.size > 0 else 0, states.dtype)
    # without a tolerance the last step is known, and only the last states are kept
    first_kept = 0 if tolerance >= 0 else steps - slots + 1
    if slots > 0 and first_kept <= 0:
        _copy(states, ring[0])
    for t in range(1, steps + 1):
        if tolerance >= 0:
            _copy(states, before)
        if not read_as_they_are:
            call_at(read_output, (states[top], rates[top], one))
            for n in range(1, layers):
                own = slice(starts[n], starts[n + 1])
                call_at(read_hidden, (states[own], rates[own], one))
        _arrive(rates, starts, batch, couplings, weights, arriving, share)
        if targets.size > 0 and readout.size > 0:
            _multiply(output, readout.T, outputs)
            for b in range(batch):
                for j in range(bias.size):
                    outputs[b, j] += bias[j]
            _nudge(outputs, targets, amount, softmax, errors)
            _multiply(errors, readout, force.reshape(output.shape))
        elif targets.size > 0:
            _nudge(output, targets, amount, softmax, force.reshape(output.shape))
        call_at(move_output, (states[top], arriving[top], drive[top], force, step_size, one))
        for n in range(1, layers):
            own = slice(starts[n], starts[n + 1])
            call_at(move_hidden, (states[own], arriving[own], drive[own], force[:0], step_size, one))
        if slots > 0 and t >= first_kept:
            _copy(states, ring[t % slots])
        if tolerance >= 0 and _stands_still(states, before, tolerance):
            return t
    return steps
