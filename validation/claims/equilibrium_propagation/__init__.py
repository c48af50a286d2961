"""The claims about equilibrium propagation (Ernoult et al. 2019), by kind; importing registers them."""

# isort: off
from validation.claims.equilibrium_propagation import identities, orders, laws, degenerate, controls

__all__ = ["controls", "degenerate", "identities", "laws", "orders"]
