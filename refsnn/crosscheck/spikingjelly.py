"""SpikingJelly's `LIFNode`, and `IFNode` for a leak of 1.

With `decay_input=False`, h = v - (v - v_reset) / tau + x: the leak is 1 - 1/tau.  All resets and both of
their gradients are options.
"""

from __future__ import annotations

from typing import Any

from refsnn.crosscheck.adapter import Adapter, NotExpressibleError, imported
from refsnn.crosscheck.through_torch import Spike, differentiated
from refsnn.vectors.case import Hyperparameters, Leaves, Problem


def run(problem: Problem) -> Leaves:
    """The multi-step mode, whose state is given as `v`.

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
        For a leak of 0.
    """
    torch, given = imported("torch"), problem.hyperparameters
    spike_of = Spike(given)
    layer = _layer(given, spike_of)

    def forward(current: Any, start: Any) -> tuple[Any, Any, Any]:
        layer.v = start
        spikes = layer(current)
        return torch.stack(spike_of.seen) + given["threshold"], spikes, layer.v

    return differentiated(problem, forward)


def _layer(given: Hyperparameters, spike_of: Spike) -> Any:
    neuron = imported("spikingjelly.activation_based.neuron")
    leak = float(given["leak"])
    options: dict[str, Any] = {
        "v_threshold": float(given["threshold"]),
        "v_reset": float(given["reset_value"]) if given["reset"] == "hard" else None,
        "surrogate_function": spike_of,
        "detach_reset": bool(given["detach_reset"]),
        "step_mode": "m",
    }
    if leak == 1:
        return neuron.IFNode(**options)
    if leak == 0:
        raise NotExpressibleError("a leak of 0 is tau = 1, and LIFNode asserts tau > 1")
    return neuron.LIFNode(tau=1 / (1 - leak), decay_input=False, **options)


ADAPTER = Adapter(
    name="spikingjelly",
    title="SpikingJelly, LIFNode",
    distributions=("torch", "spikingjelly"),
    tested={"spikingjelly": ("2.0.0",)},
    run=run,
)
