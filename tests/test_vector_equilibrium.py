"""What is special to the vectors of convergent networks: each option has a case, and each fault is seen."""

from __future__ import annotations

import inspect
from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.signal import correlate2d

from refsnn.algorithms import (
    continual_equilibrium_propagation,
    holomorphic_equilibrium_propagation,
    recurrent_backpropagation,
    relaxation,
)
from refsnn.algorithms.bptt_convergent import bptt_convergent
from refsnn.algorithms.equilibrium_propagation import equilibrium_propagation
from refsnn.algorithms.nonconservative_equilibrium_propagation import nonconservative_equilibrium_propagation
from refsnn.algorithms.relaxation import relax
from refsnn.algorithms.vector_field_equilibrium_propagation import vector_field_equilibrium_propagation
from refsnn.equations.activations import ACTIVATIONS
from refsnn.models import convolution, coupling_maps
from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork
from refsnn.models.convergent_network import ConvergentNetwork
from refsnn.models.convolution import POOLINGS, Convolution
from refsnn.models.losses import LOSSES
from refsnn.vectors.diagnosis import made
from refsnn.vectors.kinds.equilibrium_network.images_by_hand import ImageCoupling
from refsnn.vectors.kinds.equilibrium_network.kind import EQUILIBRIUM_NETWORK as KIND
from refsnn.vectors.kinds.equilibrium_network.solve import network_of
from refsnn.vectors.making import relative_error, verify

CASES = {case.name: case for case in KIND.cases(False)}
RULES = {
    "contrast": equilibrium_propagation,
    "holomorphic": holomorphic_equilibrium_propagation.holomorphic_equilibrium_propagation,
    "continual": continual_equilibrium_propagation.continual_equilibrium_propagation,
    "vector-field": vector_field_equilibrium_propagation,
    "non-conservative": nonconservative_equilibrium_propagation,
    "bptt": bptt_convergent,
    "recurrent-backpropagation": recurrent_backpropagation.recurrent_backpropagation,
}


def values(name, default=None, **where):
    """What the cases have for a hyper-parameter, of those with some others."""
    found = [case.problem.hyperparameters for case in CASES.values()]
    return {str(given.get(name, default)) for given in found if all(given[k] == v for k, v in where.items())}


def leaves(case):
    return KIND.solve(case.problem, "plain").leaves


# ---------------------------------------------------------------- every option has a case


def test_every_option_of_the_networks_has_a_case():
    networks = [network_of(case.problem.hyperparameters) for case in CASES.values()]
    by_value = {}
    for network in networks:
        for field in fields(network):
            if field.name == "convolutions":
                for one in network.convolutions:
                    for inner in fields(Convolution):
                        by_value.setdefault(f"convolution.{inner.name}", set()).add(getattr(one, inner.name))
            else:
                key = f"{type(network).__name__}.{field.name}", field.name
                for name in key:
                    by_value.setdefault(name, set()).add(getattr(network, field.name))
    distinct = {id(functions) for functions in ACTIVATIONS.values()}
    assert {id(ACTIVATIONS[name]) for name in by_value["activation"]} == distinct
    assert by_value["convolution.pooling"] == set(POOLINGS)
    assert by_value["convolution.crop"] == by_value["tied"] == {True, False}
    assert {0, 1} <= by_value["convolution.padding"]
    assert len(by_value["convolution.kernel"]) > 1
    assert len(by_value["convolution.window"]) > 1
    assert by_value["loss_function"] == set(LOSSES)
    assert by_value["edge"] == {"open", "closed"}
    assert by_value["EnergyBasedNetwork.output"] == {"rho", "linear", "official"}
    assert by_value["EnergyBasedNetwork.gated"] == by_value["EnergyBasedNetwork.clamp"] == {True, False}
    assert by_value["PrototypicalNetwork.output"] == {"sigma", "linear"}
    assert by_value["PrototypicalNetwork.nudge_placement"] == {"outside", "inside"}
    for family in ("EnergyBasedNetwork", "PrototypicalNetwork"):
        assert len(by_value[f"{family}.step_size"]) > 1
        assert len(by_value[f"{family}.couplings"]) > 2
        assert None in by_value[f"{family}.readout"] != {None}
        assert None in by_value[f"{family}.image"] != {None}
    ours = {"EnergyBasedNetwork", "PrototypicalNetwork"}
    known = {name for name in by_value if "." not in name}
    known |= {name.split(".")[1] for name in by_value if name.split(".")[0] in ours}
    for network in (EnergyBasedNetwork, PrototypicalNetwork):  # a new option is to be asked for here
        assert {field.name for field in fields(network)} <= known | {"convolutions"}
    assert {field.name for field in fields(Convolution)} == {
        "kernel", "padding", "pooling", "window", "crop",
    }  # fmt: skip


