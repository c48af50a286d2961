"""One dense layer of spiking neurons over a whole sequence, forward and backward.

    I_t = W x_t + b,   then charge, fire, reset of `equations.spiking`;
    dL/dI_t from the charged potential alone (Yu 2024, Eq. 2),
    dL/dW = sum_t dL/dI_t x_t^T,   dL/db = sum_t dL/dI_t,   dL/dx_t = W^T dL/dI_t.

A layer without recurrence takes all its time steps in one matrix product.  Between the two passes it keeps
the charged potential and nothing else.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from refsnn import checks
from refsnn.equations.spiking import SpikingNeuron
from refsnn.kernels import spiking_kernels
from refsnn.models.sequences import linear, summed_outer

# A product that is written over its own factor goes in so many blocks, through memory for one of them.
_BLOCKS = 4


class LayerGradients(NamedTuple):
    """What `spiking_layer_backward` returns.

    Attributes
    ----------
    weight : ndarray, (M, N)
        dL/dW.
    bias : ndarray, (M,), or None
        dL/db; None for a layer without bias.
    inputs : ndarray, (T, B, N), or None
        dL/dx; None where it was not asked for.
    """

    weight: np.ndarray
    bias: np.ndarray | None
    inputs: np.ndarray | None


def spiking_layer_forward(
    neuron: SpikingNeuron, weight: Any, bias: Any, inputs: Any, backend: str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """Spikes of a layer whose neurons start at the reset value (Yu 2024, Eq. 1).

    Shapes and dtypes are checked, finiteness is not: that is done once, at a model's door.

    Parameters
    ----------
    neuron : SpikingNeuron
        Hyper-parameters.
    weight : ndarray, (M, N)
        W.
    bias : ndarray, (M,), or None
        b; None for a layer without bias.
    inputs : ndarray, (T, B, N)
        Spikes or currents from below, in the dtype of the weight.
    backend : {"plain", "cpu", "cuda"}
        Which kernels run the neurons.

    Returns
    -------
    spikes : ndarray, (T, B, M)
        0 and 1 in the dtype of the weight, ready for the next product.
    charged : ndarray, (T, B, M)
        h, all that the backward pass needs.

    Raises
    ------
    TypeError, ValueError
        For arrays of wrong dtype or shape.

    Examples
    --------
    >>> neuron = SpikingNeuron(leak=0.5)
    >>> spikes, charged = spiking_layer_forward(neuron, np.array([[0.75]]), None, np.ones((3, 1, 1)))
    >>> spikes.ravel(), charged.ravel()
    (array([0., 1., 0.]), array([0.75  , 1.125 , 0.8125]))
    """
    checks.instance("neuron", neuron, SpikingNeuron, "SpikingNeuron(leak=0.2)")
    kernels = spiking_kernels(backend)
    weight, bias, inputs = _checked(weight, bias, inputs)
    charged = linear(inputs, weight, bias)
    spikes = np.empty_like(charged)
    potential = np.full(charged[0].size, neuron.reset_value, charged.dtype)
    kernels.forward(neuron, _flat(charged), potential, _flat(charged), _flat(spikes))  # h is written over I
    return spikes, charged


def spiking_layer_backward(
    neuron: SpikingNeuron,
    weight: Any,
    bias: Any,
    inputs: Any,
    charged: Any,
    spike_adjoint: Any,
    backend: str = "cpu",
    *,
    window: int = 0,
    with_inputs: bool = True,
    overwrite_charged: bool = False,
) -> LayerGradients:
    """The adjoint of `spiking_layer_forward`, with the surrogate for the derivative of a spike.

    Parameters
    ----------
    neuron, weight, bias, inputs
        As in `spiking_layer_forward`.
    charged : ndarray, (T, B, M)
        h of the forward pass.
    spike_adjoint : ndarray, (T, B, M)
        dL/ds.
    backend : {"plain", "cpu", "cuda"}
        Which kernels run the neurons.
    window : int
        Cut the gradient along the potential every `window` steps, counted from the end; 0 never cuts.
    with_inputs : bool
        Whether dL/dx is wanted: the first layer of a network needs none.
    overwrite_charged : bool
        Whether `charged` may be used up: the layer then needs no further array of its size, only a
        quarter of one, and where M = N, dL/dx is returned in it.

    Returns
    -------
    LayerGradients
        dL/dW, dL/db and dL/dx.

    Raises
    ------
    TypeError, ValueError
        For arrays of wrong dtype or shape.

    Examples
    --------
    >>> from refsnn.equations.surrogates import Surrogate
    >>> neuron = SpikingNeuron(leak=0.5, surrogate=Surrogate("constant", slope=1.0, height=0.5))
    >>> weight, inputs = np.array([[0.75]]), np.ones((3, 1, 1))
    >>> _, charged = spiking_layer_forward(neuron, weight, None, inputs)
    >>> gradients = spiking_layer_backward(neuron, weight, None, inputs, charged, np.ones((3, 1, 1)))
    >>> gradients.weight, gradients.inputs.ravel()  # dL/dI = 0.875, 0.75, 0.5
    (array([[2.125]]), array([0.65625, 0.5625 , 0.375  ]))
    """
    checks.instance("neuron", neuron, SpikingNeuron, "SpikingNeuron(leak=0.2)")
    kernels = spiking_kernels(backend)
    weight, bias, inputs = _checked(weight, bias, inputs)
    shape = (*inputs.shape[:2], weight.shape[0])
    charged = checks.float_array("charged", charged, shape, weight.dtype, finite=False)
    spike_adjoint = checks.float_array("spike_adjoint", spike_adjoint, shape, weight.dtype, finite=False)
    window = min(checks.count("window", window, minimum=0), shape[0])
    if overwrite_charged and not charged.flags.writeable:
        raise ValueError(
            "charged: expected an array that may be written to, got a read-only one; "
            "pass overwrite_charged=False"
        )

    adjoint = np.ascontiguousarray(charged) if overwrite_charged else charged.copy(order="C")
    potential_adjoint = np.zeros(adjoint[0].size, adjoint.dtype)
    # dL/dI is written over h
    kernels.backward(neuron, _flat(adjoint), _flat(spike_adjoint), potential_adjoint, _flat(adjoint), window)
    return LayerGradients(
        weight=summed_outer(adjoint, inputs),
        bias=None if bias is None else adjoint.sum(axis=(0, 1)),
        inputs=_pulled_back(adjoint, weight) if with_inputs else None,  # last: it may use up the adjoint
    )


def _checked(weight: Any, bias: Any, inputs: Any) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """The arguments as arrays that fit together."""
    weight = checks.float_array("weight", weight, ("M", "N"), finite=False)
    rows, columns = weight.shape
    if bias is not None:
        bias = checks.float_array("bias", bias, (rows,), weight.dtype, finite=False)
    return weight, bias, checks.float_array("inputs", inputs, ("T", "B", columns), weight.dtype, finite=False)


def _flat(sequence: np.ndarray) -> np.ndarray:
    """(T, B, N) as the kernels see it, (T, B N); a view."""
    return sequence.reshape(sequence.shape[0], -1)


def _pulled_back(adjoint: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """dL/dx = W^T dL/dI, over dL/dI itself where the shapes allow."""
    rows, columns = weight.shape
    if rows != columns:
        return linear(adjoint, weight.T)
    samples = adjoint.reshape(-1, rows)
    height = -(-len(samples) // _BLOCKS)  # rounded up
    product = np.empty((height, columns), adjoint.dtype)
    for first in range(0, len(samples), height):
        block = samples[first : first + height]
        block[...] = np.matmul(block, weight, out=product[: len(block)])
    return adjoint
