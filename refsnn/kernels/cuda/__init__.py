"""Kernels on a CUDA device, by numba.cuda."""
