"""Floor 1: the mathematics, written once.

Every equation is a plain Python function under `numba.extending.register_jitable`: arithmetic only, no
numeric literals (they would turn float32 into float64 in compiled code; `one` comes as an argument in the
working dtype).  The same object is called on whole arrays by the plain backend, inside compiled loops by
Numba, and inside CUDA kernels.  Where an equation is analytic it takes complex numbers, and its
derivative, which stands right under it, is checked against it by the complex step.
"""
