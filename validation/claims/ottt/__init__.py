"""Claims of online training through time (Xiao et al. 2022), by idea; importing registers them."""

# isort: off
from validation.claims.ottt import duality, rate_identity, feedforward_theorem, counterexample
from validation.claims.ottt import recurrent_theorem, recurrent_simulation, weight_scale
from validation.claims.ottt import cut_graphs, last_population, smooth_spikes, forward_mode, eligibilities
from validation.claims.ottt import online_updates, memory, symmetries, degenerate, alignment, sampled_steps

__all__ = [
    "alignment",
    "counterexample",
    "cut_graphs",
    "degenerate",
    "duality",
    "eligibilities",
    "feedforward_theorem",
    "forward_mode",
    "last_population",
    "memory",
    "online_updates",
    "rate_identity",
    "recurrent_simulation",
    "recurrent_theorem",
    "sampled_steps",
    "smooth_spikes",
    "symmetries",
    "weight_scale",
]
