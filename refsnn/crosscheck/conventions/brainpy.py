"""brainpy.state's own neurons: `LIF` in its two resets, and `IF`."""

from __future__ import annotations

from math import exp
from typing import Any

import numpy as np

from refsnn.crosscheck import rules
from refsnn.crosscheck.adapter import imported
from refsnn.crosscheck.conventions.measuring import Convention, Measured, compared, drive, through_jax
from refsnn.crosscheck.simulation import simulated
from refsnn.equations.surrogates import Surrogate
from refsnn.vectors.case import Leaves, Problem

_LEAK = exp(-1 / 5.0)  # tau = 5 ms by default, dt = 1 ms


def _lif(**options: float | str) -> Any:
    """With V_th, V_reset and V_rest in mV."""

    def run(problem: Problem) -> Leaves:
        state, unit = imported("brainpy.state"), imported("saiunit")
        environ, scan = imported("brainstate").environ, imported("jax").lax.scan
        chosen = {
            name: value if isinstance(value, str) else value * unit.mV for name, value in options.items()
        }

        def step(potential: Any, entering: Any) -> Any:
            layer = state.LIF(len(entering), **chosen)
            layer.init_state()
            layer.V.value = potential * unit.mV
            spikes = layer.update(entering * unit.mA)
            return layer.V.value.to_decimal(unit.mV), spikes

        def forward(current: Any) -> Any:
            with environ.context(dt=1.0 * unit.ms):
                return scan(step, imported("jax.numpy").asarray(problem.inputs["start"]), current)[1]

        return through_jax(problem, forward)

    return run


def _as(rule: Any, **changed: Any) -> Any:
    return lambda problem: simulated(rule, problem.changed(**changed))


def _drive(surrogate: Any = "brainpy-2.8.2", **given: Any) -> Problem:
    return drive(surrogate, **({"leak": _LEAK, "gain": 1 - _LEAK, "amplitude": 5.0} | given))


def _soft() -> Measured:
    control = _as(rules.same_step, detach_reset=True)
    return compared(_lif(), rules.same_step, _drive(), 1e-13, control)


def _gain() -> Measured:
    return compared(_lif(), rules.same_step, _drive(), 1e-13, _as(rules.same_step, gain=1.0))


def _hard() -> Measured:
    problem = _drive(reset="hard")
    return compared(_lif(spk_reset="hard"), rules.slope_without_spike, problem, 1e-13, _as(rules.same_step))


def _scaled() -> Measured:
    problem = _drive(
        Surrogate("triangle", 1 / 1.5, 0.3 / 1.5),
        reset="hard",
        reset_value=0.5,
        threshold=2.0,
        amplitude=10.0,
    )
    problem.inputs["start"][:] = 0.5
    run = _lif(spk_reset="hard", V_th=2.0, V_reset=0.5, V_rest=0.5)
    control = _as(rules.slope_without_spike, surrogate__slope=1.0, surrogate__height=0.3)
    return compared(run, rules.slope_without_spike, problem, 1e-13, control)


def _before_reset() -> Measured:
    state, unit = imported("brainpy.state"), imported("saiunit")
    jnp = imported("jax.numpy")
    with imported("brainstate").environ.context(dt=1.0 * unit.ms):
        layer = state.LIF(1)
        layer.init_state()
        spike = layer.update(jnp.full(1, 20.0) * unit.mA)
    potential = float(layer.V.value.to_decimal(unit.mV)[0])
    return Measured(
        float(spike[0]) == 1 and potential > 1, f"after a spike V = {potential:.3f} mV, threshold 1 mV"
    )


def _at_or_above() -> Measured:
    state, unit = imported("brainpy.state"), imported("saiunit")
    layer = state.LIF(1)
    layer.init_state()
    spike = float(np.asarray(layer.get_spike(np.ones(1) * unit.mV))[0])
    return Measured(spike == 1, f"{spike:g} spikes at the threshold")


def _if_leaks() -> Measured:
    state, unit = imported("brainpy.state"), imported("saiunit")
    jnp = imported("jax.numpy")
    with imported("brainstate").environ.context(dt=1.0 * unit.ms):
        layer = state.IF(1)
        layer.init_state()
        layer.V.value = jnp.full(1, 0.5) * unit.mV
        layer.update(jnp.zeros(1) * unit.mA)
    after = float(layer.V.value.to_decimal(unit.mV)[0])
    says = "perfect integrator" in (state.IF.__doc__ or "")
    return Measured(
        abs(after - 0.5 * _LEAK) < 1e-6 and says,
        f"0.5 mV without input becomes {after:.4f} mV in 1 ms; its page calls it a perfect integrator",
    )


CONVENTIONS = (
    Convention(
        "lif",
        "LIF: leak exp(-dt/tau), gain 1 - leak, fires at or above, subtracts in the same step, gradient "
        "through it, psi = 0.3 max(0, 1 - |u|)",
        _soft,
    ),
    Convention("lif-gain", "a current of 1 adds 1 - leak, not 1", _gain),
    Convention("lif-before-reset", "the stored potential is that before the reset", _before_reset),
    Convention(
        "lif-hard",
        "spk_reset='hard': dv/dh = 1 + (v_reset - h) psi, without the factor 1 - s",
        _hard,
        defect=True,
    ),
    Convention("lif-scaled", "u is in units of V_th - V_reset", _scaled),
    Convention("at-or-above", "a potential equal to the threshold fires", _at_or_above),
    Convention("if-leaks", "IF leaks with tau, though its page says it does not", _if_leaks, defect=True),
)
