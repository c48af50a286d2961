"""Arrays of other libraries: to NumPy and back into the kind that a user's function is written for.

A function under test gets what its author gave: NumPy arrays, torch tensors (with `requires_grad` where they
had it, on their device), anything that knows its array namespace (JAX, CuPy), or what `convert` makes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from refsnn import checks

Convert = Callable[[np.ndarray], Any]


def to_numpy(name: str, value: Any) -> np.ndarray:
    """`value` as a NumPy array: cut from its graph and fetched from its device first, if it has such.

    Parameters
    ----------
    name : str
        For the message.
    value : array_like
        A NumPy array, a torch tensor, a JAX array, a number, anything with `__array__` or DLPack.

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError
        If it cannot be read as an array.

    Examples
    --------
    >>> to_numpy("loss", 0.5)
    array(0.5)
    """
    if value is None:
        raise TypeError(f"{name}: expected an array, got None; a function returned nothing here")
    for fetch in ("detach", "cpu", "resolve_conj", "resolve_neg"):
        if hasattr(value, fetch) and not isinstance(value, np.ndarray):
            value = getattr(value, fetch)()
    return checks.as_numpy(name, value)


def converter_like(name: str, leaf: Any) -> Convert:
    """How a NumPy array becomes the kind of array that `leaf` is; the dtype is the array's.

    Parameters
    ----------
    name : str
        For the message.
    leaf : array
        What a user gave.

    Returns
    -------
    callable
        From a NumPy array to that kind.

    Raises
    ------
    TypeError
        For a kind that is not known; its user gives `convert`.

    Examples
    --------
    >>> converter_like("x", np.zeros(2))(np.ones(3))
    array([1., 1., 1.])
    """
    if isinstance(leaf, (np.ndarray, np.generic, float, int)):
        return np.array
    library = type(leaf).__module__.partition(".")[0]
    if library == "torch":
        return _torch_converter(sys.modules["torch"], leaf)
    namespace = getattr(leaf, "__array_namespace__", None)
    if namespace is not None:
        return namespace().asarray  # the array API: JAX, CuPy and others
    raise TypeError(
        f"{name}: expected a NumPy array, a torch tensor or an array with an __array_namespace__, got "
        f"{type(leaf).__name__}; pass convert=, a function from a NumPy array to that kind"
    )


def _torch_converter(torch: Any, leaf: Any) -> Convert:
    """A new leaf of autograd on the same device."""

    def convert(array: np.ndarray) -> Any:
        tensor = torch.tensor(array, device=leaf.device)
        return tensor.requires_grad_(leaf.requires_grad)

    return convert
