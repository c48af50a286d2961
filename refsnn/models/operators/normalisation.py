"""Batch normalisation of currents, each derivative under its function.

Per channel (dense: per unit), with <.> the mean over all entries of a channel, N of them,

    I^ = (I - mu) / sqrt(V),    I~ = gamma I^ + beta,    V = sigma^2 + eps,

where mu = <I> and sigma^2 = <(I - mu)^2> are the batch's, or running ones in evaluation.  Jointly over time
(BN-M of Yu 2024) the entries are those of all steps and samples together, N = T B H W: put them in the first
axis.  Step by step (BN-S) each step is a batch of its own.  What a rate pass or temporal modes make of either
stands in `rate_normalisation`.  gamma and beta are the arguments `gain` and `bias` here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from refsnn import checks
from refsnn.models.operators.operator import Operator, Shape, Weights


def statistics(current: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance of each channel.

    Parameters
    ----------
    current : ndarray, (N, C, ...)
        I; real or complex (nothing is conjugated).

    Returns
    -------
    mean, variance : ndarray, (C,)
        mu and sigma^2.

    Examples
    --------
    >>> statistics(np.array([[1.0], [3.0]]))
    (array([2.]), array([1.]))
    """
    mean = channel_mean(current)
    centred = current - per_channel(mean, current)
    return mean, channel_mean(centred * centred)


