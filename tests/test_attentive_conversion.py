"""Parameters in the layouts of the authors' codes: there and back, and a step by hand in theirs."""

from __future__ import annotations

import numpy as np
import pytest

from refsnn.models.attentive.conversion import from_author_layout, to_author_layout
from refsnn.models.attentive.network import AttentiveNetwork
from refsnn.models.attentive.run import attentive_run

UNITS = 4


def network_with(score):
    return AttentiveNetwork((2, UNITS, 3), top=2, store_every=1, score=score)


def logistic(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("score", ["separable", "mlp", "mlp_tanh_in"])
def test_two_steps_in_their_layout(score):
    """The second step scores the first state: query rows first, memory rows after, gates i, f, g, o."""
    network, rng = network_with(score), np.random.default_rng(0)
    parameters = network.initialise(rng, attention="uniform")
    theirs = to_author_layout(network, parameters)
    x = rng.normal(size=(2, 1, 2))
    hidden, cell, memory = np.zeros(UNITS), np.zeros(UNITS), [np.zeros(UNITS)]
    outputs = []
    for row in x[:, 0]:
        drive = theirs["lstm1.weight_ih"] @ row + theirs["lstm1.bias_ih"]
        drive += theirs["lstm1.weight_hh"] @ hidden + theirs["lstm1.bias_hh"]
        i, f, g, o = np.split(drive, 4)
        cell = logistic(f) * cell + logistic(i) * np.tanh(g)
        asked = logistic(o) * np.tanh(cell)
        summary = np.zeros(UNITS)
        for slot in memory:
            pair = [asked, slot] if score == "mlp" else [np.tanh(asked), np.tanh(slot)]
            raised = np.concatenate(pair) @ theirs["w_t"]
            weight = raised[0] if score == "separable" else (np.tanh(raised) @ theirs["w_t_2"])[0]
            summary += weight * slot  # raw: two memories at most
        hidden = asked + summary
        outputs.append(theirs["fc.weight"] @ np.concatenate([hidden, summary]) + theirs["fc.bias"])
        memory.append(hidden)
    found = attentive_run(network, parameters, x).outputs[:, 0]
    np.testing.assert_allclose(found, outputs, rtol=0, atol=1e-14)


@pytest.mark.parametrize("score", ["separable", "mlp"])
def test_there_and_back(score):
    network = network_with(score)
    parameters = network.initialise(np.random.default_rng(1), np.float32)
    theirs = to_author_layout(network, parameters)
    again = from_author_layout(network, theirs)
    assert list(again) == list(parameters)
    for name, value in parameters.items():
        assert again[name].dtype == np.float32
        assert again[name].flags.c_contiguous
        np.testing.assert_array_equal(again[name], value)
    renamed = {("w_t_1" if name == "w_t" else name): value for name, value in theirs.items()}
    again = from_author_layout(network, renamed)
    np.testing.assert_array_equal(again["attention.memory_weight"], parameters["attention.memory_weight"])
    theirs["fc.bias"][:] = 7  # copies on both ways
    assert not (parameters["readout.bias"] == 7).any()


def test_what_does_not_fit_is_named():
    network = network_with("separable")
    theirs = to_author_layout(network, network.initialise(np.random.default_rng(1)))
    with pytest.raises(ValueError, match=r"^arrays: expected the keys .* unknown \['w_t_2'\]"):
        from_author_layout(network, theirs | {"w_t_2": np.zeros((4, 1))})
    with pytest.raises(ValueError, match=r"^arrays\['w_t'\]: expected shape \(8, 1\), got \(4, 2\)"):
        from_author_layout(network, theirs | {"w_t": np.zeros((4, 2))})
    with pytest.raises(TypeError, match=r"^arrays: expected a dict of arrays, got list"):
        from_author_layout(network, [1])
    with pytest.raises(ValueError, match=r"^network: expected cell='lstm'"):
        to_author_layout(AttentiveNetwork((2, 4, 3), top=2, store_every=1, cell="tanh"), {})
