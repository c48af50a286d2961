"""Norse's own neurons: with and without a current, recurrent or not, and the adaptive one."""

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
    through_torch,
)
from refsnn.crosscheck.simulation import simulated
from refsnn.vectors.case import Leaves, Problem
from refsnn.vectors.making import relative_error

_F = "norse.torch.functional"
_SYNAPSE = 0.8  # 1 - dt/tau_syn with the defaults


def _as(rule: Any, begin: Any = None, **changed: Any) -> Any:
    begin = begin or (lambda start, given: (start,))
    return lambda problem: simulated(rule, problem.changed(**changed), begin)


def _two(start: Any, given: Any) -> Any:
    return start, 0 * start


def _three(start: Any, given: Any) -> Any:
    return start, 0 * start, 0 * start + given["threshold"]


def _stepped(step: Any, first: Any) -> Any:
    """A run of `step(current, state) -> (spikes, state)`."""

    def run(problem: Problem) -> Leaves:
        torch = imported("torch")

        def forward(current: Any) -> Any:
            state, spikes = first(torch, current[0]), []
            for entering in current.unbind(0):
                spike, state = step(torch, entering, state)
                spikes.append(spike)
            return torch.stack(spikes)

        return through_torch(problem, forward)

    return run


def _box(alpha: float = 100.0, **given: Any) -> Any:
    def first(torch: Any, x: Any) -> Any:
        return imported(f"{_F}.lif_box").LIFBoxFeedForwardState(v=torch.zeros_like(x))

    def step(torch: Any, x: Any, state: Any) -> Any:
        box = imported(f"{_F}.lif_box")
        parameters = box.LIFBoxParameters(alpha=torch.as_tensor(alpha), **given)
        return box.lif_box_feed_forward_step(x, state, parameters)

    return _stepped(step, first)


def _feed_forward() -> Any:
    def first(torch: Any, x: Any) -> Any:
        return imported(f"{_F}.lif").LIFFeedForwardState(v=torch.zeros_like(x), i=torch.zeros_like(x))

    def step(torch: Any, x: Any, state: Any) -> Any:
        lif = imported(f"{_F}.lif")
        return lif.lif_feed_forward_step(x, state, lif.LIFParameters())

    return _stepped(step, first)


def _recurrent() -> Any:
    """Without recurrent weights, and with the identity for those of the input."""

    def first(torch: Any, x: Any) -> Any:
        zeros = torch.zeros_like(x)[None]
        return imported(f"{_F}.lif").LIFState(z=zeros, v=zeros, i=zeros)

    def step(torch: Any, x: Any, state: Any) -> Any:
        lif = imported(f"{_F}.lif")
        identity = torch.eye(len(x), dtype=x.dtype)
        spike, state = lif.lif_step(x[None], state, identity, 0 * identity, lif.LIFParameters())
        return spike[0], state

    return _stepped(step, first)


def _lsnn(recurrent: bool) -> Any:
    def first(torch: Any, x: Any) -> Any:
        lsnn, zeros = imported(f"{_F}.lsnn"), torch.zeros_like(x)[None]
        parts = {"v": zeros, "i": zeros, "b": zeros + 1}
        return lsnn.LSNNState(z=zeros, **parts) if recurrent else lsnn.LSNNFeedForwardState(**parts)

    def step(torch: Any, x: Any, state: Any) -> Any:
        lsnn, identity = imported(f"{_F}.lsnn"), torch.eye(len(x), dtype=x.dtype)
        if recurrent:
            spike, state = lsnn.lsnn_step(x[None], state, identity, 0 * identity)
        else:
            spike, state = lsnn.lsnn_feed_forward_step(x[None], state)
        return spike[0], state

    return _stepped(step, first)


def _drive(**given: Any) -> Problem:
    defaults: dict[str, Any] = {"gain": 0.1, "fires": ">", "reset": "hard", "amplitude": 8.0}
    return drive("norse-1.1.0", **(defaults | given))


def _box_default() -> Measured:
    return compared(_box(), rules.same_step, _drive(), 1e-7, _as(rules.same_step, detach_reset=True))


def _box_in_double() -> Measured:
    torch = imported("torch")
    run = _box(tau_mem_inv=torch.tensor(100.0, dtype=torch.float64))
    return compared(run, rules.same_step, _drive(), 1e-13, _as(rules.same_step, detach_reset=True))


def _alpha() -> Measured:
    problem = _drive()
    few, many = (_box(alpha)(problem)["gradients/current"] for alpha in (1.0, 100.0))
    distances = np.linspace(-2, 2, 9)
    threshold = imported(f"{_F}.threshold").threshold
    alpha = imported("torch").as_tensor(100.0)
    found = slope_of_torch(lambda u: threshold(u, "super", alpha), distances)
    without = relative_error(found, 1 / (1 + abs(distances)) ** 2)
    with_alpha = relative_error(found, 1 / (1 + 100 * abs(distances)) ** 2)
    return Measured(
        bool((few == many).all()) and without < 1e-12 and with_alpha > 0.1,
        f"gradients for alpha 1 and 100 equal to the bit; psi is 1/(1+|u|)^2 to {without:.0e}, and "
        f"{with_alpha:.2f} from 1/(1+100|u|)^2",
    )


def _current_at_once() -> Measured:
    problem = _drive(synapse=_SYNAPSE, amplitude=2.0)
    control = _as(rules.current_next_step, _two)
    return compared(_feed_forward(), rules.current_at_once, problem, 1e-6, control, _two)


