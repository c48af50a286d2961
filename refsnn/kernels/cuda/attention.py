"""Sparse attention on a CUDA device; the twin of `refsnn.kernels.plain.attention`.

A score is one thread; a selection is one block a sample.  Its threads look together for the scores around
the threshold, one after the other from the nearer end of the order; then each counts the survivors in a
stretch of its own, and writes them behind those of the threads before it: in ascending order.  Sums over
survivors and over samples are taken by one thread in order: nothing depends on which thread came first.

Only keys travel to the device as a whole, for the scores.  Of memories, and on the way back of keys too, the
host sends those that survived and those of the thresholds, side by side.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import cuda
from numba.extending import register_jitable

from refsnn.equations.activations import hyperbolic_tangent
from refsnn.equations.elementary import exp
from refsnn.equations.recurrent import tanh_slope_of
from refsnn.kernels.attention import (
    DEV,
    MINIMUM,
    PAPER,
    RAW,
    RELEASE,
    SOFTMAX,
    ZERO,
    Reading,
    Sparsifier,
)
from refsnn.kernels.cuda import device
from refsnn.kernels.cuda.device import (
    compiled,
    filled,
    over_columns,
    over_samples,
    read,
    threads_for,
    updated,
)

_THRESHOLDED = PAPER, DEV, RELEASE, MINIMUM
_SLOT = numba.int32


def score(
    keys: np.ndarray, query: np.ndarray, score_weight: np.ndarray, squashed: bool, scores: np.ndarray
) -> None:
    """See `refsnn.kernels.plain.attention.score`."""
    found = scores[:, : len(keys)]
    arguments = *map(read, (keys, query, score_weight)), squashed, filled(found), scores.dtype.type(0)
    over_columns(_score, (1, found.size), arguments)


@compiled
def _score(keys, query, score_weight, squashed, scores, zero):
    entry = cuda.grid(1)
    if entry >= scores.size:
        return
    j, b = entry // scores.shape[0], entry % scores.shape[0]  # neighbours read neighbouring keys
    total = zero
    for c in range(score_weight.size):
        excited = keys[j, b, c] + query[b, c]
        if squashed:
            excited = hyperbolic_tangent(excited)
        total += excited * score_weight[c]
    scores[b, j] = total


def select(rule: Sparsifier, scores: np.ndarray, filled: int, reading: Reading, gap: np.ndarray) -> None:
    """See `refsnn.kernels.plain.attention.select`."""
    a, number = scores[:, :filled], scores.dtype.type
    reading.threshold_slot.fill(-1)
    if rule.code == ZERO:
        reading.survivors.fill(0)
        reading.normaliser.fill(1)
        return
    at = reading.threshold_slot
    if rule.code in _THRESHOLDED:
        place = {RELEASE: rule.top - 1, MINIMUM: filled - 1}.get(rule.code, rule.top)
        gap[0] = _rank(a, place, (max(place - 1, 0), min(place + 1, filled - 1)), gap[0], at)
    elif rule.code == SOFTMAX:  # whose scores are taken relative to the highest
        at = np.empty_like(at)
        _rank(a, 0, (0, 0), gap[0], at)
    shift = {PAPER: number(0), DEV: -rule.threshold_shift}.get(rule.code, rule.threshold_shift)
    threads = threads_for(filled)
    arguments = (
        rule.code, bool(rule.mixed), read(a), read(at), number(shift), number(rule.norm_shift),
        *map(updated, (reading.chosen, reading.survivors, reading.weights, reading.normaliser)), number(1),
    )  # fmt: skip
    over_samples(_weigh, len(a), threads, threads * at.itemsize, arguments)


def _rank(
    scores: np.ndarray, place: int, around: tuple[int, int], gap: np.floating, at: np.ndarray
) -> np.floating:
    """Write into `at` who has that place in each sample's order; smallest difference around it, or gap."""
    (first, last), threads = around, threads_for(scores.shape[1])
    backwards = bool(scores.shape[1] - first < last + 1)
    nearest = np.empty(len(scores), scores.dtype)
    arguments = read(scores), place, first, last, backwards, gap, device.filled(at), device.filled(nearest)
    over_samples(_ranked, len(scores), threads, threads * at.itemsize, arguments)
    return nearest.min()


@compiled
def _ranked(scores, place, first, last, backwards, gap, at, nearest):
    b, thread, threads = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
    best = cuda.shared.array(0, _SLOT)
    row, filled = scores[b], scores.shape[1]
    closest, before = gap, -1
    for step in range(filled - first if backwards else last + 1):
        rank = filled - 1 - step if backwards else step
        slot = _following(row, before, backwards, best, thread, threads)
        if thread == 0:
            if rank == place:
                at[b] = slot
            if (rank < last) if backwards else (rank > first):
                difference = abs(row[before] - row[slot])
                if difference < closest:  # not min: Numba does not type it in every CUDA kernel
                    closest = difference
        before = slot
    if thread == 0:
        nearest[b] = closest


