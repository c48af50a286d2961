"""sinabs' own neurons: `LIF` with one spike or several, its resets and synapse, and `ALIF`."""

from __future__ import annotations

from math import exp
from typing import Any

import numpy as np

from refsnn.crosscheck import rules
from refsnn.crosscheck.adapter import imported
from refsnn.crosscheck.conventions.measuring import (
    Convention,
    Measured,
    compared,
    drive,
    slope_of_torch,
    slopes_compared,
    through_torch,
)
from refsnn.crosscheck.simulation import simulated
from refsnn.equations.surrogates import Surrogate
from refsnn.vectors.case import Leaves, Problem

_TAU = 10.0
_LEAK = exp(-1 / _TAU)
_SINGLE = 2e-5  # parameters and spikes are float32


def _as(rule: Any, begin: Any = None, **changed: Any) -> Any:
    begin = begin or (lambda start, given: (start,))
    return lambda problem: simulated(rule, problem.changed(**changed), begin)


def _two(start: Any, given: Any) -> Any:
    return start, 0 * start


def _layer(cls: str = "LIF", single: bool = True, reset: Any = None, **options: Any) -> Any:
    def run(problem: Problem) -> Leaves:
        activation = imported("sinabs.activation")
        chosen = dict(options)
        if single:
            chosen["spike_fn"] = activation.SingleSpike
        if reset is not None:
            chosen["reset_fn"] = activation.MembraneReset(**reset)
        layer = getattr(imported("sinabs.layers"), cls)(tau_mem=_TAU, **chosen)
        return through_torch(problem, lambda current: layer(current[None])[0])

    return run


def _drive(**given: Any) -> Problem:
    defaults = {"leak": _LEAK, "gain": 1 - _LEAK, "amplitude": 8.0}
    return drive("sinabs-3.1.3-SingleExponential", **(defaults | given))


def _single() -> Measured:
    return compared(_layer(), rules.same_step, _drive(), _SINGLE, _as(rules.same_step, detach_reset=True))


def _gain() -> Measured:
    problem = _drive(gain=1.0, amplitude=1.0)
    control = _as(rules.same_step, gain=1 - _LEAK)
    return compared(_layer(norm_input=False), rules.same_step, problem, _SINGLE, control)


def _multiple() -> Measured:
    problem = _drive(amplitude=16.0)
    return compared(_layer(single=False), rules.multiple_spikes, problem, _SINGLE, _as(rules.same_step))


def _reset() -> Measured:
    problem = _drive(reset="hard", detach_reset=True)
    control = _as(rules.same_step, detach_reset=False)
    return compared(_layer(reset={}), rules.same_step, problem, _SINGLE, control)


def _reset_value() -> Measured:
    problem = _drive(reset="hard", detach_reset=True, reset_value=-0.1)
    control = _as(rules.same_step)
    return compared(_layer(reset={"reset_value": -0.1}), rules.no_rest, problem, _SINGLE, control)


def _reset_value_at_rest() -> Measured:
    torch, activation = imported("torch"), imported("sinabs.activation")
    reset = activation.MembraneReset(reset_value=-0.25)
    after = reset(torch.zeros(1), {"v_mem": torch.tensor([0.5])}, torch.ones(1))["v_mem"].item()
    return Measured(after == 0.25, f"v = 0.5 without a spike becomes {after:g}")


def _synapse() -> Measured:
    problem = _drive(synapse=exp(-1 / 5.0), amplitude=3.0)
    control = _as(
        lambda now, state, x, given: rules.synapse_on_arrival(now, state, x / given["synapse"], given), _two
    )
    return compared(_layer(tau_syn=5.0), rules.synapse_on_arrival, problem, _SINGLE, control, _two)


def _width() -> Measured:
    torch = imported("torch")
    problem = drive(
        Surrogate("exponential", 1.0, 1.0), leak=_LEAK, gain=1 - _LEAK, threshold=2.0, amplitude=16.0
    )
    run = _layer(spike_threshold=torch.tensor(2.0))
    control = _as(rules.same_step, surrogate__slope=2.0, surrogate__height=2.0)
    return compared(run, rules.same_step, problem, _SINGLE, control)


def _adaptive() -> Measured:
    problem = _drive(scale=1.8, rho=exp(-1 / 20.0), amplitude=12.0)
    run = _layer("ALIF", single=False, tau_adapt=20.0)
    return compared(run, rules.adaptive_threshold_of_spikes, problem, _SINGLE, _as(_alif_whole, _two), _two)


def _alif_whole(now: Any, state: Any, x: Any, given: Any) -> Any:
    """With the gradient from a spike to its threshold, too."""
    v, b = state
    h = given["leak"] * v + given["gain"] * x
    level = given["threshold"] + given["scale"] * b
    s = now.spike(h - level, now.held(level))
    return (h - level * s, given["rho"] * b + (1 - given["rho"]) * s), h, s


