"""Loops in NumPy: the specification as executed."""
