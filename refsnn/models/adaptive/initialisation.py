"""How the weights of an LSNN are drawn: free, with random signs, or under Dale's law (Bellec et al. 2018).

Weights are (post, pre): n_pre is the number of columns.  All is drawn in float64, so that float32 is the same
draw, rounded.  Signs of neurons stand in `signs`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.models.adaptive.signs import sign_array


def gaussian_weight(rng: np.random.Generator, post: int, pre: int, dtype: Any = np.float64) -> np.ndarray:
    """Return N(0, 1) / sqrt(n_pre), for input and recurrent weights without constraints.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    post, pre : int
        Receiving and sending neurons.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    ndarray, (post, pre)

    Raises
    ------
    TypeError, ValueError
        For an `rng` that is no Generator, counts below 1, another dtype.

    Examples
    --------
    >>> gaussian_weight(np.random.default_rng(0), 3, 2).shape
    (3, 2)
    """
    dtype, shape = _door(rng, post, pre, dtype)
    return (rng.standard_normal(shape) / math.sqrt(pre)).astype(dtype)


def glorot_uniform(rng: np.random.Generator, post: int, pre: int, dtype: Any = np.float64) -> np.ndarray:
    """Return U(-l, l) with l = sqrt(6 / (n_pre + n_post)) (Glorot and Bengio 2010), for read-outs.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    post, pre : int
        Receiving and sending neurons.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    ndarray, (post, pre)

    Raises
    ------
    TypeError, ValueError
        For an `rng` that is no Generator, counts below 1, another dtype.

    Examples
    --------
    >>> bool(abs(glorot_uniform(np.random.default_rng(0), 2, 4)).max() <= 1)
    True
    """
    dtype, shape = _door(rng, post, pre, dtype)
    limit = math.sqrt(6 / (pre + post))
    return rng.uniform(-limit, limit, shape).astype(dtype)


def signed_weight(
    rng: np.random.Generator,
    post: int,
    pre: int,
    connectivity: float | None = None,
    dtype: Any = np.float64,
) -> tuple[np.ndarray, np.ndarray]:
    """A sparse weight whose entries have signs of their own: |N(0, 1)| / sqrt(n_pre), independent signs.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    post, pre : int
        Receiving and sending neurons.
    connectivity : float in (0, 1], optional
        p of `synapse_mask`; None is a dense matrix.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    weight, signs : ndarray, (post, pre)
        Signs of absent synapses too, which rewiring needs.

    Raises
    ------
    TypeError, ValueError
        For an `rng` that is no Generator, counts below 1, a connectivity outside (0, 1], another dtype.

    Examples
    --------
    >>> weight, signs = signed_weight(np.random.default_rng(0), 3, 2)
    >>> bool((np.sign(weight) == signs).all())
    True
    """
    dtype, shape = _door(rng, post, pre, dtype)
    present = _present(rng, shape, connectivity)
    weight = np.abs(rng.standard_normal(shape)) / math.sqrt(pre)
    signs = rng.choice((-1.0, 1.0), shape)
    return np.where(present, weight * signs, 0).astype(dtype), signs.astype(dtype)


def dale_weight(
    rng: np.random.Generator,
    signs: np.ndarray,
    post: int,
    connectivity: float | None = None,
) -> np.ndarray:
    """A weight under Dale's law: excitation and inhibition in balance, of spectral radius 1, made sparse.

    In the order of the LSNN code: a square matrix of all sending neurons, balanced and scaled
    (`balanced_square`), of whose receiving neurons the first n_post are taken (or n_post are drawn with
    replacement, where there are not as many), and a mask (`synapse_mask`).  Balance and radius are those of
    the square: the choice and the mask break them.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    signs : ndarray, (pre,)
        +1 for an excitatory, -1 for an inhibitory sending neuron.
    post : int
        Receiving neurons.
    connectivity : float in (0, 1], optional
        p of `synapse_mask`; None is a dense matrix.

    Returns
    -------
    ndarray, (post, pre)
        In the dtype of `signs`.

    Raises
    ------
    TypeError, ValueError
        For signs that are none, or inhibitory ones alone; a connectivity outside (0, 1].

    Examples
    --------
    >>> weight = dale_weight(np.random.default_rng(0), np.array([1.0, 1.0, -1.0]), post=2)
    >>> np.sign(weight)
    array([[ 1.,  1., -1.],
           [ 1.,  1., -1.]])
    """
    checks.generator("rng", rng)
    signs = sign_array("signs", signs, ("pre",))
    post, pre = checks.count("post", post), len(signs)
    present = _present(rng, (post, pre), connectivity)
    square = balanced_square(rng, signs)
    receivers = np.arange(post) if post <= pre else rng.integers(0, pre, post)
    return np.where(present, square[receivers], 0).astype(signs.dtype)


def balanced_square(rng: np.random.Generator, signs: np.ndarray) -> np.ndarray:
    """A square weight under Dale's law whose rows sum to 0 and whose spectral radius is 1.

    |N(0, 1)| times the sign of the sender; inhibition scaled to the sum of excitation over the matrix; then
    for each receiving neuron, with S the sum of its row, |S| spread evenly over its weights of the weaker
    kind, so that magnitudes only grow; then all divided by the largest modulus of an eigenvalue.  Without
    inhibitory neurons nothing is balanced.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    signs : ndarray, (n,)
        +1 or -1 a sending neuron.

    Returns
    -------
    ndarray of float64, (n, n)

    Raises
    ------
    TypeError, ValueError
        For signs that are none, or inhibitory ones alone, which nothing can balance.

    Examples
    --------
    >>> weight = balanced_square(np.random.default_rng(0), np.array([1.0, 1.0, -1.0]))
    >>> bool(np.allclose(weight.sum(axis=1), 0))
    True
    """
    checks.generator("rng", rng)
    signs = sign_array("signs", signs, ("n",))
    excitatory, inhibitory = signs > 0, signs < 0
    if not excitatory.any():
        raise ValueError(
            f"signs: expected at least one excitatory neuron, got {len(signs)} inhibitory ones; "
            "there is nothing to balance their weights"
        )
    magnitude = np.abs(rng.standard_normal((len(signs), len(signs))))
    if inhibitory.any():
        magnitude[:, inhibitory] *= magnitude[:, excitatory].sum() / magnitude[:, inhibitory].sum()
        excess = (magnitude * signs).sum(axis=1, keepdims=True)
        magnitude[:, excitatory] += np.maximum(-excess, 0) / excitatory.sum()
        magnitude[:, inhibitory] += np.maximum(excess, 0) / inhibitory.sum()
    weight = magnitude * signs
    return weight / np.abs(np.linalg.eigvals(weight)).max()


def synapse_mask(rng: np.random.Generator, post: int, pre: int, connectivity: float) -> np.ndarray:
    """Which synapses exist: floor(p |M|) pairs of indices drawn with replacement.

    Pairs drawn twice are one synapse, so that fewer exist than p |M| (at small p a share p / 2 fewer): the
    first rewiring fills the gap.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    post, pre : int
        Receiving and sending neurons.
    connectivity : float in (0, 1]
        p.

    Returns
    -------
    ndarray of bool, (post, pre)

    Raises
    ------
    TypeError, ValueError
        For a connectivity outside (0, 1], or so small that there is no synapse.

    Examples
    --------
    >>> int(synapse_mask(np.random.default_rng(0), 10, 10, 0.2).sum())
    18
    """
    shape = checks.count("post", post), checks.count("pre", pre)
    share = checks.number("connectivity", connectivity, 0, 1, low_open=True)
    pairs = math.floor(share * post * pre)
    if pairs < 1:
        raise ValueError(
            f"connectivity: expected at least one synapse in a weight of {post} x {pre}, got {share}; "
            f"raise it to {1 / (post * pre):.3g} or more"
        )
    checks.generator("rng", rng)
    present = np.zeros(shape, bool)
    present[rng.integers(0, post, pairs), rng.integers(0, pre, pairs)] = True
    return present


def _present(rng: np.random.Generator, shape: tuple[int, int], connectivity: float | None) -> np.ndarray:
    return np.ones(shape, bool) if connectivity is None else synapse_mask(rng, *shape, connectivity)


def _door(rng: np.random.Generator, post: int, pre: int, dtype: Any) -> tuple[np.dtype, tuple[int, int]]:
    checks.generator("rng", rng)
    return checks.float_dtype("dtype", dtype), (checks.count("post", post), checks.count("pre", pre))
