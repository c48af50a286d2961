"""Claims of the spiking graph network on manifolds (Sun et al. 2024), by idea; importing registers them."""

# isort: off
from validation.claims.manifold_spiking_gnn import gradients, relations, states, degenerate
from validation.claims.manifold_spiking_gnn import own, official
from validation.claims.manifold_spiking_gnn import maps, high_precision, flows, drives, growth

__all__ = [
    "degenerate",
    "drives",
    "flows",
    "gradients",
    "growth",
    "high_precision",
    "maps",
    "official",
    "own",
    "relations",
    "states",
]
