"""Scaled weight standardisation: each unit's fan-in has mean 0 and variance 1/F (Xiao 2022, Eq. 13).

    d_ij = V_ij - mean_j V_ij,    W_ij = g_i d_ij / sqrt(F var_i + eps),    var_i = sum_j d_ij^2 / (F - 1).

V is the parameter and W the weight that is used; g is a learnable gain of each output unit or channel.
"""

from __future__ import annotations

from typing import Any

import numpy as np

EPSILON = 1e-4


def standardised(weight: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """W of V and g.

    Parameters
    ----------
    weight : ndarray, (O, ...)
        V; all axes behind the first are the fan-in, of at least 2 entries.
    gain : ndarray, (O,)
        g.

    Returns
    -------
    ndarray, (O, ...)

    Examples
    --------
    >>> np.round(standardised(np.array([[1.0, 3.0]]), np.ones(1)), 3)
    array([[-0.5,  0.5]])
    """
    centred, root = _centred(weight)
    return (gain[:, None] * centred / root).reshape(weight.shape)


def standardised_vjp(
    weight: np.ndarray, gain: np.ndarray, adjoint: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pull dL/dW back to V and g.

    With D = F var + eps, H = g dL/dW and the mean of H over the fan-in:
    dL/dg = sum_j (dL/dW)_j d_j / sqrt(D),
    dL/dV = (H - mean H) / sqrt(D) - F / (F - 1) D^(-3/2) d sum_k H_k d_k.

    Parameters
    ----------
    weight, gain
        As in `standardised`.
    adjoint : ndarray, (O, ...)
        dL/dW.

    Returns
    -------
    ndarray (O, ...), ndarray (O,)
        dL/dV and dL/dg.

    Examples
    --------
    >>> standardised_vjp(np.array([[1.0, 3.0]]), np.ones(1), np.ones((1, 2)))  # a shift of V changes nothing
    (array([[0., 0.]]), array([0.]))
    """
    centred, root = _centred(weight)
    fan_in = centred.shape[1]
    flat = adjoint.reshape(centred.shape)
    scaled = gain[:, None] * flat
    along = (scaled * centred).sum(axis=1, keepdims=True)
    unbiased = _real(weight, fan_in / (fan_in - 1))
    by_weight = (scaled - scaled.mean(axis=1, keepdims=True)) / root - unbiased * centred * along / root**3
    by_gain = (flat * centred / root).sum(axis=1)
    return by_weight.reshape(weight.shape), by_gain


def standardised_jvp(
    weight: np.ndarray, gain: np.ndarray, weight_tangent: np.ndarray, gain_tangent: np.ndarray
) -> np.ndarray:
    """Tangent of W for tangents of V and g, which may have axes in front.

    Parameters
    ----------
    weight, gain
        As in `standardised`.
    weight_tangent, gain_tangent : ndarray, (..., O, *fan-in) and (..., O)
        dV and dg; either may be without the axes in front.

    Returns
    -------
    ndarray, (..., O, *fan-in)

    Examples
    --------
    >>> weight, gain = np.array([[1.0, 3.0]]), np.ones(1)
    >>> moved = standardised_jvp(weight, gain, 0 * weight, np.ones(1))
    >>> bool(np.allclose(moved, standardised(weight, gain)))
    True
    """
    centred, root = _centred(weight)
    fan_in = centred.shape[1]
    moved = weight_tangent.reshape(*weight_tangent.shape[: -weight.ndim], *centred.shape)
    moved = moved - moved.mean(axis=-1, keepdims=True)
    unbiased = _real(weight, fan_in / (fan_in - 1))
    along = (centred * moved).sum(axis=-1, keepdims=True)
    tangent = gain_tangent[..., None] * centred / root + gain[:, None] * (
        moved / root - unbiased * centred * along / root**3
    )
    return tangent.reshape(*tangent.shape[:-1], *weight.shape[1:])


def _centred(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """d (O, F) and sqrt(F var + eps) (O, 1)."""
    flat = weight.reshape(len(weight), -1)
    centred = flat - flat.mean(axis=1, keepdims=True)
    fan_in = flat.shape[1]
    squares = (centred * centred).sum(axis=1, keepdims=True)
    return centred, np.sqrt(_real(weight, fan_in / (fan_in - 1)) * squares + _real(weight, EPSILON))


def _real(like: np.ndarray, value: float) -> Any:
    """A number in the real precision of an array, so that float32 stays float32."""
    return like.real.dtype.type(value)
