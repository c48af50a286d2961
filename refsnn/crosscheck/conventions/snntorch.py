"""snnTorch's own neurons: `Leaky` in its three resets, and the surrogates."""

from __future__ import annotations

from functools import partial
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
from refsnn.vectors.case import Leaves, Problem


def _leaky(dtype: str = "float64", **options: Any) -> Any:
    def run(problem: Problem) -> Leaves:
        torch = imported("torch")
        # a float becomes float32: as a tensor it keeps its value in double precision
        beta = torch.tensor(problem.hyperparameters["leak"], dtype=getattr(torch, dtype))
        layer = imported("snntorch").Leaky(beta=beta, **options)

        def forward(current: Any) -> Any:
            potential, spikes = torch.zeros_like(current[0]), []
            for entering in current.unbind(0):
                spike, potential = layer(entering, potential)
                spikes.append(spike)
            return torch.stack(spikes)

        return through_torch(problem, forward, dtype)

    return run


def _as(rule: Any, **changed: Any) -> Any:
    return lambda problem: simulated(rule, problem.changed(**changed))


def _subtract() -> Measured:
    problem = drive("snntorch-1.0.0-atan", fires=">", detach_reset=True)
    return compared(_leaky(), rules.next_step, problem, 1e-6, _as(rules.same_step))


def _subtract_detached() -> Measured:
    problem = drive("snntorch-1.0.0-atan", fires=">", detach_reset=True)
    return compared(_leaky(), rules.next_step, problem, 1e-6, _as(rules.next_step, detach_reset=False))


def _zero() -> Measured:
    problem = drive("snntorch-1.0.0-atan", fires=">", detach_reset=True, reset="hard")
    run = _leaky(reset_mechanism="zero")
    return compared(run, rules.next_step_zero, problem, 1e-6, _as(rules.same_step, detach_reset=False))


def _zero_is_same_step() -> Measured:
    problem = drive("snntorch-1.0.0-atan", fires=">", detach_reset=True, reset="hard")
    return compared(_leaky(reset_mechanism="zero"), rules.same_step, problem, 1e-6, _as(rules.next_step))


def _at_once() -> Measured:
    problem = drive("snntorch-1.0.0-atan", fires=">")
    return compared(_leaky(reset_delay=False), rules.residual_seen, problem, 1e-6, _as(rules.same_step))


def _at_once_through() -> Measured:
    problem = drive("snntorch-1.0.0-atan", fires=">")
    return compared(_leaky(reset_delay=False), rules.residual_seen, problem, 1e-6, _as(_residual_held))


def _residual_held(now: Any, state: Any, x: Any, given: Any) -> Any:
    """The same with a reset that is detached."""
    (after,), h, s = rules.residual_seen(now, state, x, given)
    return (after + given["threshold"] * (s - now.held(s)),), h, s


def _clamped() -> Measured:
    problem = drive("snntorch-1.0.0-atan", fires=">", detach_reset=True, leak=1.0, amplitude=0.5)
    run = _leaky()
    return compared(
        lambda one: run(one.changed(leak=1.5)), rules.next_step, problem, 1e-6, _as(rules.next_step, leak=0.9)
    )


def _slopes() -> Measured:
    surrogate = imported("snntorch.surrogate")
    functions = {
        "atan": surrogate.atan(),
        "fast_sigmoid": surrogate.fast_sigmoid(),
        "sigmoid": surrogate.sigmoid(),
    }
    return slopes_compared(
        {f"snntorch-1.0.0-{name}": partial(slope_of_torch, function) for name, function in functions.items()},
        1e-6,
    )


def _above() -> Measured:
    torch, snntorch = imported("torch"), imported("snntorch")
    layer = snntorch.Leaky(beta=0.5)
    at, _ = layer(torch.tensor([1.0]), torch.zeros(1))
    above, _ = layer(torch.tensor([1.0 + 2**-20]), torch.zeros(1))
    says = "≥" in (imported("snntorch.surrogate").ATan.__doc__ or "")
    return Measured(
        float(at[0]) == 0 and float(above[0]) == 1 and says,
        f"{at.item():g} spikes at the threshold, {above.item():g} at 1 + 2^-20",
    )


