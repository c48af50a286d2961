"""X1-X6, X9-X11, X13: settings in which rate-based backpropagation equals BPTT, or has an exact structure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.rate_backpropagation import rate_backpropagation, rate_backward
from refsnn.algorithms.temporal_galerkin import temporal_galerkin
from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.models.contract import Parameters
from refsnn.models.losses import LOSSES
from validation.claims.rate_backpropagation.reference import record_run
from validation.ledger import Measured, claim, require
from validation.nets import RESETS, Case, live_case, relative_errors, worst_error

# float64 sums of a few thousand terms; observed errors stay near 1e-14
EXACT = 1e-12


def rate(case: Case, **options: str) -> Parameters:
    """Gradients at the scale of BPTT, so that equality is literal."""
    return rate_backpropagation(*case.arguments, scale="bptt", **options).gradients


def rate_against_bptt(case: Case) -> float:
    """Worst relative error over parameters."""
    return worst_error(rate(case), bptt(*case.arguments).gradients)


def random_neuron(rng: np.random.Generator, base: SpikingNeuron) -> SpikingNeuron:
    """`base` with leak, threshold and surrogate drawn anew."""
    shape = str(rng.choice(["sigmoid", "arctan", "fast_sigmoid", "exponential", "gaussian"]))
    surrogate = Surrogate(shape, slope=float(rng.uniform(1, 4)), height=float(rng.uniform(0.3, 1)))
    leak, threshold = float(rng.uniform(0, 1)), float(rng.uniform(0.7, 1.4))
    return replace(base, leak=leak, threshold=threshold, surrogate=surrogate)


def as_poisson(rng: np.random.Generator, case: Case) -> Case:
    """The same network with Bernoulli spikes of the static input's rates."""
    value, steps = case.inputs.value, case.inputs.steps
    return case.with_inputs((rng.random((steps, *value.shape)) < value).astype(float))


