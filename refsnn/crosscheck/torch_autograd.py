"""Plain PyTorch: the equations of the reference as a loop, differentiated by autograd.

It has every option of the reference, and shares only the forward equations with it: what it shows is that
the gradients of the vectors are those that automatic differentiation gives with the same psi.
"""

from __future__ import annotations

from typing import Any

from refsnn.crosscheck.adapter import Adapter, imported
from refsnn.crosscheck.through_torch import Spike, differentiated
from refsnn.vectors.case import Leaves, Problem


def run(problem: Problem) -> Leaves:
    """A loop over time.

    Parameters
    ----------
    problem : Problem
        A case of `spiking_neuron`.

    Returns
    -------
    dict of str to ndarray
    """
    torch, given = imported("torch"), problem.hyperparameters
    leak, threshold, rest = given["leak"], given["threshold"], given["reset_value"]
    spike_of, hard = Spike(given), given["reset"] == "hard"

    def forward(current: Any, start: Any) -> tuple[Any, Any, Any]:
        potential, charged, spikes = start, [], []
        for entering in current.unbind(0):
            h = leak * potential + entering
            if hard:
                h = h + (1 - leak) * rest
            spike = spike_of(h - threshold)
            in_reset = spike.detach() if given["detach_reset"] else spike
            potential = (1 - in_reset) * h + in_reset * rest if hard else h - threshold * in_reset
            charged.append(h)
            spikes.append(spike)
        return torch.stack(charged), torch.stack(spikes), potential

    return differentiated(problem, forward)


ADAPTER = Adapter(
    name="torch",
    title="a loop in PyTorch, differentiated by autograd",
    distributions=("torch",),
    tested={"torch": ("2.15.0",)},
    run=run,
)
