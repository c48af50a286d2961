"""Learning to learn functions: each task is a function, shown example by example (Bellec 2018, section 5).

The network is told each target one example late, with the next input.  Learning a task happens in its state,
learning to learn in its weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from refsnn import checks
from refsnn.datasets.encoding import bernoulli_spikes, population_code
from refsnn.datasets.labelled import float_dtype
from refsnn.models.spike_events import SpikeEvents


@runtime_checkable
class Family(Protocol):
    """A family of functions: what `draw_episodes` asks of it.

    `dimensions` is the number d of inputs of a function, `point_range` and `target_range` say between which
    values inputs and targets lie.
    """

    dimensions: int

    @property
    def point_range(self) -> tuple[float, float]:
        """Lowest and highest value of an input."""

    @property
    def target_range(self) -> tuple[float, float]:
        """Lowest and highest value of a target."""

    def draw(self, rng: np.random.Generator, tasks: int, examples: int) -> tuple[np.ndarray, np.ndarray]:
        """Points (examples, tasks, d) and targets (examples, tasks) of functions drawn at random."""


# ---- families ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TwoLayerNetworks:
    """Networks of two inputs, a hidden layer and one output, all sigmoid, with random weights.

    target = sigmoid(sum over h of c_h sigmoid(a_h . x + b_h)).  Ten hidden neurons make 40 parameters: 20
    weights a, 10 biases b, 10 weights c; the output has no bias.

    Parameters
    ----------
    hidden : int
        Hidden neurons.
    weight_range : float
        Weights and biases are uniform in [-weight_range, weight_range].
    input_range : float
        Points are uniform in [-input_range, input_range]^2.

    Notes
    -----
    With both ranges at 1 the functions are all but linear: a straight line through a task leaves 1 % of its
    variance.  Larger ranges make tasks that a line cannot learn.
    """

    hidden: int = 10
    weight_range: float = 1.0
    input_range: float = 1.0
    dimensions = 2

    def __post_init__(self) -> None:
        checks.count("hidden", self.hidden)
        checks.number("weight_range", self.weight_range, 0, low_open=True)
        checks.number("input_range", self.input_range, 0, low_open=True)

    @property
    def point_range(self) -> tuple[float, float]:
        """Of both inputs."""
        return -self.input_range, self.input_range

    @property
    def target_range(self) -> tuple[float, float]:
        """That of a sigmoid."""
        return 0.0, 1.0

    def draw(self, rng: np.random.Generator, tasks: int, examples: int) -> tuple[np.ndarray, np.ndarray]:
        """Points and targets of random networks.

        Parameters
        ----------
        rng : numpy.random.Generator
            Draws networks, then points.
        tasks, examples : int
            How many of each.

        Returns
        -------
        points : ndarray of float64, (examples, tasks, 2)
        targets : ndarray of float64, (examples, tasks)

        Examples
        --------
        >>> points, targets = TwoLayerNetworks().draw(np.random.default_rng(0), tasks=3, examples=5)
        >>> points.shape, targets.shape
        ((5, 3, 2), (5, 3))
        """
        weights = rng.uniform(-self.weight_range, self.weight_range, (tasks, self.hidden, 4))
        incoming, bias, outgoing = weights[..., :2], weights[..., 2], weights[..., 3]
        points = rng.uniform(*self.point_range, (examples, tasks, 2))
        hidden = _sigmoid(np.einsum("ntd,thd->nth", points, incoming) + bias)
        return points, _sigmoid((hidden * outgoing).sum(axis=2))


@dataclass(frozen=True)
class Sines:
    """Sines of one input with random amplitude and phase: target = amplitude sin(x + phase).

    Parameters
    ----------
    amplitude_range : tuple of float
        Amplitudes are uniform between the two.
    phase_range : tuple of float
        Phases too.
    input_range : float
        Points are uniform in [-input_range, input_range].
    """

    amplitude_range: tuple[float, float] = (0.1, 5.0)
    phase_range: tuple[float, float] = (0.0, np.pi)
    input_range: float = 5.0
    dimensions = 1

    def __post_init__(self) -> None:
        _interval("amplitude_range", self.amplitude_range, 0)
        _interval("phase_range", self.phase_range, -np.inf)
        checks.number("input_range", self.input_range, 0, low_open=True)

    @property
    def point_range(self) -> tuple[float, float]:
        """Of the input."""
        return -self.input_range, self.input_range

    @property
    def target_range(self) -> tuple[float, float]:
        """That of the largest amplitude."""
        return -self.amplitude_range[1], self.amplitude_range[1]

    def draw(self, rng: np.random.Generator, tasks: int, examples: int) -> tuple[np.ndarray, np.ndarray]:
        """Points and targets of random sines.

        Parameters
        ----------
        rng : numpy.random.Generator
            Draws sines, then points.
        tasks, examples : int
            How many of each.

        Returns
        -------
        points : ndarray of float64, (examples, tasks, 1)
        targets : ndarray of float64, (examples, tasks)

        Examples
        --------
        >>> points, targets = Sines().draw(np.random.default_rng(0), tasks=3, examples=5)
        >>> points.shape, targets.shape
        ((5, 3, 1), (5, 3))
        """
        amplitude, phase = rng.uniform(*self.amplitude_range, tasks), rng.uniform(*self.phase_range, tasks)
        points = rng.uniform(*self.point_range, (examples, tasks, 1))
        return points, amplitude * np.sin(points[..., 0] + phase)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), by a function that cannot overflow."""
    return (1 + np.tanh(x / 2)) / 2


