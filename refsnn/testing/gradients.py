"""`assert_gradients_match`: is this the gradient of that function?  For NumPy, torch and JAX alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.testing.arrays import Convert
from refsnn.testing.comparison import Comparison
from refsnn.testing.errors import GradientMismatch, VacuousCheck
from refsnn.testing.function import Leaves, ScalarFunction
from refsnn.testing.references import (
    Derivatives,
    Probe,
    probes,
    reference,
    refuse_uncertain,
    working_precision,
)

# What a correct gradient misses by, at most: by the oracle in that precision, and by its own precision.
_OF_ORACLE = {
    ("the complex step", 8): 1e-10,
    ("the complex step", 4): 1e-4,
    ("five-point differences", 8): 1e-6,
    ("five-point differences", 4): 3e-3,
}
_OF_GRADIENT = {8: 1e-10, 4: 1e-4, 2: 5e-2}


@dataclass(frozen=True)
class Truth:
    """What the gradient should be, known before that is asked for.

    Attributes
    ----------
    function : ScalarFunction
        Of which.
    places : list of Probe
        Along what.
    derivatives : Derivatives
        By the oracle.
    smallest : dict of str to float
        Below which largest entry each leaf is dead.
    leaves : dict of str to ndarray
        Where the function was asked, in its working precision.
    value : number
        Of the function there.
    """

    function: ScalarFunction
    places: list[Probe]
    derivatives: Derivatives
    smallest: dict[str, float]
    leaves: Leaves
    value: Any

    @property
    def scale(self) -> float:
        """The largest of loss and terms x dL/dx: what rounding of the loss is relative to."""
        size = abs(float(np.real(self.value)))
        for probe, value in zip(self.places, self.derivatives.values, strict=True):
            if probe.entries is not None:
                largest = float(np.abs(self.leaves[probe.leaf]).max(initial=0.0))
                size = max(size, largest * float(np.abs(value).max(initial=0.0)))
        return size


def assert_gradients_match(
    f: Callable[..., Any],
    df: Any,
    arguments: Any,
    *,
    oracle: str = "auto",
    relative: float | None = None,
    dead: Iterable[str] = (),
    seed: int = 0,
    entries: int = 400,
    step: float | None = None,
    same_dtype: bool = True,
    convert: Convert | None = None,
) -> None:
    """Assert that `df` is the gradient of the smooth scalar function `f`, leaf by leaf.

    Parameters
    ----------
    f : callable
        The loss: ``f(*arguments)`` for a tuple or list of arrays, ``f(arguments)`` for a dict or one array.
    df : callable or tree of arrays
        Takes what `f` takes, returns gradients in the form of `arguments`; or those gradients.
    arguments : dict, tuple, list or array
        Floating-point arrays (NumPy, torch, JAX, ...), nested as you like; f and df get the same kind.
    oracle : {"auto", "complex_step", "differences"}
        Where the truth comes from.  auto takes the complex step where f goes through complex numbers and
        five-point differences confirm it, else these.  complex_step takes it where these do not contradict.
    relative : float, optional
        Allowed difference, relative to the largest entry of a leaf.  By default 1e-10 for the complex step,
        1e-6 for differences, 1e-4 for float32 gradients, 3e-3 where f is in float32 and not complex.
    dead : iterable of str
        Leaves whose gradient may be 0; if it is, df must say so too.
    seed : int
        Of all that is drawn.
    entries : int
        Larger leaves are probed at so many random entries and in eight directions through all of them.
    step : float, optional
        Of differences, relative to a leaf's largest entry.
    same_dtype : bool
        Whether gradients must have the dtypes of the arguments.
    convert : callable, optional
        From a NumPy array to the kind that f takes, where it is not that of the arguments.

    Raises
    ------
    GradientMismatch
        Naming each wrong leaf, its worst entry, both values, and what kind of error it looks like; and where
        df gives something else when it is called again, or has changed f.
    VacuousCheck
        If a leaf's true gradient is 0 and it is not among `dead`, f gives something else when it is called
        again, or differences are too uncertain: near a jump, or at a kink, where no gradient is right.
    TypeError, ValueError
        For arguments of wrong kind, and an oracle that cannot be used on `f`.

    Examples
    --------
    >>> weight, inputs = np.array([[0.5, -1.0]]), np.array([2.0, 3.0])
    >>> loss = lambda weight: np.tanh(weight @ inputs).sum()
    >>> right = lambda weight: (1 - np.tanh(weight @ inputs) ** 2)[:, None] * inputs
    >>> assert_gradients_match(loss, right, weight)
    >>> assert_gradients_match(loss, lambda w: -right(w), weight)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    refsnn.testing.errors.GradientMismatch: 1 of 1 leaves differ from the complex step
      'weight': worst at [0, 1]: found -0.2..., expected 0.2...; off by 2.0e+00 of the largest entry ...
        every entry is -1 times the expected one: the sign is wrong
      repeat with seed=0
    """
    function = ScalarFunction(f, arguments, convert)
    truth = truth_of(function, oracle, tuple(dead), seed, entries, step)
    compare_with_truth(truth, df, relative, tuple(dead), seed, same_dtype)


def truth_of(
    function: ScalarFunction, oracle: str, dead: tuple[str, ...], seed: int, entries: int, step: float | None
) -> Truth:
    """What an oracle says, before the gradient on trial is called: it cannot move the truth.

    Parameters
    ----------
    function : ScalarFunction
        What is differentiated.
    oracle, dead, seed, entries, step
        As in `assert_gradients_match`.

    Returns
    -------
    Truth

    Raises
    ------
    VacuousCheck
        If the function gives something else when it is called again.
    ValueError
        If `dead` names what is no argument.
    """
    unknown = sorted(set(dead) - set(function.leaves))
    if unknown:
        raise ValueError(f"dead: expected names among {sorted(function.leaves)}, got {unknown}")
    rng = np.random.default_rng(checks.count("seed", seed, 0))
    places = probes(function.leaves, checks.count("entries", entries), rng)
    leaves, _ = working_precision(function)
    value = function(leaves)
    function.refuse_moods(leaves, value, "in two calls", VacuousCheck)
    derivatives = reference(function, places, oracle, rng, step)
    return Truth(function, places, derivatives, _noise(function, places, derivatives), leaves, value)


def compare_with_truth(
    truth: Truth,
    df: Any,
    relative: float | None,
    dead: tuple[str, ...],
    seed: int,
    same_dtype: bool,
    label: str = "",
) -> None:
    """The comparison itself, for any function behind the door.

    Parameters
    ----------
    truth : Truth
        Of `truth_of`.
    df, relative, dead, seed, same_dtype
        As in `assert_gradients_match`.
    label : str
        What the function is, for the message.

    Raises
    ------
    GradientMismatch, VacuousCheck
        As in `assert_gradients_match`.
    """
    function, derivatives = truth.function, truth.derivatives
    gradients = function.same_gradients(df)
    function.refuse_moods(
        truth.leaves, truth.value, "before and after the gradient was asked for", GradientMismatch
    )
    largest: dict[str, float] = {}  # of a leaf's true entries; random directions are as large as many of them
    rays: dict[str, float] = {}
    for probe, value in zip(truth.places, derivatives.values, strict=True):
        found = rays if probe.entries is None else largest
        found[probe.leaf] = float(np.abs(value).max(initial=0.0))
    alive = {name for sizes in (largest, rays) for name, size in sizes.items() if size > truth.smallest[name]}
    compared = Comparison(0.0, dead, f"{derivatives.oracle}{label}")
    for probe, value, error in zip(truth.places, derivatives.values, derivatives.errors, strict=True):
        leaf, smallest = function.leaves[probe.leaf], truth.smallest[probe.leaf]
        wrong_kind = _kind_problem(gradients[probe.leaf], leaf, same_dtype)
        if wrong_kind:
            compared.seen[probe.leaf] = None
            compared.wrong[probe.leaf] = [wrong_kind]
            continue
        single = gradients[probe.leaf].dtype
        compared.relative = _allowed(relative, derivatives, single)
        # entries that are 0 are no dead leaf where random directions find others that are not
        compared.dead = (*dead, probe.leaf) if probe.leaf in alive else dead
        size, beside = float(np.abs(value).max(initial=0.0)), 0.0
        if probe.rays is not None and largest[probe.leaf] > smallest:
            beside = 30 * float(np.finfo(single).eps) * largest[probe.leaf] * leaf.size**0.5
            size = largest[probe.leaf]
        if float(np.abs(value).max(initial=0.0)) > smallest:
            refuse_uncertain(probe, value, error, compared.relative)
        compared.add(
            probe.leaf,
            probe.of(gradients[probe.leaf].astype(float)),
            value,
            smallest,
            probe.place,
            beside,
            size,
        )
    compared.finish(f"seed={seed}")


def _kind_problem(found: np.ndarray, leaf: np.ndarray, same_dtype: bool) -> str:
    """What is wrong before any number is looked at."""
    if found.shape != leaf.shape:
        return f"the gradient has shape {found.shape}, the argument {leaf.shape}"
    if found.dtype.kind != "f":
        return f"the gradient has dtype {found.dtype}, expected real floating-point numbers"
    if same_dtype and found.dtype != leaf.dtype:
        return f"the gradient has dtype {found.dtype}, the argument {leaf.dtype}; same_dtype=False allows it"
    return ""


def _allowed(relative: float | None, truth: Derivatives, found: np.dtype) -> float:
    if relative is not None:
        return checks.number("relative", relative, 0)
    computed = 4 if truth.dtype.itemsize <= 4 else 8
    return max(_OF_ORACLE[truth.oracle, computed], _OF_GRADIENT.get(found.itemsize, 1e-10))


def _noise(function: ScalarFunction, places: list[Probe], truth: Derivatives) -> dict[str, float]:
    """Below which largest entry a leaf is dead: what rounding of the loss makes of its derivative."""
    scales = {name: float(np.abs(value).max(initial=0.0)) or 1.0 for name, value in function.leaves.items()}
    size = abs(float(np.real(function(function.leaves))))
    for probe, value in zip(places, truth.values, strict=True):
        if probe.entries is not None:
            size = max(size, scales[probe.leaf] * float(np.abs(value).max(initial=0.0)))
    return {name: truth.resolution * size / scale for name, scale in scales.items()}
