"""sinabs' `LIF`.

With `train_alphas=True` its leak is a parameter that may be set exactly, also to 0 and 1, and with
`norm_input=False` the gain is 1.  Its own spike functions return float32 whatever comes in, and emit several
spikes at once by default; the spike is ours here, through `spike_fn`.  Its resets are used as they are: the
subtraction lets the gradient through unless it is handed a detached spike, the reset to a value does not.
A hard reset to a value other than 0 is one to 0 where potentials are counted from that value.
"""

from __future__ import annotations

from typing import Any

from refsnn.crosscheck.adapter import Adapter, NotExpressibleError, imported
from refsnn.crosscheck.through_torch import Spike, differentiated
from refsnn.vectors.case import Leaves, Problem


class SpikeFunction:
    """Our spike in the form that sinabs asks for.

    Parameters
    ----------
    spike_of : Spike
        What fires.
    """

    required_states = ("v_mem",)

    def __init__(self, spike_of: Spike):
        self._spike_of = spike_of

    def apply(self, charged: Any, threshold: Any, surrogate: Any) -> Any:
        """Spikes of charged potentials; the surrogate is in our spike already."""
        return self._spike_of(charged - threshold)


def run(problem: Problem) -> Leaves:
    """The layer on a batch of one.

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
        For a gradient through a hard reset.
    """
    torch, given = imported("torch"), problem.hyperparameters
    activation, layers = imported("sinabs.activation"), imported("sinabs.layers")
    rest, spike_of = given["reset_value"], Spike(given)
    if given["reset"] == "soft":
        own = activation.MembraneSubtract()

        def reset(spikes: Any, state: Any, threshold: Any) -> Any:
            return own(spikes.detach() if given["detach_reset"] else spikes, state, threshold)

    elif given["detach_reset"]:
        reset = activation.MembraneReset()
    else:
        raise NotExpressibleError("MembraneReset compares the spikes with 0: no gradient goes through it")
    layer = layers.LIF(
        tau_mem=1.0,
        train_alphas=True,
        norm_input=False,
        spike_fn=SpikeFunction(spike_of),
        reset_fn=reset,
        spike_threshold=torch.tensor(given["threshold"] - rest, dtype=torch.float64),
    ).double()
    layer.alpha_mem.data.fill_(given["leak"])

    def forward(current: Any, start: Any) -> tuple[Any, Any, Any]:
        layer.init_state_with_shape((1, len(start)))
        layer.v_mem = (start - rest)[None]
        spikes = layer(current[None])[0]
        charged = torch.cat(spike_of.seen) + given["threshold"]
        return charged, spikes, layer.v_mem[0] + rest

    return differentiated(problem, forward)


ADAPTER = Adapter(
    name="sinabs",
    title="sinabs, LIF",
    distributions=("torch", "sinabs"),
    tested={"sinabs": ("3.1.3",)},
    run=run,
)
