"""Networks trained on digits by BPTT, and the paper's three metrics of them (Yu 2024, section 5.1 and Fig. 3).

A run of the ledger trains once, with its own seed, for all claims that ask.  What the rate pass uses (rates, rate
Jacobians, its gradient) and BPTT's gradient come from the package; the series of kappa and of the errors come
from the second run in `reference`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.rate_backpropagation import (
    RateRecord,
    rate_backpropagation,
    simulate,
)
from refsnn.algorithms.result import GradientResult
from refsnn.datasets.digits import load_digits
from refsnn.models.contract import Parameters
from refsnn.models.losses import LOSSES
from refsnn.models.spiking_stack import DenseSpikingStack
from validation.claims.rate_backpropagation.reference import LayerRecord, adjoints, rate_backward, record_run
from validation.experiments.spiking_digits import RECIPE, encode
from validation.experiments.training import train
from validation.ledger import require
from validation.nets import LIVE, Case, cosine

WIDTHS = (64, 64, 64, 64, 10)
LAYERS = ("layer.1", "layer.2", "layer.3")

# encoding and T to the number of networks: from T = 4 to 6 the static figures improve by less than two trainings
# differ, so that it takes more pairs to see it
NETWORKS = {("static", 4): 7, ("static", 6): 7, ("Bernoulli", 4): 3, ("Bernoulli", 16): 3}
Setting = tuple[str, int]


@dataclass(frozen=True)
class LayerMetrics:
    """Of one layer of one network.

    Attributes
    ----------
    A1, A2, A3 : float
        cos(mean delta^s kappa, mean delta^s mean kappa); cos(mean delta^I s, mean delta^I mean s) and the cosine of
        the two weight gradients, both of sums over the batch.
    wrong : dict of str to float
        The same with an error made on purpose: kappa averaged over the batch in A1, delta^s for delta^I in A2, the
        rate Jacobian averaged over the batch in A3; "no trace" is A3 with rho forgotten.
    correlation : dict of str to float
        Means over neurons and samples: of |rho|, of |rho| with kappa permuted in time ("chance", and once more
        "permuted"), of the raw |cov|, and of the largest |cov| that the two deviations allow.
    """

    A1: float
    A2: float
    A3: float
    wrong: dict[str, float]
    correlation: dict[str, float] = field(default_factory=dict)


@lru_cache(maxsize=1)
def measured_networks(seed: int) -> dict[Setting, list[dict[str, LayerMetrics]]]:
    """All networks of a run, each layer of them measured on the test images.

    Networks of one number start from the same parameters and share their training images, whatever their setting.
    """
    return {
        (encoding, steps): [
            measure(*trained(encoding, steps, np.random.default_rng([seed, number])))
            for number in range(count)
        ]
        for (encoding, steps), count in NETWORKS.items()
    }


def trained(encoding: str, steps: int, rng: np.random.Generator) -> tuple[Case, np.random.Generator]:
    """One network, trained in single precision as in the experiments, with the test images as its input."""
    data, model = load_digits(rng, dtype=np.float32), DenseSpikingStack(WIDTHS)

    def gradient(
        parameters: Parameters, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> GradientResult:
        return bptt(model, parameters, encode(images, steps, encoding, rng), labels)

    def predict(parameters: Parameters, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return model.run(parameters, encode(images, steps, encoding, rng))

    history = train(
        model.initialise(rng, np.float32), gradient, predict, data, RECIPE, rng, lambda text: None
    )
    require(history.test_error < 0.1, f"{encoding}, T = {steps}: test error {history.test_error:.1%}")
    parameters = {name: value.astype(float) for name, value in history.parameters.items()}
    inputs = encode(data.test_images.astype(float), steps, encoding, rng)
    return Case(model, parameters, inputs, data.test_labels), rng


def measure(case: Case, rng: np.random.Generator) -> dict[str, LayerMetrics]:
    """The metrics of each layer, and those with errors made on purpose."""
    steps = len(case.inputs)
    through_time = bptt(*case.arguments)
    fired = through_time.diagnostics.spike_rates
    require(all(LIVE[0] < value < LIVE[1] for value in fired.values()), f"a layer is silent: {fired}")
    truth = through_time.gradients
    found = rate_backpropagation(*case.arguments, scale="paper").gradients
    kept = simulate(case.model, case.parameters, case.inputs, backend="cpu")
    records = record_run(case)
    kappas = {name: record.spike_slope * record.traces() for name, record in records.items()}
    outputs = through_time.diagnostics.outputs
    readout_adjoint = LOSSES[case.model.loss_function][1](outputs, case.targets) / steps
    series = adjoints(case, records, readout_adjoint)
    wrong = wrong_gradients(case, kept, records, readout_adjoint)

    metrics, below = {}, "input"
    for name, kappa in kappas.items():
        spike_adjoint, current_adjoint = (one.mean(axis=0) for one in series[name])
        # mean_t delta^I = mean_t delta^s kappa, the exact relation (R1)
        weight, mean_kappa, mean_below = f"{name}.weight", kept.slopes[name], kept.rates[below]
        metrics[name] = LayerMetrics(
            A1=cosine(current_adjoint, spike_adjoint * mean_kappa),
            A2=cosine(truth[weight], current_adjoint.T @ mean_below),
            A3=cosine(truth[weight], found[weight]),
            wrong={
                "A1": cosine(current_adjoint, spike_adjoint * mean_kappa.mean(axis=0)),
                "A2": cosine(truth[weight], spike_adjoint.T @ mean_below),
                "A3": cosine(truth[weight], wrong["batch"][weight]),
                "no trace": cosine(truth[weight], wrong["no trace"][weight]),
            },
            # at the last layer delta^s is constant in time: nothing to correlate
            correlation=correlations(rng, kappa, series[name][0]) if name != LAYERS[-1] else {},
        )
        below = name
    return metrics


def wrong_gradients(
    case: Case,
    kept: RateRecord,
    records: dict[str, LayerRecord],
    readout_adjoint: np.ndarray,
) -> dict[str, Parameters]:
    """The rate pass with other rate Jacobians than its own."""
    slopes = {
        "batch": {name: np.broadcast_to(g.mean(axis=0), g.shape) for name, g in kept.slopes.items()},
        "no trace": {name: record.spike_slope.mean(axis=0) for name, record in records.items()},
    }
    return {
        which: rate_backward(case, kept.rates, chosen, readout_adjoint) for which, chosen in slopes.items()
    }


def correlations(rng: np.random.Generator, a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Correlation in time of two series (T, B, n), neuron by neuron and sample by sample."""
    deviations = a.std(axis=0) * b.std(axis=0)
    varies = (a.std(axis=0) > 1e-9) & (b.std(axis=0) > 1e-9 * np.abs(b).max())
    require(varies.mean() > 0.5, f"only {varies.mean():.0%} of the series vary in time")

    def covariance(first: np.ndarray) -> np.ndarray:
        return np.abs((first * b).mean(axis=0) - first.mean(axis=0) * b.mean(axis=0))

    def correlation(first: np.ndarray) -> float:
        return float((covariance(first)[varies] / deviations[varies]).mean())

    return {
        "correlation": correlation(a),
        "chance": float(np.mean([correlation(rng.permuted(a, axis=0)) for _ in range(2)])),
        "permuted": correlation(rng.permuted(a, axis=0)),
        "covariance": float(covariance(a).mean()),
        "largest covariance": float(deviations.mean()),
    }
