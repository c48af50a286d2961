"""What an optimiser remembers between updates, as arrays that a file can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.models.contract import Parameters

# For each named array which of its entries are meant; an array that is not named is meant whole.
Masks = Mapping[str, np.ndarray]

_COUNT = "iteration"


@dataclass(frozen=True)
class OptimiserState:
    """What an optimiser remembers between updates.

    Attributes
    ----------
    iteration : int
        Updates done.
    moments : dict of str to dict of str to ndarray
        One dict like the parameters for each moment: `velocity`, or `first_moment` and `second_moment`.
    """

    iteration: int = 0
    moments: dict[str, Parameters] = field(default_factory=dict)

    def as_arrays(self) -> dict[str, np.ndarray]:
        """All of it as one flat dict of arrays named like paths, for a file.

        Examples
        --------
        >>> from refsnn.algorithms.optimisers import GradientDescent
        >>> state = GradientDescent(0.1, momentum=0.9).initial_state({"bias": np.zeros(2)})
        >>> sorted(state.as_arrays())
        ['iteration', 'velocity/bias']
        """
        flat = {
            f"{moment}/{name}": value for moment, of in self.moments.items() for name, value in of.items()
        }
        return {_COUNT: np.array(self.iteration, np.int64), **flat}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> OptimiserState:
        """The state that `as_arrays` was called on.

        Raises
        ------
        ValueError
            If the count of iterations is missing or none, or a name is no path of two parts.
        """
        if _COUNT not in arrays:
            raise ValueError(
                f"arrays: expected the state of an optimiser with {_COUNT!r}, got {sorted(arrays)}"
            )
        moments: dict[str, Parameters] = {}
        for path, value in arrays.items():
            moment, found, name = path.partition("/")
            if found:
                moments.setdefault(moment, {})[name] = np.array(value)
            elif path != _COUNT:
                raise ValueError(f"arrays: expected names such as 'velocity/<parameter>', got {path!r}")
        return cls(checks.count(_COUNT, np.asarray(arrays[_COUNT])[()], 0), moments)

    def forgotten(self, where: Masks) -> OptimiserState:
        """The same state with moments of 0 at the entries of `where`."""
        moments = {
            moment: of
            | {name: np.where(mask, of[name].dtype.type(0), of[name]) for name, mask in where.items()}
            for moment, of in self.moments.items()
        }
        return OptimiserState(self.iteration, moments)
