"""What the adapters of JAX's frameworks share: our spike for their hooks, and the derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refsnn.crosscheck.adapter import imported
from refsnn.crosscheck.shapes import psi
from refsnn.vectors.case import Hyperparameters, Leaves, Problem

Forward = Callable[[Any, Any], tuple[Any, Any, Any]]


def parts_of_spike(given: Hyperparameters) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """H(u) and psi(u) of a case, as JAX functions.

    Parameters
    ----------
    given : dict
        Hyper-parameters of a case.

    Returns
    -------
    fire, slope : callable
        Of the distance from the threshold.
    """
    jnp = imported("jax.numpy")
    above = given["fires"] == ">"

    def fire(distance: Any) -> Any:
        return (distance > 0 if above else distance >= 0).astype(distance.dtype)

    return fire, lambda distance: psi(jnp, given, distance)


def with_start(current: Any, start: Any, given: Hyperparameters) -> Any:
    """Currents that charge the start in the first step; see `through_torch.with_start`.

    Parameters
    ----------
    current : array, (T, M)
        I_t.
    start : array, (M,)
        v_0.
    given : dict
        Hyper-parameters of the case.

    Returns
    -------
    array, (T, M)
    """
    return current.at[0].add(given["leak"] * (start - given["reset_value"]))


def differentiated(problem: Problem, forward: Forward) -> Leaves:
    """All leaves of a case in double precision, gradients by the vector-Jacobian product of JAX.

    Parameters
    ----------
    problem : Problem
        A case of `spiking_neuron`.
    forward : callable
        `(current, start) -> (charged, spikes, potential)`; arrays (T, M), (T, M), (M,).

    Returns
    -------
    dict of str to ndarray
    """
    jax = imported("jax")
    jnp = jax.numpy
    with jax.enable_x64(True):
        current, start, upstream = (
            jnp.asarray(problem.inputs[name]) for name in ("current", "start", "spike_adjoint")
        )

        def spikes_and_states(current: Any, start: Any) -> tuple[Any, tuple[Any, Any]]:
            charged, spikes, potential = forward(current, start)
            return spikes, (charged, potential)

        spikes, pull, (charged, potential) = jax.vjp(spikes_and_states, current, start, has_aux=True)
        by_current, by_start = pull(upstream)
        rate_by_current, _ = pull(jnp.full_like(spikes, 1 / len(spikes)))
        leaves = {
            "states/charged": charged,
            "states/spikes": spikes,
            "states/potential": potential,
            "loss": (upstream * spikes).sum(),
            "gradients/current": by_current,
            "gradients/start": by_start,
            "rate": spikes.mean(0),
            "rate_jacobian": rate_by_current.sum(0),
        }
        return {name: np.asarray(leaf) for name, leaf in leaves.items()}
