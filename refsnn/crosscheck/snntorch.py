"""snnTorch's `Leaky`.

Its state is the potential before the reset, which is taken away in the next step and after the leak:
u_t = beta u_{t-1} + x_t - threshold H(u_{t-1} - threshold).  The reference's soft reset is taken away before
the leak, so `threshold` is leak times ours, and the spike's hook adds what is missing to the comparison.
A hard reset to a value other than 0 is one to 0 where potentials are counted from that value.
"""

from __future__ import annotations

from typing import Any

from refsnn.crosscheck.adapter import Adapter, imported
from refsnn.crosscheck.through_torch import Spike, differentiated, with_start
from refsnn.vectors.case import Leaves, Problem


def run(problem: Problem) -> Leaves:
    """`Leaky` with `reset_delay=True` where the reset is detached, and `reset_delay=False` where it is not.

    Parameters
    ----------
    problem : Problem
        A case of `spiking_neuron`.

    Returns
    -------
    dict of str to ndarray
    """
    return _in_the_next_step(problem) if problem.hyperparameters["detach_reset"] else _at_once(problem)


def _layer(given: dict[str, Any], threshold: float, spike_of: Spike, delayed: bool) -> Any:
    torch = imported("torch")
    hard = given["reset"] == "hard"
    # numbers become float32 in its buffers, tensors keep their dtype
    return imported("snntorch").Leaky(
        beta=torch.tensor(given["leak"], dtype=torch.float64),
        threshold=torch.tensor(threshold, dtype=torch.float64),
        spike_grad=spike_of,
        reset_mechanism="zero" if hard else "subtract",
        reset_delay=delayed,
    )


def _in_the_next_step(problem: Problem) -> Leaves:
    torch, given = imported("torch"), problem.hyperparameters
    hard, rest = given["reset"] == "hard", given["reset_value"]
    threshold = given["threshold"] - rest if hard else given["leak"] * given["threshold"]
    spike_of = Spike(given, shift=0.0 if hard else given["threshold"] - threshold)
    layer = _layer(given, threshold, spike_of, delayed=True)

    def forward(current: Any, start: Any) -> tuple[Any, Any, Any]:
        before, charged, spikes = torch.zeros_like(start), [], []
        for entering in with_start(current, start, given):
            spike, before = layer(entering, before)
            charged.append(before + rest)
            spikes.append(spike)
        fired = spikes[-1].detach()
        after = (1 - fired) * before if hard else before - given["threshold"] * fired
        return torch.stack(charged), torch.stack(spikes), after + rest

    return differentiated(problem, forward)


def _at_once(problem: Problem) -> Leaves:
    torch, given = imported("torch"), problem.hyperparameters
    rest, threshold = given["reset_value"], given["threshold"]
    spike_of = Spike(given)
    layer = _layer(given, threshold - rest, spike_of, delayed=False)

    def forward(current: Any, start: Any) -> tuple[Any, Any, Any]:
        potential, charged, spikes = start - rest, [], []
        for entering in current.unbind(0):
            spike, potential = layer(entering, potential)
            charged.append(spike_of.seen[-1] + threshold)
            spikes.append(spike)
        return torch.stack(charged), torch.stack(spikes), potential + rest

    return differentiated(problem, forward)


ADAPTER = Adapter(
    name="snntorch",
    title="snnTorch, Leaky",
    distributions=("torch", "snntorch"),
    tested={"snntorch": ("1.0.0",)},
    run=run,
)
