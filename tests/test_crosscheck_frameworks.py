"""The frameworks that are installed here: every case as the files of known differences say, every claim."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest

from refsnn.crosscheck import adapter_of, crosscheck
from refsnn.crosscheck.adapter import imported
from refsnn.crosscheck.adapters import MODULES
from refsnn.crosscheck.conventions.measuring import conventions_of, measured
from refsnn.vectors.kinds import KINDS
from refsnn.vectors.making import vectors_of

PACKAGES = {
    "torch-network": "torch",
    "torch": "torch",
    "spikingjelly": "spikingjelly.activation_based.neuron",
    "brainpy": "brainpy.state",
}
COUNTS = {  # right, known, not expressible, with the tested versions
    "torch": (31, 0, 0),
    "torch-network": (29, 0, 30),
    "snntorch": (17, 14, 0),
    "spikingjelly": (30, 0, 1),
    "norse": (17, 2, 12),
    "sinabs": (27, 0, 4),
    "spyx": (15, 0, 16),
    "brainpy": (15, 4, 12),
}
TRACED = ("spyx", "brainpy")  # compiled for every case: slow
# what frameworks warn of at home is not ours to mend
pytestmark = pytest.mark.filterwarnings("ignore")
VECTORS = tuple(vectors_of(KINDS["spiking_neuron"]))
NETWORK = "torch-network"


@pytest.fixture(params=[name for name in MODULES if name != NETWORK])
def adapter(request):
    return installed(request.param)


def installed(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(PACKAGES.get(name, name))
    return adapter_of(name)


def as_expected(found):
    news = [
        (outcome.name, outcome.says) for outcome in found.outcomes if outcome.status in ("differs", "error")
    ]
    assert not news
    assert found.good
    assert not found.unmatched


def test_random_cases(adapter):
    as_expected(crosscheck(adapter, VECTORS, only="random/*"))


@pytest.mark.parametrize("name", [name for name in MODULES if name not in TRACED])
def test_all_cases(name):
    all_cases(name)


@pytest.mark.long
@pytest.mark.parametrize("name", TRACED)
def test_all_cases_of_what_is_compiled_for_each(name, request):
    if request.config.getoption("-m") != "long":
        pytest.skip("a minute; run with -m long")
    all_cases(name)


def all_cases(name):
    adapter = installed(name)
    found = crosscheck(adapter, VECTORS if name != NETWORK else None)
    as_expected(found)
    if not found.warnings:
        assert tuple(map(found.count, ("right", "known", "not expressible"))) == COUNTS[name]
        assert not found.gone


def test_a_leak_that_is_wrong_in_the_seventh_digit_is_seen(adapter):
    def run(problem):
        return adapter.run(problem.changed(leak=problem.hyperparameters["leak"] * (1 - 1e-7)))

    case = "random/soft-attached" if adapter.name in TRACED else "random/hard-detached"
    (outcome,) = crosscheck(replace(adapter, run=run), VECTORS, only=case).outcomes
    assert outcome.status == "differs"
    assert {grade.path for grade in outcome.new} >= {"states/charged", "gradients/current"}


def test_an_error_in_one_layer_of_a_network_is_seen_in_what_lies_below():
    adapter = installed(NETWORK)

    def run(problem):
        return adapter.run(problem.changed(detach_reset=[True, False]))

    (outcome,) = crosscheck(replace(adapter, run=run), only="bptt/soft-attached").outcomes
    assert outcome.status == "differs"
    assert {grade.path for grade in outcome.new} == {"gradients/layer.1.weight", "gradients/layer.1.bias"}


def test_claims_about_its_own_neurons(adapter):
    outcomes = measured(conventions_of(adapter.name))
    assert [(o.convention.name, o.figure) for o in outcomes if not o.holds] == []


def test_a_claim_that_is_wrong_is_seen():
    """snnTorch is asked for with another decay than its rule has."""
    pytest.importorskip("snntorch")
    from refsnn.crosscheck import rules
    from refsnn.crosscheck.conventions.measuring import compared, drive
    from refsnn.crosscheck.conventions.snntorch import _as, _leaky

    problem = drive("snntorch-1.0.0-atan", fires=">", detach_reset=True)
    run = _leaky()
    control = _as(rules.same_step)
    assert compared(run, rules.next_step, problem, 1e-6, control).holds
    wrong = compared(lambda one: run(one.changed(leak=0.9001)), rules.next_step, problem, 1e-6, control)
    assert not wrong.holds


def test_a_framework_without_its_hook_is_seen():
    """The surrogate of snnTorch in place of ours."""
    pytest.importorskip("snntorch")
    from refsnn.crosscheck import snntorch as module

    surrogate = imported("snntorch.surrogate")
    own = module.Spike

    class Shipped(own):
        def __call__(self, distance):
            super().__call__(distance)
            return surrogate.fast_sigmoid()(distance)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "Spike", Shipped)
        found = crosscheck(adapter_of("snntorch"), VECTORS, only="random/hard-detached")
    assert found.count("differs") == 1
