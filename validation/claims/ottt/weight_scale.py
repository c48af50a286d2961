"""C.gamma: the scale of the spikes that keeps the variance of currents through standardised weights."""

from __future__ import annotations

import math

import numpy as np

from refsnn.equations.spiking import SpikingNeuron
from validation.claims.ottt.rates import run_neurons
from validation.ledger import Measured, claim, require

USED = 2.74  # Xiao 2022, appendix C.1


def upper_tail(threshold: float) -> float:
    """P(x >= threshold) of a standard normal x, by Gauss-Legendre quadrature of its density."""
    nodes, weights = np.polynomial.legendre.leggauss(100)
    far = threshold + 12.0  # what lies beyond is below 1e-36
    x = (far - threshold) / 2 * nodes + (far + threshold) / 2
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    return float((weights * density).sum() * (far - threshold) / 2)


@claim(
    "ottt/C.gamma",
    r"The spikes $H(x-1)$ of standard normal currents $x$ have the standard deviation $\sigma_H=\sqrt{p(1-p)}$, "
    r"$p=\frac12\mathrm{erfc}(1/\sqrt2)$: to two digits after the point $\gamma=1/\sigma_H=2.737069$ is the 2.74 that is used.",
    source="Xiao 2022, appendix C.1 (scaled weight standardisation, Eq. 13)",
    metric=r"$|\gamma-2.74|$, $p$ by quadrature of the density",
    relation="<=",
    bound=0.005,
    control=r"$1/\sqrt p$: the root mean square of the spikes, their mean not subtracted",
)
def spike_scale(rng: np.random.Generator) -> Measured:
    p = upper_tail(1.0)
    require(abs(p - math.erfc(1 / math.sqrt(2)) / 2) < 1e-14, f"quadrature gives p = {p}")
    gamma = 1 / math.sqrt(p * (1 - p))
    require(abs(gamma - 2.737069) < 5e-7, f"gamma is {gamma}")

    # through standardised weights of gain 1, and one step of the package's neuron from rest
    weight = rng.standard_normal((400, 256))
    centred = weight - weight.mean(axis=1, keepdims=True)
    standardised = centred / np.sqrt(256 * centred.var(axis=1, ddof=1, keepdims=True))
    current = rng.standard_normal((1000, 256)) @ standardised.T
    spikes, _ = run_neurons(SpikingNeuron(leak=0.5), current[None])
    variance = float((USED * spikes).var())
    require(abs(variance - 1) < 0.02, f"the scaled spikes have variance {variance}")
    details = {
        "gamma": gamma,
        "firing probability": p,
        "variance of 2.74 times the neuron's spikes": variance,
    }
    return Measured(abs(gamma - USED), abs(1 / math.sqrt(p) - USED), details)
