"""One training of a convergent network: which network, by which rule, with which settings.

The settings are those of Ernoult et al. 2019; learning rates are listed from the output to the input, one a
coupling, for its weight and its bias.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refsnn.algorithms.bptt_convergent import bptt_convergent
from refsnn.algorithms.equilibrium_propagation import equilibrium_propagation
from refsnn.algorithms.relaxation import relax
from refsnn.algorithms.result import GradientResult
from refsnn.datasets.labelled import LabelledImages, one_hot
from refsnn.models.contract import Parameters
from refsnn.models.convergent_network import ConvergentNetwork
from validation.experiments.checkpoints import Checkpoint
from validation.experiments.training import History, Recipe, train

RULES = {
    "EP": "one-sided equilibrium propagation",
    "random sign": "one-sided equilibrium propagation, the sign of the nudge drawn for each mini-batch",
    "symmetric": "equilibrium propagation with both signs of the nudge",
    "BPTT": "backpropagation through the last K steps",
}


@dataclass(frozen=True)
class Setting:
    """A network and how it is trained.

    Attributes
    ----------
    network : EnergyBasedNetwork or PrototypicalNetwork
        What is trained.
    free_steps, nudged_steps : int
        T and K.
    nudge : float
        beta.
    rates : tuple of float
        Learning rates, output to input.
    rule : str
        A key of `RULES`.
    backend : {"plain", "cpu"}
        Who runs the relaxations.
    """

    network: ConvergentNetwork
    free_steps: int
    nudged_steps: int
    nudge: float
    rates: tuple[float, ...]
    rule: str = "EP"
    backend: str = "cpu"

    def by(self, rule: str, **network: Any) -> Setting:
        """The same with another rule, and other options of the network."""
        return replace(self, rule=rule, network=replace(self.network, **network))

    def gradient(
        self, parameters: Parameters, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> GradientResult:
        """The rule's gradient on a mini-batch."""
        targets = one_hot(labels, self.network.target_shape[0], images.dtype)
        problem = self.network, parameters, self.shaped(images), targets
        if self.rule == "BPTT":
            return bptt_convergent(
                *problem, free_steps=self.free_steps, steps_back=self.nudged_steps, backend=self.backend
            )
        sign = rng.choice([-1.0, 1.0]) if self.rule == "random sign" else 1.0
        return equilibrium_propagation(
            *problem,
            free_steps=self.free_steps,
            nudged_steps=self.nudged_steps,
            nudge=sign * self.nudge,
            symmetric=self.rule == "symmetric",
            backend=self.backend,
        )

    def predict(self, parameters: Parameters, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Outputs at the end of the free phase."""
        free = relax(
            self.network, parameters, self.shaped(images), steps=self.free_steps, backend=self.backend
        )
        return self.network.outputs(parameters, free.state)

    def shaped(self, images: np.ndarray) -> np.ndarray:
        """Rows of pixels as the network wants them."""
        return images.reshape(len(images), *self.network.shapes[-1])

    def recipe(self, epochs: int, batch: int = 20, cosine: bool = False) -> Recipe:
        """Plain gradient descent at the rates of the couplings, constant or with a cosine decay."""
        names = self.network.wiring.names.values()
        rates = {
            f"{name}.{kind}": rate
            for name, rate in zip(names, self.rates, strict=True)
            for kind in ("weight", "bias")
        }
        return Recipe(epochs=epochs, batch=batch, learning_rate=rates, cosine=cosine)

    def train(
        self,
        data: LabelledImages,
        recipe: Recipe,
        rng: np.random.Generator,
        tick: Callable[[str], None],
        checkpoint: Checkpoint | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> History:
        """One training from fresh parameters in the dtype of the images."""
        parameters = self.network.initialise(rng, data.train_images.dtype)
        if checkpoint is not None:
            checkpoint = replace(checkpoint, identity={**self.identity(), **checkpoint.identity})
        return train(parameters, self.gradient, self.predict, data, recipe, rng, tick, checkpoint, stop)

    def identity(self) -> dict[str, str]:
        """What tells two settings apart, for the fingerprint of a checkpoint."""
        return {
            "network": repr(self.network),
            "rule": self.rule,
            "T": str(self.free_steps),
            "K": str(self.nudged_steps),
            "nudge": repr(self.nudge),
            "backend": self.backend,
        }
