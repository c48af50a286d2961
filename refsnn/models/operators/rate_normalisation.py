"""Batch normalisation where time is gone: in the rate pass, and of temporal modes.

The rate pass of Yu 2024 normalises the average current c with statistics of the currents of all steps,

    c^ = (c - mu_r) / sqrt(V_r),

whose values are recorded and constant, but which depend on c as the mean and variance of c do: each is
replaced by its value plus what the mean, or the variance, of c has moved.  A temporal mode k is what a series
has along phi_k, I_k = sum_t phi_k(t) I_t; a constant 1 has m_k = sum_t phi_k(t).
"""

from __future__ import annotations

import numpy as np

from refsnn import checks
from refsnn.models.operators.normalisation import (
    channel_mean,
    channel_sum,
    entries_of,
    normalised_vjp,
    per_channel,
)

RATE_STATISTICS = ("joint", "mean", "last")


def rate_statistics(
    option: str, means: np.ndarray, variances: np.ndarray, epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    """mu_r and V_r of the recorded statistics.

    "joint" (BN-M) has one mu and sigma^2 for all steps: mu_r = mu, V_r = sigma^2 + eps.  Step by step (BN-S),
    "mean" takes mu_r = 1/T sum mu_t and 1 / V_r = 1/T sum 1 / (sigma_t^2 + eps); "last" what the official
    code computes, mu_T and sigma_T^2 + 2 eps.

    Parameters
    ----------
    option : {"joint", "mean", "last"}
        How; `exact_rate` is the fourth way and needs no such statistics.
    means, variances : ndarray, (T, C)
        mu_t and sigma_t^2, biased; T = 1 for "joint".
    epsilon : float
        eps.

    Returns
    -------
    mean, spread : ndarray, (C,)
        mu_r and V_r.

    Raises
    ------
    ValueError
        For an unknown option, or several steps with "joint".

    Examples
    --------
    >>> rate_statistics("mean", np.array([[1.0], [3.0]]), np.array([[1.0], [3.0]]), 0.0)
    (array([2.]), array([1.5]))
    """
    checks.choice("option", option, RATE_STATISTICS)
    real = variances.real.dtype.type
    spreads = variances + real(epsilon)
    if option == "mean":
        steps = real(len(means))
        return means.sum(axis=0) / steps, steps / (real(1) / spreads).sum(axis=0)
    if option == "last":
        return means[-1], spreads[-1] + real(epsilon)
    if len(means) != 1:
        raise ValueError(f"means: expected one mean for all steps with 'joint', got {len(means)}")
    return means[0], spreads[0]


def rate_vjp(
    adjoint: np.ndarray, average: np.ndarray, normal: np.ndarray, spread: np.ndarray, epsilon: float
) -> np.ndarray:
    """Pull dL/dc^ back to c by value replacement (Yu 2024, rate backward of BN).

    With d = dL/dc^, which is gamma times the error of c~, and c_bar = <c>,

        dL/dc = (d - <d> - (c - c_bar) / sqrt(V_r) <d c^>) / sqrt(V_r).

    c - c_bar, not c - mu_r: they differ for "last", and behind max pooling.  Where V_r - eps <= 0 the way
    through the variance is cut: the last term is not there.

    Parameters
    ----------
    adjoint : ndarray, (B, C, ...)
        d.
    average : ndarray, (B, C, ...)
        c.
    normal : ndarray, (B, C, ...)
        c^, of mu_r and V_r.
    spread : ndarray, (C,)
        V_r.
    epsilon : float
        eps.

    Returns
    -------
    ndarray, (B, C, ...)

    Examples
    --------
    >>> average = np.array([[1.0], [3.0]])
    >>> rate_vjp(np.array([[0.0], [1.0]]), average, np.array([[-1.0], [1.0]]), np.ones(1), 1e-5)
    array([[0.],
           [0.]])
    """
    root = per_channel(np.sqrt(spread), adjoint)
    through_variance = (spread.real - spread.real.dtype.type(epsilon) > 0) * channel_mean(adjoint * normal)
    centred = average - per_channel(channel_mean(average), average)
    moved = centred / root * per_channel(through_variance, adjoint)
    return (adjoint - per_channel(channel_mean(adjoint), adjoint) - moved) / root


def exact_rate(normals: np.ndarray) -> np.ndarray:
    """c^ = 1/T sum_t I^_t, taken literally: needs the normalised currents of all steps.

    Parameters
    ----------
    normals : ndarray, (T, B, C, ...)
        I^_t, each by the statistics of its step.

    Returns
    -------
    ndarray, (B, C, ...)

    Examples
    --------
    >>> exact_rate(np.array([[[1.0]], [[2.0]]]))
    array([[1.5]])
    """
    return normals.sum(axis=0) / normals.real.dtype.type(len(normals))


def exact_rate_vjp(adjoint: np.ndarray, normals: np.ndarray, spreads: np.ndarray) -> np.ndarray:
    """Pull dL/dc^ back to a shift of the currents of all steps, each step through its own statistics.

    dL/dc = 1/T sum_t (d - <d> - I^_t <d I^_t>) / sqrt(V_t).

    Parameters
    ----------
    adjoint : ndarray, (B, C, ...)
        d = dL/dc^.
    normals : ndarray, (T, B, C, ...)
        I^_t.
    spreads : ndarray, (T, C)
        V_t = sigma_t^2 + eps.

    Returns
    -------
    ndarray, (B, C, ...)

    Examples
    --------
    >>> exact_rate_vjp(np.ones((2, 1)), np.array([[[-1.0], [1.0]]]), np.ones((1, 1)))
    array([[0.],
           [0.]])
    """
    return exact_rate(
        np.stack([normalised_vjp(adjoint, *step) for step in zip(normals, spreads, strict=True)])
    )


def normalised_modes(
    modes: np.ndarray, constants: np.ndarray, mean: np.ndarray, spread: np.ndarray
) -> np.ndarray:
    """I^_k = (I_k - m_k mu) / sqrt(V): the modes of the normalised current, of those of the current.

    Parameters
    ----------
    modes : ndarray, (K, B, C, ...)
        I_k.
    constants : ndarray, (K,)
        m_k.
    mean, spread : ndarray, (C,)
        Joint mu and V.

    Returns
    -------
    ndarray, (K, B, C, ...)

    Examples
    --------
    >>> normalised_modes(np.full((1, 1, 1), 6.0), np.array([2.0]), np.ones(1), np.array([4.0]))
    array([[[2.]]])
    """
    shift = _per_mode(constants, modes) * per_channel(mean, modes[0])
    return (modes - shift) / per_channel(np.sqrt(spread), modes[0])


def normalised_modes_vjp(
    adjoint: np.ndarray, normal_modes: np.ndarray, constants: np.ndarray, spread: np.ndarray, steps: int
) -> np.ndarray:
    """`normalised_vjp` jointly over time, of an error that is a sum of modes a_k phi_k(t).

    With means over all T B H W entries, of which modes are the sums over time,

        dL/dI_k = (a_k - m_k <d> - I^_k <d I^>) / sqrt(V),    <d> = 1 / (T N) sum_{k, entries} a_k m_k,
        <d I^> = 1 / (T N) sum_{k, entries} a_k I^_k,         N = B H W.

    Parameters
    ----------
    adjoint : ndarray, (K, B, C, ...)
        a_k, of dL/dI^.
    normal_modes : ndarray, (K, B, C, ...)
        I^_k.
    constants : ndarray, (K,)
        m_k.
    spread : ndarray, (C,)
        Joint V.
    steps : int
        T.

    Returns
    -------
    ndarray, (K, B, C, ...)

    Examples
    --------
    >>> along = np.array([[[-1.0], [1.0]]])
    >>> normalised_modes_vjp(along, along, np.ones(1), np.ones(1), steps=1)
    array([[[0.],
            [0.]]])
    """
    entries = adjoint.real.dtype.type(steps * entries_of(adjoint[0]))
    weights = _per_mode(constants, adjoint)
    mean = channel_sum((adjoint * weights).sum(axis=0)) / entries
    along = channel_sum((adjoint * normal_modes).sum(axis=0)) / entries
    like = adjoint[0]
    moved = adjoint - weights * per_channel(mean, like) - normal_modes * per_channel(along, like)
    return moved / per_channel(np.sqrt(spread), like)


def scaled_modes_vjp(
    adjoint: np.ndarray, normal_modes: np.ndarray, constants: np.ndarray, gain: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`scaled_vjp` of modes, I~_k = gamma I^_k + m_k beta: gamma a_k, sum a_k I^_k and sum m_k a_k.

    Parameters
    ----------
    adjoint : ndarray, (K, B, C, ...)
        a_k, of dL/dI~.
    normal_modes : ndarray, (K, B, C, ...)
        I^_k.
    constants : ndarray, (K,)
        m_k.
    gain : ndarray, (C,)
        gamma.

    Returns
    -------
    by_normal : ndarray, (K, B, C, ...)
        Modes of dL/dI^.
    by_gain, by_bias : ndarray, (C,)
        dL/dgamma and dL/dbeta.

    Examples
    --------
    >>> scaled_modes_vjp(np.ones((1, 1, 1)), np.full((1, 1, 1), 3.0), np.array([2.0]), np.ones(1))
    (array([[[1.]]]), array([3.]), array([2.]))
    """
    by_gain = channel_sum((adjoint * normal_modes).sum(axis=0))
    by_bias = channel_sum((adjoint * _per_mode(constants, adjoint)).sum(axis=0))
    return per_channel(gain, adjoint[0]) * adjoint, by_gain, by_bias


def _per_mode(constants: np.ndarray, modes: np.ndarray) -> np.ndarray:
    """(K,) against (K, B, C, ...)."""
    return constants.reshape(-1, *(1,) * (modes.ndim - 1))
