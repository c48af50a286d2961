"""Loops compiled by Numba, blocks of neurons on threads."""
