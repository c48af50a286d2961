"""Live spiking networks of every build, loss and algorithm, and what goes wrong at the edges."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from refsnn.algorithms.bptt import bptt
from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.models.builders.assembly import Assembly
from refsnn.models.builders.dense import dense_network
from refsnn.models.contract import Parameters
from refsnn.models.operators.convolution import Convolution2d
from refsnn.models.operators.dense import Dense
from refsnn.models.operators.normalisation import BatchNormalisation
from refsnn.models.operators.pooling import AveragePool
from refsnn.models.operators.reshaping import Flatten
from refsnn.models.spiking_graph import Population, SpikingGraph
from refsnn.vectors.case import Case, Problem
from refsnn.vectors.kinds.spiking_network.words import words

RATES = (0.1, 0.8)  # of every layer of a live network
MARGIN = 1e-3  # of its charged potentials to their thresholds: float32 decides as float64 does
SOFT = SpikingNeuron(0.8, surrogate=Surrogate("sigmoid", 3.0, 0.9))
ATTACHED = SpikingNeuron(0.7, 1.1, detach_reset=False, surrogate=Surrogate("arctan", 2.0, 0.8))
HARD = SpikingNeuron(0.6, 0.9, reset="hard", surrogate=Surrogate("fast_sigmoid", 1.5, 0.7))
HARD_ATTACHED = SpikingNeuron(
    0.75, 1.2, reset="hard", reset_value=-0.25, detach_reset=False, surrogate=Surrogate("sigmoid", 2.0, 0.6)
)
RESETS = {
    "soft-detached": SOFT,
    "soft-attached": ATTACHED,
    "hard-detached": HARD,
    "hard-attached": HARD_ATTACHED,
}
MIXED = (SOFT, HARD_ATTACHED)
LEAKS = (SpikingNeuron(0.9, surrogate=SOFT.surrogate), SpikingNeuron(0.4, 1.1, surrogate=SOFT.surrogate))


def cases(large: bool) -> Iterator[Case]:
    """All of them.

    Parameters
    ----------
    large : bool
        Wider and longer ones in addition.

    Yields
    ------
    Case
    """
    yield from _through_time()
    yield from _averaged()
    yield from _online()
    yield from _awkward()
    yield from _graphs()
    if large:
        for name, options in (
            ("bptt", {"algorithm": "bptt"}),
            ("rate", {"algorithm": "rate_backpropagation", "scale": "paper"}),
        ):
            yield dense(f"wide/{name}", "many neurons", (20, 12, 8, 5), ATTACHED, options, steps=20, batch=8)
        options = {"algorithm": "ottt", "preset": "paper", "loss_over": "each_step"}
        yield dense("wide/ottt", "many neurons", (20, 12, 8, 5), SOFT, options, steps=20, batch=8)


def _through_time() -> Iterator[Case]:
    exact: dict[str, Any] = {"algorithm": "bptt"}
    for name, neuron in RESETS.items():
        yield dense(f"bptt/{name}", "four resets through two layers", (5, 6, 4, 3), neuron, exact)
    yield dense("bptt/two-neurons", "each layer has constants of its own", (5, 6, 4, 3), MIXED, exact)
    losses: dict[str, dict[str, Any]] = {
        "each-step": {"loss_over": "each_step"},
        "squares": {"loss_function": "mean_squared_error"},
        "squares-each-step": {"loss_function": "mean_squared_error", "loss_over": "each_step"},
        "mixed": {"squared_share": 0.3, "loss_over": "each_step"},
        "leaky": {"readout_leak": 0.7},
        "leaky-each-step": {"readout_leak": 0.6, "loss_over": "each_step"},
    }
    for name, loss in losses.items():
        yield dense(f"loss/{name}", "what the loss is taken of", (4, 6, 3), SOFT, exact | loss)
    for name, neuron in (("soft", ATTACHED), ("hard", HARD_ATTACHED)):
        each = exact | {"loss_over": "each_step"}
        yield dense(f"recurrent/{name}", "spikes come back a step later", (4, 5, 3), neuron, each, loops=True)
    cut: dict[str, Any] = {"algorithm": "truncated_bptt", "loss_over": "each_step"}
    for window in (1, 3):
        yield dense(
            f"truncated/{window}-steps",
            "seven steps in windows that do not divide them",
            (4, 5, 4, 3),
            ATTACHED,
            cut | {"window": window},
            steps=7,
        )
    more = {"window": 3, "readout_leak": 0.6}
    yield dense(
        "truncated/recurrent", "loops and a leaky read-out are cut too", (4, 5, 3), SOFT, cut | more, True, 7
    )


def _averaged() -> Iterator[Case]:
    rate: dict[str, Any] = {"algorithm": "rate_backpropagation", "scale": "paper"}
    for name, neuron in RESETS.items():
        yield dense(f"rate/{name}", "four resets through two layers", (5, 6, 4, 3), neuron, rate)
    yield dense("rate/scale-of-bptt", "without the factor 1/T", (4, 6, 5, 3), MIXED, rate | {"scale": "bptt"})
    leaky = rate | {"readout_leak": 0.6, "loss_over": "each_step"}
    yield dense("rate/leaky-each-step", "a loss a step, a read-out with a memory", (4, 6, 3), ATTACHED, leaky)
    for modes in (1, 3, 6):
        options = {"algorithm": "temporal_galerkin", "n_modes": modes, "loss_over": "each_step"}
        purpose = {1: "one mode: rates", 6: "as many modes as steps: BPTT"}.get(modes, "three modes")
        yield dense(f"galerkin/{modes}", purpose, (4, 5, 4, 3), ATTACHED, options)


def _online() -> Iterator[Case]:
    each: dict[str, Any] = {"loss_over": "each_step"}
    ottt: dict[str, Any] = each | {"algorithm": "ottt"}
    for preset in ("paper", "official_code", "exact_local", "ndot"):
        yield dense(
            f"ottt/{preset}",
            "which weights see traces; two leaks",
            (5, 6, 4, 3),
            LEAKS,
            ottt | {"preset": preset},
        )
    paper = ottt | {"preset": "paper"}
    yield dense("ottt/recurrent", "a delayed trace", (4, 5, 3), SOFT, paper, loops=True)
    yield dense("ottt/hard", "a hard reset", (4, 5, 3), HARD, paper | {"squared_share": 0.2})
    yield dense("ottt/leaky", "a read-out with a memory", (4, 5, 3), SOFT, paper | {"readout_leak": 0.6})
    sltt: dict[str, Any] = each | {"algorithm": "sltt"}
    every = sltt | {"learning_steps": [0, 1, 2, 3, 4, 5]}
    yield dense("sltt/all-steps", "no traces", (5, 6, 4, 3), LEAKS, every)
    yield dense(
        "sltt/two-steps",
        "SLTT-K: errors at two steps",
        (5, 6, 4, 3),
        LEAKS,
        sltt | {"learning_steps": [1, 4]},
    )
    yield dense("sltt/recurrent", "recurrent weights without traces", (4, 5, 3), SOFT, every, loops=True)
    eprop: dict[str, Any] = each | {"algorithm": "eprop"}
    yield dense("eprop/symmetric", "eligibilities of loops", (4, 5, 3), ATTACHED, eprop, loops=True)
    leaky = eprop | {"readout_leak": 0.7}
    yield dense("eprop/leaky", "filtered eligibilities", (4, 5, 3), SOFT, leaky, loops=True)
    yield dense(
        "eprop/feedback", "errors by other weights", (4, 5, 3), HARD, leaky, loops=True, with_feedback=True
    )


def _awkward() -> Iterator[Case]:
    exact: dict[str, Any] = {"algorithm": "bptt"}
    paper: dict[str, Any] = {"algorithm": "ottt", "preset": "paper", "loss_over": "each_step"}
    rate: dict[str, Any] = {"algorithm": "rate_backpropagation", "scale": "paper"}
    for name, options in (("bptt", exact), ("ottt", paper), ("rate", rate)):
        yield dense(f"one-step/{name}", "T = 1", (4, 5, 4, 3), SOFT, options, steps=1)
        yield dense(f"one-sample/{name}", "B = 1", (4, 6, 3), ATTACHED, options, batch=1)
    for fires, name in ((">=", "at-or-above"), (">", "above")):
        yield dense(
            f"threshold/{name}",
            "h_t equals the threshold to the last bit",
            (2, 2, 2),
            SpikingNeuron(0.5, fires=fires, surrogate=Surrogate("triangle", 0.5, 1.0)),
            exact,
            parameters={
                "layer.1.weight": [[0.5, 0.25], [1.0, -0.5]],
                "layer.1.bias": [0.25, 0.0],
                "readout.weight": [[0.5, -1.0], [-0.25, 0.75]],
                "readout.bias": [0.25, 0.0],
            },
            inputs=np.array([[[1.0, 1.0]], [[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 0.0]]]),
            flags=("exact-threshold",),
        )
    yield dense(
        "residual/soft",
        "one threshold is not enough",
        (3, 4, 2),
        ATTACHED,
        exact,
        input_gain=4.0,
        flags=("residual-above-threshold",),
    )
    for name, options in (("bptt", exact), ("rate", rate)):
        yield dense(f"silent/{name}", "no spike, and yet gradients", (3, 4, 4, 2), SOFT, options, shift=-3.0)
    yield dense("saturated/ottt", "a spike at every step", (3, 4, 2), SOFT, paper, shift=3.0)
    yield dense("saturated/hard", "a spike at every step", (3, 4, 2), HARD_ATTACHED, rate, shift=3.0)
    for name, options in (("bptt", exact), ("ottt", paper)):
        yield dense(
            f"zero-upstream/{name}",
            "a read-out of zeros sends nothing down",
            (4, 5, 3),
            ATTACHED,
            options,
            zero_readout=True,
        )
    yield dense("long/bptt", "the state is fed back 400 times", (2, 3, 2), SOFT, exact, steps=400, batch=1)
    yield dense("long/ottt", "the traces are fed back 400 times", (2, 3, 2), SOFT, paper, steps=400, batch=1)


def _graphs() -> Iterator[Case]:
    for name, options in (
        ("bptt", {"algorithm": "bptt"}),
        ("rate", {"algorithm": "rate_backpropagation", "scale": "paper"}),
    ):
        net = Assembly()
        net.add("layer.1.current", Convolution2d(3, 3, padding=1), prefix="layer.1")
        net.add("layer.1", Population(ATTACHED))
        net.add("pool", AveragePool(2))
        net.add("layer.2.current", Convolution2d(2, 2), prefix="layer.2")
        net.add("layer.2", Population(SOFT))
        net.add("flat", Flatten())
        net.add("readout", Dense(3))
        yield other(f"convolution/{name}", "convolutions and average pooling", net.graph((2, 4, 4)), options)
        net = Assembly()
        net.add("layer.1.current", Dense(5, with_bias=False), prefix="layer.1")
        net.add("layer.1.normal", BatchNormalisation(), prefix="layer.1.normal")
        net.add("layer.1", Population(SOFT))
        net.add("readout", Dense(3))
        yield other(f"normalised/{name}", "statistics of all steps together", net.graph((4,)), options)


def dense(
    name: str,
    purpose: str,
    widths: Sequence[int],
    neuron: SpikingNeuron | Sequence[SpikingNeuron],
    options: dict[str, Any],
    loops: bool = False,
    steps: int = 6,
    batch: int = 3,
    *,
    with_feedback: bool = False,
    zero_readout: bool = False,
    input_gain: float = 1.0,
    shift: float = 0.0,
    parameters: Any = None,
    inputs: np.ndarray | None = None,
    flags: tuple[str, ...] = (),
) -> Case:
    """A case of a dense network; drawn again until it is alive, unless it is meant to be dead.

    Parameters
    ----------
    name, purpose : str
        Of the case.
    widths, neuron
        As in `dense_network`.
    options : dict
        The algorithm with its options, and the loss.
    loops : bool
        Whether all hidden layers are recurrent.
    steps, batch : int
        T and B.
    with_feedback, zero_readout : bool
        Random feedback for e-prop; a read-out of zeros.
    input_gain, shift : float
        Of the currents of all layers: a factor, and a sum.
    parameters, inputs : optional
        As they are, instead of random ones.
    flags : tuple of str
        In addition to those that the numbers show.

    Returns
    -------
    Case

    Raises
    ------
    ArithmeticError
        If no live network was found.
    """
    neurons = [neuron] * (len(widths) - 2) if isinstance(neuron, SpikingNeuron) else list(neuron)
    loss = {key: value for key, value in options.items() if key in _LOSS}
    graph = dense_network(widths, neurons, recurrent=loops, **loss)
    said = {key: value for key, value in options.items() if key not in _LOSS}
    said |= words(graph, (widths, neurons, [loops] * len(neurons)))
    for attempt in range(200):
        rng = np.random.default_rng([zlib.crc32(name.encode()), attempt])
        drawn = _parameters(graph, rng, input_gain, shift)
        if zero_readout:
            drawn["readout.weight"] = np.zeros_like(drawn["readout.weight"])
        x = rng.random((steps, batch, widths[0])) * 1.6
        if parameters is not None and inputs is not None:
            drawn, x = {key: np.array(value) for key, value in parameters.items()}, inputs
        targets = _targets(graph, rng, x.shape[1])
        if parameters is not None or shift or _alive(graph, drawn, x, targets, input_gain != 1):
            break
    else:
        raise ArithmeticError(f"{name}: no live network in 200 tries")
    given = {"input": x, "targets": targets}
    if with_feedback:
        given["feedback"] = rng.standard_normal((widths[1], widths[-1]))
    given |= {f"parameters/{key}": value for key, value in drawn.items()}
    shown = _flags(neurons, widths, x, drawn, shift, flags)
    return Case(name, purpose, shown, Problem(said, given))


_LOSS = ("loss_function", "loss_over", "squared_share", "readout_leak")


def other(name: str, purpose: str, graph: SpikingGraph, options: dict[str, Any]) -> Case:
    """A case of a network that is no stack of dense layers.

    Parameters
    ----------
    name, purpose : str
        Of the case.
    graph : SpikingGraph
        The network.
    options : dict
        The algorithm with its options.

    Returns
    -------
    Case

    Raises
    ------
    ArithmeticError
        If no live network was found.
    """
    for attempt in range(200):
        rng = np.random.default_rng([zlib.crc32(name.encode()), attempt])
        drawn = _parameters(graph, rng, 1.0, 0.0)
        x, targets = rng.random((4, 2, *graph.input_shape)) * 1.6, rng.integers(graph.classes, size=2)
        if _alive(graph, drawn, x, targets, False):
            given = {"input": x, "targets": targets}
            given |= {f"parameters/{key}": value for key, value in drawn.items()}
            neurons = [population.neuron for population in graph.populations.values()]
            flags = _flags(neurons, (), x, drawn, 0.0, ())
            return Case(name, purpose, flags, Problem(options | words(graph, None), given))
    raise ArithmeticError(f"{name}: no live network in 200 tries")


def _parameters(graph: SpikingGraph, rng: np.random.Generator, gain: float, shift: float) -> Parameters:
    drawn = graph.initialise(rng, gain=1.3, bias_mean=0.3, bias_deviation=0.2)
    for key, value in drawn.items():
        if key.endswith("gamma"):
            drawn[key] = rng.uniform(0.7, 1.3, value.shape)
        elif key.endswith("beta"):
            drawn[key] = rng.uniform(0.3, 0.8, value.shape)
        elif key.endswith("bias") and not key.startswith("readout"):
            drawn[key] = gain * value + shift
        elif not key.startswith("readout"):
            drawn[key] = gain * value
    return drawn


def _targets(graph: SpikingGraph, rng: np.random.Generator, batch: int) -> np.ndarray:
    if graph.loss_function == "mean_squared_error":
        return rng.standard_normal((batch, graph.classes))
    return rng.integers(graph.classes, size=batch)


def _alive(graph: SpikingGraph, parameters: Parameters, x: np.ndarray, targets: Any, strong: bool) -> bool:
    result = bptt(graph, parameters, x, targets, backend="plain")
    happened = result.diagnostics
    # one step of a small layer has few spikes to count
    low, high = (0.0, 1.0) if strong or len(x) == 1 else RATES
    fine = happened.margin is not None and happened.margin > min(MARGIN, 0.2 / x.size)
    return fine and all(low < rate < high for rate in happened.spike_rates.values())


def _flags(
    neurons: Sequence[SpikingNeuron],
    widths: Sequence[int],
    x: np.ndarray,
    parameters: Parameters,
    shift: float,
    flags: tuple[str, ...],
) -> tuple[str, ...]:
    shown = {
        "random": not flags and not shift and bool(parameters["readout.weight"].any()),
        "silent": shift < 0,
        "negative-drive": shift < 0,
        "saturated": shift > 0,
        "attached-reset": any(not neuron.detach_reset for neuron in neurons),
        "reset-value": any(neuron.reset_value for neuron in neurons),
        "one-step": len(x) == 1,
        "one-sample": x.shape[1] == 1,
        "unequal-widths": len(widths) > 0 and len(set(widths)) == len(widths),
        "zero-upstream": not parameters["readout.weight"].any(),
        "long": len(x) >= 400,
    }
    return (*flags, *(flag for flag, holds in shown.items() if holds))
