"""Proximal policy optimisation: what a batch of episodes says about a policy and a value (Schulman 2017).

A policy draws an action a of d components from a Gaussian around mu with deviation sigma = exp(s), and

    log pi(a) = - sum_i ((a_i - mu_i)^2 / (2 sigma_i^2) + s_i + log(2 pi) / 2)
    d/dmu_i = (a_i - mu_i) / sigma_i^2,        d/ds_i = (a_i - mu_i)^2 / sigma_i^2 - 1

The advantage of what was done, with rewards R_k after decision k and values V_k before it (Schulman 2016):

    delta_k = R_k + discount V_{k+1} - V_k,        A_k = delta_k + discount decay A_{k+1}

With r = exp(log pi(a) - log pi_old(a)), a mean over all decisions and agents,

    L = mean(-min(r A, clip(r, 1 - eps, 1 + eps) A) + c_V (V - target)^2 - c_H H),      H = sum_i s_i + const

Its derivatives by mu, V and s are what a network is asked for; how they go through it is another algorithm's
matter (`refsnn.algorithms.adaptive_bptt` for spiking neurons).  Bellec 2018 trains an LSNN so.  All functions
take complex numbers; which side of the clip one is on is decided by real parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks

# ---- Gaussian policy --------------------------------------------------------------------------------------


def log_probability(actions: np.ndarray, means: np.ndarray, log_deviations: np.ndarray) -> np.ndarray:
    """log pi(a) of a Gaussian with independent components, a density.

    Parameters
    ----------
    actions, means : ndarray, (..., d)
        a and mu.
    log_deviations : ndarray, (d,) or (..., d)
        s, the logarithm of sigma.

    Returns
    -------
    ndarray, (...)

    Examples
    --------
    >>> float(log_probability(np.zeros(2), np.zeros(2), np.zeros(2))) == -float(np.log(2 * np.pi))
    True
    """
    standard = (actions - means) * np.exp(-log_deviations)
    return -(standard**2 / 2 + log_deviations + np.log(2 * np.pi) / 2).sum(axis=-1)


def log_probability_gradients(
    actions: np.ndarray, means: np.ndarray, log_deviations: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of log pi(a) by mu and by s.

    Parameters
    ----------
    actions, means, log_deviations
        As in `log_probability`.

    Returns
    -------
    by_means, by_log_deviations : ndarray, (..., d)

    Examples
    --------
    >>> log_probability_gradients(np.array([2.0]), np.array([0.0]), np.array([0.0]))
    (array([2.]), array([3.]))
    """
    inverse = np.exp(-log_deviations)
    standard = (actions - means) * inverse
    return standard * inverse, standard**2 - 1


def entropy(log_deviations: np.ndarray) -> np.ndarray:
    """H = sum_i s_i + d (1 + log(2 pi)) / 2; its derivative by each s_i is 1.

    Parameters
    ----------
    log_deviations : ndarray, (..., d)
        s.

    Returns
    -------
    ndarray, (...)

    Examples
    --------
    >>> float(entropy(np.zeros(2)).round(4))
    2.8379
    """
    return (log_deviations + (1 + np.log(2 * np.pi)) / 2).sum(axis=-1)


def draw_actions(rng: np.random.Generator, means: np.ndarray, log_deviations: np.ndarray) -> np.ndarray:
    """Actions of the policy.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws one normal number a component.
    means, log_deviations
        As in `log_probability`.

    Returns
    -------
    ndarray, (..., d)
        In the dtype of the means.
    """
    noise = rng.standard_normal(means.shape).astype(means.dtype)
    return means + np.exp(log_deviations) * noise


# ---- what was it worth ------------------------------------------------------------------------------------


