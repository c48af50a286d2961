"""5.4: how far rate-based backpropagation is from BPTT, and what the distance depends on.

Random networks, three layers of 48 unless said otherwise; every layer fires.  Cosines and relative errors are
those of the paper's comparison, on the whole gradient or on the first layer's weight alone.
"""

from __future__ import annotations

import numpy as np

from refsnn.algorithms.bptt import bptt
from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.models.contract import Parameters, StaticInput
from refsnn.models.spiking_stack import DenseSpikingStack
from validation.claims.rate_backpropagation.equalities import rate, rate_with_slopes
from validation.claims.rate_backpropagation.reference import record_run
from validation.ledger import Measured, VacuousError, claim, require
from validation.nets import Case, cosine, flat, live_case

WIDTH, STEPS = 48, 6
FIRST = "layer.1.weight"
ENCODINGS = {"static": True, "Bernoulli": False}


def both(case: Case) -> tuple[Parameters, Parameters]:
    """Gradients of the rate pass, at the scale of BPTT, and of BPTT."""
    return rate(case), bptt(*case.arguments).gradients


def whole_cosine(case: Case) -> float:
    """Cosine of the two whole gradients."""
    found, truth = both(case)
    return cosine(flat(found), flat(truth))


def whole_error(case: Case) -> float:
    """Relative error of the whole gradient, taken as one vector."""
    found, truth = (flat(gradients) for gradients in both(case))
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))


def bernoulli(rng: np.random.Generator, intensities: np.ndarray, steps: int) -> np.ndarray:
    """Spikes of these rates, fresh each step."""
    return (rng.random((steps, *intensities.shape)) < intensities).astype(float)


# input to the lengths between which the error no longer falls; spikes that are drawn need longer, for their own
# noise falls as the inverse root of T
LENGTHS = {"static": (32, 128), "Bernoulli": (512, 2048)}


@claim(
    "rate_backpropagation/5.4.plateau",
    r"With a real surrogate rate-based backpropagation does not converge to BPTT as $T\to\infty$: the relative error "
    r"settles, for input constant in time from $T\approx 8$ on, for spikes drawn afresh at each step from $T\approx 500$ on.",
    source="specification, section 5.4",
    metric="error of the whole gradient at four times the length over that at T = 32 (static) and 512 (Bernoulli), mean of three networks each, smaller one",
    relation=">=",
    bound=0.7,
    control="the same networks with a constant surrogate, where the error falls as 1/T",
)
def plateau(rng: np.random.Generator) -> Measured:
    ratios, controls, details = {}, {}, {}
    for encoding, lengths in LENGTHS.items():
        errors = np.zeros((2, len(lengths)))
        for _ in range(3):
            case = live_case(rng, (WIDTH,) * 3, steps=STEPS, batch=4)
            intensities = case.inputs.value
            for place, length in enumerate(lengths):
                inputs = (
                    StaticInput(intensities, length)
                    if ENCODINGS[encoding]
                    else bernoulli(rng, intensities, length)
                )
                longer = case.with_inputs(inputs)
                constant = longer.with_neuron(surrogate=Surrogate("constant", height=0.5))
                errors[:, place] += whole_error(longer) / 3, whole_error(constant) / 3
        ratios[encoding], controls[encoding] = errors[:, 1] / errors[:, 0]
        for place, length in enumerate(lengths):
            details[f"{encoding}, error at T = {length}"] = errors[0, place]
        require(errors[0, 1] >= 0.02, f"{encoding}: the error fell to {errors[0, 1]:.1e}")
    return Measured(min(ratios.values()), max(controls.values()), details)


DEPTHS = (1, 2, 3, 5, 8)


