"""Figs. 2 to 4 of Ernoult et al. 2019: how far the processes of EP and BPTT are apart.

Each network has its default initialisation.  Beside the paper's rule stands the one that mends it: the output
layer of an energy-based network that is consistent with the hidden ones, and the nudge inside of the
activation of a prototypical one.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refsnn.algorithms.relaxation import relax
from refsnn.algorithms.sign_agreement import sign_agreement
from refsnn.datasets.digits import load_digits
from refsnn.datasets.labelled import LabelledImages, one_hot
from refsnn.datasets.mnist import load_mnist
from refsnn.models.contract import Parameters
from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork, toy_network
from refsnn.models.convergent_network import ConvergentNetwork
from refsnn.models.convolution import Convolution
from validation.experiments import ExperimentResult, Progress, experiment
from validation.experiments.chunked_processes import compare_in_chunks
from validation.nets import cosine

SIZE = 28
# draws of weights and images: so many are compared, so many at most are tried
DRAWS, MOST_DRAWS = 3, 10
# a free phase that still moves by more than this is no steady state, and nothing is said of it
SETTLED = 1e-6


@dataclass(frozen=True)
class Configuration:
    """One panel of the paper's figures.

    Attributes
    ----------
    name : str
        As the paper calls the network.
    networks : dict of str to network
        The paper's, and the one that mends it, each with the name of what differs.
    free_steps, nudged_steps, nudge, batch
        T, K, beta, B.
    backend : {"plain", "cpu"}
        Who runs the free phase.
    """

    name: str
    networks: dict[str, ConvergentNetwork]
    free_steps: int
    nudged_steps: int
    nudge: float
    batch: int
    backend: str = "plain"


@dataclass(frozen=True)
class Comparison:
    """What was measured in one configuration with one network.

    Attributes
    ----------
    configuration : Configuration
        Where.
    variant : str
        A key of its networks.
    tried, settled : int
        Draws of weights and images, and those of them whose free phase came to rest.
    errors : dict of str to (mean, standard deviation)
        Of the relative RMSE over the entries of each layer and parameter; means over the settled draws.
    residual : float
        Of the free phase; the largest of the settled draws.
    cosine, sign_agreement : float
        Of the total updates; the smallest over the parameters and the settled draws.
    """

    configuration: Configuration
    variant: str
    tried: int
    settled: int
    errors: dict[str, tuple[float, float]]
    residual: float
    cosine: float
    sign_agreement: float

    @property
    def states(self) -> list[str]:
        """Names of the layers, output first."""
        return [name for name in self.errors if name.startswith("layer.")]

    @property
    def weights(self) -> list[str]:
        """Names of the weights, output first."""
        return [name for name in self.errors if name.endswith(".weight")]


def energy_based(hidden: int) -> dict[str, ConvergentNetwork]:
    network = EnergyBasedNetwork((10, *hidden * (512,), SIZE**2), step_size=0.08)
    return {"official output": replace(network, output="official"), "output rho": network}


def prototypical(hidden: int) -> dict[str, ConvergentNetwork]:
    return both_nudges(PrototypicalNetwork((10, *hidden * (512,), SIZE**2)))


def both_nudges(network: PrototypicalNetwork) -> dict[str, ConvergentNetwork]:
    return {f"nudge {place}": replace(network, nudge_placement=place) for place in ("outside", "inside")}


CONVOLUTIONAL = PrototypicalNetwork(
    (10, 64, 32, 1), activation="hardsigm", convolutions=(Convolution(5), Convolution(5)), image=(SIZE, SIZE)
)
# T, K, beta, B of Figs. 2, 3 and 8 to 13, and 4
SHORT = (
    Configuration("toy", {"consistent": toy_network()}, 5000, 80, 0.01, 1),
    Configuration("toy", {"consistent": toy_network()}, 5000, 80, 0.001, 1),
    Configuration("EB-1h", energy_based(1), 800, 80, 0.001, 20),
    Configuration("P-1h", prototypical(1), 150, 10, 0.01, 20),
)
LONG = (
    *SHORT,
    Configuration("EB-2h", energy_based(2), 5000, 150, 0.01, 1),
    Configuration("EB-3h", energy_based(3), 30000, 200, 0.02, 1),
    Configuration("P-2h", prototypical(2), 1500, 40, 0.01, 1),
    Configuration("P-3h", prototypical(3), 5000, 40, 0.015, 1),
    Configuration("P-conv", both_nudges(CONVOLUTIONAL), 5000, 10, 0.02, 1, backend="cpu"),
    # so small a nudge that no unit crosses a kink of the hard sigmoid on its way
    Configuration("P-conv", both_nudges(CONVOLUTIONAL), 5000, 10, 1e-5, 1, backend="cpu"),
)


def enlarged(images: np.ndarray, size: int = SIZE) -> np.ndarray:
    """Square images (B, n n) to (B, size size), linear between the centres of the pixels.

    Examples
    --------
    >>> enlarged(np.array([[0.0, 1.0, 0.0, 1.0]]), size=3)
    array([[0. , 0.5, 1. , 0. , 0.5, 1. , 0. , 0.5, 1. ]])
    """
    side = round(images.shape[1] ** 0.5)
    where = (np.arange(size) + 0.5) * side / size - 0.5
    stretch = np.stack([np.interp(where, np.arange(side), row) for row in np.eye(side)], axis=1)
    square = images.reshape(-1, side, side)
    return (stretch @ square @ stretch.T).reshape(len(images), size * size)


def pictures() -> tuple[LabelledImages, str]:
    """Images of 28 by 28 pixels, and where they are from."""
    try:
        data = load_mnist(dtype=np.float32)
    except FileNotFoundError:
        digits = load_digits()
        larger = replace(digits, train_images=enlarged(digits.train_images), test_images=digits.test_images)
        return larger, "scikit-learn's digits enlarged to 28x28"
    few = data.train_images[:100].astype(np.float64)
    return replace(data, train_images=few, train_labels=data.train_labels[:100]), "MNIST"


def compare(configuration: Configuration, variant: str, data: LabelledImages, draws: int) -> Comparison:
    """Both processes in as many draws as asked for, those left out that do not settle."""
    found: list[tuple[dict[str, tuple[float, float]], float, float, float]] = []
    tried = 0
    while len(found) < draws and tried < MOST_DRAWS:
        problem = drawn_problem(configuration, variant, data, tried)
        tried += 1
        free = relax(
            *problem[:3],
            steps=configuration.free_steps,
            keep_last=configuration.nudged_steps + 1,
            backend=configuration.backend,
        )
        if free.residual > SETTLED:
            continue
        errors, updates, gradients = compare_in_chunks(
            *problem, free, steps=configuration.nudged_steps, nudge=configuration.nudge
        )
        signs = [
            share.same_sign / (1 - share.both_zero)
            for name, share in sign_agreement(updates, gradients).items()
            if name.endswith(".weight")
        ]
        found.append((errors, free.residual, smallest_cosine(updates, gradients), min(signs)))
    if not found:
        return Comparison(configuration, variant, tried, 0, {}, *3 * (np.nan,))
    errors, residuals, cosines, agreements = zip(*found, strict=True)
    means = {name: tuple(np.mean([each[name] for each in errors], axis=0).tolist()) for name in errors[0]}
    return Comparison(
        configuration, variant, tried, len(found), means, max(residuals), min(cosines), min(agreements)
    )


def drawn_problem(
    configuration: Configuration, variant: str, data: LabelledImages, draw: int
) -> tuple[ConvergentNetwork, Parameters, np.ndarray, np.ndarray]:
    """Network, parameters, inputs and targets of one draw, the same for every rule."""
    network, rng, batch = configuration.networks[variant], np.random.default_rng(draw), configuration.batch
    parameters = network.initialise(rng)
    if configuration.name == "toy":
        inputs, labels = rng.random((batch, network.widths[-1])), rng.integers(network.widths[0], size=batch)
    else:
        own = slice(draw * batch, (draw + 1) * batch)
        inputs, labels = data.train_images[own], data.train_labels[own]
    shaped = inputs.reshape(batch, *network.shapes[-1])
    return network, parameters, shaped, one_hot(labels, network.widths[0])


def smallest_cosine(updates: Parameters, gradients: Parameters) -> float:
    """Over the parameters, each array alone."""
    return min(cosine(updates[name], gradients[name]) for name in updates)


def report(comparisons: Sequence[Comparison], images: str) -> ExperimentResult:
    """Table, bars, and by how much the mended rule is better."""
    return ExperimentResult(
        table_header=(
            "network",
            "rule",
            "settings",
            "draws that settle",
            "largest residual",
            "states, output to input",
            "weights, output to input",
            "smallest cosine",
            "smallest sign agreement",
        ),
        table_rows=[table_row(entry) for entry in comparisons],
        figures=[
            (
                "Relative error of the processes",
                "Mean and standard deviation over the entries of each layer $s^n$ and weight $W_n$, 0 at "
                "the output; the states step by step and summed over the batch, the weights cumulated.",
                bars([entry for entry in comparisons if entry.configuration.name != "toy" and entry.settled]),
            )
        ],
        notes=[
            f"Images: {images}; the toy network draws its own.  float64, default initialisation; each draw "
            "has weights and images of its own, and one whose free phase still moves by more than "
            f"{SETTLED:g} is left out.  The cosine and the signs are those of the total updates; signs are "
            "those of the weights, where not both are 0.",
            *factors(comparisons),
        ],
    )


def table_row(entry: Comparison) -> tuple[str, ...]:
    """What the table says of one comparison."""
    about = entry.configuration
    first = (
        about.name,
        entry.variant,
        f"B={about.batch}, T={about.free_steps}, K={about.nudged_steps}, β={about.nudge:g}",
        f"{entry.settled} of {entry.tried}",
    )
    if not entry.settled:
        return (*first, *5 * ("–",))
    return (
        *first,
        f"{entry.residual:.1e}",
        " ".join(f"{entry.errors[name][0]:.2g}" for name in entry.states),
        " ".join(f"{entry.errors[name][0]:.2g}" for name in entry.weights),
        f"{entry.cosine:.5f}",
        f"{entry.sign_agreement:.4f}",
    )


def factors(comparisons: Sequence[Comparison]) -> list[str]:
    """By how much the second rule of each network divides the errors of the first."""
    lines = []
    for before, after in itertools.pairwise(comparisons):
        if before.configuration is not after.configuration or not before.settled:
            continue
        parts = [
            f"{kind} by "
            + ", ".join(f"{before.errors[name][0] / after.errors[name][0]:.3g}" for name in names)
            for kind, names in (("states", before.states), ("weights", before.weights))
        ]
        lines.append(
            f"{before.configuration.name}, $\\beta={before.configuration.nudge:g}$: {after.variant} instead "
            f"of {before.variant} divides the error of the {' and of the '.join(parts)} (output to input)."
        )
    return lines


def bars(comparisons: Sequence[Comparison]) -> Any:
    """The paper's bars: one panel a configuration, one colour a rule."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    configurations = list({id(entry.configuration): entry.configuration for entry in comparisons}.values())
    columns = 2
    rows = max(-(-len(configurations) // columns), 1)
    drawing = Figure(figsize=(7.2, 2.2 * rows + 0.4))
    panels = drawing.subplots(rows, columns, squeeze=False)
    for panel, configuration in zip(panels.flat, configurations, strict=False):
        for index, variant in enumerate(configuration.networks):
            for entry in comparisons:
                if entry.configuration is configuration and entry.variant == variant:
                    draw_bars(panel, entry, index)
        panel.set_ylim(bottom=0)
        panel.yaxis.set_major_locator(MaxNLocator(4))
        panel.set_title(f"{configuration.name}, $\\beta={configuration.nudge:g}$")
    for panel in panels.flat[len(configurations) :]:
        panel.set_visible(False)
    handles = panels.flat[0].get_legend_handles_labels()[0]
    names = ["the paper's rule", "output rho (EB), nudge inside (P)"]
    drawing.legend(handles, names[: len(handles)], loc="outside lower center", ncols=2)
    drawing.supylabel("relative RMSE")
    return drawing


def draw_bars(panel: Any, entry: Comparison, index: int) -> None:
    """The bars of one rule; what reaches below 0 is cut off."""
    keys = [*entry.states, *entry.weights]
    means, deviations = np.array([entry.errors[key] for key in keys]).T
    places = np.arange(len(keys)) + 0.4 * (index - 0.5)
    panel.bar(places, means, 0.4, yerr=deviations, label=entry.variant, error_kw={"linewidth": 0.8})
    labels = [f"$s^{n}$" for n in range(len(entry.states))]
    labels += [f"$W_{n}$" for n in range(len(entry.weights))]
    panel.set_xticks(range(len(keys)), labels)


def measure(configurations: Sequence[Configuration], draws: int, progress: Progress) -> ExperimentResult:
    """Every configuration with each of its networks."""
    data, images = pictures()
    work = [
        (configuration, variant) for configuration in configurations for variant in configuration.networks
    ]
    comparisons = []
    for done, (configuration, variant) in enumerate(work):
        progress(done, len(work), f"{configuration.name}, {variant}")
        comparisons.append(compare(configuration, variant, data, draws))
    return report(comparisons, images)


@experiment(
    "equilibrium_propagation/processes",
    "The processes of equilibrium propagation and of BPTT: small networks",
    "The toy network of the paper's Fig. 2 and the networks of its Fig. 3 with one hidden layer, at the "
    "paper's settings: relative RMSE of the processes, layer by layer.",
)
def processes(progress: Progress) -> ExperimentResult:
    return measure(SHORT, 1, progress)


@experiment(
    "equilibrium_propagation/processes-long",
    "The processes of equilibrium propagation and of BPTT: every network of the paper",
    "Figs. 2, 3 and 4: up to three hidden layers and 30000 steps, and the convolutional network.",
    long=True,
)
def processes_long(progress: Progress) -> ExperimentResult:
    return measure(LONG, DRAWS, progress)
