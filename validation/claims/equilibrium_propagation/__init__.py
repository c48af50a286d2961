"""The claims about equilibrium propagation (Ernoult et al. 2019), by kind; importing registers them."""

# isort: off
from validation.claims.equilibrium_propagation import identities, orders, laws, degenerate, controls
from validation.claims.equilibrium_propagation import asymmetry, continual, spectra
from validation.claims.equilibrium_propagation import kinks, convolutional, cross_entropy

__all__ = [
    "asymmetry",
    "continual",
    "controls",
    "convolutional",
    "cross_entropy",
    "degenerate",
    "identities",
    "kinks",
    "laws",
    "orders",
    "spectra",
]
