"""Floor 0: what is refused at the door, and in which words.

Every check names the argument, what was expected, what came and what to do, so that a NaN or a wrong
shape is an error here and never a strange gradient later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
COMPLEXES = (np.dtype(np.complex64), np.dtype(np.complex128))

# One entry a dimension: an exact size, or a letter for any size of at least one.
Shape = tuple[int | str, ...]


def float_array(
    name: str,
    value: Any,
    shape: Shape | None = None,
    dtype: np.dtype | None = None,
    allow_complex: bool = False,
    finite: bool = True,
) -> np.ndarray:
    """Return `value` as a finite floating-point array, or say why it is not one.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    value : array_like
        Anything with `__array__` or DLPack: a NumPy array, a CPU torch tensor, a JAX array.
    shape : tuple of int or str, optional
        An int must match; a letter (``"T"``, ``"B"``, ...) stands for any size of at least 1.
    dtype : numpy.dtype, optional
        The dtype that the other arrays of the call have; nothing is promoted silently.
    allow_complex : bool
        Whether complex arrays pass; the complex-step oracles need them.
    finite : bool
        False leaves out the search for NaN and infinity, for arrays that passed an earlier door.

    Returns
    -------
    ndarray
        float32 or float64 (or complex), the same memory where possible.

    Raises
    ------
    TypeError
        For integers, booleans and object arrays where floats belong, and for a mix of dtypes.
    ValueError
        For wrong shapes, empty dimensions, NaN and infinity.

    Examples
    --------
    >>> float_array("inputs", [[0.5, 1.0]], shape=("B", 2))
    array([[0.5, 1. ]])
    >>> float_array("inputs", [[1, 2]])
    Traceback (most recent call last):
    ...
    TypeError: inputs: expected a float32 or float64 array, got dtype int64; convert it with .astype(float)
    """
    array = as_numpy(name, value)
    expected = FLOATS + (COMPLEXES if allow_complex else ())
    if array.dtype not in expected:
        hint = "; convert it with .astype(float)" if array.dtype.kind in "biufc" else ""
        raise TypeError(f"{name}: expected a float32 or float64 array, got {_kind_of(value, array)}{hint}")
    if shape is not None:
        _check_shape(name, array, shape)
    if dtype is not None and array.dtype != dtype and not (allow_complex and array.dtype in COMPLEXES):
        raise TypeError(
            f"{name}: expected dtype {dtype} like the other arrays, got {array.dtype}; "
            f"convert one of them, nothing is promoted silently"
        )
    if finite and not np.isfinite(array).all():
        bad = int(array.size - np.isfinite(array).sum())
        raise ValueError(
            f"{name}: expected finite numbers, got {bad} NaN or infinite of {array.size}; "
            "clean the data or check the step that produced it"
        )
    return array


def _kind_of(value: Any, array: np.ndarray) -> str:
    """What came, in few words: None and strings are no arrays in the eyes of a reader."""
    if value is None or isinstance(value, (str, bytes)):
        return repr(value)
    return f"dtype {array.dtype}" if array.ndim or array.dtype.kind != "O" else f"a {type(value).__name__}"


def as_numpy(name: str, value: Any) -> np.ndarray:
    """Return `value` as an array of whatever dtype and shape.

    Raises
    ------
    TypeError
        For ragged lists and masked arrays.

    Examples
    --------
    >>> as_numpy("targets", [0, 2]).shape
    (2,)
    """
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name}: expected an array without a mask, got a masked array; fill the masked entries first"
        )
    if isinstance(value, np.ndarray):
        return value.view(np.ndarray)
    if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
        return np.from_dlpack(value)
    try:
        return np.asarray(value)
    except (ValueError, TypeError) as error:
        raise TypeError(
            f"{name}: expected something NumPy can read as an array (a rectangular list, `__array__` "
            f"or DLPack), got {type(value).__name__}: {error}"
        ) from error


def _check_shape(name: str, array: np.ndarray, shape: Shape) -> None:
    wanted = "(" + ", ".join(str(entry) for entry in shape) + ("," if len(shape) == 1 else "") + ")"
    if array.ndim != len(shape):
        raise ValueError(
            f"{name}: expected shape {wanted}, got {array.shape}; "
            f"it needs {len(shape)} dimensions, not {array.ndim}"
        )
    for entry, size in zip(shape, array.shape, strict=True):
        if isinstance(entry, str) and size < 1:
            raise ValueError(
                f"{name}: expected shape {wanted} with {entry} >= 1, got {array.shape}; "
                "there is nothing to compute on it"
            )
        if isinstance(entry, int) and size != entry:
            raise ValueError(
                f"{name}: expected shape {wanted}, got {array.shape}; nothing is broadcast silently"
            )


def float_dtype(name: str, value: Any) -> np.dtype:
    """Return `value` as the dtype float32 or float64.

    Raises
    ------
    TypeError
        For any other dtype: the algorithms compute in these two.

    Examples
    --------
    >>> float_dtype("dtype", "float32")
    dtype('float32')
    """
    try:
        dtype = np.dtype(value)
    except TypeError:
        dtype = None
    if dtype is None or dtype not in FLOATS:  # NumPy holds that None is float64
        raise TypeError(f"{name}: expected float32 or float64, got {value!r}")
    return dtype


def instance(name: str, value: Any, kind: type, example: str) -> Any:
    """Return `value` if it is a `kind`, made and not the class itself.

    Raises
    ------
    TypeError
        Naming what came, and an example of what should.

    Examples
    --------
    >>> instance("steps", 3, int, "3")
    3
    """
    if isinstance(value, type) or not isinstance(value, kind):  # a class has all that a protocol asks for
        raise TypeError(f"{name}: expected a {kind.__name__} such as {example}, got {shortened(value)}")
    return value


def shortened(value: Any, length: int = 200) -> str:
    """How a value looks, cut where it becomes too long for a message.

    Examples
    --------
    >>> shortened("a" * 10, 5)
    "'aaaa..."
    """
    text = repr(value)
    return text if len(text) <= length else f"{text[:length]}..."


def number(
    name: str,
    value: Any,
    low: float = -np.inf,
    high: float = np.inf,
    low_open: bool = False,
    high_open: bool = False,
) -> float:
    """Return `value` as a finite Python float within the bounds.

    Raises
    ------
    TypeError
        If it is not a real number.
    ValueError
        If it is NaN, infinite or outside the interval.

    Examples
    --------
    >>> number("leak", 0.2, 0, 1)
    0.2
    >>> number("threshold", 0.0, 0, low_open=True)
    Traceback (most recent call last):
    ...
    ValueError: threshold: expected a finite number in (0, inf), got 0.0
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name}: expected a real number, got {type(value).__name__} {value!r}")
    value = float(value)
    below = value <= low if low_open else value < low
    above = value >= high if high_open else value > high
    if not np.isfinite(value) or below or above:
        left = "(" if low_open or low == -np.inf else "["
        right = ")" if high_open or high == np.inf else "]"
        raise ValueError(f"{name}: expected a finite number in {left}{low:g}, {high:g}{right}, got {value!r}")
    return value


