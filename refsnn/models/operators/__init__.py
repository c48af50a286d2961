"""Operators between populations of neurons, each with its adjoint written by hand."""
