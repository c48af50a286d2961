"""One step of training with equilibrium propagation, and the matrix products it cannot do without.

The networks are the prototypical ones of Table 1 of Ernoult et al. 2019, with its steps and nudges:
784 inputs, 1 to 3 hidden layers of 512, 10 outputs, the shifted sigmoid, batches of 20, float32.

The floor is `numpy.matmul` on arrays of the same shapes, in the same process and on the same thread:

    x W^T once;  h_pre W^T and h_post W of every other coupling in each of the T + K steps;
    and of the update h_post^T h_pre, twice for every coupling but that of the input, where one product of a
    difference is enough.

What it leaves out: all that the units compute, and the two steps that tell the residual.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refsnn.algorithms.equilibrium_propagation import equilibrium_propagation
from refsnn.algorithms.result import GradientResult
from refsnn.models.contract import Parameters
from refsnn.models.convergent import PrototypicalNetwork
from validation.ledger import require

# what float32 leaves of a gradient that is a difference over beta, relative to the array's largest entry
FLOAT32_BOUND = 1e-3
FLOAT64_BOUND = 1e-10


class Case(NamedTuple):
    """A network with its phases.

    Attributes
    ----------
    widths : tuple of int
        Output first.
    free_steps, nudged_steps : int
        T and K.
    nudge : float
        beta.
    """

    widths: tuple[int, ...]
    free_steps: int
    nudged_steps: int
    nudge: float

    @property
    def name(self) -> str:
        """Widths, T and K."""
        return f"{'-'.join(map(str, self.widths))}, T = {self.free_steps}, K = {self.nudged_steps}"


CASES = (
    Case((10, 512, 784), 40, 15, 0.1),
    Case((10, 512, 512, 784), 100, 20, 0.5),
    Case((10, 512, 512, 512, 784), 180, 20, 0.5),
)
BATCH = 20


class Training(NamedTuple):
    """What a step of training is given."""

    case: Case
    model: PrototypicalNetwork
    parameters: Parameters
    inputs: np.ndarray
    targets: np.ndarray

    def astype(self, dtype: Any) -> Training:
        """The same numbers in another dtype."""
        parameters = {name: array.astype(dtype) for name, array in self.parameters.items()}
        return self._replace(
            parameters=parameters, inputs=self.inputs.astype(dtype), targets=self.targets.astype(dtype)
        )

    def run(self, backend: str) -> GradientResult:
        """Both phases and the gradient."""
        return equilibrium_propagation(
            self.model, self.parameters, self.inputs, self.targets,
            free_steps=self.case.free_steps, nudged_steps=self.case.nudged_steps, nudge=self.case.nudge,
            backend=backend,
        )  # fmt: skip


def draw(case: Case, seed: int) -> Training:
    """Parameters of the default initialisation, uniform inputs and one-hot targets, in float32."""
    rng = np.random.default_rng(seed)
    model = PrototypicalNetwork(case.widths, activation="sigm")
    parameters = model.initialise(rng, np.float32)
    inputs = rng.random((BATCH, case.widths[-1]), np.float32)
    targets = np.eye(case.widths[0], dtype=np.float32)[rng.integers(case.widths[0], size=BATCH)]
    return Training(case, model, parameters, inputs, targets)


def products_alone(training: Training) -> Callable[[], None]:
    """The floor: a function that does nothing but the products, into arrays that are there already."""
    *couplings, reading = (
        training.parameters[f"coupling.{n}.{n + 1}.weight"] for n in range(training.model.depth)
    )
    rng = np.random.default_rng(0)
    rates = [rng.random((BATCH, width), np.float32) for width in training.case.widths[:-1]]
    heard = [np.empty_like(rate) for rate in rates]
    updates = [np.empty_like(weight) for weight in (*couplings, reading)]

    def run() -> None:
        np.matmul(training.inputs, reading.T, out=heard[-1])
        for _ in range(training.case.free_steps + training.case.nudged_steps):
            for n, weight in enumerate(couplings):
                np.matmul(rates[n + 1], weight.T, out=heard[n])
                np.matmul(rates[n], weight, out=heard[n + 1])
        for n in range(len(couplings)):
            for _ in range(2):
                np.matmul(rates[n].T, rates[n + 1], out=updates[n])
        np.matmul(rates[-1].T, training.inputs, out=updates[-1])

    return run


def apart(found: GradientResult, reference: GradientResult) -> float:
    """The largest difference of any gradient array, relative to that array's largest entry.

    Raises
    ------
    VacuousError
        If an array of the reference is zero.
    """
    errors = []
    for name, gradient in reference.gradients.items():
        size = float(np.abs(gradient).max())
        require(size > 0, f"the gradient of {name} is zero")
        errors.append(float(np.abs(found.gradients[name] - gradient).max()) / size)
    return float(np.max(errors))  # NaN stays


def complaint(training: Training) -> tuple[dict[str, float], str | None]:
    """How far the compiled loop is from the model's own step, in both precisions; and why not to time it."""
    exact = training.astype(np.float64)
    reference = exact.run("plain")
    figures = {
        "float64": apart(exact.run("cpu"), reference),
        "float32 from float64": apart(training.run("cpu"), reference),
    }
    for (name, figure), bound in zip(figures.items(), (FLOAT64_BOUND, FLOAT32_BOUND), strict=True):
        if not figure <= bound:
            return figures, f"another gradient: {name} apart by {figure:.1e}, more than {bound:.0e}"
    return figures, None
