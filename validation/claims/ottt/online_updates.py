"""Algorithm 1 and O6, O7: both schedules against a transcription, OTTT_O against OTTT_A, static input."""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn.algorithms.ottt import ottt, ottt_online
from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.kernels import spiking_kernels
from refsnn.models.builders.dense import dense_network
from refsnn.models.contract import Parameters, StaticInput
from refsnn.models.operators.dropout import Dropout
from refsnn.models.spiking_step import advance
from validation.claims.ottt.problems import (
    BUILDS,
    EXACT,
    MARGIN,
    Problem,
    dense,
    errors,
    images,
    is_live,
    live,
    standardised,
)
from validation.claims.ottt.transcription import Net, run
from validation.ledger import Measured, VacuousError, claim, require

SQUARED_SHARE = 0.2


def networks(rng: np.random.Generator) -> list[Net]:
    """Plain, standardised with scale, recurrent."""

    def numbers() -> dict[str, Any]:
        return {
            "leak": float(rng.uniform(0.4, 0.9)),
            "threshold": float(rng.uniform(0.7, 1.3)),
            "slope": float(rng.uniform(2, 4)),
            "squared_share": SQUARED_SHARE,
        }

    return [
        Net(3, **numbers()),
        Net(2, scale=2.74, standardise=True, **numbers()),
        Net(2, recurrent=True, **numbers()),
    ]


def graph_of(net: Net) -> Any:
    """A build of the same network."""

    def build(rng: np.random.Generator) -> Any:
        surrogate = Surrogate("sigmoid", slope=net.slope, height=net.slope / 4)
        neuron = SpikingNeuron(leak=net.leak, threshold=net.threshold, surrogate=surrogate)
        return dense_network(
            (5, *(7,) * net.layers, 4),
            neuron,
            standardise=net.standardise,
            scale=net.scale,
            recurrent=net.recurrent,
            dropout=0.2,
        )

    return build


@claim(
    "ottt/Algorithm1",
    r"OTTT$_A$ and OTTT$_O$ are Algorithm 1: losses, gradients summed over the steps, and the parameters after an update at every "
    r"step (standardised weights made anew, gradients scaled with $1/T$, membranes and traces kept).",
    source="Xiao 2022, Algorithm 1, Eqs. 2, 4, 5, 13; specification, section 3",
    metric="largest relative error of a gradient, of the change of a parameter, and of the loss, to a transcription in plain NumPy; plain, standardised, recurrent, all with dropout",
    relation="<=",
    bound=EXACT,
    control="the parameters after OTTT$_O$ against one update with OTTT$_A$'s gradients",
)
def algorithm_one(rng: np.random.Generator) -> Measured:
    values, controls, step_size = [], [], 0.5

    def descend(parameters: Parameters, gradients: Parameters) -> Parameters:
        return {name: value - step_size * gradients[name] for name, value in parameters.items()}

    for net in networks(rng):
        problem = live(rng, graph_of(net))
        start, inputs, targets = problem.arguments[1:]
        masks = [node.what.mask for node in problem.graph.nodes if isinstance(node.what, Dropout)]
        gradients, _, loss = run(net, start, inputs, targets, masks)
        found = ottt(*problem.arguments)
        values += [*errors(found.gradients, gradients), abs(found.loss - loss) / loss]
        _, after, online_loss = run(net, start, inputs, targets, masks, descend)
        result = ottt_online(*problem.arguments, descend)
        truth = {name: after[name] - start[name] for name in start}
        moved = {name: result.parameters[name] - start[name] for name in start}
        values += [*errors(moved, truth), abs(result.loss - online_loss) / online_loss]
        at_once = {name: -step_size * value for name, value in gradients.items()}
        controls.append(max(errors(at_once, truth)))
        require(result.diagnostics.margin > MARGIN / 1000, "a spike was decided by rounding")
    return Measured(max(values), min(controls))


# -- O6 --------------------------------------------------------------------------------------------------

STEP_SIZES = (2e-5, 1e-5)


