"""Norse's `lif_box_feed_forward_step`.

h = v + dt/tau (x + v_leak - v): the leak is 1 - dt/tau, and the input is divided by dt/tau beforehand.  The
surrogate is one of a list and takes no function of ours.  But the unit of the potentials is free: where they
are counted in 1/c, psi(u) becomes c psi(c u): that gives three of our shapes with any slope and height, and
one where they are equal.
"""

from __future__ import annotations

from math import pi, sqrt
from typing import Any, NamedTuple

from refsnn.crosscheck.adapter import Adapter, NotExpressibleError, imported
from refsnn.crosscheck.through_torch import differentiated
from refsnn.vectors.case import Hyperparameters, Leaves, Problem


class Unit(NamedTuple):
    """How psi is said in Norse.

    Attributes
    ----------
    method : str
        Of its list of thresholds.
    alpha : float
        Their parameter.
    scale : float
        c: its potentials are c times ours.
    """

    method: str
    alpha: float
    scale: float


def unit(given: Hyperparameters) -> Unit:
    """The threshold function and the unit in which it is our psi.

    Parameters
    ----------
    given : dict
        Hyper-parameters of a case.

    Returns
    -------
    Unit

    Raises
    ------
    NotExpressibleError
        For a psi that no entry of the list gives in any unit.

    Examples
    --------
    >>> given = {"surrogate.shape": "triangle", "surrogate.slope": 2.0, "surrogate.height": 0.5}
    >>> unit(given)
    Unit(method='triangle', alpha=0.25, scale=2.0)
    """
    shape, slope, height = (given[f"surrogate.{name}"] for name in ("shape", "slope", "height"))
    if shape == "triangle":  # c alpha max(0, 1 - c |u|)
        return Unit("triangle", height / slope, slope)
    if shape == "sigmoid":  # c (1 - tanh(alpha c u)^2)
        return Unit("tanh", slope / (2 * height), height)
    if shape == "gaussian":  # c 2/sqrt(pi) exp(-(alpha c u)^2)
        scale = height * sqrt(pi) / 2
        return Unit("heavi_erfc", slope / scale, scale)
    if shape == "fast_sigmoid":  # c / (1 + c |u|)^2: alpha is not looked at
        if slope != height:
            raise NotExpressibleError(
                "its 'super' is 1/(1+|u|)^2 whatever alpha is; in another unit of potential the height "
                f"equals the slope, here {height:g} and {slope:g}"
            )
        return Unit("super", 1.0, slope)
    raise NotExpressibleError(f"no {shape} among its surrogates, and it takes no function for one")


def run(problem: Problem) -> Leaves:
    """Steps of the functional interface; a reset is Norse's own, of a detached spike where that is asked.

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
        For a psi that it has not, and for a leak of 1.
    """
    torch, given = imported("torch"), problem.hyperparameters
    how = unit(given)
    gain = 1 - given["leak"]
    if gain == 0:
        raise NotExpressibleError(
            "a leak of 1 is dt/tau = 0, which takes the input away too; iaf_feed_forward_step has a reset to "
            "a value alone"
        )
    box, resets = (imported(f"norse.torch.functional.{name}") for name in ("lif_box", "reset"))
    own = resets.reset_value if given["reset"] == "hard" else resets.reset_subtract
    charged: list[Any] = []

    def reset(spike: Any, h: Any, rest: Any, threshold: Any) -> Any:
        charged.append(h)
        return own(spike.detach() if given["detach_reset"] else spike, h, rest, threshold)

    rest = torch.tensor(how.scale * given["reset_value"], dtype=torch.float64)
    parameters = box.LIFBoxParameters(
        tau_mem_inv=torch.tensor(gain, dtype=torch.float64),
        v_leak=rest,
        v_reset=rest,
        v_th=torch.tensor(how.scale * given["threshold"], dtype=torch.float64),
        method=how.method,
        alpha=how.alpha,
        reset_method=reset,
    )

    def forward(current: Any, start: Any) -> tuple[Any, Any, Any]:
        state, spikes = box.LIFBoxFeedForwardState(v=how.scale * start), []
        for entering in current.unbind(0):
            spike, state = box.lif_box_feed_forward_step(
                how.scale * entering / gain, state, parameters, dt=1.0
            )
            spikes.append(spike)
        return torch.stack(charged) / how.scale, torch.stack(spikes), state.v / how.scale

    return differentiated(problem, forward)


ADAPTER = Adapter(
    name="norse",
    title="Norse, lif_box_feed_forward_step",
    distributions=("torch", "norse"),
    tested={"norse": ("1.1.0",)},
    run=run,
)
