"""What turns gradients into updates: gradient descent with momentum, Adam, and a decaying learning rate.

An optimiser is a frozen set of hyper-parameters.  Parameters and gradients are dicts of arrays; what an
optimiser remembers is an `OptimiserState`, a number of updates and dicts of arrays like the parameters, so
that a training kept in a file goes on to the same bits.  `update` changes nothing that it is given and
returns new parameters and a new state, in the dtype of the parameters.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from refsnn import checks
from refsnn.algorithms.optimiser_state import Masks, OptimiserState
from refsnn.models.contract import Parameters, zeros_like

# A constant, or a function of the number of updates already done.
Rate = float | Callable[[int], float]


@dataclass(frozen=True)
class Staircase:
    """A learning rate that is multiplied by `factor` before the iterations `every`, 2 `every`, ...

    Iterations count from 0.

    Parameters
    ----------
    rate : float
        eta_0, positive.
    factor : float
        Positive; 0.3 every 100 iterations in the store-recall tutorial, 0.8 every 2500 in that of MNIST.
    every : int
        Iterations on one stair.
    not_before : int
        Stairs before this iteration are left out for good (in the MNIST tutorial, the first epoch).

    Raises
    ------
    TypeError, ValueError
        For a rate or a factor that is not positive and finite, and counts that are none.

    Examples
    --------
    >>> rate = Staircase(0.5, factor=0.5, every=2)
    >>> [rate(iteration) for iteration in range(5)]
    [0.5, 0.5, 0.25, 0.25, 0.125]
    """

    rate: float
    factor: float
    every: int
    not_before: int = 0

    def __post_init__(self) -> None:
        for name in ("rate", "factor"):
            object.__setattr__(self, name, checks.number(name, getattr(self, name), 0, low_open=True))
        object.__setattr__(self, "every", checks.count("every", self.every))
        object.__setattr__(self, "not_before", checks.count("not_before", self.not_before, 0))

    def __call__(self, iteration: int) -> float:
        left_out = max(self.not_before - 1, 0) // self.every
        return self.rate * self.factor ** max(iteration // self.every - left_out, 0)


@dataclass(frozen=True)
class Optimiser(ABC):
    """What all optimisers share: learning rates, the door, one parameter after the other.

    Parameters
    ----------
    learning_rate : float, callable or dict of str to float or callable
        eta for all parameters, or one for each name; a callable takes the number of updates done.

    Raises
    ------
    TypeError, ValueError
        For rates that are negative or no finite numbers.
    """

    learning_rate: Rate | Mapping[str, Rate]

    def __post_init__(self) -> None:
        given = self.learning_rate
        if isinstance(given, Mapping):
            rates = {f"learning_rate[{name!r}]": rate for name, rate in given.items()}
        else:
            rates = {"learning_rate": given}
        for name, rate in rates.items():
            if not callable(rate):
                checks.number(name, rate, 0)

    @property
    @abstractmethod
    def moments(self) -> tuple[str, ...]:
        """Names of the running averages that this optimiser keeps of each parameter."""

    def rate(self, name: str, iteration: int) -> float:
        """eta of the parameter `name` after `iteration` updates.

        Raises
        ------
        ValueError
            If `learning_rate` is a dict without that name, or a schedule gives a negative or infinite number.
        """
        rates = self.learning_rate
        if isinstance(rates, Mapping):
            if name not in rates:
                raise ValueError(
                    f"learning_rate: expected a rate for {name!r}, got rates for {sorted(rates)}"
                )
            rate = rates[name]
        else:
            rate = rates
        return checks.number("learning_rate", rate(iteration) if callable(rate) else rate, 0)

    def initial_state(self, parameters: Parameters) -> OptimiserState:
        """Nothing done, all moments 0."""
        return OptimiserState(0, {moment: zeros_like(parameters) for moment in self.moments})

    def update(
        self,
        parameters: Parameters,
        gradients: Parameters,
        state: OptimiserState,
        active: Masks | None = None,
    ) -> tuple[Parameters, OptimiserState]:
        """One update.

        Parameters
        ----------
        parameters : dict of str to ndarray
            theta; not changed.
        gradients : dict of str to ndarray
            dL/dtheta, of the same names, shapes and dtype.
        state : OptimiserState
            Of the last update, or `initial_state`; not changed.
        active : dict of str to ndarray of bool, optional
            Entries of an array named here that are False keep their value and their moments, as if the
            optimiser had never heard of them.

        Returns
        -------
        parameters : dict of str to ndarray
            After the update; no memory is shared with those given.
        state : OptimiserState

        Raises
        ------
        TypeError, ValueError
            For gradients that do not fit or are not finite, and the state of other parameters or of another
            optimiser.
        """
        shapes = {name: np.shape(value) for name, value in parameters.items()}
        parameters = checks.parameters("parameters", parameters, shapes)
        dtype = next((value.dtype for value in parameters.values()), None)
        gradients = checks.parameters("gradients", gradients, shapes, dtype=dtype)
        self._check_state(state, shapes, dtype)
        masks = _masks(active, shapes)
        moved: Parameters = {}
        moments: dict[str, Parameters] = {moment: {} for moment in self.moments}
        for name, value in parameters.items():
            before = tuple(state.moments[moment][name] for moment in self.moments)
            rate = self.rate(name, state.iteration)
            step, after = self.step(rate, state.iteration, gradients[name], before)
            new = value - step
            if name in masks:
                new = np.where(masks[name], new, value)
                after = tuple(
                    np.where(masks[name], late, early) for late, early in zip(after, before, strict=True)
                )
            moved[name] = np.asarray(new)  # arithmetic makes scalars of arrays without dimensions
            for moment, average in zip(self.moments, after, strict=True):
                moments[moment][name] = np.asarray(average)
        return moved, OptimiserState(state.iteration + 1, moments)

    @abstractmethod
    def step(
        self, rate: float, iteration: int, gradient: np.ndarray, moments: tuple[np.ndarray, ...]
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """What one array is to be lowered by, and its moments after that, after `iteration` updates."""

    def _check_state(
        self, state: OptimiserState, shapes: Mapping[str, tuple[int, ...]], dtype: np.dtype | None
    ) -> None:
        """Refuse the state of another optimiser or of other parameters."""
        checks.instance("state", state, OptimiserState, "optimiser.initial_state(parameters)")
        if set(state.moments) != set(self.moments):
            raise ValueError(
                f"state: expected the moments {sorted(self.moments)} of {type(self).__name__}, got "
                f"{sorted(state.moments)}; it is the state of another optimiser"
            )
        for moment, of in state.moments.items():
            checks.parameters(f"state.moments[{moment!r}]", of, shapes, dtype=dtype)


def _masks(active: Masks | None, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """`active` as boolean arrays of the parameters' shapes."""
    masks = {}
    for name, value in (active or {}).items():
        mask = checks.as_numpy(f"active[{name!r}]", value)
        if name not in shapes or mask.dtype != np.bool_ or mask.shape != shapes[name]:
            raise ValueError(
                f"active[{name!r}]: expected booleans of shape {shapes.get(name, 'of a parameter')}, got "
                f"{mask.dtype} of shape {mask.shape}"
            )
        masks[name] = mask
    return masks


