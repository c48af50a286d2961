"""spyx's own neuron and surrogates."""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn.crosscheck import rules
from refsnn.crosscheck.adapter import imported
from refsnn.crosscheck.conventions.measuring import (
    Convention,
    Measured,
    compared,
    drive,
    slopes_compared,
    through_jax,
)
from refsnn.crosscheck.simulation import simulated
from refsnn.vectors.case import Leaves, Problem


def _lif(problem: Problem) -> Leaves:
    nn, nnx, scan = imported("spyx.nn"), imported("flax.nnx"), imported("jax").lax.scan
    jnp = imported("jax.numpy")

    def forward(current: Any) -> Any:
        layer = nn.LIF(current.shape[1:], beta=problem.hyperparameters["leak"], rngs=nnx.Rngs(0))

        def step(state: Any, entering: Any) -> Any:
            spikes, state = layer(entering[None], state)
            return state, spikes[0]

        return scan(step, jnp.zeros((1, *current.shape[1:]), current.dtype), current)[1]

    return through_jax(problem, forward)


def _as(rule: Any, **changed: Any) -> Any:
    return lambda problem: simulated(rule, problem.changed(**changed))


def _drive(**given: Any) -> Problem:
    return drive("spyx-1.0.0-superspike", fires=">", **given)


def _default() -> Measured:
    return compared(_lif, rules.spike_of_the_step_before, _drive(), 1e-13, _as(rules.next_step))


def _through() -> Measured:
    control = _as(rules.spike_of_the_step_before, detach_reset=True)
    return compared(_lif, rules.spike_of_the_step_before, _drive(), 1e-13, control)


def _one_step_late() -> Measured:
    problem = _drive()
    late = _lif(problem)["states/spikes"]
    there = simulated(rules.next_step, problem)["states/spikes"]  # as Leaky has it
    return Measured(
        bool((late[1:] == there[:-1]).all()) and bool((late != there).any()),
        f"{int((late[1:] != there[:-1]).sum())} of {there[:-1].size} spikes differ after a shift by a step, "
        f"{int((late != there).sum())} without",
    )


def _clamped() -> Measured:
    problem = _drive(leak=1.0, amplitude=0.5)
    control = _as(rules.spike_of_the_step_before, leak=0.9)
    return compared(
        lambda one: _lif(one.changed(leak=1.5)), rules.spike_of_the_step_before, problem, 1e-13, control
    )


def _slopes() -> Measured:
    jax, axn = imported("jax"), imported("spyx.axn")

    def of(name: str) -> Any:
        def slope(u: np.ndarray) -> np.ndarray:
            with jax.enable_x64(True):
                spike = getattr(axn, name)()
                return np.asarray(jax.grad(lambda at: spike(at).sum())(jax.numpy.asarray(u)))

        return slope

    return slopes_compared({f"spyx-1.0.0-{name}": of(name) for name in ("superspike", "arctan")}, 1e-12)


def _boxcar() -> Measured:
    jax, axn = imported("jax"), imported("spyx.axn")
    at = jax.numpy.asarray([-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5])
    found = np.asarray(jax.grad(lambda u: axn.boxcar()(u).sum())(at)).tolist()
    return Measured(
        found == [0, 0, 0.5, 0.5, 0.5, 0, 0],
        f"psi(-1.5), ... psi(1.5) by halves: {found}; by its page 0.5 at 1",
    )


CONVENTIONS = (
    Convention(
        "lif",
        "nn.LIF(beta): leak beta, gain 1, fires above; spikes are tested on the potential of the step "
        "before, the threshold is subtracted after the leak; psi = 1/(1+25|u|)^2",
        _default,
    ),
    Convention("lif-through", "the gradient goes through the reset", _through),
    Convention("lif-late", "spikes come out one step later than those of snnTorch's Leaky", _one_step_late),
    Convention("lif-clamped", "beta is clamped to [0, 1]: 1.5 is 1", _clamped),
    Convention("surrogates", "superspike(25) and arctan(2)", _slopes),
    Convention(
        "boxcar",
        "psi of boxcar is 0 at |u| = width/2; its page says 0.5 up to and at it",
        _boxcar,
        defect=True,
    ),
)