def _nan() -> Measured:
    distances = -np.arange(0, 6.001, 0.01)
    found = slope_of_torch(imported("snntorch.surrogate").sigmoid(), distances, "float32")
    first = distances[np.isnan(found)]
    in_double = slope_of_torch(imported("snntorch.surrogate").sigmoid(), distances)
    return Measured(
        len(first) > 0
        and bool(np.isnan(found[distances <= first[0]]).all())
        and np.isfinite(in_double).all(),
        f"NaN from u = {first[0]:.2f} on in float32" if len(first) else "finite down to -6",
    )


def _nan_in_a_layer() -> Measured:
    torch, snntorch = imported("torch"), imported("snntorch")
    layer = snntorch.Leaky(beta=0.5, spike_grad=imported("snntorch.surrogate").sigmoid())
    current = torch.tensor([-3.0], requires_grad=True)
    spike, _ = layer(current, torch.zeros(1))
    (gradient,) = torch.autograd.grad(spike.sum(), current)
    return Measured(bool(gradient.isnan().all()), f"a current of -3 at rest: gradient {gradient.item()}")


def _casts() -> Measured:
    torch = imported("torch")
    spike = imported("snntorch.surrogate").atan()(torch.ones(1, dtype=torch.float64))
    return Measured(spike.dtype == torch.float32, f"float64 in, {spike.dtype} out")


def _atan_page() -> Measured:
    found = slope_of_torch(imported("snntorch.surrogate").atan(), np.zeros(1))[0]
    says = "{1}{π}\\frac{1}{(1+" in (imported("snntorch.surrogate").ATan.__doc__ or "")
    return Measured(bool(found == 1) and says, f"psi(0) = {found:.4g}; by its page 1/pi = {1 / np.pi:.4g}")


def _triangular() -> Measured:
    found = slope_of_torch(imported("snntorch.surrogate").triangular(), np.array([-5.0, -0.5, 0.5, 5.0]))
    return Measured(
        bool((found == [1, 1, -1, -1]).all()), f"psi(-5), psi(-0.5), psi(0.5), psi(5) = {found.tolist()}"
    )


CONVENTIONS = (
    Convention(
        "leaky",
        "Leaky(beta): leak beta, gain 1, fires above the threshold, which is subtracted in the next step and "
        "does not decay; detached; psi = 1/(1 + (pi u)^2).  Not the reference's reset in the same step",
        _subtract,
    ),
    Convention("leaky-detached", "the gradient never goes through the reset of Leaky", _subtract_detached),
    Convention(
        "leaky-zero",
        "reset_mechanism='zero': u = beta (1 - R) u' + x, R = H(u' - threshold) detached",
        _zero,
    ),
    Convention(
        "leaky-zero-same-step",
        "reset_mechanism='zero' equals the hard reset to 0 in the same step",
        _zero_is_same_step,
    ),
    Convention(
        "leaky-at-once",
        "reset_delay=False: the reset comes in the same step; a residual above the threshold is lowered by "
        "the threshold for the test of the next spike, which is then missed",
        _at_once,
        defect=True,
    ),
    Convention(
        "leaky-at-once-through",
        "reset_delay=False: the gradient goes through the reset; there is no option to detach it",
        _at_once_through,
    ),
    Convention("leaky-clamped", "beta is clamped to [0, 1]: 1.5 is 1", _clamped),
    Convention("surrogates", "atan, fast_sigmoid(25), sigmoid(25)", _slopes),
    Convention(
        "above",
        "a potential equal to the threshold does not fire; the pages of the surrogates say U >= threshold",
        _above,
        defect=True,
    ),
    Convention(
        "sigmoid-nan", "psi of sigmoid() is NaN far below the threshold, in float32", _nan, defect=True
    ),
    Convention(
        "sigmoid-nan-layer",
        "so one strongly inhibited neuron makes the gradient of a layer NaN",
        _nan_in_a_layer,
        defect=True,
    ),
    Convention("spikes-float32", "spikes of the shipped surrogates are float32 whatever comes in", _casts),
    Convention(
        "atan-page",
        "psi of atan is pi times what its page says",
        _atan_page,
        defect=True,
    ),
    Convention(
        "triangular",
        "psi of triangular is 1 below the threshold and -1 from it on, however far: no triangle",
        _triangular,
        defect=True,
    ),
)
