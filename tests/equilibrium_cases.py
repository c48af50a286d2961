"""Convergent networks at their steady state, and the comparison of two dicts of arrays."""

from __future__ import annotations

import numpy as np
from hypothesis import assume

from refsnn.algorithms.relaxation import relax
from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork
from refsnn.models.convolution import Convolution

# beta so small that a quotient of the nudged phase is its own limit beta -> 0, in float64
LIMIT = 1e-30j
PLAIN = {"backend": "plain"}
WIDTHS = (3, 5, 4)


def draw(seed, model, scale=1.0, batch=3, dtype=np.float64):
    """Network, parameters, inputs, targets (distributions)."""
    rng = np.random.default_rng(seed)
    parameters = model.initialise(rng, dtype, scale)
    inputs = rng.uniform(size=(batch, *model.shapes[-1])).astype(dtype)
    targets = rng.uniform(0.1, 1, size=(batch, *model.target_shape))
    targets /= targets.sum(axis=-1, keepdims=True)
    return model, parameters, inputs, targets.astype(dtype)


def rest(model, parameters, inputs, steps=500, drop=True, keep_last=32):
    """The free phase; an example that has not settled, to rounding, well before its end is dropped."""
    early = relax(model, parameters, inputs, steps=steps - 2 * keep_last, **PLAIN)
    if drop:
        assume(early.residual <= 1e-15)
    assert early.residual <= 1e-15
    return relax(model, parameters, inputs, early.state, steps=2 * keep_last, keep_last=keep_last, **PLAIN)


def worst(first, second, sign=1.0):
    """Largest relative error of any array, each against its own largest entry; zeros must agree."""
    assert first.keys() == second.keys()
    sizes = {name: np.abs(expected).max() for name, expected in second.items()}
    assert max(sizes.values()) > 1e-3, "nothing to compare"
    errors = {}
    for name, expected in second.items():
        difference = np.abs(sign * first[name] - expected).max()
        errors[name] = difference / sizes[name] if sizes[name] > 0 else (0.0 if difference == 0 else np.inf)
    return max(errors.values())


def convolutional(family, *, pooling="average", loss_function="mean_squared_error", readout=None, **options):
    """Two convolutions on 6 x 6 images, below one dense layer unless there is a read-out."""
    kernels = [Convolution(kernel=3, padding=1, pooling=pooling, window=2, crop=True)] * 2
    widths = (2, 2, 1) if readout else (3, 2, 2, 1)
    return family(
        widths, convolutions=kernels, image=(6, 6), loss_function=loss_function, readout=readout, **options
    )


def tied_feedback(model, parameters):
    """The same weights both ways: V = W^T for every coupling of an untied network."""
    mirrored = dict(parameters)
    for pair, name in model.wiring.names.items():
        if f"{name}.feedback" in parameters:
            # a dense V is W^T, a convolutional one the kernel of which it is the adjoint
            mirrored[f"{name}.feedback"] = (
                model.wiring.maps[pair].as_weight(parameters[f"{name}.weight"]).copy()
            )
    return mirrored


def energy(**options):
    """An energy-based network of three layers."""
    return EnergyBasedNetwork(WIDTHS, **{"step_size": 0.3, **options})


def prototypical(**options):
    """A prototypical network of three layers."""
    return PrototypicalNetwork(WIDTHS, **options)