OPTIONS = {  # of each rule: option to the hyper-parameter, its default, and what must occur
    "contrast": {
        "symmetric": ("symmetric", False, {"True", "False"}),
        "stale_index": ("stale_index", False, {"True", "False"}),
        "tolerance": ("tolerance", None, {"None", "0.001"}),
        "nudge": ("imaginary", False, {"True", "False"}),
    },
    "holomorphic": {
        "points": ("points", None, {"3", "4"}),
        "warm_start": ("warm_start", False, {"True", "False"}),
        "nudge": ("nudge", None, {"0.3"}),
    },
    "continual": {
        "learning_rates": ("learning_rate", None, {"0.05", "0.02"}),
        "keep_processes": ("updates", False, {"True", "False"}),
        "nudge": ("nudge", None, {"0.1"}),
    },
    "vector-field": {
        "symmetric": ("symmetric", False, {"True", "False"}),
        "nudge": ("tied", None, {"True", "False"}),
    },
    "non-conservative": {
        "symmetric": ("symmetric", False, {"True", "False"}),
        "nudge": ("imaginary", False, {"True", "False"}),
    },
    "bptt": {"steps_back": ("nudged_steps", None, {"1", "6", "7"})},
    "recurrent-backpropagation": {
        "adjoint_steps": ("nudged_steps", None, {"6", "100"}),
        "tolerance": ("tolerance", None, {"None", "0.001"}),
    },
}
NO_NUMBERS = {"model", "parameters", "inputs", "targets", "free_steps", "nudged_steps", "backend"}
WITHOUT_CASE = {("bptt", "tolerance")}  # the free phase is that of the contrast


@pytest.mark.parametrize("rule", RULES)
def test_every_option_of_a_rule_has_a_case(rule):
    asked = set(inspect.signature(RULES[rule]).parameters) - NO_NUMBERS
    asked -= {option for of, option in WITHOUT_CASE if of == rule}
    assert asked == set(OPTIONS[rule])
    for name, default, expected in OPTIONS[rule].values():
        assert expected <= values(name, default, algorithm=rule), (rule, name)


# ---------------------------------------------------------------- what the oracle is made of


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_the_dense_matrix_is_a_correlation(padding):
    rng = np.random.default_rng(padding)
    image, kernels = rng.standard_normal((1, 3, 5, 4)), rng.standard_normal((2, 3, 3, 3))
    rows, columns = 5 + 2 * padding - 2, 4 + 2 * padding - 2
    coupling = ImageCoupling((2, rows, columns), (3, 5, 4), padding, 1, "none", set())
    framed = np.pad(image[0], ((0, 0), (padding, padding), (padding, padding)))
    expected = [sum(correlate2d(framed[c], kernels[o, c], mode="valid") for c in range(3)) for o in range(2)]
    np.testing.assert_allclose(coupling.up(kernels, image.reshape(1, -1))[0], np.ravel(expected), atol=1e-13)


@pytest.mark.parametrize("pooling", ["max", "average", "none"])
def test_what_goes_down_is_the_transpose_of_what_goes_up(pooling):
    rng = np.random.default_rng(3)
    post = (2, 4, 5) if pooling == "none" else (2, 2, 2)
    coupling = ImageCoupling(post, (3, 4, 5), 1, 2, pooling, set())
    kernels, other = rng.standard_normal((2, 2, 3, 3, 3))
    seen, heard = rng.standard_normal((2, 1, 60))
    told = rng.standard_normal((1, int(np.prod(post))))
    down = coupling.down(other, kernels, told, seen)
    if pooling == "max":  # the maxima are those of w * s, whatever kernels go down
        share = coupling.shares(coupling.maps(kernels, seen))
        maps = share * coupling.maps(other, heard)
        up = [maps[..., rows, columns].sum(axis=(-2, -1)) for _, _, rows, columns in coupling.corners(maps)]
        up = np.stack(up, axis=-1).reshape(1, -1)
    else:
        up = coupling.up(other, heard)
    assert (down * heard).sum() == pytest.approx((told * up).sum(), rel=1e-12)


# ---------------------------------------------------------------- what cases are there for