@claim(
    "rate_backpropagation/5.4.depth",
    r"The error grows with the depth below the readout: the cosine of the first layer's weight gradient to BPTT's falls "
    r"from each of 1, 2, 3, 5, 8 hidden layers to the next (where one is exact for input constant in time).",
    source="specification, section 5.4",
    metric="1 - cosine of the first layer's weight gradient over that of the depth before, mean of eight networks, smallest ratio, static and Bernoulli",
    relation=">=",
    bound=1.2,
    control="the last hidden layer's weight in the same networks",
)
def depth(rng: np.random.Generator) -> Measured:
    values, controls, details = [], [], {}
    for encoding, static in ENCODINGS.items():
        distances = {"first": [], "last": []}
        for layers in DEPTHS:
            cases = [live_case(rng, (WIDTH,) * layers, steps=STEPS, static=static) for _ in range(8)]
            gradients = [both(case) for case in cases]
            for which, name in (("first", FIRST), ("last", f"layer.{layers}.weight")):
                distances[which].append(
                    1 - float(np.mean([cosine(found[name], truth[name]) for found, truth in gradients]))
                )
            details[f"{encoding}, {layers} layers"] = 1 - distances["first"][-1]
        start = 0
        if static:
            require(distances["first"][0] <= 1e-12, f"one layer: 1 - cosine is {distances['first'][0]:.1e}")
            start = 1  # nothing to divide by at depth 1
        for found, series in ((values, distances["first"]), (controls, distances["last"])):
            found += [
                after / before for before, after in zip(series[start:-1], series[start + 1 :], strict=True)
            ]
    return Measured(min(values), min(controls), details)


LEAKS = (0.0, 0.2, 0.5, 0.9, 1.0)


@claim(
    "rate_backpropagation/5.4.leak",
    r"Long memory spoils the length of the gradient before its direction: for input constant in time the cosine to BPTT "
    r"stays above 0.9 up to $\lambda=1$, while from $\lambda=0.9$ on the gradient is too long by a third and more. The "
    r"relative error grows with $\lambda$, from 0 at $\lambda=0$.",
    source="specification, section 5.4",
    metric=r"norm of the gradient over that of BPTT at $\lambda=0.9$, mean of eight networks",
    relation=">=",
    bound=1.33,
    control=r"the same networks at $\lambda=0.2$",
)
def leak(rng: np.random.Generator) -> Measured:
    cases = [live_case(rng, (WIDTH,) * 3, steps=STEPS) for _ in range(8)]
    cosines, lengths, errors = {}, {}, {}
    for value in LEAKS:
        pairs = [[flat(g) for g in both(case.with_neuron(leak=value))] for case in cases]
        cosines[value] = float(np.mean([cosine(*pair) for pair in pairs]))
        lengths[value] = float(np.mean([np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs]))
        errors[value] = float(np.mean([np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in pairs]))
    require(errors[0.0] <= 1e-12, f"without memory the error is {errors[0.0]:.1e}, not 0")
    series = list(errors.values())
    require(series == sorted(series), f"the error does not grow with the leak: {errors}")
    require(min(cosines.values()) >= 0.9, f"the direction is lost: {cosines}")
    details = {
        f"leak {v}: cosine, length, error": f"{cosines[v]:.3f}, {lengths[v]:.2f}, {errors[v]:.2f}"
        for v in LEAKS
    }
    return Measured(lengths[0.9], lengths[0.2], details)


