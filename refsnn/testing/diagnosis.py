"""What is wrong with a gradient, in words: a constant factor, a sign, a transpose, a shift, one step."""

from __future__ import annotations

import numpy as np

_SAME = 1e-3  # of two ratios, or of what is left of a difference that was explained


def worst_entry(found: np.ndarray, expected: np.ndarray) -> tuple[int, ...]:
    """Where two arrays of one shape differ most; where a number is not finite, if there is one.

    Examples
    --------
    >>> worst_entry(np.array([[1.0, 2.0]]), np.array([[1.0, 2.5]]))
    (0, 1)
    """
    difference = np.abs(found - expected)
    difference = np.where(np.isfinite(difference), difference, np.inf)
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(difference)), difference.shape))


def findings(found: np.ndarray, expected: np.ndarray, allowed: float) -> list[str]:
    """Sentences about how `found` differs from `expected`.

    Parameters
    ----------
    found, expected : ndarray
        Of one shape; they differ.
    allowed : float
        The absolute difference up to which two entries are the same.

    Returns
    -------
    list of str

    Examples
    --------
    >>> findings(np.array([1.0, 2.0]), np.array([2.0, 4.0]), 1e-9)
    ['every entry is 0.5 times the expected one; 2 is the length of axis 0 (a mean for a sum?)']
    """
    if not np.isfinite(found).all():
        return [f"{int((~np.isfinite(found)).sum())} of {found.size} entries are not finite"]
    if not found.any():
        return ["it is 0 everywhere: nothing is sent back (a dead surrogate, a detached tensor?)"]
    said = _ratio(found, expected) or _moved(found, expected) or _one_place(found, expected, allowed)
    wrong = int((np.abs(found - expected) > allowed).sum())
    return [*said, f"{wrong} of {found.size} entries are off"] if not said or wrong < found.size else said


def _ratio(found: np.ndarray, expected: np.ndarray) -> list[str]:
    """A constant factor, and where it may come from."""
    large = np.abs(expected) > 1e-6 * np.abs(expected).max()
    if large.sum() < 2:
        return []
    ratios = found[large] / expected[large]
    ratio = float(np.median(ratios))
    rest = np.abs(found - ratio * expected).max()
    if abs(ratio - 1) < 1e-6 or ratio == 0 or rest > _SAME * abs(ratio - 1) * np.abs(expected).max():
        return []
    text = f"every entry is {ratio:.6g} times the expected one"
    if abs(ratio + 1) <= _SAME:
        return [f"{text}: the sign is wrong"]
    for axis, length in enumerate(found.shape):
        if length > 1 and min(abs(ratio * length - 1), abs(ratio / length - 1)) <= _SAME:
            mean = "a mean for a sum?" if ratio < 1 else "a sum for a mean?"
            return [f"{text}; {length} is the length of axis {axis} ({mean})"]
    return [text]


def _moved(found: np.ndarray, expected: np.ndarray) -> list[str]:
    """The right entries at the wrong places."""
    near = _SAME * np.abs(found - expected).max()
    square = found.ndim >= 2 and found.shape[-1] == found.shape[-2] > 1
    if square and np.abs(np.swapaxes(found, -1, -2) - expected).max() <= near:
        return ["it is the transpose of the expected one"]
    for axis in range(found.ndim):
        ours, theirs = np.moveaxis(found, axis, 0), np.moveaxis(expected, axis, 0)
        if len(ours) < 3:
            continue
        if np.abs(ours[1:] - theirs[:-1]).max() <= near:
            return [f"it is the expected one shifted by +1 along axis {axis}"]
        if np.abs(ours[:-1] - theirs[1:]).max() <= near:
            return [f"it is the expected one shifted by -1 along axis {axis}"]
    return []


def _one_place(found: np.ndarray, expected: np.ndarray, allowed: float) -> list[str]:
    """All that is off has one index along an axis: one step, one neuron."""
    wrong = np.argwhere(np.abs(found - expected) > allowed)
    said = []
    for axis, length in enumerate(found.shape):
        places = np.unique(wrong[:, axis])
        if length > 1 and len(places) == 1:
            said.append(f"only entries with index {int(places[0])} along axis {axis} are off")
    return said