@dataclass(frozen=True)
class GradientDescent(Optimiser):
    """theta <- theta - eta m,  m <- mu m + g: stochastic gradient descent with the heavy ball's momentum.

    Parameters
    ----------
    learning_rate : float, callable or dict of str to float or callable
        eta; as in `Optimiser`.
    momentum : float in [0, 1)
        mu; at 0 nothing is remembered but the number of updates.

    Raises
    ------
    TypeError, ValueError
        For a negative rate, and a momentum outside [0, 1).

    Examples
    --------
    >>> optimiser = GradientDescent(0.5)
    >>> start = {"bias": np.array([1.0])}
    >>> optimiser.update(start, {"bias": np.array([2.0])}, optimiser.initial_state(start))[0]
    {'bias': array([0.])}
    """

    momentum: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.number("momentum", self.momentum, 0, 1, high_open=True)

    @property
    def moments(self) -> tuple[str, ...]:
        """`velocity`, or none without momentum."""
        return ("velocity",) if self.momentum else ()

    def step(
        self, rate: float, iteration: int, gradient: np.ndarray, moments: tuple[np.ndarray, ...]
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """eta m, and m."""
        number = gradient.dtype.type
        if moments:
            gradient = number(self.momentum) * moments[0] + gradient
            moments = (gradient,)
        return number(rate) * gradient, moments


@dataclass(frozen=True)
class Adam(Optimiser):
    """Adam (Kingma and Ba 2015) as TensorFlow computes it, epsilon outside the bias correction.

    With t = 1 at the first update, and m = s = 0 before it,

        m <- beta_1 m + (1 - beta_1) g,    s <- beta_2 s + (1 - beta_2) g^2,
        theta <- theta - eta_t m / (sqrt(s) + epsilon),    eta_t = eta sqrt(1 - beta_2^t) / (1 - beta_1^t).

    The form of the paper's first listing, and of PyTorch, divides by sqrt(s / (1 - beta_2^t)) + epsilon: that
    is epsilon sqrt(1 - beta_2^t) here, at the first update an epsilon 32 times as small.  The two differ
    where gradients are as small as epsilon.

    Parameters
    ----------
    learning_rate : float, callable or dict of str to float or callable
        eta; as in `Optimiser`.
    first_decay, second_decay : float in [0, 1)
        beta_1, beta_2.
    stability : float
        epsilon, positive.
    bias_corrected_stability : bool
        Whether epsilon is added to the corrected root, the other form.

    Raises
    ------
    TypeError, ValueError
        For a negative rate, an epsilon that is not positive, and decays outside [0, 1).

    Examples
    --------
    >>> optimiser = Adam(0.01)
    >>> start = {"bias": np.array([1.0, 1.0, 1.0])}
    >>> gradients = {"bias": np.array([3.0, -0.2, 0.0])}
    >>> optimiser.update(start, gradients, optimiser.initial_state(start))[0]["bias"].round(6)
    array([0.99, 1.01, 1.  ])
    """

    first_decay: float = 0.9
    second_decay: float = 0.999
    stability: float = 1e-8
    bias_corrected_stability: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.number("first_decay", self.first_decay, 0, 1, high_open=True)
        checks.number("second_decay", self.second_decay, 0, 1, high_open=True)
        checks.number("stability", self.stability, 0, low_open=True)

    @property
    def moments(self) -> tuple[str, ...]:
        """m and s."""
        return ("first_moment", "second_moment")

    def step(
        self, rate: float, iteration: int, gradient: np.ndarray, moments: tuple[np.ndarray, ...]
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """eta_t m / (sqrt(s) + epsilon), and (m, s)."""
        number = gradient.dtype.type
        first, second = moments
        first = number(self.first_decay) * first + number(1 - self.first_decay) * gradient
        second = number(self.second_decay) * second + number(1 - self.second_decay) * (gradient * gradient)
        left = math.sqrt(1 - self.second_decay ** (iteration + 1))
        corrected = rate * left / (1 - self.first_decay ** (iteration + 1))
        stability = self.stability * left if self.bias_corrected_stability else self.stability
        return number(corrected) * first / (np.sqrt(second) + number(stability)), (first, second)


def clipped(gradients: Parameters, norm: float) -> Parameters:
    """Gradients scaled down such that their norm over all parameters together is at most `norm`.

    Parameters
    ----------
    gradients : dict of str to ndarray
        Not changed.
    norm : float
        Positive.

    Returns
    -------
    dict of str to ndarray
        The same arrays where nothing is to be scaled.

    Raises
    ------
    TypeError, ValueError
        For a norm that is not positive and finite.

    Examples
    --------
    >>> clipped({"weight": np.array([3.0, 4.0])}, 1.0)
    {'weight': array([0.6, 0.8])}
    """
    norm = checks.number("norm", norm, 0, low_open=True)
    total = math.sqrt(sum(float(np.square(value, dtype=np.float64).sum()) for value in gradients.values()))
    if total <= norm:
        return dict(gradients)
    return {name: value * value.dtype.type(norm / total) for name, value in gradients.items()}
