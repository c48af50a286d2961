"""The affine-spike oracle on a user's own layer: truth about surrogate gradients.

The derivative of a binary spike is 0 or does not exist, so no differencing can check a surrogate gradient: it
would pass a dead one and fail a right one.  Write the layer's forward pass once with the spike as a function,

    def layer(weight, *, spike, detach):
        ...
        s = spike(v - threshold)          # 0 or 1
        v = v - threshold * detach(s)     # where no gradient passes

and it is run twice.  The first run keeps each distance u0 and spike s0.  The second has the affine spike
s0 + psi(u0) (u - u0) instead, and what was detached stays as it was.  At the nominal arguments nothing
changes; away from them the layer is smooth, and its true derivative is the surrogate gradient.

Several populations are told apart by ``spike(u, "hidden")``: each must fire.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.equations.surrogates import SURROGATES, Surrogate
from refsnn.testing.arrays import Convert, converter_like, to_numpy
from refsnn.testing.errors import GradientMismatch
from refsnn.testing.function import ScalarFunction
from refsnn.testing.gradients import compare_with_truth, truth_of
from refsnn.testing.leaves import takes
from refsnn.testing.liveness import assert_alive
from refsnn.testing.references import working_precision

Psi = Surrogate | Callable[[np.ndarray], np.ndarray]


class AffineSpikes(ScalarFunction):
    """A user's spiking function with affine spikes around its run at the nominal arguments.

    Parameters
    ----------
    function : callable
        ``function(*arguments, spike=...)``, and ``detach=...`` if it takes that; see the head of this file.
    arguments : dict, tuple, list or array
        The nominal ones.
    surrogate : Surrogate or callable
        psi(u), the slope of a spike at distance u from the threshold.
    fires : {">=", ">"}
        Whether a distance of exactly 0 is a spike.
    convert : callable, optional
        As in `ScalarFunction`.

    Raises
    ------
    TypeError
        If `function` takes no `spike`, never calls it, or calls it another number of times in a second run.

    Examples
    --------
    >>> layer = lambda weight, *, spike: spike(weight - 1.0).sum()
    >>> affine = AffineSpikes(layer, np.array([0.5, 1.5]), Surrogate("triangle", slope=1.0))
    >>> affine(affine.leaves), affine({"weight": np.array([0.5, 1.75])})
    (np.float64(1.0), np.float64(1.125))
    >>> affine.rates, affine.margin
    ([0.5], 0.5)
    """

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: Any,
        surrogate: Psi,
        fires: str = ">=",
        convert: Convert | None = None,
    ) -> None:
        if not takes(function, "spike"):
            raise TypeError("f: expected a function with a keyword `spike`, its spike function; got none")
        self.slope, self.fires = _slope(surrogate), checks.choice("fires", fires, (">=", ">"))
        self.own_convert = convert
        options: dict[str, Any] = {"spike": self._spike}
        if takes(function, "detach"):
            options["detach"] = self._detach
        super().__init__(function, arguments, convert, options)
        self.recording = True
        self.distances: list[np.ndarray] = []
        self.populations: list[str] = []
        self.detached: list[np.ndarray] = []
        leaves, _ = working_precision(self)
        self.nominal = self(leaves)
        self.recording = False
        if not self.distances:
            raise TypeError("f: expected a function that calls `spike`, and it never did")

    @property
    def rates(self) -> list[float]:
        """Share of neurons that fired, by call of `spike`."""
        return [float(self._fired(u).mean()) for u in self.distances]

    @property
    def rate(self) -> float:
        """Share of all spikes that could have been."""
        fired = sum(int(self._fired(u).sum()) for u in self.distances)
        return fired / sum(u.size for u in self.distances)

    @property
    def rate_of(self) -> dict[str, float]:
        """Share of spikes by population: calls of one name, and of one shape where no name was given."""
        fired: dict[str, list[np.ndarray]] = {}
        for name, u in zip(self.populations, self.distances, strict=True):
            fired.setdefault(name, []).append(self._fired(u).ravel())
        return {name: float(np.concatenate(found).mean()) for name, found in fired.items()}

    @property
    def margin(self) -> float:
        """Smallest distance from the threshold."""
        return min(float(np.abs(u).min()) for u in self.distances)

    def __call__(self, leaves: Mapping[str, np.ndarray]) -> Any:
        if self.recording:
            self.distances, self.populations, self.detached = [], [], []
        self._spikes = self._held = 0
        value = super().__call__(leaves)
        if (self._spikes, self._held) != (len(self.distances), len(self.detached)):
            raise TypeError(
                f"f: expected the same calls in each run, got {self._spikes} of spike and {self._held} of "
                f"detach after {len(self.distances)} and {len(self.detached)}; its course must not hang on "
                "values"
            )
        return value

    def _fired(self, distance: np.ndarray) -> np.ndarray:
        return distance >= 0 if self.fires == ">=" else distance > 0

    def _spike(self, distance: Any, population: str | None = None) -> Any:
        """s0 in the first run, s0 + psi(u0) (u - u0) after it."""
        index, self._spikes = self._spikes, self._spikes + 1
        back = self.own_convert or converter_like("u", distance)
        if self.recording:
            value = np.array(to_numpy("u", distance))
            self.distances.append(value)
            self.populations.append(f"spikes of shape {value.shape}" if population is None else population)
            return back(self._fired(value).astype(value.dtype))
        if index >= len(self.distances):
            return distance  # one call too many: said after the run
        u0 = self.distances[index]
        psi = np.broadcast_to(np.asarray(self.slope(u0.copy()), u0.dtype), u0.shape)
        return back(self._fired(u0).astype(u0.dtype)) + back(np.array(psi)) * (distance - back(u0))

    def _detach(self, value: Any) -> Any:
        """The value of the first run."""
        index, self._held = self._held, self._held + 1
        if self.recording:
            self.detached.append(np.array(to_numpy("detach", value)))
        if index >= len(self.detached):
            return value
        return (self.own_convert or converter_like("detach", value))(self.detached[index])


def _slope(surrogate: Psi) -> Callable[[np.ndarray], np.ndarray]:
    """psi as a function of the distance alone."""
    if isinstance(surrogate, Surrogate):
        shape, slope, height = SURROGATES[surrogate.shape], surrogate.slope, surrogate.height
        return lambda distance: shape(distance, slope, height, 1.0)
    if not callable(surrogate):
        raise TypeError(
            "surrogate: expected a Surrogate such as Surrogate('arctan', slope=3.14, height=1.0) or a "
            f"function psi(u), got {surrogate!r}"
        )
    return surrogate


def assert_surrogate_gradients_match(
    f: Callable[..., Any],
    df: Any,
    arguments: Any,
    *,
    surrogate: Psi,
    fires: str = ">=",
    loss: Callable[..., Any] | None = None,
    rates: tuple[float, float] | None = (0.0, 1.0),
    margin: float | None = None,
    oracle: str = "auto",
    relative: float | None = None,
    dead: Iterable[str] = (),
    seed: int = 0,
    entries: int = 400,
    step: float | None = None,
    same_dtype: bool = True,
    convert: Convert | None = None,
) -> None:
    """Assert that `df` is the surrogate gradient of a spiking function, leaf by leaf.

    `f` says what the forward pass is and where no gradient passes; `df` may be made by anything, for instance
    by torch from a layer of its own (then give `loss` too).

    Parameters
    ----------
    f : callable
        The loss as ``f(*arguments, spike=..., detach=...)``: ``spike(u)`` for every spike, or
        ``spike(u, "hidden")`` with the name of its population, ``detach(x)`` around what the gradient must
        not see (f need not take `detach`).
    df : callable or tree of arrays
        As in `assert_gradients_match`.
    arguments : dict, tuple, list or array
        As in `assert_gradients_match`.
    surrogate : Surrogate or callable
        psi(u), the derivative that stands for that of a spike at distance u from the threshold.
    fires : {">=", ">"}
        Whether a distance of exactly 0 is a spike.
    loss : callable, optional
        The loss by the layer under test, taking what `df` takes; it must be that of `f`.
    rates : tuple of float or None
        The share of neurons that fire must lie strictly between, of each population (of each shape where
        none is named); None leaves it open.
    margin : float, optional
        Least distance of a potential from the threshold, where rounding could decide: 1e-12 by default,
        1e-4 for float32.
    oracle, relative, dead, seed, entries, step, same_dtype, convert
        As in `assert_gradients_match`.

    Raises
    ------
    GradientMismatch
        If a leaf differs, or the two forward passes do.
    VacuousCheck
        If too few or too many neurons fire, one is at the threshold, or a leaf's true gradient is 0.
    TypeError, ValueError
        For arguments of wrong kind.

    Examples
    --------
    >>> psi = Surrogate("fast_sigmoid", slope=2.0, height=1.0)
    >>> inputs = np.array([[0.4, 1.0], [0.9, 0.3]])
    >>> layer = lambda weight, *, spike: (spike(inputs @ weight - 1.0) * np.array([1.0, -2.0])).sum()
    >>> weight = np.array([1.5, 0.2])
    >>> slopes = 1 / (1 + 2 * np.abs(inputs @ weight - 1)) ** 2
    >>> right = (slopes * np.array([1.0, -2.0])) @ inputs
    >>> assert_surrogate_gradients_match(layer, right, weight, surrogate=psi)
    >>> dead = np.zeros(2)
    >>> assert_surrogate_gradients_match(layer, dead, weight, surrogate=psi)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    refsnn.testing.errors.GradientMismatch: 1 of 1 leaves differ from the complex step through affine spikes
      'weight': worst at [0]: found 0, expected -0.339330999; off by 1.0e+00 of the largest entry 0.339, ...
        it is 0 everywhere: nothing is sent back (a dead surrogate, a detached tensor?)
      repeat with seed=0
    """
    affine = AffineSpikes(f, arguments, surrogate, fires, convert)
    single = any(leaf.dtype != np.float64 for leaf in affine.leaves.values())
    if margin is None:
        margin = 1e-4 if single else 1e-12
    assert_alive(
        rates=None if rates is None else affine.rate_of,
        between=rates or (0.0, 1.0),
        margin=affine.margin,
        least_margin=margin,
    )
    truth = truth_of(affine, oracle, tuple(dead), seed, entries, step)
    if loss is not None:
        found = float(np.real(to_numpy("loss", affine.called(loss, affine.leaves)).reshape(())))
        expected = float(np.real(affine.nominal))
        if not abs(found - expected) <= (1e-4 if single else 1e-10) * max(truth.scale, abs(found)):
            raise GradientMismatch(
                f"the forward passes differ before any gradient: the loss is {found:.9g}, that of f "
                f"{expected:.9g}; compare decay, gain, the reset and when it acts, > with >=, and the start"
            )
    compare_with_truth(truth, df, relative, tuple(dead), seed, same_dtype, " through affine spikes")
