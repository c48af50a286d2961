"""Negative controls: a check is believed once it has failed on gradients that are wrong on purpose."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.testing.arrays import Convert
from refsnn.testing.errors import NotCaught, OtherLeaves, VacuousCheck
from refsnn.testing.function import ScalarFunction
from refsnn.testing.leaves import rebuild

Gradient = Callable[..., Any]


def one_step(gradient: np.ndarray) -> np.ndarray:
    """1 % too much at one place along the first axis, the one with the largest entry.

    Examples
    --------
    >>> one_step(np.array([[1.0, 2.0], [8.0, 4.0]]))
    array([[1.  , 2.  ],
           [8.08, 4.04]])
    """
    wrong = np.atleast_1d(gradient).copy()
    place = (
        int(np.argmax(np.abs(wrong).reshape(len(wrong), -1).max(axis=1, initial=0.0))) if wrong.size else 0
    )
    wrong[place] *= wrong.dtype.type(1.01)
    return wrong.reshape(gradient.shape)


def sign(gradient: np.ndarray) -> np.ndarray:
    """The other sign.

    Examples
    --------
    >>> sign(np.array([1.0]))
    array([-1.])
    """
    return -gradient


def dropped(gradient: np.ndarray) -> np.ndarray:
    """Nothing at one place along the first axis, the one with the largest entry.

    Examples
    --------
    >>> dropped(np.array([1.0, -2.0]))
    array([1., 0.])
    """
    wrong = np.atleast_1d(gradient).copy()
    place = (
        int(np.argmax(np.abs(wrong).reshape(len(wrong), -1).max(axis=1, initial=0.0))) if wrong.size else 0
    )
    wrong[place] = 0
    return wrong.reshape(gradient.shape)


def dead(gradient: np.ndarray) -> np.ndarray:
    """Zeros.

    Examples
    --------
    >>> dead(np.array([1.0]))
    array([0.])
    """
    return np.zeros_like(gradient)


def transposed(gradient: np.ndarray) -> np.ndarray:
    """The last two axes in the wrong order, in the right shape.

    Examples
    --------
    >>> transposed(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[1., 3.],
           [2., 4.]])
    """
    if gradient.ndim < 2:
        return gradient
    return np.ascontiguousarray(np.swapaxes(gradient, -1, -2)).reshape(gradient.shape)


def shifted(gradient: np.ndarray) -> np.ndarray:
    """One place late along the first axis, 0 before it.

    Examples
    --------
    >>> shifted(np.array([1.0, 2.0, 3.0]))
    array([0., 1., 2.])
    """
    wrong = np.zeros_like(gradient)
    if gradient.ndim:
        wrong[1:] = gradient[:-1]
    return wrong


def not_divided(gradient: np.ndarray) -> np.ndarray:
    """Without the 1/n of a mean over the first axis (n = 2 where that has one entry).

    Examples
    --------
    >>> not_divided(np.array([1.0, 2.0, 3.0]))
    array([3., 6., 9.])
    """
    length = gradient.shape[0] if gradient.ndim and gradient.shape[0] > 1 else 2
    return gradient * gradient.dtype.type(length)


MISTAKES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "one_step": one_step,
    "sign": sign,
    "dropped": dropped,
    "dead": dead,
    "transposed": transposed,
    "shifted": shifted,
    "not_divided": not_divided,
}


@dataclass(frozen=True)
class Planted:
    """One mistake in one leaf of a gradient, and what a check said to it.

    Attributes
    ----------
    kind : str
        Of `MISTAKES`, or the name of a mistake of one's own.
    leaf : str
        Where it was planted.
    said : str
        First line of the failure.
    """

    kind: str
    leaf: str
    said: str


def planted(
    df: Any, kind: str, arguments: Any, *, leaf: str | None = None, convert: Convert | None = None
) -> Gradient:
    """A wrong twin of a gradient.

    Parameters
    ----------
    df : callable or tree of arrays
        The right one.
    kind : str
        One of `MISTAKES`.
    arguments : dict, tuple, list or array
        What df takes; its form names the leaves.
    leaf : str, optional
        Where; in the first that the mistake changes by default.
    convert : callable, optional
        From a NumPy array to the kind that df takes and returns; that of the arguments by default.

    Returns
    -------
    callable
        Takes what df takes.

    Raises
    ------
    ValueError
        For an unknown kind or leaf, and for a mistake that changes nothing there.

    Examples
    --------
    >>> gradient = lambda weight: 2 * weight
    >>> planted(gradient, "sign", np.array([1.0, 2.0]))(np.array([1.0, 2.0]))
    array([-2., -4.])
    """
    change = MISTAKES[checks.choice("kind", kind, MISTAKES)]
    door = _door(df, arguments, convert)
    gradients = door.gradients(df)
    if leaf is not None:
        checks.choice("leaf", leaf, gradients)
    chosen = [leaf] if leaf is not None else list(gradients)
    changed = [name for name in chosen if not np.array_equal(change(gradients[name]), gradients[name])]
    if not changed:
        raise ValueError(f"kind: {kind!r} changes nothing in {chosen}; take another mistake or example")

    def wrong(*given: Any) -> Any:
        found = door.gradients(df(*given)) if callable(df) else gradients
        leaves = {
            name: door.converters[name](change(value) if name == changed[0] else value)
            for name, value in found.items()
        }
        tree = rebuild(door.form, leaves, door.names)
        return tree if door.several or isinstance(door.form, Mapping) else tree[0]

    return wrong


def assert_caught(
    check: Callable[[Any], Any],
    df: Any,
    arguments: Any,
    *,
    kinds: Iterable[str] = tuple(MISTAKES),
    leaves: Iterable[str] | None = None,
    convert: Convert | None = None,
) -> list[Planted]:
    """Assert that a check passes on a gradient and fails on each wrong twin of it.

    Parameters
    ----------
    check : callable
        Takes a gradient function; for instance ``lambda df: assert_gradients_match(f, df, arguments)``.
    df : callable or tree of arrays
        The right gradient.
    arguments : dict, tuple, list or array
        What df takes.
    kinds : iterable of str
        Mistakes, of `MISTAKES`; those that change nothing in a leaf are passed over.
    leaves : iterable of str, optional
        Where to plant; in each leaf by default.
    convert : callable, optional
        As in `planted`.

    Returns
    -------
    list of Planted
        What was planted and what the check said.

    Raises
    ------
    NotCaught
        Naming each mistake that the check let pass.
    VacuousCheck
        If no mistake changed anything, or a check failed for want of anything to check.
    ValueError
        For unknown kinds and leaves.

    Examples
    --------
    >>> from refsnn.testing import assert_gradients_match
    >>> loss, weight = lambda weight: (weight**2).sum(), np.array([1.0, 2.0])
    >>> check = lambda df: assert_gradients_match(loss, df, weight)
    >>> [mistake.kind for mistake in assert_caught(check, lambda weight: 2 * weight, weight)]
    ['one_step', 'sign', 'dropped', 'dead', 'shifted', 'not_divided']
    """
    door = _door(df, arguments, convert)
    gradients = door.gradients(df)
    check(df)  # right first: a check that fails on everything catches everything
    seen, passed = [], []
    for leaf in gradients if leaves is None else leaves:
        for kind in kinds:
            value = gradients[checks.choice("leaves", leaf, gradients)]
            change = MISTAKES[checks.choice("kinds", kind, MISTAKES)]
            if np.array_equal(change(value), value):
                continue
            try:
                check(planted(df, kind, arguments, leaf=leaf, convert=convert))
            except (VacuousCheck, OtherLeaves):
                raise  # the check failed for want of something to compare
            except AssertionError as error:
                seen.append(Planted(kind, leaf, str(error).partition("\n")[0]))
            else:
                passed.append(f"{kind} in {leaf!r}")
    if passed:
        raise NotCaught(f"the check passes on wrong gradients: {', '.join(passed)}")
    if not seen:
        raise VacuousCheck("no mistake changes this gradient: it is 0, or too small an example")
    return seen


@contextmanager
def caught(what: str, match: str | None = None) -> Iterator[None]:
    """A block in which a check must fail.

    Parameters
    ----------
    what : str
        The mistake, for the message.
    match : str, optional
        A regular expression that the message of the failure must hold.  Without one, a failure over names or
        numbers of leaves does not count: no value was compared.

    Yields
    ------
    None

    Raises
    ------
    NotCaught
        If no assertion failed in it, or another one than `match` asks for.

    Examples
    --------
    >>> from refsnn.testing import assert_gradients_match
    >>> with caught("the factor 2 is missing"):
    ...     assert_gradients_match(lambda x: (x**2).sum(), lambda x: x, np.array([1.0, 2.0]))
    """
    try:
        yield
    except VacuousCheck:
        raise
    except AssertionError as error:
        if re.search(match, str(error)) if match is not None else not isinstance(error, OtherLeaves):
            return
        raise NotCaught(f"{what}: the check failed on something else: {error}") from error
    raise NotCaught(f"no check failed although {what}")


def _door(df: Any, arguments: Any, convert: Convert | None) -> ScalarFunction:
    """The arguments by leaf, named as the parameters of df, else as those of a function without names."""
    return ScalarFunction(df if callable(df) else (lambda *given: given), arguments, convert)