def count(name: str, value: Any, minimum: int = 1) -> int:
    """Return `value` as an int of at least `minimum`.

    Raises
    ------
    TypeError
        If it is not an integer.
    ValueError
        If it is too small.

    Examples
    --------
    >>> count("steps", 0)
    Traceback (most recent call last):
    ...
    ValueError: steps: expected an integer of at least 1, got 0
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: expected an integer, got {type(value).__name__} {value!r}")
    if value < minimum:
        raise ValueError(f"{name}: expected an integer of at least {minimum}, got {int(value)}")
    return int(value)


def choice(name: str, value: Any, choices: Iterable[str]) -> str:
    """Return `value` if it is one of `choices`.

    Raises
    ------
    ValueError
        Naming all choices.

    Examples
    --------
    >>> choice("backend", "gpu", ("plain", "cpu", "cuda"))
    Traceback (most recent call last):
    ...
    ValueError: backend: expected one of 'plain', 'cpu', 'cuda', got 'gpu'
    """
    choices = tuple(choices)
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def options(name: str, given: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """Return keyword arguments if all of their names are known.

    Raises
    ------
    TypeError
        Naming the first that is not, and all that there are.

    Examples
    --------
    >>> options("with_edges", {"resets": False}, ("leak", "reset"))
    Traceback (most recent call last):
    ...
    TypeError: with_edges: expected options among 'leak', 'reset', got 'resets'
    """
    known = tuple(known)
    for option in given:
        if option not in known:
            raise TypeError(f"{name}: expected options among {', '.join(map(repr, known))}, got {option!r}")
    return dict(given)


def widths(name: str, value: Any, minimum: int = 2) -> tuple[int, ...]:
    """Return layer widths as a tuple of positive ints with at least `minimum` entries.

    Raises
    ------
    TypeError, ValueError
        If it is no sequence, too short, or a width is not a positive integer.

    Examples
    --------
    >>> widths("widths", [64, 10])
    (64, 10)
    """
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError(f"{name}: expected a sequence of positive integers, got {value!r}")
    entries = tuple(value)
    if len(entries) < minimum:
        raise ValueError(f"{name}: expected at least {minimum} widths, got {entries!r}")
    return tuple(count(f"{name}[{index}]", width) for index, width in enumerate(entries))


def labels(name: str, value: Any, batch: int, classes: int) -> np.ndarray:
    """Return class labels as an int64 array of shape (batch,), each in [0, classes).

    Raises
    ------
    TypeError
        If they are not integers.
    ValueError
        For a wrong shape or a label out of range.

    Examples
    --------
    >>> labels("targets", [0, 2], batch=2, classes=3)
    array([0, 2])
    """
    array = as_numpy(name, value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integer class labels, got {_kind_of(value, array)}")
    _check_shape(name, array, (batch,))
    if array.min() < 0 or array.max() >= classes:
        raise ValueError(
            f"{name}: expected labels in [0, {classes}), got values from {array.min()} to {array.max()}"
        )
    return array.astype(np.int64, copy=False)


def parameters(
    name: str,
    value: Any,
    shapes: Mapping[str, tuple[int, ...]],
    allow_complex: bool = False,
    dtype: np.dtype | None = None,
) -> dict[str, np.ndarray]:
    """Return a parameter dict whose keys, shapes and common dtype are as the model says.

    With `dtype`, it must be that one.

    Raises
    ------
    TypeError
        If it is no mapping, or the arrays are not floats of one dtype.
    ValueError
        For missing or unknown keys and wrong shapes.

    Examples
    --------
    >>> sorted(parameters("parameters", {"readout.bias": [0.0, 0.0]}, {"readout.bias": (2,)}))
    ['readout.bias']
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"{name}: expected a dict of arrays, got {type(value).__name__}")
    missing, unknown = sorted(set(shapes) - set(value)), sorted(set(value) - set(shapes))
    if missing or unknown:
        raise ValueError(f"{name}: expected the keys {sorted(shapes)}; missing {missing}, unknown {unknown}")
    checked: dict[str, np.ndarray] = {}
    for key, shape in shapes.items():
        checked[key] = float_array(f"{name}[{key!r}]", value[key], shape, dtype, allow_complex)
        if not allow_complex:
            dtype = checked[key].dtype
    return checked


def generator(name: str, value: Any) -> np.random.Generator:
    """Return `value` if it is a `numpy.random.Generator`, the only door for randomness.

    Raises
    ------
    TypeError
        For a seed, a legacy RandomState or None.

    Examples
    --------
    >>> type(generator("rng", np.random.default_rng(0))).__name__
    'Generator'
    """
    if not isinstance(value, np.random.Generator):
        raise TypeError(
            f"{name}: expected a numpy.random.Generator such as numpy.random.default_rng(0), got {value!r}"
        )
    return value
