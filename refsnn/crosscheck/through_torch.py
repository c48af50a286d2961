"""What the adapters of PyTorch's frameworks share: our spike for their hooks, and the derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refsnn.crosscheck.adapter import imported
from refsnn.crosscheck.shapes import psi
from refsnn.vectors.case import Hyperparameters, Leaves, Problem

Forward = Callable[[Any, Any], tuple[Any, Any, Any]]


class Spike:
    """H(u) with the psi of a case for its derivative: what goes into a hook for surrogates.

    It remembers the distances that it was asked for, without their history: u + threshold is the charged
    potential that most frameworks show to nobody else.

    Parameters
    ----------
    given : dict
        Hyper-parameters of a case.
    shift : float
        Subtracted from what comes in, for a framework that has taken another threshold away.

    Attributes
    ----------
    seen : list of tensor
        Distances, shift subtracted, one a call.
    """

    def __init__(self, given: Hyperparameters, shift: float = 0.0):
        self.seen: list[Any] = []
        self._shift = shift
        self._apply = _function(given)

    def __call__(self, distance: Any) -> Any:
        """Spikes as floating-point numbers of the dtype of the distance."""
        distance = distance - self._shift if self._shift else distance
        self.seen.append(distance.detach())
        return self._apply(distance)


def _function(given: Hyperparameters) -> Any:
    torch = imported("torch")
    above = given["fires"] == ">"

    class Heaviside(torch.autograd.Function):  # type: ignore[name-defined]
        @staticmethod
        def forward(context: Any, distance: Any) -> Any:
            context.save_for_backward(distance)
            return (distance > 0 if above else distance >= 0).to(distance.dtype)

        @staticmethod
        def backward(context: Any, adjoint: Any) -> Any:
            (distance,) = context.saved_tensors
            return adjoint * psi(torch, given, distance)

    return Heaviside.apply


def with_start(current: Any, start: Any, given: Hyperparameters) -> Any:
    """Currents that charge the start in the first step, for a state that is not the potential after a reset.

    Frameworks that keep the potential *before* the reset would take a start for such a one and reset it.
    They start at the value of rest instead: leak rest + (I_1 + leak (start - rest)) is leak start + I_1.

    Parameters
    ----------
    current : tensor, (T, M)
        I_t.
    start : tensor, (M,)
        v_0.
    given : dict
        Hyper-parameters of the case.

    Returns
    -------
    list of tensor, (M,)
        One a step.
    """
    first, *others = current
    return [first + given["leak"] * (start - given["reset_value"]), *others]


def differentiated(problem: Problem, forward: Forward) -> Leaves:
    """All leaves of a case, gradients by autograd.

    Parameters
    ----------
    problem : Problem
        A case of `spiking_neuron`.
    forward : callable
        `(current, start) -> (charged, spikes, potential)`; tensors (T, M), (T, M), (M,).

    Returns
    -------
    dict of str to ndarray
    """
    torch = imported("torch")
    current, start = (torch.tensor(problem.inputs[name], requires_grad=True) for name in ("current", "start"))
    upstream = torch.tensor(problem.inputs["spike_adjoint"])
    charged, spikes, potential = forward(current, start)
    steps = len(spikes)
    loss = (upstream * spikes).sum()
    by_current, by_start = _gradients(torch, loss, (current, start))
    (rate_by_current,) = _gradients(torch, spikes.sum() / steps, (current,))
    leaves = {
        "states/charged": charged,
        "states/spikes": spikes,
        "states/potential": potential,
        "loss": loss,
        "gradients/current": by_current,
        "gradients/start": by_start,
        "rate": spikes.mean(0),
        "rate_jacobian": rate_by_current.sum(0),
    }
    return {name: np.asarray(leaf.detach().numpy()) for name, leaf in leaves.items()}


def _gradients(torch: Any, value: Any, by: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(torch.autograd.grad(value, by, retain_graph=True, materialize_grads=True))
