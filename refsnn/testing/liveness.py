"""Guards against checks that pass because nothing happened: dead gradients, silent neurons, ties."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.testing.arrays import to_numpy
from refsnn.testing.errors import VacuousCheck
from refsnn.testing.leaves import flatten


def assert_alive(
    gradients: Any = None,
    *,
    dead: Iterable[str] = (),
    smallest: float = 1e-12,
    rates: Mapping[str, float] | float | None = None,
    between: tuple[float, float] = (0.0, 1.0),
    margin: float | None = None,
    least_margin: float = 1e-12,
) -> None:
    """Assert that an example is worth comparing.

    Parameters
    ----------
    gradients : tree of arrays, optional
        The reference gradient: each leaf has an entry above `smallest`.
    dead : iterable of str
        Leaves that may be 0.
    smallest : float
        What counts as 0.
    rates : mapping of str to float, or float, optional
        Firing rates, of layers for instance; at least one.
    between : tuple of float
        Rates must lie strictly between these.
    margin : float, optional
        Smallest distance of a potential from the threshold.
    least_margin : float
        What it must be at least.

    Raises
    ------
    VacuousCheck
        Naming all that is dead, or not finite.
    TypeError
        If there is nothing to look at.

    Examples
    --------
    >>> assert_alive({"w": np.array([0.1, 0.0])}, rates={"hidden": 0.2}, margin=1e-3)
    >>> assert_alive({"w": np.zeros(2)}, rates={"hidden": 0.0})
    Traceback (most recent call last):
    ...
    refsnn.testing.errors.VacuousCheck: nothing would be checked:
      the gradient of 'w' is 0
      the firing rate of 'hidden' is 0, expected between 0 and 1
    """
    if gradients is None and rates is None and margin is None:
        raise TypeError("expected gradients, rates or a margin, got none of them")
    said = []
    leaves = {} if gradients is None else flatten(gradients)
    for name, leaf in leaves.items():
        largest = float(np.abs(to_numpy(name, leaf)).max(initial=0.0))
        if not np.isfinite(largest):
            said.append(f"the gradient of {name!r} is {largest:.3g}, no finite number")
        elif not largest > smallest and name not in set(dead):
            said.append(
                f"the gradient of {name!r} is {largest:.3g}" if largest else f"the gradient of {name!r} is 0"
            )
    if gradients is not None and not leaves:
        said.append("there are no gradients")
    if rates is not None and isinstance(rates, Mapping) and not rates:
        said.append("there are no firing rates")
    low, high = (checks.number("between", bound, 0, 1) for bound in between)
    named = {} if rates is None else rates if isinstance(rates, Mapping) else {"spikes": rates}
    for name, rate in named.items():
        if not low < rate < high:
            said.append(f"the firing rate of {name!r} is {rate:.3g}, expected between {low:g} and {high:g}")
    if margin is not None and not margin >= least_margin:
        said.append(
            f"a potential is only {margin:.1e} from the threshold, expected {least_margin:.0e}: "
            "rounding could decide on a spike"
        )
    if said:
        raise VacuousCheck("\n  ".join(["nothing would be checked:", *said]))