def normalised(current: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """I^ = (I - mu) / sqrt(V).

    Parameters
    ----------
    current : ndarray, (N, C, ...)
        I.
    mean, spread : ndarray, (C,)
        mu, and V with eps inside.

    Returns
    -------
    ndarray, (N, C, ...)

    Examples
    --------
    >>> normalised(np.array([[1.0], [5.0]]), np.array([3.0]), np.array([4.0]))
    array([[-1.],
           [ 1.]])
    """
    return (current - per_channel(mean, current)) / per_channel(np.sqrt(spread), current)


def normalised_vjp(adjoint: np.ndarray, normal: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Pull dL/dI^ back to I through the batch's own statistics (Yu 2024, BN line of the exact backward pass).

    dL/dI = (d - <d> - I^ <d I^>) / sqrt(V).  The Jacobian is symmetric: tangents of I go the same way to
    tangents of I^.  With running statistics, which are constants, dL/dI = d / sqrt(V).

    Parameters
    ----------
    adjoint : ndarray, (N, C, ...)
        d = dL/dI^.
    normal : ndarray, (N, C, ...)
        I^.
    spread : ndarray, (C,)
        V.

    Returns
    -------
    ndarray, (N, C, ...)

    Examples
    --------
    >>> normal = np.array([[-1.0], [1.0]])
    >>> normalised_vjp(np.ones((2, 1)), normal, np.ones(1))  # a shift of all changes nothing
    array([[0.],
           [0.]])
    """
    along = per_channel(channel_mean(adjoint * normal), adjoint)
    centred = adjoint - per_channel(channel_mean(adjoint), adjoint)
    return (centred - normal * along) / per_channel(np.sqrt(spread), adjoint)


def scaled(normal: np.ndarray, gain: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """I~ = gamma I^ + beta.

    Parameters
    ----------
    normal : ndarray, (N, C, ...)
        I^.
    gain, bias : ndarray, (C,)
        gamma and beta.

    Returns
    -------
    ndarray, (N, C, ...)

    Examples
    --------
    >>> scaled(np.ones((1, 1)), np.array([2.0]), np.array([0.5]))
    array([[2.5]])
    """
    return per_channel(gain, normal) * normal + per_channel(bias, normal)


def scaled_vjp(
    adjoint: np.ndarray, normal: np.ndarray, gain: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pull d = dL/dI~ back to I^, gamma and beta: gamma d, sum d I^ and sum d.

    Parameters
    ----------
    adjoint : ndarray, (N, C, ...)
        d.
    normal : ndarray, (N, C, ...)
        I^.
    gain : ndarray, (C,)
        gamma.

    Returns
    -------
    by_normal : ndarray, (N, C, ...)
        dL/dI^.
    by_gain, by_bias : ndarray, (C,)
        dL/dgamma and dL/dbeta.

    Examples
    --------
    >>> scaled_vjp(np.ones((1, 1)), np.array([[3.0]]), np.array([2.0]))
    (array([[2.]]), array([3.]), array([1.]))
    """
    return per_channel(gain, adjoint) * adjoint, channel_sum(adjoint * normal), channel_sum(adjoint)


def updated_running(
    running: Weights, mean: np.ndarray, variance: np.ndarray, entries: int, momentum: float
) -> Weights:
    """Running statistics after one more batch: (1 - momentum) old + momentum new, of the unbiased variance.

    Parameters
    ----------
    running : dict of ndarray
        "mean" and "variance", (C,).
    mean, variance : ndarray, (C,)
        Of the batch; the variance biased, as `statistics` gives it.
    entries : int
        N, entries of a channel: T B H W jointly over time, B H W of one step.
    momentum : float
        Weight of the new ones.

    Returns
    -------
    dict of ndarray

    Raises
    ------
    ValueError
        For a single entry, of which there is no unbiased variance.

    Examples
    --------
    >>> running = {"mean": np.zeros(1), "variance": np.ones(1)}
    >>> updated_running(running, np.ones(1), np.ones(1), entries=2, momentum=0.5)
    {'mean': array([0.5]), 'variance': array([1.5])}
    """
    checks.count("entries", entries, minimum=2)
    new, real = {"mean": mean, "variance": variance}, variance.real.dtype.type
    new["variance"] = variance * real(entries / (entries - 1))
    return {
        name: real(1 - momentum) * running[name] + real(momentum) * statistic
        for name, statistic in new.items()
    }


class BatchRecord(NamedTuple):
    """What the backward pass and the running statistics need of a batch.

    Attributes
    ----------
    normal : ndarray, (N, C, ...)
        I^.
    mean, variance, spread : ndarray, (C,)
        mu, sigma^2 and V.
    """

    normal: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    spread: np.ndarray


@dataclass(frozen=True)
class BatchNormalisation(Operator):
    """gamma (I - mu) / sqrt(sigma^2 + eps) + beta, per channel of (C, H, W) or per unit of (n,).

    Parameters
    ----------
    momentum : float in [0, 1]
        Weight of a new batch in the running statistics.
    epsilon : float
        eps > 0.
    over : {"sequence", "step"}
        Whose statistics: of all steps and samples jointly (BN-M), or of each step's own samples (BN-S).

    Raises
    ------
    TypeError, ValueError
        For values out of their intervals.

    Examples
    --------
    >>> operator, weights = BatchNormalisation(), {"gamma": np.ones(1), "beta": np.zeros(1)}
    >>> outputs, record = operator.forward(weights, np.array([[1.0], [3.0]]))
    >>> np.round(outputs, 4), record.mean
    (array([[-1.],
           [ 1.]]), array([2.]))
    """

    momentum: float = 0.1
    epsilon: float = 1e-5
    over: str = "sequence"

    def __post_init__(self) -> None:
        checks.choice("over", self.over, ("sequence", "step"))
        object.__setattr__(self, "momentum", checks.number("momentum", self.momentum, 0, 1))
        object.__setattr__(self, "epsilon", checks.number("epsilon", self.epsilon, 0, low_open=True))

    def output_shape(self, shape: Shape) -> Shape:
        """As before.

        Raises
        ------
        ValueError
            If inputs are neither flat nor images.
        """
        if len(shape) not in (1, 3):
            raise ValueError(f"inputs: expected (n,) or (C, H, W) under a normalisation, got {shape}")
        return shape

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        """`gamma` and `beta`, one a channel."""
        return {"gamma": (shape[0],), "beta": (shape[0],)}

    def initial_running(self, shape: Shape, dtype: np.dtype) -> Weights:
        """Running statistics at the start: mean 0 and variance 1."""
        return {"mean": np.zeros(shape[0], dtype), "variance": np.ones(shape[0], dtype)}

    def forward(self, weights: Weights, current: np.ndarray) -> tuple[np.ndarray, BatchRecord]:
        """I~ by the statistics of the batch.

        Parameters
        ----------
        weights : dict of ndarray
            gamma and beta.
        current : ndarray, (N, C, ...)
            I.

        Returns
        -------
        outputs : ndarray, (N, C, ...)
            I~.
        record : BatchRecord
            For `vjp` and `updated`.

        Raises
        ------
        ValueError
            For a single entry a channel, which has no variance.
        """
        if entries_of(current) < 2:
            raise ValueError(
                "inputs: expected at least 2 entries a channel to normalise by their statistics, "
                f"got shape {current.shape}; take a larger batch, or running statistics"
            )
        mean, variance = statistics(current)
        return self._normalised(weights, current, mean, variance)

    def evaluate(
        self, weights: Weights, running: Weights, current: np.ndarray
    ) -> tuple[np.ndarray, BatchRecord]:
        """I~ by running statistics.

        Parameters
        ----------
        weights, running : dict of ndarray
            gamma and beta; mean and variance.
        current : ndarray, (N, C, ...)
            I.

        Returns
        -------
        outputs : ndarray, (N, C, ...)
            I~.
        record : BatchRecord
            For `evaluate_vjp`.
        """
        return self._normalised(weights, current, running["mean"], running["variance"])

    def vjp(self, weights: Weights, record: BatchRecord, adjoint: np.ndarray) -> tuple[np.ndarray, Weights]:
        """Pull dL/dI~ of `forward` back to I, gamma and beta.

        Parameters
        ----------
        weights : dict of ndarray
            gamma and beta.
        record : BatchRecord
            Of `forward`.
        adjoint : ndarray, (N, C, ...)
            dL/dI~.

        Returns
        -------
        by_current : ndarray, (N, C, ...)
            dL/dI.
        gradients : dict of ndarray
            Of gamma and beta.
        """
        by_normal, by_gain, by_bias = scaled_vjp(adjoint, record.normal, weights["gamma"])
        by_current = normalised_vjp(by_normal, record.normal, record.spread)
        return by_current, {"gamma": by_gain, "beta": by_bias}

    def evaluate_vjp(
        self, weights: Weights, record: BatchRecord, adjoint: np.ndarray
    ) -> tuple[np.ndarray, Weights]:
        """Pull dL/dI~ of `evaluate` back to I, gamma and beta: running statistics are constants.

        Parameters
        ----------
        weights : dict of ndarray
            gamma and beta.
        record : BatchRecord
            Of `evaluate`.
        adjoint : ndarray, (N, C, ...)
            dL/dI~.

        Returns
        -------
        by_current : ndarray, (N, C, ...)
            dL/dI.
        gradients : dict of ndarray
            Of gamma and beta.
        """
        by_normal, by_gain, by_bias = scaled_vjp(adjoint, record.normal, weights["gamma"])
        return by_normal / per_channel(np.sqrt(record.spread), by_normal), {"gamma": by_gain, "beta": by_bias}

    def updated(self, running: Weights, record: BatchRecord) -> Weights:
        """Running statistics after the batch of a record: once a sequence (BN-M) or once a step (BN-S)."""
        entries = entries_of(record.normal)
        return updated_running(running, record.mean, record.variance, entries, self.momentum)

    def _normalised(
        self, weights: Weights, current: np.ndarray, mean: np.ndarray, variance: np.ndarray
    ) -> tuple[np.ndarray, BatchRecord]:
        spread = variance + variance.real.dtype.type(self.epsilon)
        normal = normalised(current, mean, spread)
        return scaled(normal, weights["gamma"], weights["beta"]), BatchRecord(normal, mean, variance, spread)


# -- channels stand in the second axis -----------------------------------------------------------------


def per_channel(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    """(C,) as an array that broadcasts against (N, C, ...).

    Examples
    --------
    >>> per_channel(np.ones(3), np.ones((2, 3, 4, 4))).shape
    (3, 1, 1)
    """
    return values.reshape(-1, *(1,) * (like.ndim - 2))


def channel_sum(values: np.ndarray) -> np.ndarray:
    """Sum of (N, C, ...) over all axes but the second.

    Examples
    --------
    >>> channel_sum(np.ones((2, 3)))
    array([2., 2., 2.])
    """
    return values.sum(axis=(0, *range(2, values.ndim)))


def channel_mean(values: np.ndarray) -> np.ndarray:
    """Mean of (N, C, ...) over all axes but the second: <.>.

    Examples
    --------
    >>> channel_mean(np.ones((2, 3)))
    array([1., 1., 1.])
    """
    return channel_sum(values) / values.real.dtype.type(entries_of(values))


def entries_of(values: np.ndarray) -> int:
    """N: entries of one channel of (N, C, ...).

    Examples
    --------
    >>> entries_of(np.ones((2, 3, 4, 4)))
    32
    """
    return values.size // values.shape[1]
