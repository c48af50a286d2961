"""X1-X6, X9-X11, X13: settings in which rate-based backpropagation equals BPTT, or has an exact structure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.rate_backpropagation import rate_backpropagation
from refsnn.algorithms.temporal_galerkin import temporal_galerkin
from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import SURROGATES, Surrogate
from refsnn.models.contract import Parameters
from refsnn.models.losses import LOSSES
from validation.claims.rate_backpropagation.reference import rate_backward, record_run
from validation.ledger import Measured, claim, require
from validation.nets import RESETS, Case, live_case, relative_errors, worst_error

# float64 sums of a few thousand terms; observed errors stay near 1e-14
EXACT = 1e-12

# surrogates without kinks and far tails, so that in a control nothing coincides by chance
SMOOTH = ("sigmoid", "arctan", "fast_sigmoid", "exponential", "gaussian")


def rate(case: Case, **options: str) -> Parameters:
    """Gradients at the scale of BPTT, so that equality is literal."""
    return rate_backpropagation(*case.arguments, scale="bptt", **options).gradients


def rate_against_bptt(case: Case) -> float:
    """Worst relative error over parameters, of the compiled backend and of the plain one."""
    return max(
        worst_error(rate(case, backend=backend), bptt(*case.arguments, backend=backend).gradients)
        for backend in ("cpu", "plain")
    )


def random_neuron(
    rng: np.random.Generator, base: SpikingNeuron, shapes: Iterable[str] = SURROGATES
) -> SpikingNeuron:
    """`base` with leak, threshold, comparison and surrogate drawn anew."""
    surrogate = Surrogate(
        str(rng.choice(list(shapes))), slope=float(rng.uniform(0.7, 3)), height=float(rng.uniform(0.3, 1))
    )
    leak, threshold = float(rng.uniform(0, 1)), float(rng.uniform(0.7, 1.4))
    fires = str(rng.choice([">=", ">"]))
    return replace(base, leak=leak, threshold=threshold, fires=fires, surrogate=surrogate)


def random_depth(rng: np.random.Generator, least: int = 1) -> tuple[int, ...]:
    """Widths of one to five hidden layers."""
    return (24,) * int(rng.integers(least, 6))


@claim(
    "rate_backpropagation/X1",
    r"With a single time step ($T=1$) rate-based backpropagation is BPTT, for every parameter, depth and reset.",
    source="Yu 2024, Eqs. 2-7 at T = 1",
    metric="largest relative error over parameters, four resets with random neurons and depths",
    relation="<=",
    bound=EXACT,
    control="the same networks run for two steps",
)
def one_step(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for neuron in RESETS:
        case = live_case(rng, random_depth(rng, least=2), random_neuron(rng, neuron, SMOOTH), steps=1)
        values.append(rate_against_bptt(case))
        controls.append(rate_against_bptt(case.with_inputs(replace(case.inputs, steps=2))))
    return Measured(max(values), min(controls))


@claim(
    "rate_backpropagation/X2",
    r"With one hidden layer and input constant in time, rate-based backpropagation is BPTT: any $T$, leak, "
    r"threshold, surrogate and reset.",
    source="Yu 2024, Theorem 1 (both covariances vanish)",
    metric="largest relative error over parameters, eight random neurons",
    relation="<=",
    bound=EXACT,
    control="the trace shifted by one step ($\\psi_t\\rho_{t+1}$ for $\\psi_t\\rho_t$)",
)
def one_hidden_layer(rng: np.random.Generator) -> Measured:
    values, controls, margins = [], [], []
    for neuron in RESETS * 2:
        case = live_case(rng, (32,), random_neuron(rng, neuron), steps=int(rng.integers(4, 12)))
        values.append(rate_against_bptt(case))
        through_time = bptt(*case.arguments)
        truth = through_time.gradients
        margins.append(through_time.diagnostics.margin)
        record = record_run(case)["layer.1"]
        shifted = (record.spike_slope * (1 + record.trace_factor * record.traces())).mean(axis=0)
        controls.append(worst_error(rate_with_slopes(case, {"layer.1": shifted}), truth))
    return Measured(max(values), min(controls), {"smallest margin to threshold": min(margins)})


def rate_with_slopes(
    case: Case, slopes: dict[str, np.ndarray], input_rate: np.ndarray | None = None
) -> Parameters:
    """The backward pass with other rate Jacobians (or input rates) than the right ones, at the scale of BPTT."""
    steps = len(case.inputs)
    mean_input = np.mean([case.inputs[t] for t in range(steps)], axis=0)
    rates = {"input": mean_input if input_rate is None else input_rate}
    rates |= {name: record.spikes.mean(axis=0) for name, record in record_run(case).items()}
    outputs = list(rates.values())[-1] @ case.parameters["readout.weight"].T + case.parameters["readout.bias"]
    readout_adjoint = LOSSES[case.model.loss_function][1](outputs, case.targets)
    return rate_backward(case, rates, slopes, readout_adjoint)


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
        case = live_case(rng, random_depth(rng), random_neuron(rng, neuron, SMOOTH), static=False)
        errors = relative_errors(rate(case), bptt(*case.arguments).gradients)
        last = f"layer.{len(case.model.hidden)}"
        values += [errors["readout.weight"], errors["readout.bias"], errors[f"{last}.bias"]]
        controls.append(errors[f"{last}.weight"])
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
        neuron = replace(random_neuron(rng, neuron, SMOOTH), leak=0.0)
        case = live_case(rng, random_depth(rng, least=2), neuron)
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
    for neuron in RESETS:
        constant = Surrogate("constant", height=float(rng.uniform(0.3, 1)))
        neuron = replace(neuron, leak=0.0, surrogate=constant)
        case = live_case(rng, random_depth(rng, least=2), neuron, static=False)
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
        slopes = {n: (r.spike_slope * r.traces()).mean(axis=0) for n, r in record_run(case).items()}
        wrong = rate_with_slopes(case, slopes, input_rate=case.inputs[-1])
        controls.append(worst_error(wrong, multi))
    return Measured(max(values), min(controls))


@claim(
    "rate_backpropagation/X9",
    r"$\mathrm{rank}\,\nabla W^l\le B$: the weight gradient of rate-based backpropagation is a sum of one outer product a "
    r"sample.",
    source="Yu 2024, Eq. 3",
    metric="largest ratio of singular value B + 1 to the first, B = 1 and B = 3, all weights",
    relation="<=",
    bound=EXACT,
    control="BPTT on the same samples (rank up to $BT$)",
)
def rank_of_the_gradient(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for batch in (1, 3):
        neuron = random_neuron(rng, RESETS[int(rng.integers(4))], SMOOTH)
        case = live_case(rng, (24, 24, 24), neuron, static=False, batch=batch)
        averaged, through_time = rate(case), bptt(*case.arguments).gradients
        hidden = [f"layer.{index}.weight" for index in case.model.hidden]
        values += [singular_ratio(averaged[name], batch) for name in [*hidden, "readout.weight"]]
        controls += [singular_ratio(through_time[name], batch) for name in hidden]
    return Measured(max(values), min(controls))


def singular_ratio(matrix: np.ndarray, rank: int) -> float:
    """Singular value `rank` + 1 over the first."""
    values = np.linalg.svd(matrix, compute_uv=False)
    require(
        values[rank - 1] > 1e-9 * values[0] > 0, f"the gradient has not even rank {rank}: {values[:rank]}"
    )
    return float(values[rank] / values[0])


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
    neuron = replace(random_neuron(rng, RESETS[int(rng.integers(4))], SMOOTH), leak=0.0)
    case = live_case(rng, (24, 24, 24), neuron, static=False)
    order = np.roll(np.arange(len(case.inputs)), int(rng.integers(1, len(case.inputs))))[::-1]
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
    case = live_case(rng, (24, 24, 24), RESETS[int(rng.integers(4))])
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
        neuron = case.model.neuron
        enough = neuron.threshold - neuron.reset_value + 0.01  # fires even from the reset value
        far = -0.01 - current.max(axis=0) if direction < 0 else enough - current.min(axis=0)
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
        case = live_case(rng, (24, 24), random_neuron(rng, neuron, SMOOTH), steps, static=False)
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
