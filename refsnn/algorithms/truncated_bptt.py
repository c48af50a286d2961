"""Truncated backpropagation through time.  Gives up the edges of the unrolled graph between windows.

The sequence is cut into windows of equal length, counted from the end so that the last one is whole.
Inside a window the gradient is exact; across its start no state sends anything back.  What only adds up
over time (the readout's sum) is not cut: every step still has its own error.  For a network whose loss
looks at the last state alone, this is backpropagation through the last `window` steps.
"""

from __future__ import annotations

from typing import Any

from refsnn import checks
from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.result import GradientResult
from refsnn.models.contract import Model, Parameters


def truncated_bptt(
    model: Model, parameters: Parameters, inputs: Any, targets: Any, *, window: int, backend: str = "cpu"
) -> GradientResult:
    """Gradient with the state's edges cut every `window` steps.

    Parameters
    ----------
    model : Model
        The network.
    parameters, inputs, targets
        As in `refsnn.algorithms.bptt.bptt`.
    window : int
        Length of a window; T or more gives BPTT, 1 gives purely spatial gradients.
    backend : {"plain", "cpu", "cuda"}
        Which kernels run the neurons of a spiking stack.

    Returns
    -------
    GradientResult
        Loss, gradients keyed like the parameters, diagnostics.

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range.

    Examples
    --------
    >>> import numpy as np
    >>> from refsnn.models.spiking_stack import DenseSpikingStack
    >>> stack = DenseSpikingStack((4, 8, 3))
    >>> rng = np.random.default_rng(0)
    >>> arguments = stack.initialise(rng, gain=3.0), rng.random((6, 2, 4)), [0, 2]
    >>> whole, cut = bptt(stack, *arguments), truncated_bptt(stack, *arguments, window=2)
    >>> bool(np.allclose(whole.gradients["layer.1.weight"], cut.gradients["layer.1.weight"]))
    False
    """
    return bptt(model, parameters, inputs, targets, window=checks.count("window", window), backend=backend)