def _interval(name: str, value: Any, low: float) -> None:
    """Two ascending numbers."""
    if not isinstance(value, tuple) or len(value) != 2:
        raise TypeError(f"{name}: expected a pair (low, high), got {value!r}")
    first = checks.number(f"{name}[0]", value[0], low)
    checks.number(f"{name}[1]", value[1], first, low_open=True)


# ---- episodes ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Episodes:
    """One episode of each of B tasks.

    Attributes
    ----------
    inputs : SpikeEvents
        T = examples * steps_per_example steps of B samples: population codes of the point's coordinates and
        of the previous target.
    points : ndarray, (examples, B, d)
        Where the functions are asked.
    targets : ndarray, (examples, B)
        Their values there.
    steps_per_example : int
        How long an example lasts.
    """

    inputs: SpikeEvents
    points: np.ndarray
    targets: np.ndarray
    steps_per_example: int


def draw_episodes(
    rng: np.random.Generator,
    family: Family,
    tasks: int = 10,
    examples: int = 500,
    steps_per_example: int = 20,
    neurons: int = 100,
    width: float = 1.0,
    highest_rate: float = 0.2,
    time_step: float = 1.0,
    dtype: Any = np.float64,
) -> Episodes:
    """New tasks of a family, an episode of each, at the paper's size unless asked otherwise.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws tasks, points and spikes.
    family : Family
        `TwoLayerNetworks()`, `Sines()` or your own.
    tasks : int
        B.
    examples : int
        Length of an episode.
    steps_per_example : int
        Steps for which an example is shown.
    neurons : int
        Input neurons for each coded value, from 2; their centres are evenly spaced over the family's ranges.
    width : float
        Of the tuning curves, in distances between neighbouring centres.
    highest_rate : float
        In spikes per ms.
    time_step : float
        In ms.
    dtype : dtype
        Of all arrays: float64 or float32.

    Returns
    -------
    Episodes
        With (d + 1) * neurons inputs: first coordinate, second, ..., previous target, which is 0 at the
        first example.

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind or range.

    Examples
    --------
    >>> episodes = draw_episodes(np.random.default_rng(0), TwoLayerNetworks(), tasks=2, examples=5, neurons=8)
    >>> episodes.inputs.steps, episodes.inputs.width, episodes.targets.shape
    (100, 24, (5, 2))
    """
    checks.generator("rng", rng)
    checks.instance("family", family, Family, "TwoLayerNetworks()")
    tasks, examples = checks.count("tasks", tasks), checks.count("examples", examples)
    steps = checks.count("steps_per_example", steps_per_example)
    neurons = checks.count("neurons", neurons, minimum=2)
    width = checks.number("width", width, 0, low_open=True)
    time_step = checks.number("time_step", time_step, 0, low_open=True)
    highest_rate = checks.number("highest_rate", highest_rate, 0, 1 / time_step)  # one spike a step at most
    kind = float_dtype(dtype)
    points, targets = family.draw(rng, tasks, examples)
    checks.float_array("points of the family", points, (examples, tasks, family.dimensions))
    checks.float_array("targets of the family", targets, (examples, tasks), points.dtype)
    previous = np.concatenate([np.zeros_like(targets[:1]), targets[:-1]])
    shown = [(points[..., index], family.point_range) for index in range(family.dimensions)]
    rates = [
        population_code(
            values,
            np.linspace(low, high, neurons).astype(points.dtype),
            width * (high - low) / (neurons - 1),
            highest_rate,
        )
        for values, (low, high) in [*shown, (previous, family.target_range)]
    ]
    spikes = bernoulli_spikes(rng, np.concatenate(rates, axis=2), steps, time_step, kind)
    return Episodes(spikes, points.astype(kind), targets.astype(kind), steps)


# ---- what is easy -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Baselines:
    """Mean squared errors of answers that need no network.

    Attributes
    ----------
    family_constant : float
        One number for all tasks, the mean of all targets: what is known before the first example.
    task_mean : float
        The mean of each task's targets.
    task_linear : float
        A least-squares line or plane through all examples of each task.
    """

    family_constant: float
    task_mean: float
    task_linear: float


def baselines(points: Any, targets: Any) -> Baselines:
    """The errors to compare a learner with; each answer is fitted to the very targets it is judged by.

    Parameters
    ----------
    points : array_like of float, (examples, tasks, d)
        As in `Episodes`.
    targets : array_like of float, (examples, tasks)
        As in `Episodes`; many tasks, for the constant to be the family's.

    Returns
    -------
    Baselines

    Raises
    ------
    TypeError, ValueError
        For arrays of wrong kind or shape.

    Examples
    --------
    >>> found = baselines([[[0.0], [0.0]], [[1.0], [1.0]]], [[0.0, 3.0], [2.0, 3.0]])
    >>> found.family_constant, found.task_mean, round(found.task_linear, 9)
    (1.5, 0.5, 0.0)
    """
    asked = checks.float_array("points", points, ("examples", "tasks", "d"))
    wanted = checks.float_array("targets", targets, asked.shape[:2], asked.dtype).astype(np.float64)
    columns = np.concatenate([np.ones((*asked.shape[:2], 1)), asked], axis=2).transpose(1, 0, 2)
    # pseudo-inverses, so that an episode shorter than a plane has unknowns is fitted too
    coefficients = np.linalg.pinv(columns) @ wanted.T[:, :, None]
    residual = wanted.T - (columns @ coefficients)[..., 0]
    return Baselines(
        float(np.mean((wanted - wanted.mean()) ** 2)),
        float(np.mean((wanted - wanted.mean(axis=0)) ** 2)),
        float(np.mean(residual**2)),
    )
