"""Golden vectors of networks and manifolds: plain words are the whole truth, flags hold, cases are alive."""

from __future__ import annotations

import json
import math
from functools import cache

import numpy as np
import pytest

from refsnn.algorithms.adaptive_bptt import adaptive_bptt
from refsnn.algorithms.sltt import sltt
from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.models.builders.dense import dense_network
from refsnn.network_files import build
from refsnn.vectors.case import Problem
from refsnn.vectors.kinds import KINDS
from refsnn.vectors.kinds.adaptive_network import kind as adaptive_network
from refsnn.vectors.kinds.deep_rewiring import kind as deep_rewiring
from refsnn.vectors.kinds.spiking_network import kind as spiking_network
from refsnn.vectors.making import relative_error, vectors_of

OWN = ("spiking_network", "adaptive_network", "deep_rewiring", "manifold_maps", "manifold_network")


@cache
def vectors(kind):
    return {vector.case.name: vector for vector in vectors_of(KINDS[kind])}


def dense_cases():
    return [
        vector.case
        for vector in vectors("spiking_network").values()
        if vector.case.problem.hyperparameters["architecture"] == "dense"
    ]


def spikes_of(vector):
    return [leaf.value for path, leaf in vector.expected.items() if path.startswith("states/spikes")]


# -- words --------------------------------------------------------------------------------------------------


def test_plain_words_describe_the_same_network_as_the_json():
    for case in dense_cases():
        given = case.problem.hyperparameters
        neurons = [
            SpikingNeuron(
                *(given[name][k] for name in ("leak", "threshold", "reset", "reset_value", "detach_reset")),
                given["fires"][k],
                Surrogate(*(given[f"surrogate.{name}"][k] for name in ("shape", "slope", "height"))),
            )
            for k in range(len(given["widths"]) - 2)
        ]
        loss = {name: given[name] for name in ("loss_function", "loss_over", "squared_share", "readout_leak")}
        loops = [k + 1 for k, own in enumerate(given["recurrent"]) if own]
        graph = dense_network(given["widths"], neurons, recurrent=loops, **loss)
        assert build(json.loads(given["network"])) == graph, case.name


@pytest.mark.parametrize("name", ["bptt/soft-attached", "bptt/hard-attached", "recurrent/hard", "loss/leaky"])
def test_a_program_without_arrays_computes_a_case_from_the_plain_words(name):
    """As one would write it in C: loops over numbers, one gradient of each kind."""
    vector = vectors("spiking_network")[name]
    given, inputs = vector.case.problem.hyperparameters, vector.case.problem.inputs
    x, labels, widths = inputs["input"].tolist(), inputs["targets"].tolist(), given["widths"]
    steps, batch, layers, classes = len(x), len(x[0]), len(widths) - 2, widths[-1]
    weight = [inputs[f"parameters/layer.{k + 1}.weight"].tolist() for k in range(layers)]
    bias = [inputs[f"parameters/layer.{k + 1}.bias"].tolist() for k in range(layers)]
    loop = [
        inputs[f"parameters/layer.{k + 1}.recurrent.weight"].tolist() if given["recurrent"][k] else None
        for k in range(layers)
    ]
    out, out_bias = (inputs[f"parameters/readout.{one}"].tolist() for one in ("weight", "bias"))

    def psi(k, h):
        u, slope = h - given["threshold"][k], given["surrogate.slope"][k]
        q = math.exp(-slope * abs(u))
        shapes = {"sigmoid": 4 * q / (1 + q) ** 2, "arctan": 1 / (1 + (slope * u) ** 2)}
        return given["surrogate.height"][k] * shapes[given["surrogate.shape"][k]]

    loss, by_bias = 0.0, [[0.0] * widths[k + 1] for k in range(layers)]
    by_out = [[0.0] * widths[-2] for _ in range(classes)]
    for b in range(batch):
        h = [[[0.0] * widths[k + 1] for k in range(layers)] for _ in range(steps)]
        s = [[[0.0] * widths[k + 1] for k in range(layers)] for _ in range(steps)]
        v = [[given["reset_value"][k]] * widths[k + 1] for k in range(layers)]
        y = [[0.0] * classes for _ in range(steps)]
        for t in range(steps):
            for k in range(layers):
                below = x[t][b] if k == 0 else s[t][k - 1]
                for j in range(widths[k + 1]):
                    current = bias[k][j] + sum(w * z for w, z in zip(weight[k][j], below, strict=True))
                    if loop[k] and t:
                        current += sum(w * z for w, z in zip(loop[k][j], s[t - 1][k], strict=True))
                    charged = given["leak"][k] * v[k][j] + current
                    if given["reset"][k] == "hard":
                        charged += (1 - given["leak"][k]) * given["reset_value"][k]
                    fires = charged >= given["threshold"][k]
                    h[t][k][j], s[t][k][j] = charged, float(fires)
                    if given["reset"][k] == "hard":
                        v[k][j] = given["reset_value"][k] if fires else charged
                    else:
                        v[k][j] = charged - given["threshold"][k] * fires
            for c in range(classes):
                o = out_bias[c] + sum(w * z for w, z in zip(out[c], s[t][-1], strict=True))
                y[t][c] = o + (given["readout_leak"] * y[t - 1][c] if t else 0.0)
        # the errors of the read-out
        errors = [[0.0] * classes for _ in range(steps)]
        each = given["loss_over"] == "each_step"
        for t in range(steps if each else 1):
            seen = y[t] if each else [sum(row[c] for row in y) / steps for c in range(classes)]
            total = sum(math.exp(value) for value in seen)
            loss += (math.log(total) - seen[labels[b]]) / batch / (steps if each else 1)
            for c in range(classes):
                error = (math.exp(seen[c]) / total - (c == labels[b])) / batch / steps
                for later in [t] if each else range(steps):
                    errors[later][c] += error
        for t in reversed(range(steps - 1)):
            for c in range(classes):
                errors[t][c] += given["readout_leak"] * errors[t + 1][c]
        # back through time
        carried = [[0.0] * widths[k + 1] for k in range(layers)]
        later = [[0.0] * widths[k + 1] for k in range(layers)]
        for t in reversed(range(steps)):
            above, above_weight = errors[t], out
            for c in range(classes):
                for j in range(widths[-2]):
                    by_out[c][j] += errors[t][c] * s[t][-1][j]
            for k in reversed(range(layers)):
                now = []
                for j in range(widths[k + 1]):
                    by_spike = sum(above_weight[i][j] * above[i] for i in range(len(above)))
                    if loop[k]:
                        by_spike += sum(loop[k][i][j] * later[k][i] for i in range(widths[k + 1]))
                    slope = psi(k, h[t][k][j])
                    through = 0.0 if given["detach_reset"][k] else slope
                    if given["reset"][k] == "hard":
                        reset = (1 - s[t][k][j]) + (given["reset_value"][k] - h[t][k][j]) * through
                    else:
                        reset = 1 - given["threshold"][k] * through
                    now.append(slope * by_spike + reset * carried[k][j])
                carried[k] = [given["leak"][k] * one for one in now]
                later[k] = now
                by_bias[k] = [a + one for a, one in zip(by_bias[k], now, strict=True)]
                above, above_weight = now, weight[k]
    expected = vector.expected
    assert loss == pytest.approx(float(expected["loss"].value), rel=1e-10)
    assert relative_error(np.array(by_out), expected["gradients/readout.weight"].value) <= 1e-10
    for k in range(layers):
        path = f"gradients/layer.{k + 1}.bias"
        assert relative_error(np.array(by_bias[k]), expected[path].value) <= 1e-10, path


