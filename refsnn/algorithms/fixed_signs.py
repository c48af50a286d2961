"""Weights of fixed signs: an optimiser moves the strength of a synapse, its sign stays (Dale's law).

A signed matrix has a sign s in {+1, -1} for every entry and a strength theta,

    w = s theta  where theta > 0,   0 elsewhere,         dL/dtheta := s dL/dw.

`FixedSigns` is the plain case, projected descent on theta >= 0.  Rewiring (`deep_rewiring`,
`soft_deep_rewiring`) goes on from here: there a synapse with theta <= 0 is dormant.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.algorithms.optimisers import Optimiser, OptimiserState
from refsnn.models.adaptive.signs import check_signs, sign_array
from refsnn.models.contract import Parameters

_STRENGTHS, _OPTIMISER = "strengths/", "optimiser/"


@dataclass(frozen=True)
class SignedState:
    """What is kept between updates, in place of the parameters.

    Attributes
    ----------
    strengths : dict of str to ndarray
        theta of the signed matrices, and the other parameters as they are; not weights: `rule.weights(state)`
        are what a network computes with.
    optimiser : OptimiserState
    """

    strengths: Parameters
    optimiser: OptimiserState

    def as_arrays(self) -> dict[str, np.ndarray]:
        """All of it as one flat dict of arrays named like paths, for a file."""
        kept = {f"{_STRENGTHS}{name}": value for name, value in self.strengths.items()}
        return kept | {f"{_OPTIMISER}{path}": value for path, value in self.optimiser.as_arrays().items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> SignedState:
        """The state that `as_arrays` was called on.

        Raises
        ------
        ValueError
            For arrays that are no such state.
        """
        rooms: dict[str, dict[str, Any]] = {_STRENGTHS: {}, _OPTIMISER: {}}
        for path, value in arrays.items():
            room = next((room for room in rooms if path.startswith(room)), None)
            if room is None:
                raise ValueError(f"arrays: expected names under {' and '.join(rooms)}, got {path!r}")
            rooms[room][path[len(room) :]] = value
        strengths = {name: np.array(value) for name, value in rooms[_STRENGTHS].items()}
        return cls(strengths, OptimiserState.from_arrays(rooms[_OPTIMISER]))


@dataclass(frozen=True, eq=False)
class SignedWeights(ABC):
    """What all rules with fixed signs share: the way to strengths and back.

    Parameters
    ----------
    signs : dict of str to ndarray, (post, pre)
        +1 or -1 for every entry of the matrices of fixed sign; parameters that are not named are ordinary.
        `matrix_signs` makes them from signs of neurons.
    optimiser : Optimiser
        Of all parameters together.

    Raises
    ------
    TypeError, ValueError
        For signs that are none, and an optimiser that is none.
    """

    signs: Mapping[str, np.ndarray]
    optimiser: Optimiser

    def __post_init__(self) -> None:
        if not isinstance(self.signs, Mapping) or not self.signs:
            raise TypeError(f"signs: expected a dict of at least one array of +1 and -1, got {self.signs!r}")
        signs = {
            name: sign_array(f"signs[{name!r}]", value, ("post", "pre")).copy()
            for name, value in self.signs.items()
        }
        for own in signs.values():
            own.flags.writeable = False
        object.__setattr__(self, "signs", signs)
        checks.instance("optimiser", self.optimiser, Optimiser, "Adam(0.01)")

    def initial_state(self, parameters: Parameters) -> SignedState:
        """The state whose weights are `parameters`, before the first update.

        Parameters
        ----------
        parameters : dict of str to ndarray
            Signed matrices and ordinary parameters, of the names that the model has; not changed.

        Returns
        -------
        SignedState

        Raises
        ------
        TypeError, ValueError
            For a signed matrix that is missing, of another shape or dtype, or against its signs.
        """
        parameters = self._whole("parameters", parameters)
        strengths = {name: value.copy() for name, value in parameters.items()}
        for name, signs in self.signs.items():
            strengths[name] = np.abs(check_signs(parameters[name], signs, name))
        return SignedState(strengths, self.optimiser.initial_state(strengths))

    def weights(self, state: SignedState) -> Parameters:
        """What the model computes with: w = s theta where theta > 0, else 0; other parameters as they are."""
        found = {name: value.copy() for name, value in self._strengths(state).items()}
        for name, signs in self.signs.items():
            strength = found[name]
            found[name] = np.where(strength > 0, signs * strength, strength.dtype.type(0))
        return found

    def active(self, state: SignedState) -> dict[str, np.ndarray]:
        """For each signed matrix which of its synapses are there: theta > 0."""
        strengths = self._strengths(state)
        return {name: strengths[name] > 0 for name in self.signs}

    def _strengths(self, state: SignedState) -> Parameters:
        """Refuse the state of other matrices."""
        checks.instance("state", state, SignedState, "rule.initial_state(parameters)")
        for name, signs in self.signs.items():
            if name not in state.strengths or state.strengths[name].shape != signs.shape:
                raise ValueError(
                    f"state: expected strengths {name!r} of shape {signs.shape}, got "
                    f"{ {name: value.shape for name, value in state.strengths.items()} }; "
                    "it is the state of another network"
                )
        return state.strengths

    def _slopes(self, gradients: Parameters) -> Parameters:
        """dL/dtheta = s dL/dw, dense: of dormant entries too."""
        gradients = self._whole("gradients", gradients)
        return gradients | {name: signs * gradients[name] for name, signs in self.signs.items()}

    def _whole(self, label: str, arrays: Parameters) -> Parameters:
        """Refuse a dict in which the signed matrices are not as their signs say."""
        if not isinstance(arrays, Mapping):
            raise TypeError(f"{label}: expected a dict of arrays, got {type(arrays).__name__}")
        missing = sorted(set(self.signs) - set(arrays))
        if missing:
            raise ValueError(f"{label}: expected all matrices of fixed sign, missing {missing}")
        for name, signs in self.signs.items():
            checks.float_array(f"{label}[{name!r}]", arrays[name], signs.shape, signs.dtype)
        return checks.parameters(label, arrays, {name: np.shape(value) for name, value in arrays.items()})


@dataclass(frozen=True, eq=False)
class FixedSigns(SignedWeights):
    """Dale's law without rewiring: descent projected on weights of the right sign.

        theta <- max(0, optimiser(theta, s dL/dw))

    A synapse that was pressed to 0 comes back when its gradient turns; nothing is drawn.

    Parameters
    ----------
    signs : dict of str to ndarray, (post, pre)
        +1 or -1 for every entry; as in `SignedWeights`.
    optimiser : Optimiser
        Of all parameters together.

    Raises
    ------
    TypeError, ValueError
        As in `SignedWeights`.

    Examples
    --------
    >>> from refsnn.algorithms.optimisers import GradientDescent
    >>> rule = FixedSigns({"weight": np.array([[1.0, -1.0]])}, GradientDescent(1.0))
    >>> state = rule.initial_state({"weight": np.array([[0.5, -0.5]])})
    >>> rule.weights(rule.update(state, {"weight": np.array([[0.25, -1.0]])}))
    {'weight': array([[0.25, 0.  ]])}
    """

    def update(self, state: SignedState, gradients: Parameters) -> SignedState:
        """One update.

        Parameters
        ----------
        state : SignedState
            Of the last update, or `initial_state`; not changed.
        gradients : dict of str to ndarray
            dL/dw at `weights(state)`, of all parameters.

        Returns
        -------
        SignedState

        Raises
        ------
        TypeError, ValueError
            For gradients that do not fit or are not finite.
        """
        strengths = self._strengths(state)
        moved, optimiser = self.optimiser.update(strengths, self._slopes(gradients), state.optimiser)
        for name in self.signs:
            moved[name] = np.maximum(moved[name], 0)
        return SignedState(moved, optimiser)
