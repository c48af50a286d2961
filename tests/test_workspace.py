"""Memory that is kept: nothing shares it while it is in use, and no result knows of it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.rate_backpropagation import rate_backpropagation
from refsnn.algorithms.temporal_galerkin import temporal_galerkin
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.builders.dense import dense_network
from refsnn.models.operators.convolution import Convolution2d
from refsnn.models.operators.dense import Dense
from refsnn.models.operators.normalisation import BatchNormalisation
from refsnn.models.operators.pooling import AveragePool, MaxPool
from refsnn.models.operators.reshaping import Flatten, Scale
from refsnn.models.spiking_graph import Node, Population, SpikingGraph, Sum
from refsnn.models.workspace import Workspace
from tests.spiking_graphs import SEEDS, dense_graphs, image_graphs, live
from validation.convolutional_workload import draw
from validation.experiments.spiking_training import RULES, SpikingSetting

NEURON = SpikingNeuron(leak=0.6, detach_reset=False)
DTYPES = (np.float32, np.float64, np.int32)


class Poisoned(Workspace):
    """Free memory is full of NaN."""

    def __init__(self):
        super().__init__()
        self.given = self.returned = 0

    def empty(self, shape, dtype):
        array = super().empty(shape, dtype)
        array.reshape(-1).view(np.uint8)[:] = 255  # of any float a NaN
        self.given += 1
        return array

    def _give_back(self, block):
        block[:] = 255
        self.returned += 1
        super()._give_back(block)


# -- the workspace ---------------------------------------------------------------------------------------


@settings(deadline=None)
@given(SEEDS, st.integers(1, 60))
def test_living_arrays_share_no_memory(seed, turns):
    """Arrays and views come and go; each one that is left has what was written into it."""
    rng, workspace, living = np.random.default_rng(seed), Poisoned(), []
    for turn in range(turns):
        if living and rng.random() < 0.4:
            living.pop(rng.integers(len(living)))
        shape, dtype = rng.integers(1, 6, size=rng.integers(1, 4)), DTYPES[rng.integers(len(DTYPES))]
        array = workspace.empty(tuple(int(side) for side in shape), dtype)
        assert array.shape == tuple(shape)
        assert array.dtype == dtype
        assert array.flags.c_contiguous
        assert array.flags.writeable
        array[...] = turn
        kept = (array, array.reshape(-1)[-1:], array[::-1].T, np.broadcast_to(array, (2, *array.shape)))
        living.append((kept[rng.integers(len(kept))], turn))
        del array, kept
        for one, written in living:
            assert (one == written).all()
        assert sum(np.unique(one).nbytes for one, _ in living) <= workspace.bytes_in_use
    living.clear()
    del one
    assert workspace.bytes_in_use == 0
    assert workspace.given == workspace.returned == turns


def test_the_best_block_is_taken_and_none_twice_too_large():
    workspace = Workspace()
    sizes = (40, 24, 16)
    arrays = [workspace.empty((size,), np.uint8) for size in sizes]
    places = dict(zip(sizes, (array.ctypes.data for array in arrays), strict=True))
    del arrays
    assert workspace.bytes_held == 80
    small = workspace.empty((2,), np.float64)  # 16 bytes
    middle = workspace.empty((5,), np.float32)  # 20
    large = workspace.empty((21,), np.uint8)  # 24 is in use, and 40 is less than 42
    assert [one.ctypes.data for one in (small, middle, large)] == [places[16], places[24], places[40]]
    assert workspace.bytes_held == workspace.bytes_in_use == 80
    del large
    assert workspace.empty((20,), np.uint8).ctypes.data not in places.values()
    assert workspace.bytes_held == 100


@pytest.mark.parametrize("size", [1, 7, 64])
def test_a_block_that_is_a_byte_too_small_is_not_taken(size):
    workspace = Workspace()
    workspace.empty((size,), np.uint8)
    array = workspace.empty((size + 1,), np.uint8)
    assert workspace.bytes_held == size + size + 1
    assert workspace.bytes_in_use == array.nbytes


@pytest.mark.parametrize(
    "view",
    [
        lambda array: array[1:],
        lambda array: array.reshape(-1).view(np.uint8)[3:4],
        lambda array: np.lib.stride_tricks.as_strided(array, (2,), (0,)),
        lambda array: memoryview(array)[:1],
        lambda array: array.T.real,
    ],
)
def test_memory_is_in_use_as_long_as_any_view_of_it(view):
    workspace = Workspace()
    kept = view(workspace.empty((3, 4), np.float32))
    assert workspace.bytes_in_use == 48
    other = workspace.empty((3, 4), np.float32)
    assert workspace.bytes_held == 96
    assert not np.may_share_memory(np.asarray(kept), other)
    del kept, other
    assert workspace.bytes_in_use == 0


def test_arrays_outlive_their_workspace():
    array = Poisoned().empty((5,), np.float32)
    array[:] = 3
    assert (array == 3).all()


def test_empty_arrays_have_their_shape():
    workspace = Workspace()
    assert [workspace.empty(shape, np.float32).shape for shape in ((0, 3), (), (2, 0))] == [
        (0, 3),
        (),
        (2, 0),
    ]


def test_what_is_no_workspace_is_refused():
    graph = dense_network((4, 5, 3))
    problem = live(np.random.default_rng(0), graph, 3, 2)
    for rule in (bptt, rate_backpropagation, partial(temporal_galerkin, n_modes=2)):
        for wrong in (Workspace, np.empty, 3):
            with pytest.raises(
                TypeError, match=r"workspace: expected a Workspace such as Workspace\(\), got"
            ):
                rule(graph, *problem, workspace=wrong)
    with pytest.raises(TypeError, match="dtype: expected numbers, got object"):
        Workspace().empty((2,), object)


# -- gradients in it ---------------------------------------------------------------------------------------


def leaves(result):
    """All arrays and numbers of a result by name; copies."""
    found = {f"gradient of {name}": value.copy() for name, value in result.gradients.items()}
    found |= {f"rate of {name}": np.array(rate) for name, rate in result.diagnostics.spike_rates.items()}
    for name, seen in result.diagnostics.statistics.items():
        found |= {f"{field} of {name}": np.array(value) for field, value in vars(seen).items()}
    margin, outputs = result.diagnostics.margin, result.diagnostics.outputs
    return found | {"loss": np.array(result.loss), "margin": np.array(margin), "outputs": outputs.copy()}


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value.dtype == other[name].dtype, name
        assert value.tobytes() == other[name].tobytes(), name


def assert_unchanged_by_a_workspace(rule, graph, problem, workspace, least=2):
    """Without, with a fresh and with a used one; the first results stand while the memory is used again."""
    without = rule(graph, *problem)
    rates = without.diagnostics.spike_rates.values()
    assert all(0 < rate < 1 for rate in rates), "a population is dead"
    assert all(np.abs(value).max() > 0 for value in without.gradients.values())
    expected = leaves(without)
    results = []
    for _ in range(3):
        before = workspace.given
        results.append(rule(graph, *problem, workspace=workspace))
        assert workspace.given - before >= least  # it is made use of
        assert workspace.bytes_in_use == 0  # and no result is in it
        held = workspace.bytes_held if len(results) < 3 else held  # noqa: F821
        for result in results:
            assert_same_bits(leaves(result), expected)
    assert workspace.bytes_held == held  # the third time there was enough
    assert without.diagnostics.bytes_kept == results[-1].diagnostics.bytes_kept


LAYERWISE = (
    bptt,
    rate_backpropagation,
    partial(rate_backpropagation, mode="single_step"),
    partial(temporal_galerkin, n_modes=1),
)


@settings(deadline=None, max_examples=12)
@given(dense_graphs(delays=False) | image_graphs(delays=False))
def test_bptt_of_any_graph_has_the_same_bits(problem):
    graph, *arguments = problem
    assert_unchanged_by_a_workspace(bptt, graph, arguments, Poisoned())


@settings(deadline=None, max_examples=12)
@given(image_graphs(linear=True, delays=False, any_edges=False), st.sampled_from(LAYERWISE))
def test_every_rule_has_the_same_bits(problem, rule):
    graph, *arguments = problem
    assert_unchanged_by_a_workspace(rule, graph, arguments, Poisoned(), least=1)


def residual_graph(pool, stride, backend):
    """All that makes large arrays: convolutions of either stride, groups, pooling, normalisation, a sum."""
    conv = partial(Convolution2d, kernel=3, padding=1, backend=backend)
    return SpikingGraph(
        (
            Node("layer.1.current", ("input",), conv(4), "layer.1"),
            Node("layer.1", ("layer.1.current",), Population(NEURON)),
            Node("pool", ("layer.1",), pool),
            Node("layer.2.current", ("pool",), conv(4, groups=2, with_bias=False), "layer.2"),
            Node("layer.2.norm", ("layer.2.current",), BatchNormalisation()),
            Node("layer.2.sum", ("layer.2.norm", "pool"), Sum()),
            Node("layer.2", ("layer.2.sum",), Population(NEURON)),
            Node("layer.2.scaled", ("layer.2",), Scale(1.5)),
            Node("layer.3.current", ("layer.2.scaled",), conv(3, stride=stride), "layer.3"),
            Node("layer.3", ("layer.3.current",), Population(NEURON)),
            Node("flat", ("layer.3",), Flatten()),
            Node("readout", ("flat",), Dense(3)),
        ),
        (2, 8, 8),
    )


@pytest.mark.parametrize("backend", ["plain", "cpu"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    "pool",
    [AveragePool(2), AveragePool(3, 2, 1), MaxPool(2), MaxPool(3, 2, 1), MaxPool(2, ties="split")],
    ids=["means", "means that overlap", "maxima", "maxima that overlap", "maxima that share"],
)
def test_a_residual_network_has_the_same_bits(pool, stride, backend):
    """In one workspace for both dtypes: what is left of one is never read by the other."""
    graph = residual_graph(replace(pool, backend=backend), stride, backend)
    workspace = Poisoned()
    rng = np.random.default_rng(stride)
    parameters = graph.initialise(rng, gain=2.5, bias_mean=0.5)
    inputs, targets = rng.random((4, 3, 2, 8, 8)), rng.integers(3, size=3)
    for dtype in (np.float64, np.float32):
        typed = {name: value.astype(dtype) for name, value in parameters.items()}
        problem = typed, inputs.astype(dtype), targets
        for rule in LAYERWISE[:2]:
            rule = partial(rule, backend=backend)
            assert_unchanged_by_a_workspace(rule, graph, problem, workspace, least=6)


def test_the_stack_of_the_benchmark_takes_no_new_memory():
    """All rules in turns, as it times them."""
    stack = draw(0, 4, batch=2, plan=(4, "pool", 4), image=(3, 8, 8))
    workspace, problem = Poisoned(), (stack.parameters, stack.inputs, stack.targets)
    for rule in LAYERWISE[:3]:
        assert_unchanged_by_a_workspace(rule, stack.graph, problem, workspace, least=6)


# -- in a training ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if not rule.online])
def test_a_training_keeps_its_memory(name, monkeypatch):
    made = []

    def workspace():
        made.append(Poisoned())
        return made[-1]

    monkeypatch.setattr("validation.experiments.spiking_training.Workspace", workspace)
    network = dense_network((6, 7, 3), NEURON, loss_over="each_step")
    setting = SpikingSetting(network, name, steps=3)
    rng = np.random.default_rng(1)
    parameters = setting.graph.initialise(rng, np.float32, gain=2.5, bias_mean=0.4)
    images, labels = rng.random((4, 6), np.float32), np.array([0, 1, 2, 0])
    learn, held = setting.learn(), []
    for _ in range(3):
        expected = setting.gradient(parameters, images, labels, rng)
        assert max(np.abs(value).max() for value in expected.gradients.values()) > 0
        result = learn(parameters, images, labels, rng)
        assert_same_bits(leaves(result), leaves(expected))
        held.append(made[0].bytes_held)
    assert len(made) == 1
    assert held[1] == held[2]
    assert (held[2] > 0) == name.startswith("BPTT")  # of a dense layer only BPTT makes arrays of its own