@pytest.mark.parametrize("name", ["one-sided/limit", "non-conservative/limit"])
def test_the_limit_is_bptt(name):
    """At a steady state: the free phase is made long."""
    problem = CASES[name].problem.changed(free_steps=3000)
    found = KIND.solve(problem, "plain").leaves
    truth = KIND.solve(problem.changed(algorithm="bptt"), "plain").leaves
    gradients = [path for path in found if path.startswith("gradients/")]
    assert len(gradients) > 3
    for path in gradients:
        assert relative_error(found[path], truth[path]) < 1e-10, path


def test_steps_back_add_up_to_bptt():
    case = CASES["step-by-step/back"]
    truth = KIND.solve(case.problem.changed(algorithm="bptt"), "plain").leaves
    for path, value in leaves(case).items():
        if path.startswith("gradients/"):
            assert relative_error(value, truth[path]) < 1e-12


def test_ties_and_edges_show_in_gradients_alone():
    tied, (opened, closed) = CASES["one-sided/ties"], (CASES[f"bptt/edge-{e}"] for e in ("open", "closed"))
    for case in (tied, opened, closed):
        assert KIND.solve(case.problem, "plain").margin == 0
    ours = leaves(tied)
    last = KIND.truth(tied.problem.changed(**{"mistake.last-maximum": True}))
    seen = {path for path, value in last.items() if relative_error(value, ours[path]) > 1e-2}
    assert seen == {"gradients/coupling.1.2.weight"}
    for path, array in opened.problem.inputs.items():
        np.testing.assert_array_equal(array, closed.problem.inputs[path])
    pair = leaves(opened), leaves(closed)
    same = {path for path in pair[0] if np.array_equal(pair[0][path], pair[1][path])}
    assert same == {path for path in pair[0] if not path.startswith("gradients/")}


def test_states_are_carried_and_rates_differ():
    start = CASES["step-by-step/vector-field"].problem.inputs
    assert all(np.abs(a).max() > 0.1 for path, a in start.items() if path.startswith("start/"))
    case = CASES["continual/vector-field"]
    rates = {path: a.item() for path, a in case.problem.inputs.items() if path.startswith("learning_rates")}
    assert len(set(rates.values())) == len(rates) > 5
    found = leaves(case)
    for path, rate in rates.items():
        name = path.removeprefix("learning_rates/")
        moved = found[f"learned/{name}"] - case.problem.inputs[f"parameters/{name}"]
        np.testing.assert_allclose(moved, -rate * found[f"gradients/{name}"], rtol=1e-10, atol=1e-14)


# ---------------------------------------------------------------- faults in the package that the oracle sees


def _turned(kernels):
    return kernels[..., ::-1, ::-1]


def _last_of_equals(maps, how):
    if how.pooling != "max":
        return None
    return how.window**2 - 1 - convolution.windows_of(maps, how.window)[..., ::-1].argmax(axis=-1)


def _from_the_end(maps, window):
    down, right = maps.shape[-2] % window, maps.shape[-1] % window
    return _windows_of(maps[..., down:, right:], window)


