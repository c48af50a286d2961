"""Convergent networks with static input: one door to both families, and the paper's toy network."""

from __future__ import annotations

from refsnn import checks
from refsnn.models.energy_based import EnergyBasedNetwork
from refsnn.models.prototypical import PrototypicalNetwork

__all__ = ["EnergyBasedNetwork", "PrototypicalNetwork", "toy_network"]

TOY_COUPLINGS = ((0, 1), (0, 2), (1, 2))


def toy_network(
    widths: tuple[int, int, int] = (10, 50, 5), step_size: float = 0.08, activation: str = "tanh"
) -> EnergyBasedNetwork:
    """The toy model (E14) of Ernoult et al. 2019, Fig. 2: one hidden layer and a skip from input to output.

    Two biases act on the output layer, one a coupling, as in the authors' code.

    Parameters
    ----------
    widths : (d_0, d_1, d_x)
        Output, hidden layer and input.
    step_size : float
        epsilon.
    activation : str
        rho.

    Returns
    -------
    EnergyBasedNetwork

    Raises
    ------
    TypeError, ValueError
        If `widths` are not three positive integers, and as in `EnergyBasedNetwork`.

    Examples
    --------
    >>> toy_network().couplings
    ((0, 1), (0, 2), (1, 2))
    """
    three = checks.widths("widths", widths, minimum=3)
    if len(three) > 3:
        raise ValueError(f"widths: expected three widths (output, hidden layer, input), got {three!r}")
    return EnergyBasedNetwork(three, TOY_COUPLINGS, activation, step_size)