@register_jitable
def _ahead(row, i, j, backwards):
    """Whether slot i comes before slot j in descending order, the lowest slot first among equals."""
    if backwards:
        i, j = j, i
    return row[i] > row[j] or (row[i] == row[j] and i < j)


@register_jitable
def _following(row, before, backwards, best, thread, threads):
    """The slot next in order to `before`, or the first one; the threads of a block find it together."""
    mine = -1
    for j in range(thread, row.size, threads):
        later = before < 0 or _ahead(row, before, j, backwards)
        if later and (mine < 0 or _ahead(row, j, mine, backwards)):
            mine = j
    best[thread] = mine
    cuda.syncthreads()
    left = threads
    while left > 1:
        half = (left + 1) // 2
        if thread < left - half:
            mine, other = best[thread], best[thread + half]
            if other >= 0 and (mine < 0 or _ahead(row, other, mine, backwards)):
                best[thread] = other
        cuda.syncthreads()
        left = half
    slot = best[0]
    cuda.syncthreads()
    return slot


@register_jitable
def _raised(code, mixed, scores, at, shift, b, j):
    """a_j - delta; a_j itself if raw, its exponential for softmax."""
    if code == RAW:
        return scores[b, j]
    if code == SOFTMAX:
        return exp(scores[b, j] - scores[b, at[b]])
    owner = (b * scores.shape[1] + j) % scores.shape[0] if mixed else b
    return scores[b, j] - (scores[owner, at[owner]] + shift)


@compiled
def _weigh(
    code, mixed, scores, at, shift, norm_shift, chosen, survivors, weights, normaliser, one,
):  # fmt: skip
    b, thread, threads = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
    counts = cuda.shared.array(0, _SLOT)
    filled, zero = scores.shape[1], one - one
    everyone = code in (RAW, SOFTMAX)
    stretch = (filled + threads - 1) // threads
    first = thread * stretch
    last = first + stretch if first + stretch < filled else filled
    count = 0
    for j in range(first, last):
        if everyone or _raised(code, mixed, scores, at, shift, b, j) > zero:
            count += 1
    counts[thread] = count
    cuda.syncthreads()
    place, count = 0, 0
    for other in range(threads):
        if other < thread:
            place += counts[other]
        count += counts[other]
    for j in range(first, last):
        raised = _raised(code, mixed, scores, at, shift, b, j)
        if everyone or raised > zero:
            chosen[b, place], weights[b, place] = j, raised
            place += 1
    cuda.syncthreads()
    total = zero
    for c in range(count):
        total += weights[b, c]
    if code == RAW:
        total = one
    elif code != SOFTMAX:
        total += norm_shift
    cuda.syncthreads()
    for c in range(thread, count, threads):
        weights[b, c] /= total
    if thread == 0:
        survivors[b], normaliser[b] = count, one if code == SOFTMAX else total


def summarise(memory: np.ndarray, reading: Reading, summary: np.ndarray) -> None:
    """See `refsnn.kernels.plain.attention.summarise`."""
    slots = _survivors(reading)
    if not slots.size:
        summary.fill(0)
        return
    remembered = memory[slots, np.arange(len(slots))[:, None]]
    arrays = *map(read, (remembered, reading.survivors, reading.weights)), filled(summary)
    over_columns(_summarise, (1, summary.size), (*arrays, summary.dtype.type(0)))


@compiled
def _summarise(remembered, survivors, weights, summary, zero):
    entry = cuda.grid(1)
    if entry >= summary.size:
        return
    b, h = entry // summary.shape[1], entry % summary.shape[1]
    total = zero
    for place in range(survivors[b]):
        total += weights[b, place] * remembered[b, place, h]
    summary[b, h] = total


def _survivors(reading: Reading) -> np.ndarray:
    """Slots (B, P) of as many places as there are survivors of any sample; 0 where a sample has fewer."""
    places = np.arange(reading.survivors.max())
    return np.where(places < reading.survivors[:, None], reading.chosen[:, : places.size], 0)


def _touched(reading: Reading) -> tuple[np.ndarray, np.ndarray]:
    """Slots (B, P) of survivors and, behind them, of a threshold that is none of them; how many each has."""
    slots = np.pad(_survivors(reading), ((0, 0), (0, 1)))
    places, count, at = np.arange(slots.shape[1]), reading.survivors[:, None], reading.threshold_slot[:, None]
    survives = ((slots == at) & (places < count)).any(axis=1, keepdims=True)
    behind = (at >= 0) & ~survives
    counts = (count + behind)[:, 0]
    return np.where(behind & (places == count), at, slots)[:, : counts.max()], counts


