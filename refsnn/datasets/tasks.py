"""Generated tasks whose information is in time: what tells rules of temporal credit apart.

Each has a hand-written answer to the question which paths through time a network needs: `two_cue_xor` a
memory of some steps, `spike_templates` exact times, `order_task` the order of two inputs whose time means are
the same.  Inputs are (T, N, channels): all N samples at each step, as networks take them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.datasets.labelled import float_dtype

# two cues, 25 channels: 0-4 and 5-9 for the first bit, 10-14 and 15-19 for the second, 20-24 to answer
CUE_STEPS, CUE_CHANNELS, CUE_GROUP = 18, 25, 5
FIRST_CUE, SECOND_CUE, ANSWER = slice(0, 4), slice(8, 12), slice(14, CUE_STEPS)
BACKGROUND, CUED = 0.02, 0.7


def two_cue_xor(
    rng: np.random.Generator, samples: int, dtype: Any = np.float64
) -> tuple[np.ndarray, np.ndarray]:
    """Spikes of two bits, one after the other; the label is whether they differ.

    Background spikes come with probability 0.02 anywhere.  With probability 0.7 instead fire: channels
    5a .. 5a + 4 at steps 0 .. 3 for the first bit a, channels 10 + 5b .. 14 + 5b at steps 8 .. 11 for the
    second bit b, and channels 20 .. 24 from step 14 on in any case (Xiao 2022's rule needs its trace here).

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws bits and spikes.
    samples : int
        Number N.
    dtype : dtype
        float64 or float32.

    Returns
    -------
    inputs : ndarray, shape (18, N, 25)
        Spikes, 0 or 1.
    labels : ndarray of int64, shape (N,)
        a XOR b.

    Raises
    ------
    TypeError, ValueError
        For something else than a Generator, a count and a float dtype.

    Examples
    --------
    >>> inputs, labels = two_cue_xor(np.random.default_rng(0), 4)
    >>> inputs.shape, labels.shape
    ((18, 4, 25), (4,))
    """
    checks.generator("rng", rng)
    samples, kind = checks.count("samples", samples), float_dtype(dtype)
    first, second = rng.integers(0, 2, (2, samples))
    probability = np.full((CUE_STEPS, samples, CUE_CHANNELS), BACKGROUND)
    for sample, (a, b) in enumerate(zip(first, second, strict=True)):
        probability[FIRST_CUE, sample, _group(a)] = CUED
        probability[SECOND_CUE, sample, _group(2 + b)] = CUED
    probability[ANSWER, :, _group(4)] = CUED
    spikes = rng.random(probability.shape) < probability
    return spikes.astype(kind), (first ^ second).astype(np.int64)


def _group(number: int) -> slice:
    """The channels of one group of five."""
    return slice(CUE_GROUP * number, CUE_GROUP * (number + 1))


def random_templates(
    rng: np.random.Generator, classes: int = 10, channels: int = 20, steps: int = 20
) -> np.ndarray:
    """One firing time for each channel of each class, uniform over the window.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws the times.
    classes, channels, steps : int
        How many of each.

    Returns
    -------
    ndarray of int64, shape (classes, channels)
        Steps in [0, steps).

    Raises
    ------
    TypeError, ValueError
        For something else than a Generator and counts.

    Examples
    --------
    >>> random_templates(np.random.default_rng(0), classes=2, channels=3, steps=5).shape
    (2, 3)
    """
    checks.generator("rng", rng)
    shape = checks.count("classes", classes), checks.count("channels", channels)
    return rng.integers(0, checks.count("steps", steps), shape)


def spike_templates(
    rng: np.random.Generator,
    samples: int,
    templates: Any,
    steps: int = 20,
    jitter: int = 2,
    dtype: Any = np.float64,
) -> tuple[np.ndarray, np.ndarray]:
    """Every channel fires once, at its class's time give or take a few steps.

    The jitter is a uniform integer, drawn for each channel of each sample; times that leave the window are
    moved to its edge.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws classes and jitter.
    samples : int
        Number N.
    templates : array_like of int, shape (classes, channels)
        From `random_templates`; training and test share them.
    steps : int
        Length T of the window.
    jitter : int
        Largest shift, from 0.
    dtype : dtype
        float64 or float32.

    Returns
    -------
    inputs : ndarray, shape (T, N, channels)
        Spikes, 0 or 1, one a channel and sample.
    labels : ndarray of int64, shape (N,)
        Classes.

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range.

    Examples
    --------
    >>> inputs, labels = spike_templates(np.random.default_rng(0), 1, [[1, 3]], steps=4, jitter=0)
    >>> inputs[:, 0]
    array([[0., 0.],
           [1., 0.],
           [0., 0.],
           [0., 1.]])
    """
    checks.generator("rng", rng)
    samples, steps = checks.count("samples", samples), checks.count("steps", steps)
    jitter, kind = checks.count("jitter", jitter, minimum=0), float_dtype(dtype)
    times = _checked_templates(templates, steps)
    classes, channels = times.shape
    labels = rng.integers(0, classes, samples)
    shifts = rng.integers(-jitter, jitter, (samples, channels), endpoint=True)
    fired = np.clip(times[labels] + shifts, 0, steps - 1)
    spikes = np.zeros((steps, samples, channels), kind)
    np.put_along_axis(spikes, fired[None], 1, axis=0)
    return spikes, labels


def _checked_templates(templates: Any, steps: int) -> np.ndarray:
    """Firing times (classes, channels) within the window."""
    times = np.asarray(templates)
    if times.dtype.kind not in "iu":
        raise TypeError(f"templates: expected integers, the steps at which channels fire, got {times.dtype}")
    if times.ndim != 2 or not times.size:
        raise ValueError(f"templates: expected shape (classes, channels), got {times.shape}")
    if times.min() < 0 or times.max() >= steps:
        raise ValueError(
            f"templates: expected steps in [0, {steps}), got {times.min()} to {times.max()}; take more "
            "steps, or draw templates for so many"
        )
    return times


def order_task(steps: int = 10, dtype: Any = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Two samples: A and then B, B and then A.  Their time means are equal.

    A = (1, 0) and B = (0, 1), each for half of the steps; what knows time means only can never tell the two
    apart (Yu 2024's rates).

    Parameters
    ----------
    steps : int
        T, even.
    dtype : dtype
        float64 or float32.

    Returns
    -------
    inputs : ndarray, shape (T, 2, 2)
    labels : ndarray of int64, shape (2,)
        0 for A first, 1 for B first.

    Raises
    ------
    TypeError, ValueError
        For a number of steps that is no even count, or another dtype.

    Examples
    --------
    >>> inputs, labels = order_task(steps=2)
    >>> inputs[:, 0], inputs[:, 1]
    (array([[1., 0.],
           [0., 1.]]), array([[0., 1.],
           [1., 0.]]))
    """
    steps, kind = checks.count("steps", steps), float_dtype(dtype)
    if steps % 2:
        raise ValueError(f"steps: expected an even number, got {steps}; both inputs last for half of it")
    early = np.arange(steps) < steps // 2
    first = np.stack([early, ~early], axis=1).astype(kind)
    return np.stack([first, first[:, ::-1]], axis=1), np.array([0, 1])
