"""A user's function behind one door: NumPy arrays by leaf go in, NumPy numbers come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.testing.arrays import Convert, converter_like, to_numpy
from refsnn.testing.errors import GradientMismatch, OtherLeaves
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
            raise OtherLeaves(
                f"the gradient has other leaves than the arguments: missing {missing}, unknown {unknown}"
            )
        absent = [name for name, leaf in found.items() if leaf is None]
        if absent:
            raise GradientMismatch(f"the gradient of {absent} is None: nothing was sent back to it")
        # copies: what is returned may be a buffer that the next call writes into
        return {name: np.array(to_numpy(f"gradient of {name!r}", found[name])) for name in self.leaves}

    def refuse_moods(
        self, leaves: Mapping[str, np.ndarray], before: Any, when: str, error: type[AssertionError]
    ) -> None:
        """Raise if the function has another value than before, but for the order of a sum.

        Parameters
        ----------
        leaves : mapping of str to ndarray
            As in the call before.
        before : number
            What came.
        when : str
            Since when: what may have changed it.
        error : type
            What to raise.

        Raises
        ------
        AssertionError
            With both values.
        """
        now = self(leaves)
        near = 100 * float(np.finfo(np.result_type(now)).eps) * abs(before)
        if abs(now - before) > near or np.isnan(now) != np.isnan(before):
            raise error(
                f"f is {before:.17g} and {now:.17g} for the same arguments, {when}: it draws random numbers, "
                "keeps a state, or an array that it uses was changed in place"
            )

    def same_gradients(self, gradient: Any) -> Leaves:
        """`gradients`, of two calls that must agree.

        Parameters
        ----------
        gradient : callable or tree of arrays
            As in `gradients`.

        Returns
        -------
        dict of str to ndarray

        Raises
        ------
        GradientMismatch
            If the second call gives another gradient: one that adds up, or a state that is kept.
        """
        first = self.gradients(gradient)
        if not callable(gradient):
            return first
        second = self.gradients(gradient)
        for name, value in first.items():
            if value.shape != second[name].shape:
                raise GradientMismatch(
                    f"{name!r}: a second call of the gradient gives shape {second[name].shape}, the first "
                    f"gave {value.shape}"
                )
            if value.dtype.kind not in "fc":
                continue  # said where kinds are compared
            size = float(np.abs(value).max(initial=0.0))
            with np.errstate(invalid="ignore"):  # of two infinities: said where numbers are compared
                apart = float(np.abs(second[name] - value).max(initial=0.0))
            if apart > 100 * float(np.finfo(value.dtype).eps) * size:
                raise GradientMismatch(
                    f"{name!r}: a second call of the gradient at the same point differs by {apart:.3g}, "
                    f"its largest entry is {size:.3g}: gradients that add up (zero_grad?), a state that is "
                    "kept between calls, or an array that is changed in place"
                )
        return first