def attend_backward(
    rule: Sparsifier,
    filled: int,
    keys: np.ndarray,
    query: np.ndarray,
    score_weight: np.ndarray,
    squashed: bool,
    memory: np.ndarray,
    reading: Reading,
    summary_adjoint: np.ndarray,
    attached_values: bool,
    memory_adjoint: np.ndarray,
    key_adjoint: np.ndarray,
    score_gradient: np.ndarray,
    query_adjoint: np.ndarray,
    score_adjoint: np.ndarray,
) -> None:
    """See `refsnn.kernels.plain.attention.attend_backward`."""
    slots, counts = _touched(reading)
    if not slots.size:
        query_adjoint.fill(0)
        return
    batch, places = slots.shape
    number, sample = memory.dtype.type, np.arange(batch)[:, None]
    mbar, kbar = memory_adjoint[slots, sample], key_adjoint[slots, sample]
    wbar, ubar, abar = (device.scratch(np.empty(slots.shape, memory.dtype)) for _ in range(3))
    parts = device.scratch(np.empty(query.shape, memory.dtype))
    by_sums = (
        rule.code, read(memory[slots, sample]),
        *map(read, (reading.survivors, reading.weights, reading.normaliser, summary_adjoint)),
        attached_values, updated(mbar), wbar, ubar, number(0),
    )  # fmt: skip
    by_thresholds = (
        bool(rule.mixed), filled, *map(read, (slots, reading.survivors, reading.threshold_slot)), ubar, abar,
        number(0),
    )  # fmt: skip
    thresholded = rule.code in _THRESHOLDED
    by_scores = (
        *map(read, (keys[slots, sample], query, score_weight)), squashed, read(counts),
        abar if thresholded else ubar, updated(kbar), device.filled(query_adjoint), parts, number(1),
    )  # fmt: skip
    then: list[tuple[Any, int, tuple[Any, ...]]] = [
        (_through_scores, query.size, by_scores),
        (_add_samples, score_weight.size, (parts, updated(score_gradient))),
    ]
    if thresholded:
        then.insert(0, (_through_thresholds, batch, by_thresholds))
    over_samples(_through_sums, batch, threads_for(max(places, memory.shape[2])), 0, by_sums, then)
    sample, place = np.nonzero(np.arange(places) < counts[:, None])
    memory_adjoint[slots[sample, place], sample] = mbar[sample, place]
    key_adjoint[slots[sample, place], sample] = kbar[sample, place]


@compiled
def _through_sums(
    code, remembered, survivors, weights, normaliser, summary_adjoint, attached, memory_adjoint, wbar, ubar,
    zero,
):  # fmt: skip
    """wbar, mbar, and ubar of one sample."""
    b, thread, threads = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
    sbar, count = summary_adjoint[b], survivors[b]
    for place in range(thread, count, threads):
        total = zero
        for h in range(sbar.size):
            total += remembered[b, place, h] * sbar[h]
        wbar[b, place] = total
    if attached:
        for h in range(thread, sbar.size, threads):
            for place in range(count):
                memory_adjoint[b, place, h] += weights[b, place] * sbar[h]
    cuda.syncthreads()
    mean = zero
    if code != RAW:
        for place in range(count):
            mean += wbar[b, place] * weights[b, place]
    for place in range(thread, ubar.shape[1], threads):
        value = zero
        if place < count:
            value = wbar[b, place] - mean
            if code == SOFTMAX:
                value *= weights[b, place]
            elif code != RAW:
                value /= normaliser[b]
        ubar[b, place] = value


@compiled
def _through_thresholds(mixed, filled, slots, survivors, at, ubar, abar, zero):
    """abar of one sample: its survivors, and whoever was compared with its threshold."""
    owner = cuda.grid(1)
    batch = slots.shape[0]
    if owner >= batch:
        return
    first, last = (0, batch) if mixed else (owner, owner + 1)
    total = zero
    for b in range(first, last):
        for place in range(survivors[b]):
            if not mixed or (b * filled + slots[b, place]) % batch == owner:
                total += ubar[b, place]
    for place in range(slots.shape[1]):  # those behind the last are of nobody, and nobody reads them
        value = ubar[owner, place]
        if slots[owner, place] == at[owner]:
            value -= total
        abar[owner, place] = value


@compiled
def _through_scores(
    heard, query, score_weight, squashed, counts, abar, key_adjoint, query_adjoint, parts, one
):
    entry = cuda.grid(1)
    if entry >= query.size:
        return
    b, c = entry // query.shape[1], entry % query.shape[1]
    by_query = one - one
    by_weight = one - one
    for place in range(counts[b]):
        excited, slope = heard[b, place, c] + query[b, c], one
        if squashed:
            excited = hyperbolic_tangent(excited)
            slope = tanh_slope_of(excited, one)
        dbar = abar[b, place] * score_weight[c] * slope
        by_weight += abar[b, place] * excited
        key_adjoint[b, place, c] += dbar
        by_query += dbar
    query_adjoint[b, c], parts[b, c] = by_query, by_weight


@compiled
def _add_samples(parts, total):
    """total += sum_b parts_b, one thread an entry."""
    c = cuda.grid(1)
    if c >= total.size:
        return
    value = parts[0, c]
    for b in range(1, parts.shape[0]):
        value += parts[b, c]
    total[c] += value