# -- the second writings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OWN)
def test_without_a_mistake_the_second_writing_gives_all_leaves(kind):
    for vector in vectors(kind).values():
        found = KINDS[kind].wrongly(vector.case.problem)
        assert set(found) == set(vector.expected)
        for path, leaf in vector.expected.items():
            assert relative_error(found[path], leaf.value) <= 1e-11, (vector.case.name, path)


# -- flags and life -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["spiking_network", "adaptive_network"])
def test_flags_say_what_the_spikes_do(kind):
    scale = {"spiking_network": lambda given: 1.0, "adaptive_network": lambda given: given["time_step"]}[kind]
    seen = set()
    for vector in vectors(kind).values():
        spikes, flags = spikes_of(vector), set(vector.case.flags)
        if not spikes:
            continue
        rates = [float(one.mean()) * scale(vector.case.problem.hyperparameters) for one in spikes]
        assert ("silent" in flags) == (max(rates) == 0), vector.case.name
        assert ("saturated" in flags) == (min(rates) == 1), vector.case.name
        if "exact-threshold" in flags:
            assert vector.margin == 0
        if "random" in flags:
            assert all(0 < rate < 1 for rate in rates), vector.case.name
        seen |= flags
    assert {
        "silent",
        "saturated",
        "exact-threshold",
        "one-step",
        "one-sample",
        "zero-upstream",
        "long",
    } <= seen


def test_residuals_are_above_the_threshold():
    vector = vectors("spiking_network")["residual/soft"]
    charged, spikes = (vector.expected[f"states/{one}/layer.1"].value for one in ("charged", "spikes"))
    threshold = vector.case.problem.hyperparameters["threshold"][0]
    assert (charged - threshold * spikes >= threshold).any()


def test_nothing_comes_down_from_a_read_out_of_zeros():
    found = 0
    for kind in OWN:
        for vector in vectors(kind).values():
            if "zero-upstream" not in vector.case.flags:
                continue
            for path, leaf in vector.expected.items():
                if path.startswith("gradients/") and "readout" not in path:
                    assert not leaf.value.any(), (kind, vector.case.name, path)
                    found += 1
    assert found > 10


def test_every_weight_of_a_random_network_learns():
    """But for recurrent weights in one step."""
    checked = 0
    for kind in ("spiking_network", "adaptive_network", "manifold_network"):
        for vector in vectors(kind).values():
            if "random" not in vector.case.flags or "one-step" in vector.case.flags:
                continue
            for path, leaf in vector.expected.items():
                if path.startswith("gradients/") and path.endswith("weight"):
                    assert np.abs(leaf.value).max() > 1e-6, (kind, vector.case.name, path)
                    checked += 1
    assert checked > 200