def _recurrent_detached() -> Measured:
    problem = _drive(synapse=_SYNAPSE, amplitude=2.0, detach_reset=True)
    return compared(_recurrent(), rules.current_at_once, problem, 1e-6, _feed_forward(), _two)


def _adaptive(recurrent: bool) -> Measured:
    given = {"synapse": _SYNAPSE, "share": 1e-3 / 800, "raise": 1.8, "amplitude": 4.0}
    problem = _drive(**given, detach_reset=recurrent)
    rule = rules.adaptive_threshold_of_time
    control = _as(rule, _three, detach_reset=not recurrent)
    return compared(_lsnn(recurrent), rule, problem, 1e-6, control, _three)


def _lsnn_late() -> Measured:
    problem = _drive(synapse=_SYNAPSE, amplitude=4.0, **{"share": 1e-3 / 800, "raise": 1.8})
    first = np.flatnonzero(_lsnn(False)(problem)["gradients/current"][-1])
    return Measured(len(first) == 0, f"{len(first)} entries of the gradient by the last input are not zero")


def _lsnn_page() -> Measured:
    torch, lsnn = imported("torch"), imported(f"{_F}.lsnn")
    v, b = torch.tensor([2.0]), torch.tensor([5.0])
    spike, _ = lsnn.lsnn_feed_forward_step(torch.zeros(1), lsnn.LSNNFeedForwardState(v=v, i=0 * v, b=b))
    says = "v - v_{\\text{th}} + b" in (lsnn.lsnn_feed_forward_step.__doc__ or "")
    return Measured(
        spike.item() == 0 and says,
        f"v = 2, threshold 1, b = 5: {spike.item():g} spikes; v - threshold + b = 5.8 is above 0",
    )


def _above() -> Measured:
    torch, threshold = imported("torch"), imported(f"{_F}.threshold").threshold
    found = [threshold(torch.tensor(u), "super", torch.tensor(1.0)).item() for u in (0.0, 1e-6)]
    return Measured(found == [0, 1], f"H(0) = {found[0]:g}, H(1e-6) = {found[1]:g}")


def _integral() -> Measured:
    torch, lif = imported("torch"), imported(f"{_F}.lif")
    zeros, eye = torch.zeros(1, 3), torch.eye(3)
    spikes, _ = lif.lif_step_integral(torch.rand(7, 1, 3), lif.LIFState(zeros, zeros, zeros), eye, 0 * eye)
    return Measured(tuple(spikes.shape) == (1, 3), f"input (7, 1, 3), spikes {tuple(spikes.shape)}")


def _no_scale() -> Measured:
    threshold, at = imported(f"{_F}.threshold").threshold, np.zeros(1)
    found = {
        (method, k): float(slope_of_torch(partial(threshold, method=method, alpha=k), at)[0])
        for method in ("tanh", "heavi_erfc")
        for k in (1.0, 10.0)
    }
    holds = all(found[method, 1.0] == found[method, 10.0] for method in ("tanh", "heavi_erfc"))
    return Measured(
        holds, "; ".join(f"{method} k={k:g}: psi(0) = {slope:.4g}" for (method, k), slope in found.items())
    )


def _single_pi() -> Measured:
    threshold = imported(f"{_F}.threshold").threshold
    found = slope_of_torch(lambda u: threshold(u, "heavi_erfc", 1.0), np.zeros(1))[0]
    error = abs(found / (2 / np.sqrt(np.pi)) - 1)
    return Measured(1e-9 < error < 1e-7, f"psi(0) in float64 is off by {error:.1e}")


CONVENTIONS = (
    Convention(
        "lif-box",
        "lif_box_feed_forward_step: leak 1 - dt/tau, gain dt/tau, fires above, reset to a value in the same "
        "step, gradient through it, psi = 1/(1+|u|)^2",
        _box_default,
    ),
    Convention(
        "lif-box-float64",
        "the same, closer: with its default parameters, which are float32, it is float32 in part",
        _box_in_double,
    ),
    Convention("above", "a potential equal to the threshold does not fire", _above),
    Convention("alpha", "alpha of 'super', the default surrogate, is not looked at", _alpha, defect=True),
    Convention(
        "lif-feed-forward",
        "lif_feed_forward_step: the input acts in the same step, then the current decays by 1 - dt/tau_syn; "
        "gradient through the reset",
        _current_at_once,
    ),
    Convention(
        "lif-recurrent",
        "lif_step without recurrent weights: the same spikes, but the reset is detached",
        _recurrent_detached,
        defect=True,
    ),
    Convention(
        "lsnn",
        "lsnn_step: b goes to the threshold with dt/tau_b, H(v - b), b is raised by beta; detached",
        lambda: _adaptive(True),
    ),
    Convention("lsnn-feed-forward", "lsnn_feed_forward_step: the same, through", lambda: _adaptive(False)),
    Convention("lsnn-late", "the input of lsnn steps acts one step late", _lsnn_late),
    Convention(
        "lsnn-page",
        "lsnn fires where v - b > 0; its page says v - threshold + b > 0",
        _lsnn_page,
        defect=True,
    ),
    Convention(
        "integral",
        "lif_step_integral returns the spikes of the last step; its page says of all",
        _integral,
        defect=True,
    ),
    Convention(
        "no-scale",
        "psi of 'tanh' and 'heavi_erfc' at 0 does not grow with k, as the slope of the named function does",
        _no_scale,
        defect=True,
    ),
    Convention("erfc-float32", "'heavi_erfc' has the square root of pi in float32", _single_pi, defect=True),
)
