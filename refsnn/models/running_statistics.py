"""Running statistics of the batch normalisations of a network: what is refused of them.

They are a dict of node name to {"mean": (C,), "variance": (C,)}, in the dtype of the parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.models.operators.operator import Weights

KEEP = "keep them while training, see `initial_running` and `updated_running`"


def check_running(
    running: Any, start: Mapping[str, Weights], dtype: np.dtype | None = None
) -> dict[str, Weights]:
    """Return running statistics if they are those of a network.

    Parameters
    ----------
    running : mapping of node name to dict of ndarray, or None
        "mean" and "variance" of each normalisation; None only where there is no normalisation.
    start : dict
        From `SpikingGraph.initial_running`: which there are, and their shapes.
    dtype : dtype, optional
        Of the parameters; without it one dtype for all, float32 or float64.

    Returns
    -------
    dict

    Raises
    ------
    TypeError
        For something that is no mapping, and another dtype.
    ValueError
        For missing or unknown names, wrong shapes, NaN and infinity, and a negative variance.

    Examples
    --------
    >>> check_running(None, {})
    {}
    >>> check_running({"norm": {"mean": [0.0], "variance": [-1.0]}}, {"norm": {"mean": np.zeros(1),
    ...     "variance": np.ones(1)}})
    Traceback (most recent call last):
    ...
    ValueError: running['norm']['variance']: expected numbers of at least 0, got -1.0
    """
    given = {} if running is None else running
    if not isinstance(given, Mapping):
        raise TypeError(f"running: expected a dict from `initial_running`, got {type(given).__name__}")
    if missing := sorted(set(start).difference(given)):
        raise ValueError(f"running: expected statistics of {missing}, got none; {KEEP}")
    if unknown := sorted(set(given).difference(start)):
        raise ValueError(f"running: expected statistics of {sorted(start)}, got unknown {unknown}; {KEEP}")
    checked = {}
    for name, arrays in start.items():
        label = f"running[{name!r}]"
        shapes = {entry: array.shape for entry, array in arrays.items()}
        checked[name] = checks.parameters(label, given[name], shapes, dtype=dtype)
        dtype = checked[name]["mean"].dtype
        _check_variance(f"{label}['variance']", checked[name]["variance"])
    return checked


def check_statistics(statistics: Any, running: Mapping[str, Weights]) -> None:
    """Refuse what are no statistics of one more batch.

    Parameters
    ----------
    statistics : mapping of node name to BatchStatistics
        `diagnostics.statistics` of a gradient.
    running : dict
        From `check_running`; the new ones must have its names, its widths and its dtype.

    Raises
    ------
    TypeError, ValueError
        As `check_running`.

    Examples
    --------
    >>> check_statistics({}, {"norm": {}})
    Traceback (most recent call last):
    ...
    ValueError: statistics: expected those of 'norm', got []; take the diagnostics of an algorithm that has
    run this network
    """
    take = "take the diagnostics of an algorithm that has run this network"
    if not isinstance(statistics, Mapping):
        raise TypeError(
            f"statistics: expected a mapping of node name to BatchStatistics, got "
            f"{type(statistics).__name__}; {take}"
        )
    for name in running:
        if name not in statistics:
            raise ValueError(f"statistics: expected those of {name!r}, got {sorted(statistics)}; {take}")
    if unknown := sorted(set(statistics).difference(running)):
        raise ValueError(f"statistics: expected those of {sorted(running)}, got unknown {unknown}; {take}")
    for name, arrays in running.items():
        label, seen, mean = f"statistics[{name!r}]", statistics[name], arrays["mean"]
        if not all(hasattr(seen, field) for field in ("mean", "variance", "entries")):
            raise TypeError(f"{label}: expected BatchStatistics, got {type(seen).__name__}; {take}")
        checks.count(f"{label}.entries", seen.entries)
        groups = checks.float_array(f"{label}.mean", seen.mean, ("T", *mean.shape), mean.dtype)
        checks.float_array(f"{label}.variance", seen.variance, groups.shape, mean.dtype)
        _check_variance(f"{label}.variance", seen.variance)


def _check_variance(name: str, variance: np.ndarray) -> None:
    if variance.min() < 0:
        raise ValueError(f"{name}: expected numbers of at least 0, got {float(variance.min())}")
