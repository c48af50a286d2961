"""Soft-DEEP R: connectivity by a random walk of dormant synapses instead of a budget.

Bellec et al. 2018 (ICLR), as in its script.  Strengths and signs are those of `fixed_signs`; one update is

    theta <- optimiser(theta, s dL/dw where theta > 0, else 0)         the gradient through w
    theta <- theta + eta (sigma N(0, 1) - l_1 [theta > 0])              noise on all entries
    theta <- max(theta, theta_clip),   theta_clip = -(1 - p) / p  T / l_1,   T = eta sigma^2 / 2.

Without gradients active strengths would follow an exponential law of mean T / l_1 and dormant ones a uniform
law down to theta_clip, so that a share p would be active.  That holds where one step of the noise, eta sigma,
is short beside T / l_1, that is for l_1 << sigma / 2; at the script's l_1 = sigma the walk is coarser and
settles below p (0.25 for p = 0.3).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from refsnn import checks
from refsnn.algorithms.deep_rewiring import per_matrix
from refsnn.algorithms.fixed_signs import SignedState, SignedWeights
from refsnn.models.contract import Parameters


@dataclass(frozen=True, eq=False)
class SoftDeepRewiring(SignedWeights):
    """Soft-DEEP R over several matrices.

    Parameters
    ----------
    signs : dict of str to ndarray, (post, pre)
        +1 or -1 for every entry; independent random ones in the script.  Parameters that are not named are
        ordinary parameters of the same optimiser.
    optimiser : Optimiser
        Of all parameters together; gradient descent without momentum in the script, at a rate of 0.05.
    connectivity : float in (0, 1] or dict of str to float
        p, the share of active entries that the walk of each matrix aims at.
    l1 : float
        l_1, positive.
    noise : float
        sigma, positive.

    Raises
    ------
    TypeError, ValueError
        For signs and an optimiser that are none, connectivities outside (0, 1], l_1 and sigma that are not
        positive.

    Examples
    --------
    >>> from refsnn.algorithms.optimisers import GradientDescent
    >>> rule = SoftDeepRewiring({"weight": np.ones((2, 3))}, GradientDescent(0.05), 0.5, l1=0.1, noise=1.0)
    >>> rule.clip("weight", iteration=0)
    -0.25
    >>> rng = np.random.default_rng(0)
    >>> state = rule.drawn_state({"weight": np.zeros((2, 3))}, rng)
    >>> state = rule.update(state, {"weight": np.zeros((2, 3))}, rng)
    >>> bool((state.strengths["weight"] >= -0.25).all())
    True
    """

    connectivity: float | Mapping[str, float]
    l1: float = 1e-5
    noise: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        shares = per_matrix("connectivity", self.connectivity, self.signs, high=1, low_open=True)
        object.__setattr__(self, "connectivity", shares)
        checks.number("l1", self.l1, 0, low_open=True)
        checks.number("noise", self.noise, 0, low_open=True)

    def clip(self, name: str, iteration: int) -> float:
        """theta_clip of a matrix after `iteration` updates; it follows the learning rate."""
        assert isinstance(self.connectivity, Mapping)
        share = self.connectivity[name]
        temperature = self.optimiser.rate(name, iteration) * self.noise**2 / 2
        return -(1 - share) / share * temperature / self.l1

    def drawn_state(self, parameters: Parameters, rng: np.random.Generator) -> SignedState:
        """A start as in the script: strengths drawn, whatever the signed matrices of `parameters` hold.

        With probability p N(0, 1) / sqrt(n_pre), so that half of those start dormant and far below
        theta_clip, where the first update puts them; else uniform between theta_clip and 0.

        Parameters
        ----------
        parameters : dict of str to ndarray
            The ordinary ones, and matrices of the right shape and dtype; not changed.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        SignedState

        Raises
        ------
        TypeError, ValueError
            For parameters that do not fit, and an `rng` that is no Generator.
        """
        checks.generator("rng", rng)
        parameters = self._whole("parameters", parameters)
        strengths = {name: value.copy() for name, value in parameters.items()}
        assert isinstance(self.connectivity, Mapping)
        for name, signs in self.signs.items():
            weight = rng.standard_normal(signs.shape) / math.sqrt(signs.shape[1])
            dormant = rng.random(signs.shape) * self.clip(name, 0)
            present = rng.random(signs.shape) < self.connectivity[name]
            strengths[name] = np.where(present, weight, dormant).astype(signs.dtype)
        return SignedState(strengths, self.optimiser.initial_state(strengths))

    def spread_state(self, parameters: Parameters, rng: np.random.Generator) -> SignedState:
        """A start from given weights; dormant strengths are uniform between theta_clip and 0.

        Parameters
        ----------
        parameters : dict of str to ndarray
            Signed matrices, 0 where there is no synapse, and ordinary parameters; not changed.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        SignedState

        Raises
        ------
        TypeError, ValueError
            For parameters that do not fit or are against their signs, and an `rng` that is no Generator.
        """
        checks.generator("rng", rng)
        state = self.initial_state(parameters)
        for name, active in self.active(state).items():
            strength = state.strengths[name]
            dormant = (rng.random(strength.shape) * self.clip(name, 0)).astype(strength.dtype)
            state.strengths[name] = np.where(active, strength, dormant)
        return state

    def update(self, state: SignedState, gradients: Parameters, rng: np.random.Generator) -> SignedState:
        """One update, with one step of the walk.

        Parameters
        ----------
        state : SignedState
            Of the last update, `drawn_state` or `spread_state`; not changed.
        gradients : dict of str to ndarray
            dL/dw at `weights(state)`, of all parameters; those of dormant entries are not used.
        rng : numpy.random.Generator
            Draws the noise.

        Returns
        -------
        SignedState

        Raises
        ------
        TypeError, ValueError
            For gradients that do not fit or are not finite, and an `rng` that is no Generator.
        """
        checks.generator("rng", rng)
        slopes = self._slopes(gradients)
        for name, active in self.active(state).items():
            slopes[name] = np.where(active, slopes[name], slopes[name].dtype.type(0))
        strengths, optimiser = self.optimiser.update(state.strengths, slopes, state.optimiser)
        iteration = state.optimiser.iteration
        for name in self.signs:
            strength = strengths[name]
            number, rate = strength.dtype.type, self.optimiser.rate(name, iteration)
            walk = number(self.noise) * rng.standard_normal(strength.shape).astype(strength.dtype)
            walk -= np.where(strength > 0, number(self.l1), number(0))
            strengths[name] = np.maximum(strength + number(rate) * walk, number(self.clip(name, iteration)))
        return SignedState(strengths, optimiser)
