"""SpikingJelly's own neurons: `LIFNode` with its defaults, and the surrogates."""

from __future__ import annotations

from functools import partial
from typing import Any

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
from refsnn.vectors.case import Leaves, Problem

_NEURON = "spikingjelly.activation_based.neuron"


def _lif(dtype: str = "float64", **options: Any) -> Any:
    def run(problem: Problem) -> Leaves:
        layer = imported(_NEURON).LIFNode(step_mode="m", **options)
        return through_torch(problem, layer, dtype)

    return run


def _as(rule: Any, **changed: Any) -> Any:
    return lambda problem: simulated(rule, problem.changed(**changed))


def _hard(**given: Any) -> Problem:
    return drive("spikingjelly-2.0.0-Sigmoid", leak=0.5, gain=0.5, reset="hard", amplitude=2.5, **given)


def _default() -> Measured:
    return compared(_lif(), rules.same_step, _hard(), 1e-13, _as(rules.same_step, gain=1.0))


def _through() -> Measured:
    return compared(_lif(), rules.same_step, _hard(), 1e-13, _as(rules.same_step, detach_reset=True))


def _in_single() -> Measured:
    return compared(_lif("float32"), rules.same_step, _hard(), 1e-5, _as(rules.same_step, detach_reset=True))


def _reset_value() -> Measured:
    problem = _hard(reset_value=-0.5)
    problem.inputs["start"][:] = -0.5
    control = _as(rules.same_step, reset_value=0.0)
    return compared(_lif(v_reset=-0.5), rules.same_step, problem, 1e-13, control)


def _soft() -> Measured:
    problem = drive("spikingjelly-2.0.0-Sigmoid", leak=0.5, gain=0.5, amplitude=2.5)
    return compared(_lif(v_reset=None), rules.same_step, problem, 1e-13, _as(rules.next_step))


def _no_decay_of_input() -> Measured:
    problem = drive("spikingjelly-2.0.0-Sigmoid", leak=0.5, reset="hard")
    return compared(_lif(decay_input=False), rules.same_step, problem, 1e-13, _as(rules.same_step, gain=0.5))


def _at_or_above() -> Measured:
    torch = imported("torch")
    spike = imported(_NEURON).LIFNode(decay_input=False)(torch.tensor([1.0]))
    return Measured(spike.item() == 1, f"{spike.item():g} spikes at the threshold")


def _tau() -> Measured:
    refused = []
    for tau in (2, 1.0):
        try:
            imported(_NEURON).LIFNode(tau=tau)
        except AssertionError:
            refused.append(repr(tau))
    return Measured(refused == ["2", "1.0"], f"AssertionError for tau = {', '.join(refused) or 'none'}")


def _keeps_state() -> Measured:
    torch = imported("torch")
    layer = imported(_NEURON).LIFNode()
    x = torch.full((1,), 1.2)
    first = [layer(x).item() for _ in range(2)]
    second = [layer(x).item() for _ in range(2)]
    imported("spikingjelly.activation_based.functional").reset_net(layer)
    third = [layer(x).item() for _ in range(2)]
    return Measured(
        first != second and first == third, f"spikes {first}, then {second}, after reset_net {third}"
    )


def _slopes() -> Measured:
    surrogate = imported("spikingjelly.activation_based.surrogate")
    names = ("Sigmoid", "ATan", "PiecewiseExp", "Erf", "SoftSign")
    return slopes_compared(
        {f"spikingjelly-2.0.0-{name}": partial(slope_of_torch, getattr(surrogate, name)()) for name in names},
        1e-12,
    )


CONVENTIONS = (
    Convention(
        "lif",
        "LIFNode(): tau = 2, leak 1 - 1/tau towards v_reset, gain 1/tau, fires at or above, hard reset to 0 "
        "in the same step, gradient through it, psi = 4 sigma (1 - sigma) of 4u.  Not a gain of 1",
        _default,
    ),
    Convention("lif-through", "the gradient goes through the reset unless detach_reset=True", _through),
    Convention("lif-float32", "the same in float32, where another body of code runs", _in_single),
    Convention("lif-reset-value", "v_reset = -0.5: it leaks towards v_reset, not towards 0", _reset_value),
    Convention("lif-soft", "v_reset=None subtracts the threshold, in the same step", _soft),
    Convention("lif-no-decay-of-input", "decay_input=False: gain 1", _no_decay_of_input),
    Convention("at-or-above", "a potential equal to the threshold fires", _at_or_above),
    Convention("tau", "tau must be a float above 1; 2 and 1.0 are refused by an assertion", _tau),
    Convention("keeps-state", "the state stays between calls until reset_net", _keeps_state),
    Convention("surrogates", "Sigmoid, ATan, PiecewiseExp, Erf, SoftSign with their defaults", _slopes),
)
