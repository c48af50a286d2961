"""Plain PyTorch on whole networks: dense layers of spiking neurons, the losses, and autograd through time.

BPTT is what autograd gives.  Three other algorithms are autograd with something detached: truncated BPTT cuts
all states at the ends of its windows, SLTT cuts the potentials and the recurrent spikes at every step, e-prop
with symmetric feedback cuts the recurrent spikes and the resets.  The others have backward passes of their
own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn.crosscheck.adapter import Adapter, NotExpressibleError, imported
from refsnn.crosscheck.through_torch import Spike
from refsnn.vectors.case import Hyperparameters, Leaves, Problem

OF_A_LAYER = (
    "leak",
    "threshold",
    "reset",
    "reset_value",
    "detach_reset",
    "fires",
    "surrogate.shape",
    "surrogate.slope",
    "surrogate.height",
)


def run(problem: Problem) -> Leaves:
    """All layers step by step, then one backward pass.

    Parameters
    ----------
    problem : Problem
        A case of `spiking_network`.

    Returns
    -------
    dict of str to ndarray

    Raises
    ------
    NotExpressibleError
        For other algorithms, e-prop with random feedback, and networks that are not dense.
    """
    torch, given, inputs = imported("torch"), problem.hyperparameters, problem.inputs
    _check(given, inputs)
    parameters = {
        name.removeprefix("parameters/"): torch.tensor(array, requires_grad=True)
        for name, array in inputs.items()
        if name.startswith("parameters/")
    }
    sequence = torch.tensor(inputs["input"])
    layers = [_Layer(torch, given, number, parameters) for number in range(len(given["leak"]))]
    outputs, memory = [], torch.zeros((), dtype=sequence.dtype)
    for t, entering in enumerate(sequence.unbind(0)):
        if _cut(given, len(sequence), t):
            memory = memory.detach()
            for layer in layers:
                layer.cut()
        reading = entering
        for layer in layers:
            reading = layer.step(reading)
        read = torch.nn.functional.linear(
            reading, parameters["readout.weight"], parameters.get("readout.bias")
        )
        memory = given["readout_leak"] * memory + read
        outputs.append(memory)
    loss, taught = _loss(torch, given, torch.stack(outputs), torch.tensor(inputs["targets"]))
    names = list(parameters)
    gradients = torch.autograd.grad(taught, [parameters[name] for name in names], materialize_grads=True)
    leaves = {"loss": loss, "outputs": torch.stack(outputs).mean(0)}
    for number, layer in enumerate(layers, 1):
        leaves[f"states/spikes/layer.{number}"] = torch.stack(layer.spikes)
        leaves[f"states/charged/layer.{number}"] = torch.stack(layer.charged)
    leaves |= {f"gradients/{name}": array for name, array in zip(names, gradients, strict=True)}
    return {name: np.asarray(leaf.detach().numpy()) for name, leaf in leaves.items()}


def _check(given: Hyperparameters, inputs: Leaves) -> None:
    if given["architecture"] != "dense":
        raise NotExpressibleError("this adapter builds dense networks")
    if given["algorithm"] not in ("bptt", "truncated_bptt", "sltt", "eprop"):
        raise NotExpressibleError(f"{given['algorithm']} has a backward pass of its own; autograd gives BPTT")
    if "feedback" in inputs:
        raise NotExpressibleError(
            "random feedback stands in place of a derivative; autograd has the derivative"
        )


def _cut(given: Hyperparameters, steps: int, t: int) -> bool:
    """Whether no gradient passes from step t to the one before."""
    if given["algorithm"] == "truncated_bptt":
        return (steps - t) % int(given["window"]) == 0
    return bool(given["algorithm"] == "sltt")


class _Layer:
    """One hidden layer, with its state."""

    def __init__(self, torch: Any, given: Hyperparameters, number: int, parameters: dict[str, Any]):
        self._torch, prefix = torch, f"layer.{number + 1}"
        self._own = {name: given[name][number] for name in OF_A_LAYER}
        self._weight, self._bias = parameters[f"{prefix}.weight"], parameters.get(f"{prefix}.bias")
        self._recurrent = parameters[f"{prefix}.recurrent.weight"] if given["recurrent"][number] else None
        self._own_spikes_held = given["algorithm"] == "eprop"
        self._spike_of = Spike(self._own)
        self._potential = torch.tensor(self._own["reset_value"], dtype=self._weight.dtype)
        self.spikes: list[Any] = []
        self.charged: list[Any] = []

    def cut(self) -> None:
        """No gradient to the steps before."""
        self._potential = self._potential.detach()
        self.spikes = [spike.detach() for spike in self.spikes]

    def step(self, reading: Any) -> Any:
        """One step: the layer's spikes."""
        own, linear = self._own, self._torch.nn.functional.linear
        leak, threshold, rest = own["leak"], own["threshold"], own["reset_value"]
        h = leak * self._potential + linear(reading, self._weight, self._bias)
        if self._recurrent is not None and self.spikes:
            before = self.spikes[-1]
            h = h + linear(before.detach() if self._own_spikes_held else before, self._recurrent)
        if own["reset"] == "hard":
            h = h + (1 - leak) * rest
        spike = self._spike_of(h - threshold)
        r = spike.detach() if own["detach_reset"] or self._own_spikes_held else spike
        self._potential = (1 - r) * h + r * rest if own["reset"] == "hard" else h - threshold * r
        self.spikes.append(spike)
        self.charged.append(h)
        return spike


def _loss(torch: Any, given: Hyperparameters, outputs: Any, targets: Any) -> tuple[Any, Any]:
    """The loss, and the part of it whose gradient is asked for: SLTT may learn at some steps only."""
    if given["loss_over"] == "mean_readout":
        whole = _loss_of(torch, given, outputs.mean(0), targets)
        return whole, whole
    of_steps = torch.stack([_loss_of(torch, given, y, targets) for y in outputs.unbind(0)])
    steps = list(given.get("learning_steps", range(len(outputs))))
    return of_steps.mean(), of_steps[steps].sum() / len(outputs)


def _loss_of(torch: Any, given: Hyperparameters, y: Any, targets: Any) -> Any:
    if given["loss_function"] == "mean_squared_error":
        return ((y - targets) ** 2).sum() / (2 * len(y))
    share, functional = given["squared_share"], torch.nn.functional
    labels = functional.one_hot(targets.long(), y.shape[-1]).to(y.dtype)
    return (1 - share) * functional.cross_entropy(y, targets.long()) + share * ((y - labels) ** 2).mean()


ADAPTER = Adapter(
    name="torch-network",
    title="networks in PyTorch, differentiated by autograd",
    distributions=("torch",),
    tested={"torch": ("2.15.0",)},
    run=run,
    kind="spiking_network",
)
