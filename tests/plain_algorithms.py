"""The algorithms of convergent networks with ``backend="plain"``: the model's step in a loop.

Tests that draw many small networks take them from here, and so compile nothing; that the compiled loops
compute the same is the business of test_relaxation_kernels.py.
"""

from __future__ import annotations

from functools import partial

from refsnn.algorithms import bptt_convergent as bptt
from refsnn.algorithms import equilibrium_propagation as contrast
from refsnn.algorithms import holomorphic_equilibrium_propagation as holomorphic
from refsnn.algorithms import relaxation

relax = partial(relaxation.relax, backend="plain")
bptt_convergent = partial(bptt.bptt_convergent, backend="plain")
equilibrium_propagation = partial(contrast.equilibrium_propagation, backend="plain")
holomorphic_equilibrium_propagation = partial(
    holomorphic.holomorphic_equilibrium_propagation, backend="plain"
)
