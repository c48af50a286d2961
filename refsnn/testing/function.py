"""A user's function behind one door: NumPy arrays by leaf go in, NumPy numbers come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.testing.arrays import Convert, converter_like, to_numpy
from refsnn.testing.errors import GradientMismatch
from refsnn.testing.leaves import flatten, parameter_names, rebuild

Leaves = dict[str, np.ndarray]


class ScalarFunction:
    """A scalar function of a tree of arrays, of whatever library.

    Parameters
    ----------
    function : callable
        Called as ``function(*arguments)`` for a tuple or list, as ``function(arguments)`` for a dict or a
        single array.  Returns one number.
    arguments : dict, tuple, list or array
        Where; floating point.
    convert : callable, optional
        From a NumPy array to the kind that `function` takes; the kind of each argument by default.
    options : mapping of str to Any
        Keywords that each call gets.

    Raises
    ------
    TypeError, ValueError
        For arguments that are no finite floating-point arrays.

    Examples
    --------
    >>> square = ScalarFunction(lambda w: (w * w).sum(), (np.array([1.0, 2.0]),))
    >>> square.leaves, square(square.leaves)
    ({'w': array([1., 2.])}, np.float64(5.0))
    """

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: Any,
        convert: Convert | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if not callable(function):
            raise TypeError(f"f: expected a function, got {checks.shortened(function)}")
        self.function, self.options = function, dict(options or {})
        self.several = isinstance(arguments, (tuple, list))
        self.form = arguments if self.several or isinstance(arguments, Mapping) else (arguments,)
        self.names = parameter_names(function) if not isinstance(self.form, Mapping) else []
        given = flatten(self.form, self.names)
        if not given:
            raise ValueError("arguments: expected at least one array, got none")
        self.leaves: Leaves = {}
        self.converters: dict[str, Convert] = {}
        for name, leaf in given.items():
            checked = checks.float_array(f"arguments[{name!r}]", to_numpy(f"arguments[{name!r}]", leaf))
            self.leaves[name] = np.array(checked)
            self.converters[name] = convert or converter_like(f"arguments[{name!r}]", leaf)

    def called(self, function: Callable[..., Any], leaves: Mapping[str, np.ndarray]) -> Any:
        """What `function` returns for those leaves, given in its own kind of arrays.

        Parameters
        ----------
        function : callable
            Takes what this one takes.
        leaves : mapping of str to ndarray
            All of them; each call gets copies.

        Returns
        -------
        Any
        """
        own = {name: self.converters[name](np.array(value)) for name, value in leaves.items()}
        arguments = rebuild(self.form, own, self.names)
        if isinstance(self.form, Mapping):
            return function(arguments)
        return function(*arguments)

    def __call__(self, leaves: Mapping[str, np.ndarray]) -> Any:
        value = self.called(lambda *given: self.function(*given, **self.options), leaves)
        number = to_numpy("f", value)
        if number.size != 1 or number.dtype.kind not in "fc":
            raise TypeError(
                f"f: expected one floating-point number, the loss, got shape {number.shape} of dtype "
                f"{number.dtype}; sum the outputs with fixed random weights to make a loss"
            )
        return number.reshape(())[()]

    def gradients(self, gradient: Any) -> Leaves:
        """The gradients that a user's function returns, or that were given, by the names of the arguments.

        Parameters
        ----------
        gradient : callable or tree of arrays
            A function that takes what this one takes and returns a tree of the form of the arguments (for one
            argument also the array alone); or the tree itself.

        Returns
        -------
        dict of str to ndarray

        Raises
        ------
        GradientMismatch
            If leaves are missing or unknown, None, or have another shape.
        """
        tree = self.called(gradient, self.leaves) if callable(gradient) else gradient
        single = len(self.form) == 1 and not isinstance(self.form, Mapping)
        if single and not isinstance(tree, (tuple, list)):
            tree = (tree,)
        found = flatten(tree, self.names if isinstance(tree, (tuple, list)) else ())
        missing, unknown = sorted(set(self.leaves) - set(found)), sorted(set(found) - set(self.leaves))
        if missing or unknown:
            raise GradientMismatch(
                f"the gradient has other leaves than the arguments: missing {missing}, unknown {unknown}"
            )
        absent = [name for name, leaf in found.items() if leaf is None]
        if absent:
            raise GradientMismatch(f"the gradient of {absent} is None: nothing was sent back to it")
        return {name: to_numpy(f"gradient of {name!r}", found[name]) for name in self.leaves}
