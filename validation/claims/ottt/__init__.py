"""Claims of online training through time (Xiao et al. 2022), by idea; importing registers them."""

# isort: off
from validation.claims.ottt import duality, rate_identity, feedforward_theorem, counterexample
from validation.claims.ottt import recurrent_theorem, recurrent_simulation, weight_scale

__all__ = [
    "counterexample",
    "duality",
    "feedforward_theorem",
    "rate_identity",
    "recurrent_simulation",
    "recurrent_theorem",
    "weight_scale",
]