@claim(
    "rate_backpropagation/X1",
    r"With a single time step ($T=1$) rate-based backpropagation is BPTT, for every parameter, depth and reset.",
    source="Yu 2024, Eqs. 2-7 at T = 1",
    metric="largest relative error over parameters, four resets",
    relation="<=",
    bound=EXACT,
    control="the same networks run for two steps",
)
def one_step(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for neuron in RESETS:
        case = live_case(rng, (24, 24, 24), neuron, steps=1)
        values.append(rate_against_bptt(case))
        controls.append(rate_against_bptt(case.with_inputs(replace(case.inputs, steps=2))))
    return Measured(max(values), min(controls))


@claim(
    "rate_backpropagation/X2",
    r"With one hidden layer and input constant in time, rate-based backpropagation is BPTT: any $T$, leak, "
    r"threshold, surrogate and reset.",
    source="Yu 2024, Theorem 1 (first assumption holds exactly)",
    metric="largest relative error over parameters, eight random neurons",
    relation="<=",
    bound=EXACT,
    control="the trace shifted by one step ($\\psi_t\\rho_{t+1}$ for $\\psi_t\\rho_t$)",
)
def one_hidden_layer(rng: np.random.Generator) -> Measured:
    values, controls, details = [], [], {}
    for neuron in RESETS * 2:
        case = live_case(rng, (32,), random_neuron(rng, neuron), steps=int(rng.integers(4, 12)))
        truth = bptt(*case.arguments).gradients
        values.append(worst_error(rate(case), truth))
        record = record_run(case)["layer.1"]
        shifted = (record.spike_slope * (1 + record.trace_factor * record.traces())).mean(axis=0)
        controls.append(worst_error(rate_with_slopes(case, {"layer.1": shifted}), truth))
    details["smallest margin to threshold"] = bptt(*case.arguments).diagnostics.margin
    return Measured(max(values), min(controls), details)


def rate_with_slopes(case: Case, slopes: dict[str, np.ndarray]) -> Parameters:
    """The backward pass with other rate Jacobians than the right ones, at the scale of BPTT."""
    records = record_run(case)
    steps = len(case.inputs)
    mean_input = np.mean([case.inputs[t] for t in range(steps)], axis=0)
    rates = {"input": mean_input} | {name: record.spikes.mean(axis=0) for name, record in records.items()}
    outputs = list(rates.values())[-1] @ case.parameters["readout.weight"].T + case.parameters["readout.bias"]
    readout_adjoint = LOSSES[case.model.loss_function][1](outputs, case.targets)
    return rate_backward(case.model, case.parameters, rates, slopes, readout_adjoint)


@claim(
    "rate_backpropagation/X3",
    r"The readout's gradients and the last hidden layer's bias gradient equal BPTT's, for any input, depth "
    r"and neuron.",
    source="Yu 2024, Eq. 7; the exact relation (R1)",
    metric="largest relative error of readout.weight, readout.bias and the last hidden bias",
    relation="<=",
    bound=EXACT,
    control="the last hidden layer's weight in the place of its bias",
)
def top_of_the_stack(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for neuron in RESETS:
        case = live_case(rng, (24, 24, 24), replace(neuron, leak=0.5), static=False)
        errors = relative_errors(rate(case), bptt(*case.arguments).gradients)
        values += [errors["readout.weight"], errors["readout.bias"], errors["layer.3.bias"]]
        controls.append(errors["layer.3.weight"])
    return Measured(max(values), min(controls))


@claim(
    "rate_backpropagation/X4",
    r"Without leak memory ($\lambda=0$) and with input constant in time, rate-based backpropagation is BPTT at "
    r"any depth: every variable is constant in time.",
    source="Yu 2024, Theorem 1 (both covariances vanish)",
    metric="largest relative error over parameters, four resets",
    relation="<=",
    bound=EXACT,
    control=r"the same networks with $\lambda=0.2$",
)
def no_memory_static(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for neuron in RESETS:
        case = live_case(rng, (24, 24, 24), replace(neuron, leak=0.0))
        values.append(rate_against_bptt(case))
        controls.append(rate_against_bptt(case.with_neuron(leak=0.2)))
    return Measured(max(values), min(controls))


@claim(
    "rate_backpropagation/X5",
    r"Without leak memory ($\lambda=0$) and with a constant surrogate ($\psi\equiv c$), rate-based "
    r"backpropagation is BPTT at any depth and for any input: $\kappa_t=\psi_t\rho_t$ is constant.",
    source="Yu 2024, Theorem 1; the exact relation (R2)",
    metric="largest relative error over parameters, Bernoulli input fresh each step",
    relation="<=",
    bound=EXACT,
    control="the sigmoid surrogate on the same networks",
)
def no_memory_constant_surrogate(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for neuron in RESETS[::2]:
        constant = Surrogate("constant", height=float(rng.uniform(0.3, 1)))
        case = live_case(rng, (24, 24, 24), replace(neuron, leak=0.0, surrogate=constant), static=False)
        values.append(rate_against_bptt(case))
        controls.append(rate_against_bptt(case.with_neuron(surrogate=Surrogate())))
    return Measured(max(values), min(controls))


@claim(
    "rate_backpropagation/X6",
    r"Running layer by layer (multi-step) or step by step (single-step) gives the same gradient where nothing "
    r"is normalised.",
    source="Yu 2024, Algorithm 1",
    metric="largest relative error over parameters",
    relation="<=",
    bound=EXACT,
    control=r"the last frame $x_T$ in the place of the input's time mean, as the official single-step code has it",
)
def multi_step_is_single_step(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for neuron in RESETS:
        case = live_case(rng, (24, 24), random_neuron(rng, neuron), static=False)
        multi = rate(case, mode="multi_step")
        values.append(worst_error(rate(case, mode="single_step"), multi))
        last_frame = case.inputs[-1]
        records = record_run(case)
        slopes = {n: (r.spike_slope * r.traces()).mean(axis=0) for n, r in records.items()}
        rates = {"input": last_frame} | {n: r.spikes.mean(axis=0) for n, r in records.items()}
        outputs = rates["layer.2"] @ case.parameters["readout.weight"].T + case.parameters["readout.bias"]
        adjoint = LOSSES["cross_entropy"][1](outputs, case.targets)
        wrong = rate_backward(case.model, case.parameters, rates, slopes, adjoint)
        controls.append(worst_error(wrong, multi))
    return Measured(max(values), min(controls))


@claim(
    "rate_backpropagation/X9",
    r"$\mathrm{rank}\,\nabla W^l\le B$: for one sample the weight gradient of rate-based backpropagation is an "
    r"outer product of two vectors.",
    source="Yu 2024, Eq. 3",
    metric="largest ratio of second to first singular value, one sample, all weights",
    relation="<=",
    bound=EXACT,
    control="BPTT on the same sample (rank up to $T$)",
)
def rank_one(rng: np.random.Generator) -> Measured:
    case = live_case(rng, (24, 24, 24), SpikingNeuron(leak=0.5), static=False, batch=1)
    through_time = bptt(*case.arguments).gradients
    hidden = [f"layer.{index}.weight" for index in case.model.hidden]
    value = max(singular_ratio(rate(case)[name]) for name in [*hidden, "readout.weight"])
    return Measured(value, min(singular_ratio(through_time[name]) for name in hidden))


def singular_ratio(matrix: np.ndarray) -> float:
    """Second over first singular value."""
    values = np.linalg.svd(matrix, compute_uv=False)
    require(values[0] > 1e-12, "a gradient is zero")
    return float(values[1] / values[0])


@claim(
    "rate_backpropagation/X10",
    r"At $\lambda=0$ the gradient does not change when the time steps are permuted, nor (at BPTT's scale) when "
    r"the sequence is repeated.",
    source="Yu 2024, Eqs. 8-9 with f = 0",
    metric="largest relative change over parameters",
    relation="<=",
    bound=EXACT,
    control=r"the same permutation at $\lambda=0.5$",
)
def order_does_not_matter(rng: np.random.Generator) -> Measured:
    case = live_case(rng, (24, 24, 24), SpikingNeuron(leak=0.0), static=False)
    order = np.roll(rng.permutation(len(case.inputs)), 1)
    while (order == np.arange(order.size)).all():
        order = rng.permutation(order.size)
    permuted = case.with_inputs(case.inputs[order])
    repeated = case.with_inputs(np.concatenate([case.inputs, case.inputs]))
    value = max(worst_error(rate(other), rate(case)) for other in (permuted, repeated))
    control = worst_error(rate(permuted.with_neuron(leak=0.5)), rate(case.with_neuron(leak=0.5)))
    return Measured(value, control)


@claim(
    "rate_backpropagation/X11",
    r"A silent network has $\nabla W^l=0$ above the first layer and living biases; where every neuron fires at "
    r"every step, $\nabla W^l_{ij}=\nabla b^l_i$.",
    source="Yu 2024, Eq. 3 with rates 0 and 1",
    metric="largest of |weight gradient| (silent) and relative difference to the bias gradient (saturated)",
    relation="<=",
    bound=EXACT,
    control="both measures on a network with rates in between",
)
def silent_and_saturated(rng: np.random.Generator) -> Measured:
    case = live_case(rng, (24, 24, 24))
    silent, saturated = (shifted_biases(case, shift) for shift in (-1.0, 1.0))
    for other, expected in ((silent, 0.0), (saturated, 1.0)):
        fired = bptt(*other.arguments).diagnostics.spike_rates.values()
        require(set(fired) == {expected}, f"rates are {fired}, not all {expected}")
    quiet, loud, alive = rate(silent), rate(saturated), rate(case)
    above = [f"layer.{index}" for index in case.model.hidden if index > 1] + ["readout"]
    biases = {name: float(np.abs(quiet[f"{name}.bias"]).max()) for name in ["layer.1", *above]}
    require(min(biases.values()) > 0, f"a silent network's bias gradient is 0: {biases}")

    def spread(gradients: Parameters, name: str) -> float:
        weight, bias = gradients[f"{name}.weight"], gradients[f"{name}.bias"]
        return float(np.abs(weight - bias[:, None]).max() / np.abs(bias).max())

    value = max(
        [*(float(np.abs(quiet[f"{n}.weight"]).max()) for n in above), *(spread(loud, n) for n in above)]
    )
    control = min(
        [*(float(np.abs(alive[f"{n}.weight"]).max()) for n in above), *(spread(alive, n) for n in above)]
    )
    return Measured(value, control, {"silent network's bias gradients": biases})


def shifted_biases(case: Case, direction: float) -> Case:
    """Hidden biases so far out that every current is below 0 or above the threshold at every step.

    Just far enough: the surrogate, and with it the biases' gradient, falls off exponentially.
    """
    parameters, below = dict(case.parameters), np.asarray(case.inputs.value)
    for index in case.model.hidden:
        weight = parameters[f"layer.{index}.weight"]
        current = below @ weight.T
        far = -0.01 - current.max(axis=0) if direction < 0 else 1.01 - current.min(axis=0)
        parameters[f"layer.{index}.bias"] = far
        below = np.full((len(below), len(weight)), 0.0 if direction < 0 else 1.0)
    return replace(case, parameters=parameters)


@claim(
    "rate_backpropagation/X13",
    r"The temporal Galerkin family interpolates: $K=1$ mode is rate-based backpropagation, $K=T$ modes of any "
    r"orthonormal basis are BPTT.",
    source="specification, section 3.7 (beyond the paper)",
    metric="largest relative error over parameters of both ends, four resets",
    relation="<=",
    bound=EXACT,
    control=r"$K=T-1$ modes against BPTT",
)
def galerkin_ends(rng: np.random.Generator) -> Measured:
    values, controls, steps = [], [], 6
    for neuron in RESETS:
        case = live_case(rng, (24, 24), replace(neuron, leak=float(rng.uniform(0.2, 1))), steps, static=False)
        truth = bptt(*case.arguments).gradients
        random_basis = np.linalg.qr(rng.standard_normal((steps, steps)))[0]
        for basis in (None, random_basis):
            all_modes = temporal_galerkin(*case.arguments, n_modes=steps, basis=basis).gradients
            values.append(worst_error(all_modes, truth))
        one_mode = temporal_galerkin(*case.arguments, n_modes=1).gradients
        values.append(worst_error(one_mode, rate(case)))
        fewer = temporal_galerkin(*case.arguments, n_modes=steps - 1).gradients
        controls.append(worst_error(fewer, truth))
    return Measured(max(values), min(controls))
