"""The benchmark's workload in PyTorch: as a plain loop, in snnTorch, in SpikingJelly.

The same decay is not the same neuron, and the same spikes can carry another gradient: each adapter sets
its library's options as close to the workload's neuron as they go, and the benchmark then looks at what
comes out.  Nothing here is needed by refsnn; a library that is not installed is left out.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from validation.workload import NEURON, Outcome, Workload

Run = Callable[[], Any]


class Adapter(NamedTuple):
    """A library's way to do the workload.

    Attributes
    ----------
    name : str
        For the table.
    distributions : tuple of str
        What must be installed, the last being the library itself.
    build : callable
        From a workload to a function without arguments that does the whole work.
    """

    name: str
    distributions: tuple[str, ...]
    build: Callable[[Workload], Run]


def missing(adapter: Adapter) -> str | None:
    """Why the adapter cannot run here; None where it can."""
    for name in adapter.distributions:
        try:
            importlib.metadata.version(name)
            importlib.import_module(name)
        except importlib.metadata.PackageNotFoundError:
            return f"{name} is not installed"
        except Exception as error:
            return f"{name} cannot be imported: {error}"
    return None


def version(adapter: Adapter) -> str:
    """Version of the library itself."""
    return importlib.metadata.version(adapter.distributions[-1])


def peak_memory(run: Run) -> int:
    """Largest sum of bytes that PyTorch's CPU allocator held during `run` beyond what was there before."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        outcome = run()
    del outcome
    events = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def _through_autograd(workload: Workload, neurons: Callable[[Any], Any]) -> Run:
    """Forward and backward of the layer, `neurons` taking currents (T, B, N) to spikes."""
    import torch

    torch.set_num_threads(1)
    inputs = torch.from_numpy(workload.inputs.copy()).requires_grad_()
    weight = torch.from_numpy(workload.weight.copy()).requires_grad_()
    upstream = torch.from_numpy(workload.upstream)

    def run() -> Outcome:
        spikes = neurons(torch.nn.functional.linear(inputs, weight))
        weight_gradient, input_adjoint = torch.autograd.grad(spikes, (weight, inputs), upstream)
        return Outcome(spikes.detach().numpy(), weight_gradient.numpy(), input_adjoint.numpy())

    return run


def _products(workload: Workload) -> Run:
    """The three products alone, with the BLAS that PyTorch brings."""
    import torch

    torch.set_num_threads(1)
    width = workload.weight.shape[0]
    weight = torch.from_numpy(workload.weight)
    inputs = torch.from_numpy(workload.inputs.reshape(-1, width))
    gradient = torch.from_numpy(workload.upstream.reshape(-1, width))
    current, input_adjoint = torch.empty_like(inputs), torch.empty_like(inputs)
    weight_gradient = torch.empty_like(weight)

    def run() -> None:
        torch.mm(inputs, weight.T, out=current)
        torch.mm(gradient, weight, out=input_adjoint)
        torch.mm(gradient.T, inputs, out=weight_gradient)

    return run


def _plain_loop(workload: Workload) -> Run:
    """A loop over time as one writes it by hand; indexing in place of `unbind` would be quadratic in T."""
    import torch

    class Spike(torch.autograd.Function):
        """H(u), with psi(u) = 1 / (1 + (pi u)^2) for its derivative."""

        @staticmethod
        def forward(context: Any, distance: Any) -> Any:
            context.save_for_backward(distance)
            return (distance >= 0).to(distance.dtype)

        @staticmethod
        def backward(context: Any, adjoint: Any) -> Any:
            (distance,) = context.saved_tensors
            return adjoint / (1 + (math.pi * distance) ** 2)

    def neurons(currents: Any) -> Any:
        potential, spikes = torch.zeros_like(currents[0]), []
        for current in currents.unbind(0):
            charged = NEURON.leak * potential + current
            spike = Spike.apply(charged - NEURON.threshold)
            potential = charged - NEURON.threshold * spike.detach()
            spikes.append(spike)
        return torch.stack(spikes)

    return _through_autograd(workload, neurons)


def _snntorch(workload: Workload) -> Run:
    """Leaky with the reset in the same step (`reset_delay=False`); its gradient goes through the reset."""
    import torch
    from snntorch import Leaky, surrogate

    layer = Leaky(
        beta=NEURON.leak,
        threshold=NEURON.threshold,
        spike_grad=surrogate.atan(alpha=2.0),
        reset_mechanism="subtract",
        reset_delay=False,
    )

    def neurons(currents: Any) -> Any:
        potential, spikes = torch.zeros_like(currents[0]), []
        for current in currents.unbind(0):
            spike, potential = layer(current, potential)
            spikes.append(spike)
        return torch.stack(spikes)

    return _through_autograd(workload, neurons)


def _spikingjelly(workload: Workload) -> Run:
    """LIFNode with the options that make it the workload's neuron: decay 1 - 1/tau, input not scaled."""
    from spikingjelly.activation_based import functional, neuron, surrogate

    layer = neuron.LIFNode(
        tau=10.0,  # 1 - 1/tau = 0.9, the leak
        decay_input=False,
        v_threshold=NEURON.threshold,
        v_reset=None,
        detach_reset=True,
        surrogate_function=surrogate.ATan(alpha=2.0),
        step_mode="m",
    )

    def neurons(currents: Any) -> Any:
        functional.reset_net(layer)
        return layer(currents)

    return _through_autograd(workload, neurons)


# what does the work; the products alone stand apart, for they have no outcome to compare
ADAPTERS = (
    Adapter("PyTorch, loop over time", ("torch",), _plain_loop),
    Adapter("snnTorch Leaky", ("torch", "snntorch"), _snntorch),
    Adapter("SpikingJelly LIFNode", ("torch", "spikingjelly"), _spikingjelly),
)
PRODUCTS = Adapter("products alone, PyTorch", ("torch",), _products)