def test_live_networks_keep_away_from_their_thresholds():
    """So that single precision repeats their spikes."""
    for vector in vectors("spiking_network").values():
        if "random" in vector.case.flags and "long" not in vector.case.flags:
            assert vector.margin > 1e-3, vector.case.name
    for kind in ("spiking_network", "adaptive_network", "deep_rewiring", "manifold_network"):
        assert not any("float64-only" in vector.case.flags for vector in vectors(kind).values()), kind


# -- what is special to a kind ------------------------------------------------------------------------------


def test_the_steps_that_learn_are_those_of_sltt():
    """SLTT-K draws its steps; a case names them.  A seed that draws the same ones gives the same gradient."""
    problem = vectors("spiking_network")["sltt/two-steps"].case.problem
    wanted = problem.hyperparameters["learning_steps"]
    seed = next(
        seed
        for seed in range(1000)
        if sorted(np.random.default_rng(seed).permutation(6)[:2].tolist()) == wanted
    )
    graph = build(json.loads(problem.hyperparameters["network"]))
    result = sltt(
        graph,
        spiking_network.parameters_of(problem),
        problem.inputs["input"],
        problem.inputs["targets"],
        learning_steps=2,
        rng=np.random.default_rng(seed),
    )
    leaves = spiking_network.solve(problem, "cpu").leaves
    for name, gradient in result.gradients.items():
        np.testing.assert_array_equal(gradient, leaves[f"gradients/{name}"])


def test_the_second_of_two_calls_starts_where_the_first_one_ended():
    first, second = (
        vectors("adaptive_network")[f"two-calls/{one}"].case.problem for one in ("first", "second")
    )
    network, names = adaptive_network.network_of(first), adaptive_network.names_of(first)
    parameters = {name: first.inputs[path] for name, path in names.items()}
    ended = adaptive_bptt(network, parameters, first.inputs["input"], None).final_state
    ended = network.for_next_sequence(ended)
    assert ended[adaptive_network.SPIKES].any()
    assert ended[adaptive_network.CURRENTS].any()
    for name, own in adaptive_network.START.items():
        started = second.inputs.get(f"start/{name}", np.zeros_like(ended[own]))
        np.testing.assert_allclose(started, ended[own], rtol=0, atol=1e-14, err_msg=name)


def test_the_budget_of_synapses_is_filled_after_each_update():
    for vector in vectors("deep_rewiring").values():
        given, inputs = vector.case.problem.hyperparameters, vector.case.problem.inputs
        if given["rule"] == "soft":
            continue
        entries = sum(inputs[f"signs/{name}"].size for name in deep_rewiring.MATRICES)
        assert (vector.expected["active"].value == int(given["connectivity"] * entries)).all()
        died = sum(int(inputs[f"reconnect/{name}"].sum()) for name in deep_rewiring.MATRICES)
        assert died or "one-step" in vector.case.flags, vector.case.name


def test_soft_rewiring_passes_its_threshold_both_ways():
    for name in ("soft/descent", "soft/adam"):
        strengths = vectors("deep_rewiring")[name].expected["strengths/recurrent"].value
        crossed = np.diff((strengths > 0).astype(int), axis=0)
        assert (crossed > 0).any()
        assert (crossed < 0).any()


def test_given_numbers_stand_for_drawn_ones():
    rng = deep_rewiring.Given([np.ones(2), np.zeros(3)])
    assert rng.standard_normal(2).tolist() == [1, 1]
    assert rng.standard_normal(3).tolist() == [0, 0, 0]


def test_points_of_manifold_cases_are_on_the_manifold_and_far_enough():
    for name, vector in vectors("manifold_maps").items():
        given, inputs = vector.case.problem.hyperparameters, vector.case.problem.inputs
        if not given["curvature"]:
            continue
        signs = np.ones(given["dimension"] + 1)
        signs[0] = np.sign(given["curvature"])
        for path in ("points", "ends"):
            square = given["curvature"] * (signs * inputs[path] ** 2).sum(axis=1)
            np.testing.assert_allclose(square, 1, atol=1e-10, err_msg=name)
        radius = 1 / math.sqrt(abs(given["curvature"]))
        farthest = vector.expected["norm"].value.max() / radius
        assert farthest > (1e-7 if name.startswith("near/") else 0.3), name
        if name.startswith("far/"):
            assert farthest > 2


def test_mistakes_do_not_change_the_problem_they_are_made_of():
    for kind in OWN:
        for vector in list(vectors(kind).values())[:3]:
            before = Problem(
                dict(vector.case.problem.hyperparameters),
                {path: array.copy() for path, array in vector.case.problem.inputs.items()},
            )
            for mistake in KINDS[kind].mistakes:
                if mistake.changes is not None:
                    mistake.changes(vector.case.problem)
            assert vector.case.problem.hyperparameters == before.hyperparameters
            for path, array in before.inputs.items():
                np.testing.assert_array_equal(array, vector.case.problem.inputs[path])
