"""Claims of rate-based backpropagation (Yu et al. 2024) on dense spiking stacks."""

from validation.claims.rate_backpropagation import controls, equalities, independent, relations

__all__ = ["controls", "equalities", "independent", "relations"]
