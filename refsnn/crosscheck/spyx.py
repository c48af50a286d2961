"""spyx's `nn.LIF`.

spikes = H(V - threshold), V = beta V + x - spikes threshold, in this order: the spikes are those of the step
before, and the reset is taken away after the leak.  So there is one step more, whose spikes are the last;
`threshold` is leak times ours, and the activation adds what is missing to the comparison.
"""

from __future__ import annotations

from typing import Any

from refsnn.crosscheck.adapter import Adapter, NotExpressibleError, imported
from refsnn.crosscheck.through_jax import differentiated, parts_of_spike, with_start
from refsnn.vectors.case import Leaves, Problem


def run(problem: Problem) -> Leaves:
    """The layer on a batch of one, for T + 1 steps.

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
        For a hard reset, and for one that is detached.
    """
    given = problem.hyperparameters
    if given["reset"] == "hard":
        raise NotExpressibleError("nn.LIF subtracts the threshold; it has no reset to a value")
    if given["detach_reset"]:
        raise NotExpressibleError("the gradient flows through the reset of nn.LIF; nothing detaches it")
    jnp, nnx, scan = imported("jax.numpy"), imported("flax.nnx"), imported("jax").lax.scan
    nn, axn = imported("spyx.nn"), imported("spyx.axn")
    leak, threshold = given["leak"], given["threshold"]
    missing = threshold - leak * threshold
    fire, slope = parts_of_spike(given)

    def forward(current: Any, start: Any) -> tuple[Any, Any, Any]:
        layer = nn.LIF(
            start.shape,
            beta=leak,
            threshold=leak * threshold,
            activation=axn.custom(lambda u: slope(u - missing), lambda u: fire(u - missing)),
            rngs=nnx.Rngs(0),
        )

        def step(state: Any, entering: Any) -> tuple[Any, tuple[Any, Any]]:
            spikes, after = layer(entering[None], state)
            return after, (after[0], spikes[0])

        currents = jnp.pad(with_start(current, start, given), ((0, 1), (0, 0)))  # one step more
        _, (states, late) = scan(step, jnp.zeros((1, *start.shape)), currents)
        charged, spikes = states[:-1], late[1:]
        return charged, spikes, charged[-1] - threshold * spikes[-1]

    return differentiated(problem, forward)


ADAPTER = Adapter(
    name="spyx",
    title="spyx, nn.LIF",
    distributions=("jax", "flax", "spyx"),
    tested={"spyx": ("1.0.0",)},
    run=run,
)
