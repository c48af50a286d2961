"""N1-N6 and N9: settings in which rate-based backpropagation must differ from BPTT, so that nothing passes vacuously.

Each is a claim of its own: it holds when the equality fails as it should.  Its control is the setting in
which the equality is restored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.rate_backpropagation import rate_backpropagation
from refsnn.algorithms.temporal_galerkin import temporal_galerkin
from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.models.contract import Parameters
from refsnn.models.spiking_stack import DenseSpikingStack
from validation.claims.rate_backpropagation.equalities import rate, rate_against_bptt, rate_with_slopes
from validation.claims.rate_backpropagation.reference import record_run
from validation.ledger import Measured, claim, require
from validation.nets import RESETS, Case, live_case, relative_errors, worst_error


@claim(
    "rate_backpropagation/N1",
    r"An input whose time mean is zero teaches the first layer nothing: $\nabla W^1=0$ while BPTT's is not.",
    source="Yu 2024, Eq. 3 with $e^0_T=0$",
    metric="relative error of the first weight's gradient, which is 1 when it vanishes",
    relation="in",
    bound=(1 - 1e-12, 1 + 1e-12),
    control="the same input with its mean left in",
)
def zero_mean_input(rng: np.random.Generator) -> Measured:
    case = live_case(rng, (24, 24), SpikingNeuron(leak=0.5), static=False)
    centred = case.with_inputs(case.inputs - case.inputs.mean(axis=0))
    largest = float(np.abs(rate(centred)["layer.1.weight"]).max())
    require(largest <= 1e-15, f"the rate gradient is {largest:.1e}, not zero")
    through_time = bptt(*centred.arguments)
    rates = through_time.diagnostics.spike_rates
    require(min(rates.values()) > 0.05, f"the centred input silences a layer: {rates}")
    size = float(np.linalg.norm(through_time.gradients["layer.1.weight"]))
    require(size > 1e-2, f"BPTT's gradient is {size:.1e}")
    errors = [
        relative_errors(rate(each), bptt(*each.arguments).gradients)["layer.1.weight"]
        for each in (centred, case)
    ]
    return Measured(errors[0], errors[1], {"norm of BPTT's gradient": size})


@dataclass(frozen=True)
class Training:
    """One training on the order task."""

    loss: float  # at the end
    lowest_loss: float
    accuracy: float
    drift: float  # how far the difference of the two input columns moved


def train_order(seed: int, method: str, updates: int = 300) -> Training:
    """Which came first, A = (1, 0) or B = (0, 1)?  Both columns of W^1 start equal."""
    rng = np.random.default_rng(seed)
    model = DenseSpikingStack((2, 16, 2), SpikingNeuron(leak=0.8))
    parameters = {
        "layer.1.weight": np.repeat(rng.standard_normal((16, 1)), 2, axis=1),
        "layer.1.bias": rng.normal(0.3, 0.1, 16),
        "readout.weight": rng.standard_normal((2, 16)) / 4,
        "readout.bias": np.zeros(2),
    }
    first, second = np.repeat([[1.0, 0.0]], 5, axis=0), np.repeat([[0.0, 1.0]], 5, axis=0)
    inputs = np.stack([np.concatenate([first, second]), np.concatenate([second, first])], axis=1)
    labels = np.array([0, 1])
    losses, start = [], parameters["layer.1.weight"] @ [1.0, -1.0]
    for _ in range(updates):
        if method == "rate":
            result = rate_backpropagation(model, parameters, inputs, labels, scale="bptt")
        elif method == "bptt":
            result = bptt(model, parameters, inputs, labels)
        else:
            result = temporal_galerkin(model, parameters, inputs, labels, n_modes=2)
        losses.append(result.loss)
        parameters = {name: value - 0.5 * result.gradients[name] for name, value in parameters.items()}
    final = bptt(model, parameters, inputs, labels)
    predicted = final.diagnostics.outputs.argmax(axis=1)
    return Training(
        loss=final.loss,
        lowest_loss=min([*losses, final.loss]),
        accuracy=float((predicted == labels).mean()),
        drift=float(np.abs(parameters["layer.1.weight"] @ [1.0, -1.0] - start).max()),
    )


@claim(
    "rate_backpropagation/N2",
    r"Rate-based backpropagation cannot learn which of two inputs came first: the difference of their weights never "
    r"moves and the loss is never below $\ln 2$; it ends within $10^{-3}$ of it in most runs (not in all: 2 of 150 ended up "
    r"to 0.006 above), while BPTT and two temporal modes ($K=2$) solve the task.",
    source="Yu 2024, Eq. 3: each row of $\\nabla W^1$ lies in the span of the samples' mean inputs",
    metric=r"|loss - ln 2| after 300 updates, median of five starts",
    relation="<=",
    bound=1e-3,
    control="BPTT from the same starts",
)
def order_task(rng: np.random.Generator) -> Measured:
    seeds = [int(seed) for seed in rng.integers(2**31, size=5)]
    averaged, through_time, two_modes = (
        [train_order(seed, method) for seed in seeds] for method in ("rate", "bptt", "modes")
    )
    for run in averaged:
        require(run.drift <= 1e-14, f"the weights' difference moved by {run.drift:.1e}")
        require(run.lowest_loss >= np.log(2) - 1e-12, f"the loss fell to {run.lowest_loss}, below ln 2")
        require(run.accuracy == 0.5, f"accuracy is {run.accuracy}, not 0.5")
    for name, runs in (("BPTT", through_time), ("K = 2", two_modes)):
        accuracies, loss = [run.accuracy for run in runs], float(np.median([run.loss for run in runs]))
        # one start in about a thousand is slow: all solved, but a loss of 0.07 after 300 updates
        require(
            min(accuracies) == 1.0 and loss < 0.05, f"{name}: accuracies {accuracies}, median loss {loss}"
        )
    distances = [abs(run.loss - np.log(2)) for run in averaged]
    return Measured(
        float(np.median(distances)),
        float(np.median([abs(run.loss - np.log(2)) for run in through_time])),
        {
            "largest distance of the five": max(distances),
            "loss of BPTT, median": float(np.median([run.loss for run in through_time])),
            "loss with K = 2, median": float(np.median([run.loss for run in two_modes])),
            "largest drift": max(run.drift for run in averaged),
        },
    )


@claim(
    "rate_backpropagation/N3",
    r"With leak memory ($\lambda=0.2$) and several layers the equality X4 breaks, even for input constant in time.",
    source="specification, section 5.5",
    metric="relative error of the first weight's gradient, three layers of 48, gain 3",
    relation=">=",
    bound=1e-2,
    control=r"the same network at $\lambda=0$",
)
def memory_breaks_equality(rng: np.random.Generator) -> Measured:
    case = live_case(rng, (48, 48, 48), gain=(3.0, 3.0), rates=(0.05, 0.95))
    forgetful = case.with_neuron(leak=0.0)
    errors = [
        relative_errors(rate(each), bptt(*each.arguments).gradients)["layer.1.weight"]
        for each in (case, forgetful)
    ]
    return Measured(errors[0], errors[1])


@claim(
    "rate_backpropagation/N4",
    r"Without leak memory but with a real surrogate and input that changes in time, the equality X5 breaks for every "
    r"hidden parameter but the last hidden bias.",
    source="specification, section 5.5",
    metric="smallest relative error over hidden parameters except the last hidden bias, two layers of 48, gain 3",
    relation="in",
    bound=(0.1, 0.8),
    control="the constant surrogate on the same network",
)
def surrogate_breaks_equality(rng: np.random.Generator) -> Measured:
    case = live_case(rng, (48, 48), SpikingNeuron(leak=0.0), steps=4, static=False, batch=8, gain=(3.0, 3.0))
    constant = case.with_neuron(surrogate=Surrogate("constant", height=0.5))

    def smallest(each: Case) -> float:
        errors = relative_errors(rate(each), bptt(*each.arguments).gradients)
        require(errors["layer.2.bias"] <= 1e-12, f"X3 fails: {errors['layer.2.bias']:.1e}")
        hidden = [v for name, v in errors.items() if name.startswith("layer") and name != "layer.2.bias"]
        require(max(hidden) <= 0.8, f"the largest error is {max(hidden):.2f}")
        return min(hidden)

    return Measured(smallest(case), smallest(constant))


@claim(
    "rate_backpropagation/N5",
    r"Dropping the trace ($g=\mathbb E[\psi]$) breaks the equality X2: at $\lambda=0.5$ almost half of the gradient is "
    r"missing.",
    source="Yu 2024, Eq. 9 without rho",
    metric="relative error of the hidden weight's gradient, one hidden layer, static input",
    relation="in",
    bound=(0.4, 0.45),
    control="with the trace",
)
def trace_is_needed(rng: np.random.Generator) -> Measured:
    case = live_case(rng, (48,), SpikingNeuron(leak=0.5), steps=8)
    record = record_run(case)["layer.1"]
    truth = bptt(*case.arguments).gradients
    without = rate_with_slopes(case, {"layer.1": record.spike_slope.mean(axis=0)})
    with_trace = rate_with_slopes(case, {"layer.1": (record.spike_slope * record.traces()).mean(axis=0)})
    return Measured(
        relative_errors(without, truth)["layer.1.weight"],
        relative_errors(with_trace, truth)["layer.1.weight"],
    )


@claim(
    "rate_backpropagation/N6",
    r"Forgetting the paper's $1/T$ makes every gradient too long by exactly $T$.",
    source="Yu 2024, below Eq. 7",
    metric=r"largest relative deviation of the unscaled gradient from $T$ times the scaled one, network of X2",
    relation="<=",
    bound=1e-12,
    control=r"the gradient with its $1/T$",
)
def forgotten_scale(rng: np.random.Generator) -> Measured:
    steps = 5
    case = live_case(rng, (32,), SpikingNeuron(leak=0.5), steps=steps)
    truth = {name: value / steps for name, value in bptt(*case.arguments).gradients.items()}
    forgotten, kept = (rate_backpropagation(*case.arguments, scale=s).gradients for s in ("bptt", "paper"))
    require(worst_error(kept, truth) <= 1e-12, "the scale of the paper is not 1/T of BPTT")
    too_long = {name: steps * value for name, value in kept.items()}
    return Measured(worst_error(forgotten, too_long), worst_error(kept, too_long))


@claim(
    "rate_backpropagation/N9",
    r"A trace that detaches the reset while BPTT does not (or the other way round) breaks the equality X2.",
    source="specification, section 5.5",
    metric="smallest relative error of the hidden weight's gradient, both resets, both ways round",
    relation=">=",
    bound=1e-2,
    control="trace and BPTT with the same reset gradient",
)
def mismatched_reset(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for neuron in RESETS:
        case = live_case(rng, (32,), replace(neuron, leak=0.7))
        other = case.with_neuron(detach_reset=not neuron.detach_reset)
        truth: Parameters = bptt(*case.arguments).gradients
        values.append(relative_errors(rate(other), truth)["layer.1.weight"])
        controls.append(rate_against_bptt(case))
    return Measured(min(values), max(controls))
