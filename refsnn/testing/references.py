"""Reference derivatives of a scalar function: complex step, or five-point differences that know their error.

Both are taken along probes: every entry of a leaf alone or, of a leaf too large for that, some entries chosen
at random and some directions through all of them.  The complex step is believed only where differences
agree with it along a random direction, since abs, real or a comparison can eat an imaginary part: to 1e-8 of
the derivative, so that a smaller term could be lost.  Differences are taken at two steps, and their
disagreement is their error, and so is the part of f(x + h) + f(x - h) - 2 f(x) that falls as h alone, a kink
at x itself: a function with a kink or a jump is refused, not graded.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from refsnn import checks
from refsnn.testing.errors import VacuousCheck
from refsnn.testing.function import Leaves, ScalarFunction

ORACLES = ("auto", "complex_step", "differences")
_TINY = 1e-30  # the imaginary step; also a normal number in single precision
_SHORTER = (1.0, 1 / 8, 1 / 64)  # steps of differences, tried in turn
# to what share of a derivative differences must confirm the complex step, and how sure of it they must be
_CONFIRMED, _SURE = {8: 1e-8, 4: 1e-3}, {8: 1e-6, 4: 1e-1}
_RAYS = 8

Loss = Callable[[Mapping[str, np.ndarray]], complex]


@dataclass(frozen=True)
class Probe:
    """Along which directions one leaf is moved.

    Attributes
    ----------
    leaf : str
        Which.
    shape : tuple of int
        Of the leaf.
    entries : ndarray of int, or None
        Flat indices of single entries.
    rays : ndarray, (k, ...), or None
        Directions through all entries, instead.
    """

    leaf: str
    shape: tuple[int, ...]
    entries: np.ndarray | None = None
    rays: np.ndarray | None = None

    @property
    def whole(self) -> bool:
        """Whether each entry is probed."""
        return self.entries is not None and len(self.entries) == int(np.prod(self.shape))

    def directions(self) -> Iterator[np.ndarray]:
        """One array of the leaf's shape at a time.

        Yields
        ------
        ndarray
        """
        if self.rays is not None:
            yield from self.rays
            return
        assert self.entries is not None
        for index in self.entries:
            direction = np.zeros(self.shape)
            direction.flat[index] = 1.0
            yield direction

    def of(self, gradient: np.ndarray) -> np.ndarray:
        """What a gradient says along the directions; shaped like the leaf if it is whole.

        Parameters
        ----------
        gradient : ndarray
            Of the leaf.

        Returns
        -------
        ndarray
        """
        if self.rays is not None:
            return np.tensordot(self.rays, gradient, gradient.ndim) if gradient.ndim else self.rays * gradient
        assert self.entries is not None
        return gradient if self.whole else gradient.ravel()[self.entries]

    def place(self, index: tuple[int, ...]) -> str:
        """Where an entry of `of` stands, in words.

        Parameters
        ----------
        index : tuple of int
            Into what `of` returns.

        Returns
        -------
        str
        """
        if self.rays is not None:
            return f"random direction {index[0]} through all entries"
        if not self.whole:
            assert self.entries is not None
            index = tuple(int(i) for i in np.unravel_index(int(self.entries[index[0]]), self.shape))
        return f"[{', '.join(map(str, index))}]"


def probes(leaves: Leaves, most: int, rng: np.random.Generator) -> list[Probe]:
    """All entries of small leaves; of larger ones `most` entries at random and a few dense directions.

    Parameters
    ----------
    leaves : dict of str to ndarray
        Of the function.
    most : int
        Entries of a leaf that are probed one by one.
    rng : numpy.random.Generator
        Chooses.

    Returns
    -------
    list of Probe
    """
    found = []
    for name, value in leaves.items():
        if value.size <= most:
            found.append(Probe(name, value.shape, np.arange(value.size)))
            continue
        found.append(Probe(name, value.shape, np.sort(rng.choice(value.size, most, replace=False))))
        found.append(Probe(name, value.shape, rays=rng.standard_normal((_RAYS, *value.shape))))
    return found


@dataclass(frozen=True)
class Derivatives:
    """The reference along every probe.

    Attributes
    ----------
    oracle : str
        Which it was.
    values : list of ndarray
        One a probe, shaped like `Probe.of`.
    errors : list of float
        The largest error of each, as far as the oracle knows it.
    resolution : float
        What rounding leaves of a derivative, relative to loss over argument.
    dtype : dtype
        In which the function computed.
    """

    oracle: str
    values: list[np.ndarray]
    errors: list[float]
    resolution: float
    dtype: np.dtype


def reference(
    function: ScalarFunction,
    places: list[Probe],
    oracle: str,
    rng: np.random.Generator,
    step: float | None = None,
) -> Derivatives:
    """Derivatives of a function by the oracle that suits it.

    Parameters
    ----------
    function : ScalarFunction
        The function at its leaves.
    places : list of Probe
        Along what.
    oracle : {"auto", "complex_step", "differences"}
        auto takes the complex step where the function is shown to be analytic in code.
    rng : numpy.random.Generator
        For the direction of that test.
    step : float, optional
        Of differences, relative to a leaf's scale; chosen by the precision by default.

    Returns
    -------
    Derivatives

    Raises
    ------
    TypeError
        If the complex step was asked for and is not to be trusted.
    ValueError
        For an unknown oracle.
    """
    checks.choice("oracle", oracle, ORACLES)
    leaves, dtype = working_precision(function)
    if oracle != "differences":
        doubt = complex_doubt(function, leaves, dtype, rng, asked_for=oracle == "complex_step")
        if doubt is None:
            values = [_complex_along(function, leaves, probe) for probe in places]
            eps = float(np.finfo(dtype).eps)
            return Derivatives("the complex step", values, [0.0] * len(values), 64 * eps, dtype)
        if oracle == "complex_step":
            raise TypeError(f"f: expected a function that the complex step can go through, {doubt}")
    values, errors = [], []
    for probe in places:
        value, error = _differences(function, leaves, probe, dtype, step)
        values.append(value)
        errors.append(error)
    return Derivatives(
        "five-point differences", values, errors, 4e3 * float(np.finfo(dtype).eps) ** 0.8, dtype
    )


def working_precision(function: ScalarFunction) -> tuple[Leaves, np.dtype]:
    """The leaves in double precision where the function takes that, and the precision it then computes in.

    Parameters
    ----------
    function : ScalarFunction
        Asked at its leaves.

    Returns
    -------
    tuple
        Leaves, dtype.
    """
    doubled = {name: value.astype(np.float64) for name, value in function.leaves.items()}
    own = np.result_type(function(function.leaves))
    if all(value.dtype == np.float64 for value in function.leaves.values()):
        return doubled, own
    try:
        dtype = np.result_type(function(doubled))
    except Exception:  # a function of single precision alone, of whatever library
        return function.leaves, own
    return (doubled, dtype) if dtype == np.float64 else (function.leaves, own)


def complex_derivative(function: Loss, leaves: Leaves, leaf: str, direction: np.ndarray) -> float:
    """The derivative along a direction of one leaf, Im f(x + ihd) / h.

    Parameters
    ----------
    function : callable
        Of a dict of leaves.
    leaves : dict of str to ndarray
        Where.
    leaf : str
        Which one moves.
    direction : ndarray
        How.

    Returns
    -------
    float

    Raises
    ------
    TypeError
        If the function returned a real number.
    """
    kind = np.result_type(leaves[leaf].dtype, np.complex64)
    moved = leaves[leaf] + (1j * _TINY * direction).astype(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        warnings.filterwarnings("error", message="Casting complex values to real")
        value = function({**leaves, leaf: moved})
    if not np.iscomplexobj(value):
        raise TypeError("but it returned a real number: the imaginary part was lost on the way")
    return float(np.imag(value)) / _TINY


def _complex_along(function: Loss, leaves: Leaves, probe: Probe) -> np.ndarray:
    """The complex step along each direction of a probe."""
    found = [complex_derivative(function, leaves, probe.leaf, ray) for ray in probe.directions()]
    return _stacked(probe, found)


def complex_doubt(
    function: ScalarFunction,
    leaves: Leaves,
    dtype: np.dtype,
    rng: np.random.Generator,
    asked_for: bool = False,
) -> str | None:
    """Why the complex step is not to be trusted; None if differences agree with it along random directions.

    Parameters
    ----------
    function : ScalarFunction
        Which may not take complex numbers at all.
    leaves : dict of str to ndarray
        Where.
    dtype : dtype
        Of its numbers.
    rng : numpy.random.Generator
        Draws one direction a leaf.
    asked_for : bool
        Whether differences need not confirm it where they know little: enough that they do not contradict.

    Returns
    -------
    str or None
    """
    for name, value in leaves.items():
        ray = Probe(name, value.shape, rays=rng.standard_normal((2, *value.shape)))
        try:
            steps = np.array([complex_derivative(function, leaves, name, d) for d in ray.directions()])
        except Exception as error:  # of the user's function, whatever it says to complex numbers
            return f"got {type(error).__name__}: {error}"
        truth, uncertain = _differences(function, leaves, ray, dtype, None)
        size = np.abs(truth).max()
        loss, scale = abs(float(np.real(function(leaves)))), float(np.abs(value).max(initial=0.0)) or 1.0
        noise = 4e3 * float(np.finfo(dtype).eps) ** 0.8 * loss / scale
        if not asked_for and not uncertain <= max(_SURE[_bytes(dtype)] * size, noise):
            return f"but along {name!r} differences are uncertain by {uncertain:.1e} and cannot confirm it"
        if not np.abs(steps - truth).max() <= max(_CONFIRMED[_bytes(dtype)] * size, 5 * uncertain, noise):
            return f"but along {name!r} it says {steps[0]:.6g} and differences say {truth[0]:.6g}"
    return None


def _bytes(dtype: np.dtype) -> int:
    """4 or 8: what is known of single precision holds for half, of double for more."""
    return 4 if dtype.itemsize <= 4 else 8


def _differences(
    function: Loss, leaves: Leaves, probe: Probe, dtype: np.dtype, step: float | None
) -> tuple[np.ndarray, float]:
    """Five-point differences along a probe with the step whose double agrees with it best; and how well."""
    scale = float(np.abs(leaves[probe.leaf]).max(initial=0.0)) or 1.0
    eps, base = float(np.finfo(dtype).eps), float(np.real(function(leaves)))
    best: tuple[np.ndarray, float] | None = None
    for shorter in _SHORTER if step is None else (1.0,):
        reach = scale * (eps**0.2 if step is None else step) * shorter
        fine, coarse, kinks = [], [], []
        for direction in probe.directions():
            # a dense direction moves all entries at once; as far together as one entry alone
            unit = reach / max(1.0, float(np.linalg.norm(direction)))
            (near, bend), (middle, wider), (far, widest) = (
                _central(function, leaves, probe.leaf, direction, width * unit, base) for width in (1, 2, 4)
            )
            fine.append((4 * near - middle) / 3)
            coarse.append((4 * middle - far) / 3)
            # bend = k + c w + d w^3: k is left for w -> 0 at a kink, and nothing where f is smooth
            kink = abs(8 * (2 * bend - wider) - (2 * wider - widest)) / 7
            kinks.append(kink / 2 if kink > 64 * eps * abs(base) / unit else 0.0)
        values = _stacked(probe, fine)
        error = float(np.abs(np.subtract(fine, coarse)).max(initial=0.0)) + max(kinks, default=0.0)
        if best is None or error < best[1]:
            best = values, error
        if error <= 100 * eps**0.8 * np.abs(values).max(initial=0.0):
            break
    assert best is not None
    return best


def _central(
    function: Loss, leaves: Leaves, leaf: str, direction: np.ndarray, width: float, base: float
) -> tuple[float, float]:
    """(f(x + w d) - f(x - w d)) / (2 w), and (f(x + w d) + f(x - w d) - 2 f(x)) / w."""
    value = leaves[leaf]
    ahead, behind = (np.asarray(value + sign * width * direction, value.dtype) for sign in (1, -1))
    found = []
    for moved in (ahead, behind):
        found.append(float(np.real(function({**leaves, leaf: moved}))))
    return (found[0] - found[1]) / (2 * width), ((found[0] - base) + (found[1] - base)) / width


def _stacked(probe: Probe, values: list[float]) -> np.ndarray:
    return np.array(values).reshape(probe.shape if probe.whole else (-1,))


def refuse_uncertain(probe: Probe, value: np.ndarray, error: float, relative: float) -> None:
    """Raise where differences do not know their answer to a quarter of what they are to judge.

    Parameters
    ----------
    probe : Probe
        Where.
    value : ndarray
        The derivatives.
    error : float
        Their largest error.
    relative : float
        What is allowed.

    Raises
    ------
    VacuousCheck
        With what to do.
    """
    size = float(np.abs(value).max(initial=0.0))
    if error > 0.25 * relative * size:
        raise VacuousCheck(
            f"{probe.leaf!r}: differences are uncertain by {error / size:.1e} of the largest entry, too much "
            f"to judge {relative:.0e}: a kink (relu at 0, a tie of a maximum), a jump (a spike?), noise or "
            "single precision inside f.  Move the arguments away from it, pass step= or a larger relative=, "
            "write f for complex numbers, or for spikes take assert_surrogate_gradients_match (with oracle="
            "'complex_step' where only the size of its numbers is too much for differences)"
        )
