"""Claims about networks with kernels and pooling: O16, O7.conv, NC8."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np

from refsnn.algorithms.forward_mode import rtrl
from refsnn.models.contract import Parameters, State, StaticInput
from refsnn.models.convergent import PrototypicalNetwork
from refsnn.models.convergent_network import ConvergentNetwork
from refsnn.models.convolution import Convolution
from refsnn.models.coupled_layers import largest_difference
from refsnn.oracles.complex_step import complex_step_gradient
from refsnn.oracles.finite_differences import directional_derivative
from refsnn.oracles.fixed_point import implicit_gradient
from validation.claims.equilibrium_propagation.identities import Unrolled
from validation.claims.equilibrium_propagation.kinks import (
    FINE,
    branches,
    off_the_kinks,
    same,
    slope_in_nudge,
    without_diagonal,
)
from validation.claims.equilibrium_propagation.laws import law_error, slopes
from validation.claims.equilibrium_propagation.networks import (
    BALANCE,
    LIMIT,
    Settled,
    leaf_error,
    relax,
    settled,
)
from validation.claims.equilibrium_propagation.orders import farthest
from validation.ledger import Measured, VacuousError, claim, require

IMAGE = (8, 8)
KINDS = ("two kernels", "hidden classifier", "read-out")


def convolutional(
    activation: str, pooling: str, kind: str, nudge_placement: str = "inside"
) -> Callable[[tuple[int, ...]], PrototypicalNetwork]:
    """Small networks that see images of 8 x 8: 3 x 3 kernels with a border of zeros, windows of 2 x 2.

    Two kernels below a classifier, one below a classifier with a hidden layer, or two and a read-out
    outside the dynamics with nothing between.
    """
    kernel = Convolution(3, 1, pooling)
    options = {"activation": activation, "image": IMAGE, "nudge_placement": nudge_placement}
    if kind == "two kernels":
        network = PrototypicalNetwork((3, 3, 2, 1), convolutions=[kernel] * 2, **options)
    elif kind == "hidden classifier":
        network = PrototypicalNetwork((3, 4, 2, 1), convolutions=[kernel], **options)
    else:
        options |= {"readout": 3, "loss_function": "cross_entropy"}
        network = PrototypicalNetwork((3, 2, 1), convolutions=[kernel] * 2, **options)
    return lambda _: network


def lift(parameters: Parameters, _: np.random.Generator) -> None:
    """Biases that keep units of a hard sigmoid off the floor."""
    for name in parameters:
        if name.endswith("bias"):
            parameters[name] = np.abs(parameters[name])


def settled_images(rng: np.random.Generator, make: Callable[..., ConvergentNetwork]) -> Settled:
    """A settled network on one or two images, with D != 0 for some unit of every layer."""
    hard = not make(()).functions.holomorphic
    options = {"batch": int(rng.integers(1, 3)), "scale": (0.6, 1.2), "most_steps": 600}
    case = settled(rng, make, **options, edit=lift if hard else None).longer(100)
    dead = [name for name, slope in slopes(case).items() if not slope.any()]
    require(not dead, f"D = 0 throughout in {dead}")
    return case


@claim(
    "equilibrium_propagation/O16",
    r"Kernels with pooling follow the exact law of the nudge inside, $\Delta_s \to -D\nabla_s$ and "
    r"$\Delta_\theta \to -\nabla_\theta$, with an error proportional to $\beta$: hard sigmoids and max pooling while "
    r"no unit passes a kink and no maximum moves, tanh and average pooling throughout.",
    source="specification, O16; networks of Ernoult 2019, section 4.4, and Laborieux 2021",
    metric=r"ratio of errors (worst relative error of an array over 25 steps) at $\beta = 10^{-4}$ and $10^{-6}$, "
    "farthest from 100, of both",
    relation="in",
    bound=(95.0, 105.0),
    control="the factor D left out of the states",
)
def pooled_law(rng: np.random.Generator) -> Measured:
    values, controls, details = [], [], {}
    for activation, pooling in (("hardsigm", "max"), ("tanh", "average")):
        kind = str(rng.choice(KINDS))
        make = convolutional(activation, pooling, kind)
        case = off_the_kinks(lambda make=make: settled_images(rng, make), law_error, FINE)
        values.append(slope_in_nudge(case, law_error, FINE))
        controls.append(slope_in_nudge(case, without_diagonal, FINE))
        details[f"error at 1e-6, {activation}, {pooling}, {kind}"] = law_error(case, FINE)
        details[f"residual, {activation}"] = case.free.residual
    return Measured(farthest(values, 100), min(controls, key=lambda ratio: abs(ratio - 100)), details)


@claim(
    "equilibrium_propagation/O16.exact",
    r"With average pooling, or none, kernels are holomorphic, and the law of the nudge inside is an equality: "
    r"$\lim\Delta_s(t) = -D\,\nabla_s(t)$, $\lim\Delta_\theta(t) = -\nabla_\theta(t)$, and in total the implicit "
    r"gradient $dL_*/d\theta$, for one and two kernels, with and without a classifier.",
    source="specification, O11 and O16",
    metric="worst relative error of an array, complex step: processes over 25 steps, and totals, three networks",
    relation="<=",
    bound=1e-13,
    control="the nudge outside the activation",
)
def pooled_law_exactly(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for kind in KINDS:
        activation, pooling = str(rng.choice(["tanh", "sigm"])), str(rng.choice(["average", "none"]))
        case = settled_images(rng, convolutional(activation, pooling, kind))
        values.append(law_error(case))
        if pooling == "average":  # without, the dense Jacobian has hundreds of columns
            exact = implicit_gradient(*case.problem, case.free.state)
            values.append(leaf_error(case.estimate(2 * case.steps, LIMIT), exact))
        outside = replace(case, model=replace(case.model, nudge_placement="outside"))
        controls.append(law_error(outside))
    return Measured(max(values), min(controls))


def unrolled_loss(
    model: ConvergentNetwork, inputs: np.ndarray, targets: np.ndarray, steps: int
) -> Callable[[Parameters], complex]:
    """L(theta) = loss(s_T), forward only, by the step itself: where it compares, it compares real parts.

    So the complex step is exact with maxima and kinks too, but on a tie.
    """

    def loss(parameters: Parameters) -> complex:
        state = model.initial_state(parameters, len(inputs))
        drive = model.static_drive(parameters, inputs)
        for _ in range(steps):
            state = model.step(parameters, state, inputs, drive=drive)
        return model.loss(parameters, state, targets)

    return loss


def seen_by_differences(rng: np.random.Generator, run: Unrolled, step: float = 1e-7) -> float | None:
    """Error of the truth along one direction by real differences; None where they pass a kink or a tie."""
    model, parameters, inputs = run.model, run.parameters, run.inputs
    direction = {name: rng.normal(size=array.shape) for name, array in parameters.items()}
    paths = []
    for amount in (-step, 0.0, step):
        moved = {name: parameters[name] + amount * direction[name] for name in parameters}
        kept = relax(model, moved, inputs, steps=run.steps, keep_last=run.steps + 1).kept
        paths.append(branches(model, moved, kept, inputs))
    if not (same(paths[0], paths[1]) and same(paths[1], paths[2])):
        return None
    loss = unrolled_loss(model, inputs, run.targets, run.steps)
    slope = sum(float((run.truth[name] * direction[name]).sum()) for name in direction)
    size = sum(float(np.abs(run.truth[name] * direction[name]).sum()) for name in direction)
    return abs(directional_derivative(loss, parameters, direction, step, 2) - slope) / size


def unrolled_images(
    rng: np.random.Generator, activation: str, pooling: str, kind: str
) -> tuple[Unrolled, float]:
    """A run of T steps, settled or not, on images, and the error of its truth by differences."""
    make = convolutional(activation, pooling, kind)
    model = make(())
    for _ in range(60):
        steps = int(rng.integers(model.depth + 1, 9))  # so that every kernel is used both ways
        parameters = model.initialise(rng, scale=rng.uniform(0.5, 1.5))
        if not model.functions.holomorphic:
            lift(parameters, rng)
        inputs = rng.uniform(size=(int(rng.integers(1, 3)), *model.shapes[-1]))
        targets = np.eye(3)[rng.integers(3, size=len(inputs))]
        truth = complex_step_gradient(unrolled_loss(model, inputs, targets, steps), parameters)
        sizes = [float(np.abs(array).max()) for array in truth.values()]
        run = Unrolled(model, parameters, inputs, targets, steps, truth)
        if max(sizes) == 0 or min(sizes) < BALANCE * max(sizes):
            continue
        differences = seen_by_differences(rng, run)
        if differences is not None:
            return run, differences
    raise VacuousError("no network with all of its arrays alive and off its kinks in 60 draws")


@claim(
    "equilibrium_propagation/O7.conv",
    r"The hand-written adjoint of kernels and pooling (E18) to (E20) gives the exact gradient of $\ell(s_T, y)$ for any "
    r"$T$, converged or not: average and max pooling, with a hidden classifier layer, without a classifier. So does "
    r"real-time recurrent learning.",
    source="specification, section 4 (conv) and O7",
    metric="worst relative error of an array against the complex step, three random networks; "
    "real differences along one direction, off kinks and ties, agree to 1e-6",
    relation="<=",
    bound=1e-13,
    control="the second use of the tied weight is forgotten",
)
def pooled_adjoint(rng: np.random.Generator) -> Measured:
    values, controls, details = [], [], {}
    settings = (("tanh", "average"), ("hardsigm", "max"), ("tanh", "max"))
    for kind, (activation, pooling) in zip(rng.permutation(KINDS), settings, strict=True):
        run, differences = unrolled_images(rng, activation, pooling, str(kind))
        require(differences <= 1e-6, f"differences contradict the complex step: {differences:g}")
        forward = rtrl(run.model, run.parameters, StaticInput(run.inputs, run.steps), run.targets)
        values += [*run.errors(), run.error(forward.gradients)]
        controls.append(run.forgetful())
        details[f"{activation}, {pooling}, {kind}, T = {run.steps}"] = max(values[-3:])
    return Measured(max(values), min(controls), details)


def by_loops(
    images: np.ndarray, kernels: np.ndarray, bias: np.ndarray, convolution: Convolution
) -> np.ndarray:
    """P(w * s + b), output by output: a sum over the kernel, then the largest (real part) or the mean of a window."""
    size, border = convolution.kernel, [(0, 0)] * 2 + [(convolution.padding,) * 2] * 2
    padded, (height, width) = np.pad(images, border), convolution.map_size(images.shape[2:])
    maps = np.zeros((len(images), len(kernels), height, width), np.result_type(images, kernels, bias))
    for b, o, j, k in np.ndindex(*maps.shape):
        maps[b, o, j, k] = (kernels[o] * padded[b, :, j : j + size, k : k + size]).sum() + bias[o]
    window = convolution.window
    pooled = np.zeros((*maps.shape[:2], height // window, width // window), maps.dtype)
    for b, o, j, k in np.ndindex(*pooled.shape):
        entries = maps[b, o, j * window : (j + 1) * window, k * window : (k + 1) * window].ravel()
        pooled[b, o, j, k] = (
            max(entries, key=lambda entry: entry.real) if convolution.pooling == "max" else entries.mean()
        )
    return pooled


def primitive_by_loops(
    model: ConvergentNetwork, parameters: Parameters, state: State, inputs: np.ndarray
) -> complex:
    """(E18): Phi, from its definition."""
    layers, total = [*(state[name] for name in model.layers), inputs], 0j
    dense = model.depth - len(model.convolutions)
    for post, above in enumerate(layers[:-1]):
        weight, bias = (parameters[f"coupling.{post}.{post + 1}.{kind}"] for kind in ("weight", "bias"))
        if post < dense:
            arriving = layers[post + 1].reshape(len(inputs), -1) @ weight.T + bias
        else:
            arriving = by_loops(layers[post + 1], weight, bias, model.convolutions[post - dense])
        total += (above * arriving).sum()
    return total


def derivatives_by_loops(
    model: ConvergentNetwork, parameters: Parameters, state: State, inputs: np.ndarray
) -> tuple[State, Parameters]:
    """dPhi/ds and dPhi/dtheta by the complex step."""
    return (
        complex_step_gradient(lambda moved: primitive_by_loops(model, parameters, moved, inputs), state),
        complex_step_gradient(lambda moved: primitive_by_loops(model, moved, state, inputs), parameters),
    )


@claim(
    "equilibrium_propagation/O7.conv.step",
    r"What arrives at the units of a pooled network (E19) is $\partial\Phi/\partial s$ of the primitive function (E18), "
    r"and the products of its update (E20) are $\partial\Phi/\partial\theta$, $\Phi$ summed by loops with the maximum of "
    r"every window.",
    source="Ernoult 2019, section 4.4; specification, section 2.5",
    metric="worst relative error of an array against the complex step of the loops, max and average pooling",
    relation="<=",
    bound=1e-13,
    control="the other pooling",
)
def step_is_a_gradient(rng: np.random.Generator) -> Measured:
    def error(model: ConvergentNetwork) -> float:
        arriving = model.step(parameters, state, inputs)  # epsilon = 1, no activation: u itself
        products = model.primitive_gradient(parameters, state, inputs)
        return max(leaf_error(arriving, truth[0]), leaf_error(products, truth[1]))

    values, controls = [], []
    for pooling, other in (("max", "average"), ("average", "max")):
        kind = str(rng.choice(["two kernels", "hidden classifier"]))
        model = convolutional("identity", pooling, kind)(())
        parameters = model.initialise(rng)
        inputs = rng.uniform(size=(1, *model.shapes[-1]))
        state = {
            name: rng.normal(size=(1, *shape))
            for name, shape in zip(model.layers, model.shapes, strict=False)
        }
        truth = derivatives_by_loops(model, parameters, state, inputs)
        values.append(error(model))
        controls.append(error(convolutional("identity", other, kind)(())))
    return Measured(max(values), min(controls))


def last_movement(case: Settled, steps: int, last: int) -> tuple[float, bool]:
    """Least max |s_{t+1} - s_t| over the last steps, and whether a maximum moves in them."""
    kept = relax(*case.problem[:3], case.free.state, steps=steps, keep_last=last + 1).kept
    moved = min(largest_difference(after, before) for before, after in pairwise(kept))
    first, *others = (branches(case.model, case.parameters, [state], case.inputs) for state in kept)
    return moved, not all(same(first, other) for other in others)


@claim(
    "equilibrium_propagation/NC8",
    r"Max pooling with tanh may never settle: maxima that move keep some random networks ($c$ from 1 to 1.5) on a "
    r"limit cycle for good, on which average pooling leaves nothing to move.",
    source="specification, NC8",
    metric="least movement of a step among steps 701 to 800, the first of at most 20 networks that moves by 1e-2",
    relation=">=",
    bound=1e-2,
    control="the same parameters and image with average pooling",
)
def maxima_keep_moving(rng: np.random.Generator) -> Measured:
    tried = 0
    while tried < 20:
        model = convolutional("tanh", "max", "two kernels")(())
        parameters = model.initialise(rng, scale=rng.uniform(1, 1.5))
        inputs, targets = rng.uniform(size=(1, *model.shapes[-1])), np.eye(3)[:1]
        case = Settled(model, parameters, inputs, targets, relax(model, parameters, inputs, steps=300), 300)
        tried += 1
        if case.free.residual >= 1e-2:
            break
    movement, maxima_move = last_movement(case, 500, 100)
    require(maxima_move, "the network moves, and its maxima do not")
    averaging = convolutional("tanh", "average", "two kernels")(())
    control = relax(averaging, parameters, inputs, steps=500)
    return Measured(movement, control.residual, {"networks tried": tried})