_windows_of, _unpool = convolution.windows_of, coupling_maps.unpool
_primitive_contrast, _unit = ConvergentNetwork.primitive_contrast, EnergyBasedNetwork.unit
_loss_gradient, _readout_update = (
    ConvergentNetwork.loss_gradient,
    continual_equilibrium_propagation._readout_update,
)
FAULTS = {
    "flipped kernel": (
        "one-sided/average-pooling",
        coupling_maps, "correlate", lambda s, w, p: convolution.correlate(s, _turned(w), p),
    ),
    "unflipped feedback": (
        "one-sided/average-pooling",
        coupling_maps,
        "correlate_adjoint",
        lambda m, w, p, size: convolution.correlate_adjoint(m, _turned(w), p, size),
    ),
    "flipped kernel products": (
        "bptt/pooling",
        coupling_maps,
        "kernel_products",
        lambda m, s, f, p: _turned(convolution.kernel_products(m, s, f, p)),
    ),
    "no products of an image with zeros around": (
        "recurrent-backpropagation/padding",
        coupling_maps,
        "kernel_products",
        lambda m, s, f, p: convolution.kernel_products(
            m, np.pad(s[..., :-1, :-1], ((0, 0), (0, 0), (0, 1), (0, 1))), f, p
        ),
    ),
    "the last of equals": ("one-sided/ties", coupling_maps, "pooling_record", _last_of_equals),
    "goes down to the first": (
        "symmetric/max-pooling",
        coupling_maps,
        "unpool",
        lambda h, iota, how, size: _unpool(h, None if iota is None else 0 * iota, how, size),
    ),
    "goes down to all": (
        "vector-field/max-pooling",
        coupling_maps,
        "unpool",
        lambda h, iota, how, size: _unpool(h, None, how, size),
    ),
    "rows left over at the front": ("symmetric/max-pooling", convolution, "windows_of", _from_the_end),
    "one bias a channel, a mean": (
        "continual/max-pooling",
        coupling_maps.ConvolutionalMap,
        "bias_products",
        lambda self, post: post.mean(axis=(2, 3)).sum(axis=0),
    ),
    "fresh maxima": (
        "one-sided/stale-index",
        ConvergentNetwork,
        "primitive_contrast",
        lambda self, p, a, b, x, scale, at: _primitive_contrast(self, p, a, b, x, scale, None),
    ),
    "official as rho": (
        "one-sided/official",
        EnergyBasedNetwork,
        "unit",
        lambda self, layer: _unit(replace(self, output="rho"), layer),
    ),
    "no push forward": (
        "step-by-step/corrected",
        ConvergentNetwork,
        "state_jvp",
        lambda self, p, s, x, t, drive=None: {name: 0 * a for name, a in t.items()},
    ),
    "no push forward of images": (
        "non-conservative/limit",
        ConvergentNetwork,
        "state_jvp",
        lambda self, p, s, x, t, drive=None: {name: 0 * a for name, a in t.items()},
    ),
    "a mean against the tolerance": (
        "one-sided/tolerance",
        relaxation,
        "largest_difference",
        lambda a, b: float(np.mean([np.abs(a[name] - b[name]).mean() for name in a])),
    ),
    "no read-out of an adjoint": (
        "recurrent-backpropagation/tolerance",
        ConvergentNetwork,
        "loss_gradient",
        lambda self, *given: (_loss_gradient(self, *given)[0], {}),
    ),
    "no first step of a read-out": (
        "continual/vector-field",
        continual_equilibrium_propagation,
        "_readout_update",
        lambda *given, first: _readout_update(*given, first=False),
    ),
    "one rate": (
        "continual/vector-field",
        continual_equilibrium_propagation,
        "checked_learning_rates",
        lambda rates, names: dict.fromkeys(names, rates[names[0]]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_package_is_refused(fault, monkeypatch):
    name, owner, attribute, replacement = FAULTS[fault]
    case = CASES[name]
    verify(KIND, case, leaves(case))
    monkeypatch.setattr(owner, attribute, replacement)
    with pytest.raises(ArithmeticError, match="differs from the oracle"):
        verify(KIND, case, leaves(case))


@pytest.mark.parametrize("edge", ["open", "closed"])
def test_the_slope_at_an_edge_is_held_against_the_oracle(edge, monkeypatch):
    case, hard = CASES[f"bptt/edge-{edge}"], ACTIVATIONS["hardsigm"]
    other = hard._replace(slope=hard.slope_open, slope_open=hard.slope)
    monkeypatch.setitem(ACTIVATIONS, "hardsigm", other)
    with pytest.raises(ArithmeticError, match=r"gradients/.* differs from the oracle"):
        verify(KIND, case, leaves(case))


def test_points_that_start_at_the_free_state_are_no_warm_start(monkeypatch):
    case, first = CASES["holomorphic/warm-start"], []

    def cold(model, parameters, inputs, state, *rest, **options):
        first.append(state)
        return relax(model, parameters, inputs, first[0], *rest, **options)

    monkeypatch.setattr(holomorphic_equilibrium_propagation, "relax", cold)
    with pytest.raises(ArithmeticError, match="differs from the oracle"):
        verify(KIND, case, leaves(case))
    assert len(first) == case.problem.hyperparameters["points"]


def test_mistakes_of_images_are_tried_where_there_are_images():
    by_name = {mistake.name: mistake for mistake in KIND.mistakes}
    dense, images = CASES["one-sided/energy"].problem, CASES["one-sided/average-pooling"].problem
    for name in ("kernel-flipped", "feedback-unflipped", "padding-repeats", "average-whole"):
        assert made(KIND, dense, (by_name[name],)) is None
        assert made(KIND, images, (by_name[name],)) is not None
    assert made(KIND, images, (by_name["unpool-all"],)) is None
