"""psi in the words of another array library: torch or jax.numpy in place of NumPy.

The formulas are those of `refsnn.equations.surrogates`, written again for libraries that trace what is
computed; a test holds the two against each other.
"""

from __future__ import annotations

from typing import Any

from refsnn.vectors.case import Hyperparameters


def psi(library: Any, given: Hyperparameters, distance: Any) -> Any:
    """The slope of a spike at a distance from the threshold.

    Parameters
    ----------
    library : module
        With abs and exp: torch, jax.numpy or numpy.
    given : dict
        Hyper-parameters of a case of `spiking_neuron`; those that begin with ``surrogate.`` are read.
    distance : array
        u = h - threshold.

    Returns
    -------
    array
        Of the library.

    Raises
    ------
    ValueError
        For a shape that is not in `refsnn.equations.surrogates`.

    Examples
    --------
    >>> import numpy as np
    >>> given = {"surrogate.shape": "arctan", "surrogate.slope": 1.0, "surrogate.height": 1.0}
    >>> float(psi(np, given, np.array(1.0)))
    0.5
    """
    shape, slope, height = (given[f"surrogate.{name}"] for name in ("shape", "slope", "height"))
    scaled = slope * distance
    far = library.abs(scaled)
    if shape == "sigmoid":
        share = library.exp(-far)
        return 4 * height * share / (1 + share) ** 2
    if shape == "arctan":
        return height / (1 + scaled * scaled)
    if shape == "fast_sigmoid":
        return height / (1 + far) ** 2
    if shape == "triangle":
        return height * (1 - far) * (far < 1)
    if shape == "exponential":
        return height * library.exp(-far)
    if shape == "gaussian":
        return height * library.exp(-scaled * scaled)
    if shape == "boxcar":
        return height * library.ones_like(far) * (far <= 1)
    if shape == "half_line":
        return height * library.ones_like(far) * (scaled >= -1)  # a truth value times a number is float32
    if shape == "constant":
        return height * library.ones_like(far)
    raise ValueError(f"surrogate.shape: expected a shape of refsnn.equations.surrogates, got {shape!r}")
