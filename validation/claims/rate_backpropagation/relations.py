"""X7, X8, X12 and the closed form 5.3: exact relations between rate-based backpropagation and BPTT."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.rate_backpropagation import rate_backpropagation, simulate
from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.models.contract import Parameters
from refsnn.models.losses import LOSSES
from refsnn.oracles.complex_step import complex_step_gradient
from validation.claims.rate_backpropagation.equalities import EXACT, SMOOTH, random_neuron, rate
from validation.claims.rate_backpropagation.reference import adjoints, record_run
from validation.ledger import Measured, claim, require
from validation.nets import RESETS, Case, live_case, relative_errors, worst_error


@claim(
    "rate_backpropagation/X7",
    r"The rate Jacobian is the same forward and backward in time: "
    r"$g_T=\frac1T\sum_t\psi_t\rho_t=\frac1T\sum_t a_t$ with $a_t=\psi_t+f_ta_{t+1}$.",
    source="Yu 2024, Eq. 9",
    metric="largest relative difference over layers",
    relation="<=",
    bound=EXACT,
    control=r"$f_{t-1}$ in the place of $f_t$ in the reverse recursion",
)
def forward_trace_is_reverse_sum(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for neuron in RESETS:
        case = live_case(
            rng, (24, 24), replace(random_neuron(rng, neuron, SMOOTH), leak=0.6), steps=8, static=False
        )
        slopes = simulate(case.model, case.parameters, case.inputs, backend="cpu").slopes
        for name, record in record_run(case).items():
            factor = record.trace_factor
            shifted = np.concatenate([np.ones_like(factor[:1]), factor[:-1]])
            constant = neuron.reset == "soft" and neuron.detach_reset  # f_t = leak: nothing to shift
            for found, factors in ((values, factor), ([] if constant else controls, shifted)):
                reverse, total = np.zeros_like(factor[0]), np.zeros_like(factor[0])
                for t in reversed(range(len(factor))):
                    reverse = record.spike_slope[t] + factors[t] * reverse
                    total += reverse
                found.append(worst_error({name: slopes[name]}, {name: total / len(factor)}))
    return Measured(max(values), min(controls))


@claim(
    "rate_backpropagation/X8",
    r"The error of rate-based backpropagation obeys exactly "
    r"$E^l=g^l\odot(W^{l+1\top}E^{l+1})-\mathrm{cov}_t(\kappa^l,\delta^{s,l})$ with $E^l=D^l-\mathbb E_t[\delta^I_t]$, "
    r"for every layer and sample.",
    source="the exact relation (R2); Yu 2024, Theorems 1 and 2 bound it",
    metric="largest residual relative to the largest $|D^l|$ of the layer, each sample alone",
    relation="<=",
    bound=EXACT,
    control="the recursion without the covariance",
)
def error_recursion(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for neuron in RESETS:
        whole = live_case(rng, (24, 24, 24), random_neuron(rng, neuron, SMOOTH), static=False, batch=4)
        for sample in range(4):
            case = Case(
                whole.model,
                whole.parameters,
                whole.inputs[:, [sample]].copy(),
                whole.targets[[sample]],
            )
            residual, without = recursion_residuals(case)
            values.append(residual)
            controls.append(without)
    return Measured(max(values), min(controls))


def recursion_residuals(case: Case) -> tuple[float, float]:
    """Residual of (R2) for one sample, with and without its covariance term.

    For one sample the bias gradients are the errors themselves: D^l for the rate pass, T E[delta^I] for BPTT.
    """
    steps = len(case.inputs)
    averaged = rate_backpropagation(*case.arguments, scale="paper").gradients
    through_time = bptt(*case.arguments)
    readout_adjoint = LOSSES["cross_entropy"][1](through_time.diagnostics.outputs, case.targets) / steps
    records = record_run(case)
    series = adjoints(case, records, readout_adjoint)
    residuals, without, error_above, name_above = [], [], np.zeros(case.model.widths[-1]), "readout"
    for name in reversed(records):
        error = averaged[f"{name}.bias"] - through_time.gradients[f"{name}.bias"] / steps
        kappa = (records[name].spike_slope * records[name].traces())[:, 0]
        spike_adjoint = series[name][0][:, 0]
        covariance = (kappa * spike_adjoint).mean(axis=0) - kappa.mean(axis=0) * spike_adjoint.mean(axis=0)
        passed_on = kappa.mean(axis=0) * (error_above @ case.parameters[f"{name_above}.weight"])
        size = float(np.abs(averaged[f"{name}.bias"]).max())
        require(size > 1e-9, f"D of {name} is {size:.1e}: nothing reaches this layer")
        residuals.append(float(np.abs(error - (passed_on - covariance)).max()) / size)
        without.append(float(np.abs(error - passed_on).max()) / size)
        error_above, name_above = error, name
    return max(residuals), max(without)


@claim(
    "rate_backpropagation/X12",
    r"Rate-based backpropagation is the gradient of the affine rate network "
    r"$r^l=e^l+g^l\odot(c^l-c^l_0)$, $c^l=W^lr^{l-1}+b^l$, by complex step.",
    source="Yu 2024, Eqs. 3, 6, 7 read as one network",
    metric="largest relative error over parameters",
    relation="<=",
    bound=EXACT,
    control=r"the affine network without the trace, $g=\mathbb E[\psi]$",
)
def affine_rate_network(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for neuron in RESETS:
        case = live_case(rng, (8, 7), replace(neuron, leak=0.5), static=False, batch=4, inputs=9, classes=4)
        records = record_run(case)
        right = {name: (r.spike_slope * r.traces()).mean(axis=0) for name, r in records.items()}
        without_trace = {name: r.spike_slope.mean(axis=0) for name, r in records.items()}
        for found, slopes in ((values, right), (controls, without_trace)):
            truth = affine_rate_gradient(case, slopes)
            found.append(worst_error(rate(case), truth))
    return Measured(max(values), min(controls))


def affine_rate_gradient(case: Case, slopes: dict[str, np.ndarray]) -> Parameters:
    """Complex-step gradient of the affine rate network around the recorded rates."""
    records = record_run(case)
    rates = {name: record.spikes.mean(axis=0) for name, record in records.items()}
    mean_input = np.mean(case.inputs, axis=0)

    def currents(parameters: Parameters, below: np.ndarray, name: str) -> np.ndarray:
        return below @ parameters[f"{name}.weight"].T + parameters[f"{name}.bias"]

    below, nominal = mean_input, {}
    for name in records:
        nominal[name] = currents(case.parameters, below, name)
        below = rates[name]

    def loss(parameters: Parameters) -> complex:
        below = mean_input
        for name in records:
            below = rates[name] + slopes[name] * (currents(parameters, below, name) - nominal[name])
        return complex(LOSSES["cross_entropy"][0](currents(parameters, below, "readout"), case.targets))

    return complex_step_gradient(loss, case.parameters)


# (leak, T, k) and the ratio of gradients, printed in the specification to eight decimals
PRINTED_RATIOS = {
    (0.2, 4, 2): 1.00408187,
    (0.5, 6, 3): 1.08757369,
    (0.9, 10, 4): 2.68914509,
    (1.0, 6, 2): 1.3125,
}


def closed_form_ratio(leak: float, steps: int, layers: int) -> float:
    """(1'M1/T)^k / (1'M^k 1/T) with the lower-triangular Toeplitz matrix M_ij = leak^(i-j)."""
    lag = np.subtract.outer(np.arange(steps), np.arange(steps))
    matrix = np.where(lag >= 0, float(leak) ** np.maximum(lag, 0), 0.0)
    ones = np.ones(steps)
    return float(
        (ones @ matrix @ ones / steps) ** layers
        / (ones @ np.linalg.matrix_power(matrix, layers) @ ones / steps)
    )


@claim(
    "rate_backpropagation/5.3",
    r"With a constant surrogate, soft detached reset and any input, every bias gradient is too long by "
    r"$\big(\tfrac1T\mathbf 1^\top M\mathbf 1\big)^k\big/\tfrac1T\mathbf 1^\top M^k\mathbf 1$, $M_{ij}=\lambda^{i-j}$ "
    r"($i\ge j$), with $k$ spiking layers from there up: rate-based backpropagation over-estimates, for every "
    r"$\lambda>0$ without bound in depth.",
    source="specification, section 5.3 (derived; beyond the paper)",
    metric="largest relative deviation from the closed form, every component of every bias, k = 1..4 (components below the median weighted down by their size: they nearly cancel)",
    relation="<=",
    bound=EXACT,
    control="the closed form for one layer more",
)
def closed_form(rng: np.random.Generator) -> Measured:
    for (leak, steps, layers), printed in PRINTED_RATIOS.items():
        found = closed_form_ratio(leak, steps, layers)
        require(abs(found - printed) < 1e-8, f"the formula gives {found}, not {printed}")
    for leak, steps in (
        (0.2, 64),
        (0.5, 128),
    ):  # the expansion: 1 + C(k,2) (leak / ((1 - leak) T))^2 + O(T^-3)
        for layers in (2, 3, 4):
            leading = math.comb(layers, 2) * (leak / ((1 - leak) * steps)) ** 2
            ratio = (closed_form_ratio(leak, steps, layers) - 1) / leading
            require(abs(ratio - 1) < 8 / steps, f"the expansion is off by the factor {ratio}")
    values, controls, details = [], [], {}
    for leak, steps in ((0.2, 4), (0.5, 6), (0.9, 10), (1.0, 6)):
        neuron = SpikingNeuron(leak=leak, surrogate=Surrogate("constant", height=float(rng.uniform(0.3, 1))))
        case = live_case(rng, (12, 12, 12, 12), neuron, steps, static=False, rates=(0.02, 0.98))
        averaged, through_time = rate(case), bptt(*case.arguments).gradients
        for layers, index in enumerate(reversed(case.model.hidden), start=1):
            found, truth = averaged[f"layer.{index}.bias"], through_time[f"layer.{index}.bias"]
            for into, k in ((values, layers), (controls, layers + 1)):
                off = np.abs(found / (truth * closed_form_ratio(leak, steps, k)) - 1)
                # a component that nearly cancels in its sum keeps fewer digits
                into.append(float((off * np.minimum(1, np.abs(truth) / np.median(np.abs(truth)))).max()))
            details[f"ratio at leak {leak}, T {steps}, k {layers}"] = float(np.median(found / truth))
    return Measured(max(values), min(controls), details)


@claim(
    "rate_backpropagation/5.3.orders",
    r"With a constant surrogate the error of the first layer's bias gradient falls as $T^{-2}$, that of its weight "
    r"gradient as $T^{-1}$ (a covariance at the ends of the sequence).",
    source="specification, section 5.3",
    metric="slope of log error of the first weight against log T = 8..256, mean error of eight networks",
    relation="in",
    bound=(-1.3, -0.7),
    control="the slope of the bias error",
)
def orders_in_time(rng: np.random.Generator) -> Measured:
    lengths = (8, 16, 32, 64, 128, 256)
    errors = {"layer.1.weight": [], "layer.1.bias": []}
    neuron = SpikingNeuron(leak=0.5, surrogate=Surrogate("constant", height=0.5))
    for _ in range(8):
        case = live_case(rng, (12, 12, 12), neuron, steps=8, static=False)
        intensities = rng.random(case.inputs.shape[1:])
        for length in lengths:
            spikes = (rng.random((length, *intensities.shape)) < intensities).astype(float)
            longer = case.with_inputs(spikes)
            found = relative_errors(rate(longer), bptt(*longer.arguments).gradients)
            for name, series in errors.items():
                series.append(found[name])
    slopes = {
        name: float(np.polyfit(np.log(lengths), np.log(np.reshape(series, (8, -1)).mean(axis=0)), 1)[0])
        for name, series in errors.items()
    }
    require(
        -2.3 < slopes["layer.1.bias"] < -1.9, f"the bias error falls with slope {slopes['layer.1.bias']:.2f}"
    )
    return Measured(slopes["layer.1.weight"], slopes["layer.1.bias"], slopes)
