"""Claims of rate-based backpropagation (Yu et al. 2024) on dense stacks and deep graphs."""

from validation.claims.rate_backpropagation import controls, equalities, graphs, independent, relations

__all__ = ["controls", "equalities", "graphs", "independent", "relations"]
