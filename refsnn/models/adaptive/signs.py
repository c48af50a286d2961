"""Dale's law: a neuron excites or inhibits all that it sends to, so signs belong to columns of a weight.

Weights are (post, pre) everywhere in this package, current = x @ W.T; column i holds the synapses that
neuron i sends.  Signs are +1 and -1, of every entry of a matrix, of synapses that do not exist too.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from refsnn import checks


def neuron_signs(
    rng: np.random.Generator,
    count: int,
    excitatory_share: float = 0.75,
    shuffle: bool = False,
    dtype: Any = np.float64,
) -> np.ndarray:
    """One sign a neuron: floor(share n) + 1 excitatory ones, the inhibitory ones first or in random order.

    The sequential-MNIST code shuffles the signs of inputs; those of recurrent neurons stay in order, so that
    all inhibitory neurons are among the first, which do not adapt.

    Parameters
    ----------
    rng : numpy.random.Generator
        Drawn from only to shuffle.
    count : int
        n, number of neurons.
    excitatory_share : float in [0, 1)
        Below the share that comes out; at least one neuron is excitatory.
    shuffle : bool
        Whether the order is drawn.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    ndarray, (count,)

    Raises
    ------
    TypeError, ValueError
        For a count that is none and a share outside [0, 1).

    Examples
    --------
    >>> neuron_signs(np.random.default_rng(0), 5, 0.5)
    array([-1., -1.,  1.,  1.,  1.])
    """
    checks.generator("rng", rng)
    count = checks.count("count", count)
    share = checks.number("excitatory_share", excitatory_share, 0, 1, high_open=True)
    excitatory = math.floor(share * count) + 1
    signs = np.ones(count, checks.float_dtype("dtype", dtype))
    signs[: count - excitatory] = -1
    if shuffle:
        rng.shuffle(signs)
    return signs


def matrix_signs(signs: np.ndarray, post: int) -> np.ndarray:
    """The sign of every entry of a weight (post, pre), from those of its presynaptic neurons (pre,).

    Parameters
    ----------
    signs : ndarray, (pre,)
        +1 or -1 a presynaptic neuron.
    post : int
        Number of receiving neurons.

    Returns
    -------
    ndarray, (post, pre)

    Raises
    ------
    TypeError, ValueError
        For signs that are none.

    Examples
    --------
    >>> matrix_signs(np.array([1.0, -1.0]), 2)
    array([[ 1., -1.],
           [ 1., -1.]])
    """
    signs = sign_array("signs", signs, ("pre",))
    return np.tile(signs, (checks.count("post", post), 1))


def sign_array(name: str, value: Any, shape: checks.Shape | None = None) -> np.ndarray:
    """Return `value` as an array of +1 and -1, or say why it is none.

    Raises
    ------
    TypeError, ValueError
        For integers (signs have the dtype of the weights), wrong shapes and other numbers.

    Examples
    --------
    >>> sign_array("signs", [1.0, 0.0])
    Traceback (most recent call last):
    ...
    ValueError: signs: expected +1 and -1 alone, got 0.0 at [1]; each entry needs a sign, absent synapses too
    """
    signs = checks.float_array(name, value, shape)
    wrong = np.argwhere(np.abs(signs) != 1)
    if len(wrong):
        where = tuple(int(index) for index in wrong[0])
        raise ValueError(
            f"{name}: expected +1 and -1 alone, got {signs[where]} at {list(where)}; "
            "each entry needs a sign, absent synapses too"
        )
    return signs


def check_signs(weight: np.ndarray, signs: np.ndarray, name: str = "weight") -> np.ndarray:
    """Return a weight that keeps its signs; 0 has either.

    Parameters
    ----------
    weight : ndarray, (post, pre)
        One matrix.
    signs : ndarray, (pre,) or (post, pre)
        Of the presynaptic neurons, or of each entry.
    name : str
        Of the weight, for the message.

    Returns
    -------
    ndarray, (post, pre)

    Raises
    ------
    TypeError, ValueError
        For arrays that do not fit, and a weight against its sign, naming the neuron.

    Examples
    --------
    >>> check_signs(np.array([[0.5, 0.25], [0.0, -1.0]]), np.array([1.0, -1.0]))
    Traceback (most recent call last):
    ...
    ValueError: weight: expected weights <= 0 from the inhibitory neuron 1, got 0.25 to neuron 0 (1 of its
    2 weights, 1 against their sign in all); give it the other sign or set them to 0
    """
    weight = checks.float_array(name, weight, ("post", "pre"))
    signs = sign_array(f"signs of {name}", signs)
    if signs.shape not in (weight.shape, weight.shape[1:]):
        raise ValueError(
            f"signs of {name}: expected shape {weight.shape[1:]}, one a presynaptic neuron, or "
            f"{weight.shape}, got {signs.shape}"
        )
    against = weight * signs < 0
    if against.any():
        first = int(np.flatnonzero(against.any(axis=0))[0])
        column, row = against[:, first], int(np.flatnonzero(against[:, first])[0])
        sign = signs[first] if signs.ndim == 1 else signs[row, first]
        uniform = signs.ndim == 1 or bool((signs[:, first] == sign).all())
        kind = ("excitatory " if sign > 0 else "inhibitory ") if uniform else ""
        raise ValueError(
            f"{name}: expected weights {'>=' if sign > 0 else '<='} 0 from the {kind}neuron {first}, got "
            f"{weight[row, first]} to neuron {row} ({column.sum()} of its {len(column)} weights, "
            f"{against.sum()} against their sign in all); give it the other sign or set them to 0"
        )
    return weight
