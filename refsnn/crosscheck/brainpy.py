"""brainpy's `state.LIF`.

Its state is the potential before the reset; an update resets, decays exactly by exp(-dt/tau), adds the input
and fires.  The current is a delta input here, which is added as it is; a current through `R` would be
multiplied by 1 - exp(-dt/tau).  psi is taken at the distance in units of V_th - V_reset.
"""

from __future__ import annotations

from math import inf, log
from typing import Any

from refsnn.crosscheck.adapter import Adapter, NotExpressibleError, imported
from refsnn.crosscheck.through_jax import differentiated, parts_of_spike, with_start
from refsnn.vectors.case import Hyperparameters, Leaves, Problem


def run(problem: Problem) -> Leaves:
    """One update a step, of dt = 1 ms.

    Parameters
    ----------
    problem : Problem
        A case of `spiking_neuron`.

    Returns
    -------
    dict of str to ndarray

    Raises
    ------
    NotExpressibleError
        For a detached reset.
    """
    given = problem.hyperparameters
    if given["detach_reset"]:
        raise NotExpressibleError("the gradient flows through the resets of LIF; nothing detaches it")
    jnp, unit, scan = imported("jax.numpy"), imported("saiunit"), imported("jax").lax.scan
    state, environ = imported("brainpy.state"), imported("brainstate").environ
    rest, hard = given["reset_value"], given["reset"] == "hard"
    scale = given["threshold"] - rest

    def step(potential: Any, entering: Any) -> tuple[Any, tuple[Any, Any]]:
        layer = state.LIF(
            len(entering),
            tau=_tau(given["leak"]) * unit.ms,
            V_th=given["threshold"] * unit.mV,
            V_reset=rest * unit.mV,
            V_rest=rest * unit.mV,
            spk_fun=_spike_function(given, scale),
            spk_reset="hard" if hard else "soft",
        )
        layer.init_state()
        layer.V.value = potential * unit.mV
        layer.add_delta_input("current", entering * unit.mV)
        spikes = layer.update(jnp.zeros_like(entering) * unit.mA)
        charged = layer.V.value.to_decimal(unit.mV)
        return charged, (charged, spikes)

    def forward(current: Any, start: Any) -> tuple[Any, Any, Any]:
        with environ.context(dt=1.0 * unit.ms):
            currents = with_start(current, start, given)
            _, (charged, spikes) = scan(step, jnp.full_like(start, rest), currents)
        fired, h = spikes[-1], charged[-1]
        after = (1 - fired) * h + fired * rest if hard else h - given["threshold"] * fired
        return charged, spikes, after

    return differentiated(problem, forward)


def _tau(leak: float) -> float:
    """In steps; exp(-1/tau) is exactly 0 for the smallest."""
    return inf if leak == 1 else 1e-3 if leak == 0 else -1 / log(leak)


def _spike_function(given: Hyperparameters, scale: float) -> Any:
    """Our spike of the scaled distance: its slope is scale psi(scale x)."""
    jax = imported("jax")
    fire, slope = parts_of_spike(given)

    @jax.custom_jvp
    def spike(distance: Any) -> Any:
        return fire(distance)

    @spike.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        (distance,), (tangent,) = primals, tangents
        return fire(distance), scale * slope(scale * distance) * tangent

    return spike


ADAPTER = Adapter(
    name="brainpy",
    title="brainpy.state.LIF",
    distributions=("jax", "brainpy_state", "brainpy"),
    tested={"brainpy": ("2.8.2",), "brainpy_state": ("0.1.0",)},
    run=run,
)
