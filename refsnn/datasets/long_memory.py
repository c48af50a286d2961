"""Copying and adding: tasks whose answer is as far away as one likes (Hochreiter 1997; Ke 2018).

Inputs are (T, B, channels), as networks take them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.datasets.labelled import float_dtype

# what a position of the copying task shows: a blank, the symbols 1 .. 8, and the marker that asks for them
BLANK, SYMBOLS, MARKER = 0, 8, 9
CLASSES = SYMBOLS + 2


def copying_task(
    rng: np.random.Generator,
    samples: int,
    delay: int,
    items: int = 10,
    one_hot: bool = False,
    dtype: Any = np.float64,
) -> tuple[np.ndarray, np.ndarray]:
    """Symbols, a delay, a marker; then the symbols are to be repeated.

    `items` symbols drawn from 1 .. 8, `delay - 1` blanks, the marker 9, and `items` blanks; the targets are
    blank for `delay + items` steps and then the symbols.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws the symbols.
    samples : int
        B.
    delay : int
        Steps between the last symbol and the marker, the marker included.
    items : int
        How many symbols; 1 is one-symbol recall.
    one_hot : bool
        Ten channels, one for each kind of position, in the place of one with its number (the release).
    dtype : dtype
        float64 or float32.

    Returns
    -------
    inputs : ndarray, (delay + 2 items, B, 1 or 10)
    targets : ndarray of int64, (delay + 2 items, B)
        0 .. 8.

    Raises
    ------
    TypeError, ValueError
        For something else than a Generator, counts and a float dtype.

    Examples
    --------
    >>> inputs, targets = copying_task(np.random.default_rng(0), 1, delay=3, items=2)
    >>> inputs[:, 0, 0], targets[:, 0]
    (array([7., 6., 0., 0., 9., 0., 0.]), array([0, 0, 0, 0, 0, 7, 6]))
    """
    checks.generator("rng", rng)
    samples, delay, items = (
        checks.count(name, value)
        for name, value in (("samples", samples), ("delay", delay), ("items", items))
    )
    kind = float_dtype(dtype)
    symbols = rng.integers(1, SYMBOLS + 1, (items, samples))
    shown = np.zeros((delay + 2 * items, samples), np.int64)
    shown[:items], shown[items + delay - 1] = symbols, MARKER
    targets = np.zeros_like(shown)
    targets[-items:] = symbols
    if one_hot:
        return (shown[..., None] == np.arange(CLASSES)).astype(kind), targets
    return shown[..., None].astype(kind), targets


def adding_task(
    rng: np.random.Generator, samples: int, steps: int, halved: bool = True, dtype: Any = np.float64
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers in [0, 1), two of them marked, one in each half; half of their sum is asked for at the end.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws numbers and marks.
    samples, steps : int
        B and T, from 2 steps.
    halved : bool
        Half the sum, as the authors' code; predicting its mean has an error of 1/24, of the sum 1/6.
    dtype : dtype
        float64 or float32.

    Returns
    -------
    inputs : ndarray, (T, B, 2)
        Numbers and marks.
    targets : ndarray, (B, 1)

    Raises
    ------
    TypeError, ValueError
        For something else than a Generator, counts and a float dtype.

    Examples
    --------
    >>> inputs, targets = adding_task(np.random.default_rng(0), 1, 4)
    >>> float(abs((inputs[..., 0] * inputs[..., 1]).sum() / 2 - targets[0, 0]))
    0.0
    """
    checks.generator("rng", rng)
    samples, steps = checks.count("samples", samples), checks.count("steps", steps, minimum=2)
    kind = float_dtype(dtype)
    inputs = np.zeros((steps, samples, 2), kind)
    inputs[..., 0] = rng.random((steps, samples))
    half = steps // 2
    places = np.stack([rng.integers(0, half, samples), rng.integers(half, steps, samples)])
    inputs[places, np.arange(samples), 1] = 1
    total = (inputs[..., 0] * inputs[..., 1]).sum(axis=0)[:, None]
    return inputs, (total / 2 if halved else total).astype(kind)