def _alif_page() -> Measured:
    torch, layers = imported("torch"), imported("sinabs.layers")
    layer = layers.ALIF(tau_mem=_TAU, tau_adapt=20.0, norm_input=False)
    spikes = layer(torch.tensor([[[1.5]]]))
    return Measured(
        spikes.item() == 1 and layer.b.item() > 0,
        f"after {spikes.item():g} spike b = {layer.b.item():.4f}; by its page b becomes 0",
    )


def _alif_synapse() -> Measured:
    torch, layers = imported("torch"), imported("sinabs.layers")
    options = {"tau_mem": _TAU, "tau_syn": 5.0, "spike_threshold": torch.tensor(1e6)}
    one = torch.zeros(1, 20, 1)
    one[0, 0] = 1.0
    potentials = []
    for layer in (layers.LIF(**options), layers.ALIF(tau_adapt=20.0, **options)):
        layer(one)
        potentials.append(layer.v_mem.item())
    return Measured(
        abs(potentials[1] / potentials[0]) < 0.5,
        f"20 steps after one input, no spikes: LIF {potentials[0]:.4f}, ALIF {potentials[1]:.4f}",
    )


def _at_or_above() -> Measured:
    torch, activation = imported("torch"), imported("sinabs.activation")
    at = activation.SingleSpike.apply(torch.ones(1), 1.0, activation.SingleExponential())
    return Measured(at.item() == 1, f"{at.item():g} spikes at the threshold")


def _casts() -> Measured:
    torch, activation = imported("torch"), imported("sinabs.activation")
    one = torch.ones(1, dtype=torch.float64)
    spike = activation.SingleSpike.apply(one, 1.0, activation.SingleExponential())
    tau = imported("sinabs.layers").LIF(tau_mem=torch.tensor(10.0, dtype=torch.float64)).tau_mem
    return Measured(
        spike.dtype == tau.dtype == torch.float32,
        f"float64 in: spikes {spike.dtype}, tau {tau.dtype}",
    )


def _slopes() -> Measured:
    torch, activation = imported("torch"), imported("sinabs.activation")

    def of(psi: Any) -> Any:
        return lambda u: psi(torch.tensor(np.asarray(u) + 1.0), 1.0).numpy()

    return slopes_compared(
        {
            "sinabs-3.1.3-SingleExponential": of(activation.SingleExponential()),
            "sinabs-3.1.3-Gaussian": of(activation.Gaussian()),
        },
        1e-6,
    )


def _heaviside() -> Measured:
    torch, activation = imported("torch"), imported("sinabs.activation")
    found = slope_of_torch(
        lambda u: activation.SingleSpike.apply(u + 1, torch.tensor(1.0), activation.Heaviside()),
        np.array([-1.1, -0.9]),
    )
    return Measured(found.tolist() == [0, 1], f"psi(-1.1), psi(-0.9) = {found.tolist()}")


CONVENTIONS = (
    Convention(
        "lif-single",
        "LIF(tau, spike_fn=SingleSpike): leak exp(-1/tau), gain 1 - leak, fires at or above, subtracts in "
        "the same step, gradient through it, psi = 2 exp(-2|u|)",
        _single,
    ),
    Convention("lif-norm-input", "norm_input=False: gain 1", _gain),
    Convention("lif-width", "threshold 2: psi = (2/threshold) exp(-2|u|/threshold)", _width),
    Convention(
        "lif-multiple",
        "LIF(tau): MultiSpike emits trunc(v/threshold) spikes at once; not one",
        _multiple,
    ),
    Convention("reset-detached", "MembraneReset() goes to 0 in the same step, detached", _reset),
    Convention(
        "reset-value",
        "MembraneReset(reset_value) adds the value at every step, to neurons that did not fire too",
        _reset_value,
        defect=True,
    ),
    Convention("reset-value-at-rest", "the same, on one number", _reset_value_at_rest, defect=True),
    Convention("lif-synapse", "tau_syn: the input decays in the step in which it arrives", _synapse),
    Convention(
        "alif",
        "ALIF: threshold + scale b is compared and subtracted, b = rho b + (1 - rho) s; no gradient from a "
        "spike to its threshold, psi in units of the threshold of the moment",
        _adaptive,
    ),
    Convention(
        "alif-page", "b stays after a spike of ALIF; its page says it becomes 0", _alif_page, defect=True
    ),
    Convention(
        "alif-synapse",
        "ALIF with tau_syn and norm_input scales the stored current by 1 - leak at every step; LIF does not",
        _alif_synapse,
        defect=True,
    ),
    Convention("at-or-above", "a potential equal to the threshold fires", _at_or_above),
    Convention("float32", "spikes and time constants are float32 whatever comes in", _casts),
    Convention("surrogates", "SingleExponential and Gaussian with their defaults", _slopes),
    Convention("heaviside", "Heaviside: 1/threshold from threshold - 1 on", _heaviside),
)