@claim(
    "ottt/O6",
    r"With plain gradient descent one sequence of OTTT$_O$ ends $O(\eta^2)$ from OTTT$_A$: halving $\eta$ divides the distance by 4, "
    r"as long as no spike flips.",
    source="Xiao 2022, section 4.4; specification, O6",
    metric=r"distance at $\eta=2\cdot10^{-5}$ over that at $\eta/2$, in each parameter alone; the one farthest from 4, three builds",
    relation="in",
    bound=(3.9, 4.1),
    control="updates without the factor $1/T$, which end $O(\\eta)$ away",
)
def online_to_accumulated(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for build in (dense, standardised, images):
        problem = settled(rng, build)
        values += ratios(problem, 1.0)
        controls += ratios(problem, len(problem.inputs))
    farthest = max(values, key=lambda ratio: abs(ratio - 4))
    return Measured(farthest, max(controls))


def settled(rng: np.random.Generator, build: Any) -> Problem:
    """A problem in which no spike of the online run differs from those of fixed parameters."""
    for _ in range(50):
        problem = live(rng, build)
        fixed = spikes_of(problem, [problem.parameters] * len(problem.inputs))
        runs = [online(problem, size, scale) for size in STEP_SIZES for scale in (1.0, len(problem.inputs))]
        if all(np.array_equal(fixed, spikes_of(problem, used)) for used, _ in runs):
            return problem
    raise VacuousError("in 50 networks some spike flipped")


def online(problem: Problem, size: float, scale: float = 1.0) -> tuple[list[Parameters], Parameters]:
    """The parameters that each step saw, and those after the last."""
    used = [problem.parameters]

    def descend(parameters: Parameters, gradients: Parameters) -> Parameters:
        used.append({name: value - size * scale * gradients[name] for name, value in parameters.items()})
        return used[-1]

    after = ottt_online(*problem.arguments, descend).parameters
    return used[:-1], after


def spikes_of(problem: Problem, used: list[Parameters]) -> np.ndarray:
    """All spikes of a run whose parameters change from step to step."""
    graph, inputs = problem.graph, problem.inputs
    state, spikes = graph.initial_state(used[0], len(inputs[0])), []
    for t, parameters in enumerate(used):
        state, tape = advance(graph, graph.prepared(parameters), state, inputs[t], spiking_kernels("plain"))
        spikes += [tape.values[name].ravel() for name in graph.populations]
    return np.concatenate(spikes)


def ratios(problem: Problem, scale: float) -> list[float]:
    """Distance of the two schedules at one step size over that at half of it, parameter by parameter."""
    gradients = problem.online()
    distances = []
    for size in STEP_SIZES:
        after = online(problem, size, scale)[1]
        distances.append(
            {
                name: float(np.linalg.norm(after[name] - (value - size * gradients[name])))
                for name, value in problem.parameters.items()
            }
        )
    return [distances[0][name] / distances[1][name] for name in problem.parameters]


# -- O7 --------------------------------------------------------------------------------------------------


@claim(
    "ottt/O7",
    r"With static input $\hat x[t]=Z_t\,x$: the first layer's gradient of `paper` is $\sum_tZ_t$ times that of step $t$ of "
    r"`official_code`, whose input is not traced.",
    source="specification, O7",
    metric="largest relative error of the first weight and gain, seven builds, static array and StaticInput",
    relation="<=",
    bound=EXACT,
    control="the same input shuffled in its features from step to step",
)
def static_input(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for build in BUILDS:
        moving, still = live_static(rng, build)
        steps = len(still.inputs)
        for problem in (still, still.with_inputs(StaticInput(still.inputs[0], steps))):
            values.append(weighted_steps(problem))
        controls.append(weighted_steps(moving))
    return Measured(max(values), min(controls))


def live_static(rng: np.random.Generator, build: Any) -> tuple[Problem, Problem]:
    """The same network with moving and with static input, alive with both."""
    for _ in range(100):
        moving = live(rng, build)
        still = moving.with_inputs(np.repeat(moving.inputs[:1], len(moving.inputs), axis=0))
        if is_live(still):
            return moving, still
    raise VacuousError("no network was alive with static input in 100 tries")


def weighted_steps(problem: Problem) -> float:
    """Error of sum_t Z_t (step t of `official_code`) to `paper`, in the weights that read the input."""
    shares: list[Parameters] = []

    def listen(parameters: Parameters, gradients: Parameters) -> Parameters:
        shares.append(gradients)
        return parameters

    ottt_online(*problem.arguments, listen, preset="official_code")
    leak = problem.graph.populations["layer.1"].neuron.leak
    names = [name for name in problem.parameters if name in ("layer.1.weight", "layer.1.gain")]
    paper = problem.online("paper")
    # Z_t in closed form where there is one
    normalisers = [t if leak == 1 else (1 - leak**t) / (1 - leak) for t in range(1, len(shares) + 1)]
    require(
        np.allclose(normalisers, np.cumsum(leak ** np.arange(len(shares))), rtol=1e-13),
        "Z_t is not the sum of its powers",
    )
    weighted = {
        name: np.sum([z * share[name] for z, share in zip(normalisers, shares, strict=True)], axis=0)
        for name in names
    }
    return max(errors(weighted, {name: paper[name] for name in names}))
