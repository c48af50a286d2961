"""Convergent networks: equilibrium propagation in all its variants, and what it is compared with."""