def generalised_advantages(
    rewards: Any, values: Any, last_values: Any = None, *, discount: float = 0.99, decay: float = 0.95
) -> np.ndarray:
    """A_k = delta_k + discount decay A_{k+1}, delta_k = R_k + discount V_{k+1} - V_k (Schulman 2016).

    With `decay=1` it is the discounted sum of rewards, less V_k; with 0 it is delta_k.

    Parameters
    ----------
    rewards : array_like of float, (K, B)
        R_k, given after decision k.
    values : array_like of float, (K, B)
        V_k, estimated before decision k.
    last_values : array_like of float, (B,), optional
        V_K, after the last decision; 0 by default: nothing comes after the episode.
    discount, decay : float in [0, 1]
        Of rewards to come, and of the weight of later deltas.

    Returns
    -------
    ndarray, (K, B)
        A_k; A_k + V_k is what V_k should have been.

    Raises
    ------
    TypeError, ValueError
        For arrays of wrong kind or shape, and numbers outside [0, 1].

    Examples
    --------
    >>> generalised_advantages([[0.0], [1.0]], [[0.0], [0.0]], discount=0.5, decay=1.0)[:, 0]
    array([0.5, 1. ])
    """
    given = checks.float_array("rewards", rewards, ("K", "B"))
    before = checks.float_array("values", values, given.shape, given.dtype)
    discount, decay = checks.number("discount", discount, 0, 1), checks.number("decay", decay, 0, 1)
    after = np.zeros_like(given[0])
    if last_values is not None:
        after = checks.float_array("last_values", last_values, after.shape, given.dtype)
    advantages, ahead = np.empty_like(given), np.zeros_like(given[0])
    for k in reversed(range(len(given))):
        delta = given[k] + discount * after - before[k]
        ahead = delta + discount * decay * ahead
        advantages[k], after = ahead, before[k]
    return advantages


def standardised(advantages: np.ndarray) -> np.ndarray:
    """Advantages of mean 0 and variance 1 over the batch; all 0 where they do not differ.

    Parameters
    ----------
    advantages : ndarray
        A.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> standardised(np.array([1.0, 3.0])), standardised(np.array([2.0, 2.0]))
    (array([-1.,  1.]), array([0., 0.]))
    """
    if advantages.min() == advantages.max():  # the mean of equal numbers may be another one by rounding
        return np.zeros_like(advantages)
    centred = advantages - advantages.mean()
    return centred / centred.std()


# ---- the loss ---------------------------------------------------------------------------------------------


def clipped_surrogate(ratio: np.ndarray, advantages: np.ndarray, clip: float) -> np.ndarray:
    """-min(r A, clip(r, 1 - eps, 1 + eps) A), each decision by itself (Schulman 2017, Eq. 7).

    Parameters
    ----------
    ratio, advantages : ndarray
        r and A.
    clip : float
        eps.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> clipped_surrogate(np.array([2.0, 2.0]), np.array([1.0, -1.0]), 0.25)
    array([-1.25,  2.  ])
    """
    return -np.where(_held(ratio, advantages, clip), _clipped(ratio, clip), ratio) * advantages


def clipped_surrogate_gradient(ratio: np.ndarray, advantages: np.ndarray, clip: float) -> np.ndarray:
    """Its derivative by r: -A, and 0 where the clip holds r, above 1 + eps if A > 0, below 1 - eps if A < 0.

    Parameters
    ----------
    ratio, advantages, clip
        As in `clipped_surrogate`.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> clipped_surrogate_gradient(np.array([2.0, 2.0]), np.array([1.0, -1.0]), 0.25)
    array([-0.,  1.])
    """
    return -np.where(_held(ratio, advantages, clip), np.zeros_like(ratio), np.ones_like(ratio)) * advantages


def _held(ratio: np.ndarray, advantages: np.ndarray, clip: float) -> np.ndarray:
    """Where the minimum is the clipped one and not r A."""
    too_good = (advantages.real > 0) & (ratio.real > 1 + clip)
    too_bad = (advantages.real < 0) & (ratio.real < 1 - clip)
    return too_good | too_bad


def _clipped(ratio: np.ndarray, clip: float) -> np.ndarray:
    """clip(r, 1 - eps, 1 + eps), by real parts."""
    low, high = ratio.real < 1 - clip, ratio.real > 1 + clip
    return np.where(low, 1 - clip, np.where(high, 1 + clip, ratio))


@dataclass(frozen=True)
class PolicyLoss:
    """L, its parts, and its derivatives.

    Attributes
    ----------
    loss, surrogate, value_error, entropy : float
        L; the mean of the clipped surrogate, of (V - target)^2, and H.
    by_means : ndarray, (..., d)
        dL/dmu of each decision.
    by_values : ndarray, (...)
        dL/dV.
    by_log_deviations : ndarray, (d,)
        dL/ds, summed over decisions.
    clipped : float
        Share of decisions from which no gradient comes, because the clip holds them.
    """

    loss: Any
    surrogate: Any
    value_error: Any
    entropy: Any
    by_means: np.ndarray
    by_values: np.ndarray
    by_log_deviations: np.ndarray
    clipped: float