def rank_correlation(a: list[float], b: list[float]) -> float:
    """Spearman's: the correlation of the ranks."""
    ranks = [np.argsort(np.argsort(series)) for series in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def scattered_case(rng: np.random.Generator, static: bool) -> Case:
    """A network of weak or strong weights and low or high biases, in which every layer fires at times."""
    for _ in range(1000):
        model = DenseSpikingStack((64, WIDTH, WIDTH, WIDTH, 10))
        gain, bias = 2 ** rng.uniform(-1, 3), rng.uniform(-1, 1.2)
        parameters = model.initialise(rng, gain=gain, bias_mean=bias)
        rates = rng.random((16, 64))
        inputs = StaticInput(rates, STEPS) if static else bernoulli(rng, rates, STEPS)
        case = Case(model, parameters, inputs, rng.integers(10, size=16))
        result = bptt(*case.arguments)
        fired = result.diagnostics.spike_rates.values()
        alive = min(fired) > 1e-3 and max(fired) < 1 - 1e-3
        if alive and np.linalg.norm(result.gradients[FIRST]) > 1e-8:
            return case
    raise VacuousError("no live network in 1000 tries")


def slope_variability(case: Case) -> float:
    """Standard deviation of psi_t in time over its mean, all neurons of a layer together; mean over layers."""
    records = record_run(case).values()
    return float(np.mean([r.spike_slope.std(axis=0).mean() / r.spike_slope.mean() for r in records]))


@claim(
    "rate_backpropagation/5.4.rates",
    r"The error grows with the variability of the slopes $\psi_t$ in time, not with the firing rate: over networks "
    r"of weak and strong weights, with rates from a few per cent to two thirds, it ranks as the variability does.",
    source="specification, section 5.4",
    metric=r"rank correlation of 1 - cosine (first weight) with the variability of $\psi_t$ over 100 networks, smaller one of static and Bernoulli",
    relation=">=",
    bound=0.6,
    control="the rank correlation with the mean firing rate, its absolute value, larger one of the two",
)
def variability(rng: np.random.Generator) -> Measured:
    values, controls, details = [], [], {}
    for encoding, static in ENCODINGS.items():
        cases = [scattered_case(rng, static) for _ in range(100)]
        pairs = [both(case) for case in cases]
        distances = [1 - cosine(found[FIRST], truth[FIRST]) for found, truth in pairs]
        rates = [np.mean([r.spikes.mean() for r in record_run(case).values()]) for case in cases]
        values.append(rank_correlation(distances, [slope_variability(case) for case in cases]))
        controls.append(abs(rank_correlation(distances, rates)))
        details[f"{encoding}, with the variability"], details[f"{encoding}, with the rate"] = (
            values[-1],
            controls[-1],
        )
        details[f"{encoding}, rates"] = f"{min(rates):.3f} to {max(rates):.3f}"
    return Measured(min(values), max(controls), details)


# input, leak, hidden layers: cosine to BPTT without the trace, and with it, as the specification prints them
TABLE = {
    ("static", 0.2, 1): (0.996, 1.0),
    ("static", 0.2, 3): (0.975, 0.996),
    ("static", 0.9, 3): (0.605, 0.968),
    ("static", 0.2, 6): (0.857, 0.946),
    ("Bernoulli", 0.2, 1): (0.989, 0.993),
    ("Bernoulli", 0.2, 3): (0.947, 0.966),
    ("Bernoulli", 0.9, 3): (0.611, 0.931),
    ("Bernoulli", 0.2, 6): (0.837, 0.885),
}


def without_trace(case: Case) -> Parameters:
    """The rate pass with g = mean_t psi_t: rho forgotten."""
    slopes = {name: record.spike_slope.mean(axis=0) for name, record in record_run(case).items()}
    return rate_with_slopes(case, slopes)


@claim(
    "rate_backpropagation/5.4.relatives",
    r"The trace $\rho$ brings the gradient closer to BPTT in every setting, and most at long memory: without it the cosine "
    r"is 0.6 at $\lambda=0.9$, with it above 0.9.",
    source="specification, table of section 5.4",
    metric="largest deviation of a cosine (whole gradient, mean of twelve networks; with and without the trace) from the printed one, over the spread that the table gives: 0.1 at six layers, 0.04 elsewhere",
    relation="<=",
    bound=1.0,
    control="the figures without the trace in the column of those with it",
)
def relatives(rng: np.random.Generator) -> Measured:
    values, controls, details = [], [], {}
    for (encoding, leak, layers), (printed_without, printed_with) in TABLE.items():
        neuron, hidden, cosines = SpikingNeuron(leak=leak), (WIDTH,) * layers, []
        for _ in range(12):
            case = live_case(
                rng, hidden, neuron, STEPS, ENCODINGS[encoding], gain=(2.0, 2.0), rates=(0.02, 0.98)
            )
            truth = flat(bptt(*case.arguments).gradients)
            cosines.append([cosine(flat(found), truth) for found in (rate(case), without_trace(case))])
        with_trace, without = (float(mean) for mean in np.mean(cosines, axis=0))
        setting = f"{encoding}, leak {leak}, {layers} hidden"
        require(with_trace > without, f"{setting}: {with_trace:.4f} with the trace, {without:.4f} without")
        spread = 0.1 if layers == 6 else 0.04
        values += [abs(with_trace - printed_with) / spread, abs(without - printed_without) / spread]
        controls.append(abs(without - printed_with) / spread)
        details[f"{setting}: without, with"] = f"{without:.3f}, {with_trace:.3f}"
    return Measured(max(values), max(controls), details)
