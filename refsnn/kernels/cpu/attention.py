"""Sparse attention compiled by Numba; the twin of `refsnn.kernels.plain.attention`.

Scores are the only work that grows with the memory; the way back touches survivors and thresholds alone.
"""

from __future__ import annotations

import numpy as np

from refsnn.equations.activations import hyperbolic_tangent
from refsnn.equations.elementary import exp
from refsnn.equations.recurrent import tanh_slope_of
from refsnn.kernels.attention import DEV, MINIMUM, PAPER, RAW, RELEASE, SOFTMAX, Reading, Sparsifier
from refsnn.kernels.compilation import compiled


def score(
    keys: np.ndarray, query: np.ndarray, score_weight: np.ndarray, squashed: bool, scores: np.ndarray
) -> None:
    """See `refsnn.kernels.plain.attention.score`."""
    if len(keys):
        _score(keys, query, score_weight, squashed, scores, np.empty_like(score_weight))


@compiled
def _score(keys, query, score_weight, squashed, scores, excited):
    for b in range(query.shape[0]):
        q = query[b]
        for j in range(keys.shape[0]):
            key = keys[j, b]
            if squashed:
                for c in range(q.size):
                    excited[c] = hyperbolic_tangent(key[c] + q[c])
            else:
                for c in range(q.size):
                    excited[c] = key[c] + q[c]
            scores[b, j] = np.dot(excited, score_weight)


def select(rule: Sparsifier, scores: np.ndarray, filled: int, reading: Reading, gap: np.ndarray) -> None:
    """See `refsnn.kernels.plain.attention.select`."""
    number = scores.dtype.type
    thresholds = np.zeros(len(scores), scores.dtype)
    ranked = np.zeros(max(filled, 1), np.int32)
    _select(
        rule.code, rule.top, number(rule.norm_shift), number(rule.threshold_shift), rule.mixed,
        scores, filled, *reading, gap, thresholds, ranked, number(1),
    )  # fmt: skip


@compiled
def _ranked(scores, filled, wanted, ranked):
    """The slots of the `wanted` highest scores in order, the lowest slot first among equals."""
    count = 0
    for j in range(filled):
        if count == wanted and not scores[j] > scores[ranked[count - 1]]:
            continue
        place = count if count < wanted else count - 1
        while place > 0 and scores[j] > scores[ranked[place - 1]]:
            ranked[place] = ranked[place - 1]
            place -= 1
        ranked[place] = j
        if count < wanted:
            count += 1
    return count


@compiled
def _select(
    code, top, norm_shift, threshold_shift, mixed, scores, filled,
    chosen, survivors, threshold_slot, weights, normaliser, gap, thresholds, ranked, one,
):  # fmt: skip
    batch, zero = scores.shape[0], one - one
    thresholded = code in (PAPER, DEV, RELEASE, MINIMUM)
    for b in range(batch):
        threshold_slot[b] = -1
        if thresholded:
            place = top
            if code == RELEASE:
                place = top - 1
            elif code == MINIMUM:
                place = filled - 1
            shift = threshold_shift
            if code == PAPER:
                shift = zero
            elif code == DEV:
                shift = -threshold_shift
            row = scores[b]
            count = _ranked(row, filled, min(place + 2, filled), ranked)
            threshold_slot[b] = ranked[place]
            thresholds[b] = row[ranked[place]] + shift
            for c in range(max(place - 1, 0), min(place + 1, count - 1)):
                gap[0] = min(gap[0], row[ranked[c]] - row[ranked[c + 1]])
    for b in range(batch):
        row, count, total = scores[b], 0, zero
        if code == RAW:
            for j in range(filled):
                chosen[b, j], weights[b, j] = j, row[j]
            count, total = filled, one
        elif code == SOFTMAX:
            highest = row[0]
            for j in range(filled):
                highest = max(highest, row[j])
            for j in range(filled):
                chosen[b, j], weights[b, j] = j, exp(row[j] - highest)
                total += weights[b, j]
            for j in range(filled):
                weights[b, j] /= total
            count, total = filled, one
        elif thresholded:
            for j in range(filled):
                owner = (b * filled + j) % batch if mixed else b
                raised = row[j] - thresholds[owner]
                if raised > zero:
                    chosen[b, count], weights[b, count] = j, raised
                    total += raised
                    count += 1
            total += norm_shift
            for c in range(count):
                weights[b, c] /= total
        else:
            total = one
        survivors[b], normaliser[b] = count, total


def summarise(memory: np.ndarray, reading: Reading, summary: np.ndarray) -> None:
    """See `refsnn.kernels.plain.attention.summarise`."""
    _summarise(memory, reading.chosen, reading.survivors, reading.weights, summary)


@compiled
def _summarise(memory, chosen, survivors, weights, summary):
    for b in range(summary.shape[0]):
        row = summary[b]
        for h in range(row.size):
            row[h] = 0
        for place in range(survivors[b]):
            weight, slot = weights[b, place], memory[chosen[b, place], b]
            for h in range(row.size):
                row[h] += weight * slot[h]


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
    _attend_backward(
        rule.code, rule.mixed, filled, keys, query, score_weight, squashed, memory, *reading, summary_adjoint,
        attached_values, memory_adjoint, key_adjoint, score_gradient, query_adjoint, score_adjoint,
        np.empty(reading.weights.shape[1], memory.dtype), memory.dtype.type(1),
    )  # fmt: skip


@compiled
def _attend_backward(
    code, mixed, filled, keys, query, score_weight, squashed, memory,
    chosen, survivors, threshold_slot, weights, normaliser, summary_adjoint, attached_values,
    memory_adjoint, key_adjoint, score_gradient, query_adjoint, score_adjoint, wbar, one,
):  # fmt: skip
    batch, zero = summary_adjoint.shape[0], one - one
    thresholded = code in (PAPER, DEV, RELEASE, MINIMUM)
    for b in range(batch):
        sbar, mean = summary_adjoint[b], zero
        for place in range(survivors[b]):
            j, weight = chosen[b, place], weights[b, place]
            wbar[place] = np.dot(memory[j, b], sbar)
            mean += wbar[place] * weight
            if attached_values:
                row = memory_adjoint[j, b]
                for h in range(sbar.size):
                    row[h] += weight * sbar[h]
        for place in range(survivors[b]):
            j = chosen[b, place]
            if thresholded:
                ubar = (wbar[place] - mean) / normaliser[b]
                score_adjoint[b, j] += ubar
                owner = (b * filled + j) % batch if mixed else b
                score_adjoint[owner, threshold_slot[owner]] -= ubar
            elif code == SOFTMAX:
                score_adjoint[b, j] += weights[b, place] * (wbar[place] - mean)
            else:
                score_adjoint[b, j] += wbar[place]
    for b in range(batch):
        q, into, abar = query[b], query_adjoint[b], score_adjoint[b]
        for c in range(q.size):
            into[c] = zero
        extra = threshold_slot[b] >= 0
        for place in range(survivors[b]):
            if chosen[b, place] == threshold_slot[b]:
                extra = False
        for place in range(survivors[b] + extra):
            j = chosen[b, place] if place < survivors[b] else threshold_slot[b]
            key, row, by_score = keys[j, b], key_adjoint[j, b], abar[j]
            for c in range(q.size):
                excited, slope = key[c] + q[c], one
                if squashed:
                    excited = hyperbolic_tangent(excited)
                    slope = tanh_slope_of(excited, one)
                dbar = by_score * score_weight[c] * slope
                score_gradient[c] += by_score * excited
                row[c] += dbar
                into[c] += dbar
            abar[j] = zero
