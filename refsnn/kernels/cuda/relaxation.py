"""Relaxation of convergent networks on a CUDA device; the twin of `refsnn.kernels.cpu.relaxation`.

One block is one sample: samples do not meet, so a whole trajectory, free phase and all nudged ones, is one
launch without a word from the host.  States, rates and potentials of the sample stay in the block's shared
memory (or in global memory, where it is too small), weights come from global memory through the caches.
Between two barriers each entry is written by one thread and read by nobody else, so that neither the
number of threads nor their order can change a bit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numba
import numpy as np
from numba import cuda
from numba.extending import register_jitable

from refsnn.equations.elementary import exp
from refsnn.equations.relaxation import UnitEquations, nudge_force
from refsnn.kernels.convergent import Nudge, Relaxing
from refsnn.kernels.cuda import device
from refsnn.kernels.cuda.convolutional_relaxation import convolved_down, convolved_up
from refsnn.kernels.cuda.dense_relaxation import highest, links_into, output_of, share, through_readout
from refsnn.kernels.cuda.device import (
    compiled,
    filled,
    over_samples,
    read,
    scratch,
    threads_for,
    updated,
)
from refsnn.kernels.cuda.relaxation_layout import as_rows, distinct_units, from_rows, layout_of

# Steps of one launch when a tolerance is watched.
_STEPS_WATCHED = 100
# The most threads of a block, 512, with 128 registers fill the register file of one multiprocessor.
_REGISTERS = 128
_INDEX = numba.int32  # of a record


class Force(NamedTuple):
    """What nudged phases feel, as arrays; without a nudge all are empty."""

    amounts: np.ndarray
    targets: np.ndarray
    softmax: bool
    readout_weight: np.ndarray
    readout_bias: np.ndarray


def relax(
    problem: Relaxing,
    state: tuple[np.ndarray, ...],
    steps: int,
    nudge: Nudge | None,
    tolerance: float,
    kept: tuple[np.ndarray, ...] | None,
) -> int:
    """See `refsnn.kernels.cpu.relaxation.relax`.

    A tolerance concerns the whole batch, and blocks do not hear of each other: steps are first taken on
    trial, each sample noting when it moved, then as many as the batch needs.
    """
    rows = as_rows(state)
    force = _force_of(() if nudge is None else (nudge,), rows)
    ring = np.empty((0, *rows.shape), rows.dtype)
    if kept is not None:
        ring = np.concatenate([layer.reshape(*layer.shape[:2], -1) for layer in kept], axis=2)
    taken, resting = 0, False
    while taken < steps and not resting:
        chunk = steps - taken
        if tolerance >= 0:
            chunk = min(chunk, _STEPS_WATCHED)
            moving = np.zeros((len(rows), chunk), np.uint8)
            _advance(problem, rows.copy(), chunk, force, ring[:0], 0, moving, tolerance)
            at_rest = np.flatnonzero(~moving.any(axis=0))
            resting = at_rest.size > 0
            chunk = int(at_rest[0]) + 1 if resting else chunk
        _advance(problem, rows, chunk, force, ring, taken)
        taken += chunk
    _write(state, from_rows(rows, state))
    if kept is not None:
        _write(kept, from_rows(ring, state))
    return taken


def phases(
    problem: Relaxing,
    state: tuple[np.ndarray, ...],
    free_steps: int,
    nudged_steps: int,
    nudges: tuple[Nudge, ...],
) -> tuple[tuple[np.ndarray, ...], ...]:
    """See `refsnn.kernels.cpu.relaxation.phases`.

    One launch for all of them, so the nudges may differ in their amount only.

    Raises
    ------
    ValueError
        If they have other targets, another loss or another read-out.
    """
    rows = as_rows(state)
    force = _force_of(nudges, rows)
    ends = _launch(problem, rows, free_steps, nudged_steps, force, np.empty((0, *rows.shape), rows.dtype))
    _write(state, from_rows(rows, state))
    return tuple(from_rows(end, state) for end in ends)


def _force_of(nudges: tuple[Nudge, ...], rows: np.ndarray) -> Force:
    """The nudges side by side."""
    dtype = rows.dtype
    amounts = np.array([nudge.amount for nudge in nudges]).astype(dtype)
    nothing = np.empty((0, 0), dtype)
    if not nudges:
        return Force(amounts, np.empty((len(rows), 0), dtype), False, nothing, nothing[0:0].reshape(0))
    first = nudges[0]
    for index, nudge in enumerate(nudges):
        if any(one is not other for one, other in zip(nudge[1:], first[1:], strict=True)):
            raise ValueError(
                f"nudges[{index}]: expected the targets, the loss and the read-out of nudges[0], the very "
                "same objects, got others; only the amount may differ"
            )
    weight = nothing if first.readout_weight is None else first.readout_weight
    bias = nothing.reshape(0) if first.readout_bias is None else first.readout_bias
    return Force(amounts, first.targets, first.softmax, weight, bias)


def _write(layers: tuple[np.ndarray, ...], values: tuple[np.ndarray, ...]) -> None:
    for layer, value in zip(layers, values, strict=True):
        layer[...] = value


def _advance(
    problem: Relaxing,
    rows: np.ndarray,
    steps: int,
    force: Force,
    ring: np.ndarray,
    first_step: int,
    moving: np.ndarray | None = None,
    tolerance: float = -1.0,
) -> None:
    """One phase, free or nudged, `rows` updated in place."""
    watched = ring, first_step, moving, tolerance
    if not force.amounts.size:
        _launch(problem, rows, steps, 0, force, *watched)
        return
    rows[...] = _launch(problem, rows, 0, steps, force, *watched)[0]


def _launch(
    problem: Relaxing,
    rows: np.ndarray,
    free_steps: int,
    nudged_steps: int,
    force: Force,
    ring: np.ndarray,
    first_step: int = 0,
    moving: np.ndarray | None = None,
    tolerance: float = -1.0,
) -> np.ndarray:
    """Run the kernel: `rows` are where the free phase ends, the ends of the nudged ones are returned."""
    layout, dtype = layout_of(problem), rows.dtype
    real = np.empty(0, dtype).real.dtype.type
    samples, units = rows.shape
    numbers, records_first, size = _memory(units, force.targets.shape[1], layout.records, dtype)
    in_shared = size <= device.shared_memory_limit()
    spilled = (0, 0) if in_shared else (samples, numbers)
    spilled_records = (0, 0) if in_shared else (samples, layout.records)
    ends = np.empty((force.amounts.size, *rows.shape), dtype)
    moving = np.empty((0, 0), np.uint8) if moving is None else moving
    kernel = _kernel(distinct_units(problem), dtype.name, in_shared)
    tables = layout.firsts, layout.kinds, layout.links, layout.convolutions, layout.areas, layout.weights
    arguments = (
        *map(read, tables),
        read(as_rows(problem.drive)), updated(rows), filled(ends), updated(ring), updated(moving),
        read(force.amounts), read(force.targets), int(force.softmax),
        read(force.readout_weight), read(force.readout_bias),
        free_steps, nudged_steps, first_step,
        real(problem.step_size), _rounded_down(tolerance, real), real(1),
        scratch(np.empty(spilled, dtype)), scratch(np.empty(spilled_records, np.int32)), records_first,
    )  # fmt: skip
    over_samples(kernel, samples, threads_for(units), size if in_shared else 0, arguments)
    return ends


def _memory(units: int, outputs: int, records: int, dtype: np.dtype) -> tuple[int, int, int]:
    """What one sample needs: entries of the working dtype, where its records begin, and bytes."""
    numbers = 3 * units + 2 * outputs
    records_first = numbers * dtype.itemsize // 4  # in units of int32
    return numbers, records_first, 4 * (records_first + records)


def _rounded_down(tolerance: float, real: type) -> np.floating:
    """The largest number of the working precision that is not above: the comparison is then exact."""
    rounded = real(tolerance)
    return np.nextafter(rounded, real(-np.inf)) if float(rounded) > tolerance else rounded


def _rate_of(equations: tuple[Callable, ...]) -> Callable:
    """One function of (kind, state, one) that calls the rate of that kind."""
    first = equations[0]
    others = _rate_of(equations[1:]) if len(equations) > 1 else first

    @register_jitable
    def last(kind, state, one):
        return first(state, one)

    @register_jitable
    def chosen(kind, state, one):
        return first(state, one) if kind == 0 else others(kind - 1, state, one)

    return last if others is first else chosen


def _advance_of(equations: tuple[Callable, ...]) -> Callable:
    """The same for the step."""
    first = equations[0]
    others = _advance_of(equations[1:]) if len(equations) > 1 else first

    @register_jitable
    def last(kind, state, potential, force, step_size, one):
        return first(state, potential, force, step_size, one)

    @register_jitable
    def chosen(kind, state, potential, force, step_size, one):
        if kind == 0:
            return first(state, potential, force, step_size, one)
        return others(kind - 1, state, potential, force, step_size, one)

    return last if others is first else chosen


@functools.cache
def _kernel(units: tuple[UnitEquations, ...], dtype: str, in_shared: bool) -> Callable:
    rate_of = _rate_of(tuple(unit.rate for unit in units))
    advance = _advance_of(tuple(unit.advance for unit in units))
    number = getattr(numba, dtype)

    def kernel(
        firsts, kinds, links, convolutions, areas, weights, drive, state, ends, kept, moving,
        amounts, targets, softmax, readout_weight, readout_bias, free_steps, nudged_steps, first_step,
        step_size, tolerance, one, memory, record_memory, records_first,
    ):  # fmt: skip
        sample, thread, threads = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
        layers, n, outputs = kinds.size, state.shape[1], targets.shape[1]
        if in_shared:
            numbers = cuda.shared.array(0, number)
            records = cuda.shared.array(0, _INDEX)[records_first:]
        else:
            numbers, records = memory[sample], record_memory[sample]
        own, rate, potential = numbers[:n], numbers[n : 2 * n], numbers[2 * n : 3 * n]
        error, weight = numbers[3 * n : 3 * n + outputs], numbers[3 * n + outputs : 3 * n + 2 * outputs]
        zero = number(0)

        for phase in range(amounts.size + 1):
            nudged = phase > 0
            steps = nudged_steps if nudged else free_steps
            amount = amounts[phase - 1] if nudged else zero
            for i in range(thread, n, threads):
                own[i] = state[sample, i]
                if kept.shape[0] > 0:
                    kept[first_step % kept.shape[0], sample, i] = own[i]
            cuda.syncthreads()
            for t in range(steps):
                # what the couplings will read, and what stands still
                for layer in range(layers):
                    for i in range(firsts[layer] + thread, firsts[layer + 1], threads):
                        rate[i] = rate_of(kinds[layer], own[i], one)
                        potential[i] = drive[sample, i]
                if nudged:
                    for c in range(thread, outputs, threads):
                        error[c] = output_of(own, readout_weight, readout_bias, c)
                cuda.syncthreads()

                # upward through convolutions, with the maxima of this moment
                for layer in range(layers):
                    first = firsts[layer]
                    for i in range(first + thread, firsts[layer + 1], threads):
                        potential[i] += convolved_up(
                            layer, i - first, convolutions, areas, weights, rate, records, zero
                        )
                # the error of the outputs
                if nudged and softmax != 0:
                    for c in range(thread, outputs, threads):
                        weight[c] = exp(error[c] - highest(error))
                    cuda.syncthreads()
                    for c in range(thread, outputs, threads):
                        error[c] = nudge_force(share(weight, c, zero), targets[sample, c], amount)
                elif nudged:
                    for c in range(thread, outputs, threads):
                        error[c] = nudge_force(error[c], targets[sample, c], amount)
                cuda.syncthreads()

                # the rest of what arrives, and the step
                for layer in range(layers):
                    first = firsts[layer]
                    for i in range(first + thread, firsts[layer + 1], threads):
                        arriving = potential[i] + links_into(
                            layer, i - first, links, firsts, weights, rate, zero
                        )
                        arriving += convolved_down(
                            layer, i - first, convolutions, areas, weights, rate, records, zero
                        )
                        force = zero
                        if nudged and layer == 0:
                            force = through_readout(error, readout_weight, i, zero)
                        after = advance(kinds[layer], own[i], arriving, force, step_size, one)
                        if moving.shape[0] > 0 and not abs(after - own[i]) <= tolerance:
                            moving[sample, t] = 1
                        own[i] = after
                        if kept.shape[0] > 0:
                            kept[(first_step + t + 1) % kept.shape[0], sample, i] = after
                cuda.syncthreads()
            for i in range(thread, n, threads):
                if nudged:
                    ends[phase - 1, sample, i] = own[i]
                else:
                    state[sample, i] = own[i]

    return compiled(kernel, _REGISTERS)