@dataclass(frozen=True)
class ProximalPolicy:
    """The loss of proximal policy optimisation.

    Parameters
    ----------
    clip : float
        eps, above 0.
    value_share, entropy_share : float
        c_V and c_H.

    Raises
    ------
    TypeError, ValueError
        For values out of range.

    Examples
    --------
    >>> found = ProximalPolicy().loss(
    ...     actions=np.array([[1.0]]), means=np.zeros((1, 1)), log_deviations=np.zeros(1), values=np.zeros(1),
    ...     old_log_probabilities=log_probability(np.ones((1, 1)), np.zeros((1, 1)), np.zeros(1)),
    ...     advantages=np.array([2.0]), value_targets=np.zeros(1),
    ... )
    >>> found.by_means, found.clipped
    (array([[-2.]]), 0.0)
    """

    clip: float = 0.2
    value_share: float = 0.5
    entropy_share: float = 0.0

    def __post_init__(self) -> None:
        checks.number("clip", self.clip, 0, low_open=True)
        checks.number("value_share", self.value_share, 0)
        checks.number("entropy_share", self.entropy_share, 0)

    def loss(
        self,
        *,
        actions: np.ndarray,
        means: np.ndarray,
        log_deviations: np.ndarray,
        values: np.ndarray,
        old_log_probabilities: np.ndarray,
        advantages: np.ndarray,
        value_targets: np.ndarray,
    ) -> PolicyLoss:
        """L and its derivatives by what the network says now.

        Parameters
        ----------
        actions : ndarray, (..., d)
            What was done.
        means : ndarray, (..., d)
            mu, as the network says now.
        log_deviations : ndarray, (d,)
            s now.
        values : ndarray, (...)
            V, as the network says now.
        old_log_probabilities : ndarray, (...)
            log pi(a) when it was done.
        advantages, value_targets : ndarray, (...)
            A, and what V should be; constants of this loss.

        Returns
        -------
        PolicyLoss

        Raises
        ------
        ValueError
            For arrays that do not fit one another.
        """
        _check_shapes(actions.shape, log_deviations, means=means, values=values,
                      old_log_probabilities=old_log_probabilities, advantages=advantages,
                      value_targets=value_targets)  # fmt: skip
        ratio = np.exp(log_probability(actions, means, log_deviations) - old_log_probabilities)
        surrogate = clipped_surrogate(ratio, advantages, self.clip).mean()
        distance = values - value_targets
        value_error, spread = (distance**2).mean(), entropy(log_deviations)

        # dr / dlog pi = r
        by_log_probability = clipped_surrogate_gradient(ratio, advantages, self.clip) * ratio / ratio.size
        by_means, by_deviations = log_probability_gradients(actions, means, log_deviations)
        weight = by_log_probability[..., None]
        over = tuple(range(ratio.ndim))
        return PolicyLoss(
            loss=surrogate + self.value_share * value_error - self.entropy_share * spread,
            surrogate=surrogate,
            value_error=value_error,
            entropy=spread,
            by_means=weight * by_means,
            by_values=2 * self.value_share * distance / distance.size,
            by_log_deviations=(weight * by_deviations).sum(axis=over) - self.entropy_share,
            clipped=float(_held(ratio, advantages, self.clip).mean()),
        )


def _check_shapes(actions: tuple[int, ...], log_deviations: np.ndarray, **arrays: np.ndarray) -> None:
    """Wrong shapes would broadcast silently."""
    expected = {name: actions[:-1] for name in arrays} | {"means": actions}
    for name, array in arrays.items():
        if np.shape(array) != expected[name]:
            raise ValueError(
                f"{name}: expected shape {expected[name]} for actions of shape {actions}, got "
                f"{np.shape(array)}"
            )
    if np.shape(log_deviations) != actions[-1:]:
        raise ValueError(
            f"log_deviations: expected shape {actions[-1:]}, one for each component of an action, got "
            f"{np.shape(log_deviations)}"
        )
