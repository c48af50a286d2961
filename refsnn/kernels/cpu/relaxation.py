"""The compiled relaxation of a convergent network: which of its two loops runs.

The twin of `refsnn.kernels.cuda.relaxation`; what both compute is the step of
`refsnn.models.convergent_network`, again and again.
"""

from __future__ import annotations

import numpy as np

from refsnn.kernels.convergent import Nudge, Relaxing


def relax(
    problem: Relaxing,
    state: tuple[np.ndarray, ...],
    steps: int,
    nudge: Nudge | None,
    tolerance: float,
    kept: tuple[np.ndarray, ...] | None,
) -> int:
    """Let all layers step together, `steps` times or until a step moves nothing.

    Parameters
    ----------
    problem : Relaxing
        The network, its weights and what stands still.
    state : tuple of ndarray, (B, *shape of the layer)
        s_0, output first; s_T afterwards.
    steps : int
        The most steps to take.
    nudge : Nudge or None
        The force on layer 0; None in a free phase.
    tolerance : float
        Stop after a step that moved no unit by more than this; below 0: never.
    kept : tuple of ndarray, (slots, B, *shape of the layer), or None
        A ring: s_t is written to slot t modulo the number of slots, s_0 too.

    Returns
    -------
    int
        Steps taken.
    """
    images = any(layer.ndim > 2 for layer in state)
    if images or any(coupling.weight.ndim > 2 for coupling in problem.couplings):
        from refsnn.kernels.cpu import convolutional_relaxation

        return convolutional_relaxation.relax(problem, state, steps, nudge, tolerance, kept)
    from refsnn.kernels.cpu import dense_relaxation

    return dense_relaxation.relax(problem, state, steps, nudge, tolerance, kept)


def phases(
    problem: Relaxing,
    state: tuple[np.ndarray, ...],
    free_steps: int,
    nudged_steps: int,
    nudges: tuple[Nudge, ...],
) -> tuple[tuple[np.ndarray, ...], ...]:
    """A free phase, then a nudged one from its end for each nudge.

    Parameters
    ----------
    problem, state
        As in `relax`; the state is s_* afterwards.
    free_steps, nudged_steps : int
        T and K.
    nudges : tuple of Nudge
        The force of each nudged phase; they differ in their amount only.

    Returns
    -------
    tuple of tuples of ndarray
        Where each nudged phase ended, like `state`.
    """
    relax(problem, state, free_steps, None, -1.0, None)
    ends = tuple(tuple(layer.copy() for layer in state) for _ in nudges)
    for nudge, end in zip(nudges, ends, strict=True):
        relax(problem, end, nudged_steps, nudge, -1.0, None)
    return ends
