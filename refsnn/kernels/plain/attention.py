"""Sparse attention over a memory in NumPy: the specification as executed (Ke 2018).

    a_j = w3 . tanh(key_j + query)                                  scores
    u_j = max(0, a_j - delta),  U = sum_j u_j + eps,  w_j = u_j / U  sparsifier, delta one of the scores
    s   = sum_j w_j m_j                                             summary

Ties are broken by the lowest slot; who is equal to the threshold does not survive.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn.equations.activations import hyperbolic_tangent
from refsnn.equations.recurrent import tanh_slope_of
from refsnn.kernels.attention import DEV, MINIMUM, PAPER, RAW, RELEASE, SOFTMAX, Reading, Sparsifier


def score(
    keys: np.ndarray, query: np.ndarray, score_weight: np.ndarray, squashed: bool, scores: np.ndarray
) -> None:
    """a of the slots that are filled.

    Parameters
    ----------
    keys : ndarray, (M, B, A)
        Of the slots.
    query : ndarray, (B, A)
        Of this step.
    score_weight : ndarray, (A,)
        w3.
    squashed : bool
        Whether the sum of key and query goes through tanh.
    scores : ndarray, (B, N)
        The first M of each sample are filled.
    """
    for b in range(len(query)):
        raised = keys[:, b] + query[b]
        excited = hyperbolic_tangent(raised) if squashed else raised
        # no matrix product, which rounds some rows otherwise: equal memories have equal scores
        scores[b, : len(keys)] = (excited * score_weight).sum(axis=1)


def select(rule: Sparsifier, scores: np.ndarray, filled: int, reading: Reading, gap: np.ndarray) -> None:
    """Who survives, and with which weight.

    Parameters
    ----------
    rule : Sparsifier
        Of this step.
    scores : ndarray, (B, N)
        a of the first `filled` slots.
    filled : int
        M.
    reading : Reading
        Filled.
    gap : ndarray, (1,)
        Lowered to the smallest difference between the threshold and its neighbours in order.
    """
    one = rule.norm_shift.dtype.type(1)
    a = scores[:, :filled]
    thresholds = np.zeros(len(a), a.dtype)
    reading.threshold_slot[:] = -1
    if rule.code in (PAPER, DEV, RELEASE, MINIMUM):
        place = {RELEASE: rule.top - 1, MINIMUM: filled - 1}.get(rule.code, rule.top)
        shift = {PAPER: 0 * one, DEV: -rule.threshold_shift}.get(rule.code, rule.threshold_shift)
        for b, row in enumerate(a):
            order = np.argsort(-row.real, kind="stable")
            reading.threshold_slot[b] = order[place]
            thresholds[b] = row[order[place]] + shift
            ranked = row.real[order][max(place - 1, 0) : place + 2]
            if len(ranked) > 1:
                gap[0] = min(gap[0], (ranked[:-1] - ranked[1:]).min())
    for b, row in enumerate(a):
        if rule.code == RAW:
            _keep(reading, b, np.arange(filled), row, one)
        elif rule.code == SOFTMAX:
            weights = np.exp(row - row[row.real.argmax()])
            _keep(reading, b, np.arange(filled), weights / weights.sum(), one)
        elif rule.code in (PAPER, DEV, RELEASE, MINIMUM):
            owner = (b * filled + np.arange(filled)) % len(a) if rule.mixed else b
            raised = row - thresholds[owner]
            alive = np.flatnonzero(raised.real > 0)
            total = raised[alive].sum() + rule.norm_shift
            _keep(reading, b, alive, raised[alive] / total if len(alive) else raised[alive], total)
        else:
            _keep(reading, b, np.arange(0), row[:0], one)


def _keep(reading: Reading, sample: int, slots: np.ndarray, weights: np.ndarray, total: Any) -> None:
    reading.survivors[sample] = len(slots)
    reading.chosen[sample, : len(slots)] = slots
    reading.weights[sample, : len(slots)] = weights
    reading.normaliser[sample] = total


def summarise(memory: np.ndarray, reading: Reading, summary: np.ndarray) -> None:
    """s = sum_j w_j m_j.

    Parameters
    ----------
    memory : ndarray, (N, B, H)
        m.
    reading : Reading
        Of this step.
    summary : ndarray, (B, H)
        Filled.
    """
    summary.fill(0)
    for b, row in enumerate(summary):
        for place in range(reading.survivors[b]):
            row += reading.weights[b, place] * memory[reading.chosen[b, place], b]


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
    """The adjoint of scores, sparsifier and summary; touches the survivors and the threshold's slot only.

        wbar_j = sbar . m_j,    mbar_j += w_j sbar
        ubar_j = (wbar_j - sum_l wbar_l w_l) / U                                                      (A1)
        abar_j = ubar_j,    abar_threshold -= sum_j ubar_j                                            (A2)
        dbar_j = abar_j w3 (1 - e_j^2),  key_j += dbar_j,  query = sum_j dbar_j,  w3 += sum_j abar_j e_j

    Raw scores: abar = wbar; softmax: abar_j = w_j (wbar_j - sum_l wbar_l w_l).

    Parameters
    ----------
    rule, filled, keys, query, score_weight, squashed, memory, reading
        As on the way forward.
    summary_adjoint : ndarray, (B, H)
        dL/ds.
    attached_values : bool
        Whether a gradient goes to the memories that were summed up.
    memory_adjoint, key_adjoint : ndarray, (N, B, H), (N, B, A)
        Added to.
    score_gradient : ndarray, (A,)
        dL/dw3, added to.
    query_adjoint : ndarray, (B, A)
        Filled.
    score_adjoint : ndarray, (B, N)
        Memory to work in; 0 before and after.
    """
    one = rule.norm_shift.dtype.type(1)
    thresholded = rule.code in (PAPER, DEV, RELEASE, MINIMUM)
    for b, sbar in enumerate(summary_adjoint):
        slots = reading.chosen[b, : reading.survivors[b]]
        weights = reading.weights[b, : len(slots)]
        wbar = memory[slots, b] @ sbar
        if attached_values:
            memory_adjoint[slots, b] += weights[:, None] * sbar
        centred = wbar - (wbar * weights).sum()
        if thresholded:
            ubar = centred / reading.normaliser[b]
            score_adjoint[b, slots] += ubar
            owners = (b * filled + slots) % len(summary_adjoint) if rule.mixed else np.full(len(slots), b)
            for owner, value in zip(owners, ubar, strict=True):
                score_adjoint[owner, reading.threshold_slot[owner]] -= value
        else:
            score_adjoint[b, slots] += weights * centred if rule.code == SOFTMAX else wbar
    query_adjoint.fill(0)
    for b, abar in enumerate(score_adjoint):
        support = list(reading.chosen[b, : reading.survivors[b]])
        if reading.threshold_slot[b] >= 0 and reading.threshold_slot[b] not in support:
            support.append(reading.threshold_slot[b])
        for j in support:
            raised = keys[j, b] + query[b]
            excited = hyperbolic_tangent(raised) if squashed else raised
            slope = tanh_slope_of(excited, one) if squashed else one
            dbar = abar[j] * score_weight * slope
            score_gradient += abar[j] * excited
            key_adjoint[j, b] += dbar
            query_adjoint[b] += dbar
            abar[j] = 0
