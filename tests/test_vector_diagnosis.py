"""What a difference points to: several explanations of one case, and what the other cases say of them."""

from __future__ import annotations

import fnmatch
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from refsnn.equations.surrogates import SURROGATES
from refsnn.vectors.diagnosis import Explanation, _joined, diagnosed, diagnosed_together, made
from refsnn.vectors.format import read_file
from refsnn.vectors.grading import graded
from refsnn.vectors.kinds import KINDS
from refsnn.vectors.patterns import patterns

ROOT = Path(__file__).resolve().parent.parent
VECTORS = ROOT / "data" / "vectors" / "spiking_neuron.h5"
KIND = KINDS["spiking_neuron"]
MISTAKES = {mistake.name: mistake for mistake in KIND.mistakes}


@cache
def vectors():
    return read_file(VECTORS)


def stored(name):
    """A case, and its right answers."""
    vector = next(vector for vector in vectors() if vector.case.name == name)
    return vector, {path: leaf.value for path, leaf in vector.expected.items()}


class Layer:
    """A layer of spiking neurons as the page has it; what can be wrong is a method."""

    def slope_of_psi(self, slope):
        return slope

    def reset(self, charged, spikes, rest):
        return (1 - spikes) * charged + spikes * rest

    def __call__(self, problem):
        given = problem.hyperparameters | {
            "surrogate.slope": self.slope_of_psi(problem.hyperparameters["surrogate.slope"])
        }
        leak, threshold, rest = given["leak"], given["threshold"], given["reset_value"]
        hard = given["reset"] == "hard"
        current, potential, upstream = (
            problem.inputs[name] for name in ("current", "start", "spike_adjoint")
        )
        charged, spikes = np.empty((2, *current.shape))
        for t, entering in enumerate(current):
            charged[t] = leak * potential + entering + ((1 - leak) * rest if hard else 0)
            spikes[t] = charged[t] > threshold if given["fires"] == ">" else charged[t] >= threshold
            soft = charged[t] - threshold * spikes[t]
            potential = self.reset(charged[t], spikes[t], rest) if hard else soft
        shape = SURROGATES[given["surrogate.shape"]]
        psi = shape(charged - threshold, given["surrogate.slope"], given["surrogate.height"], 1.0)
        through = 0 * psi if given["detach_reset"] else psi
        slope = (1 - spikes) + (rest - charged) * through if hard else 1 - threshold * through
        back, carried = np.empty_like(current), np.zeros_like(potential)
        trace, jacobian = np.ones_like(potential), np.zeros_like(potential)
        for t in reversed(range(len(current))):
            back[t] = upstream[t] * psi[t] + carried * slope[t]
            carried = leak * back[t]
        for t in range(len(current)):
            jacobian += psi[t] * trace / len(current)
            trace = 1 + leak * slope[t] * trace
        return {
            "states/charged": charged,
            "states/spikes": spikes,
            "states/potential": potential,
            "loss": np.asarray((upstream * spikes).sum()),
            "gradients/current": back,
            "gradients/start": carried,
            "rate": spikes.mean(axis=0),
            "rate_jacobian": jacobian,
        }


class ForwardResetToZero(Layer):
    def reset(self, charged, spikes, rest):
        return (1 - spikes) * charged


class SlopeDoubled(Layer):
    def slope_of_psi(self, slope):
        return 2 * slope


def graded_all(layer, pattern="*"):
    """Reports of the stored cases, by their names."""
    chosen = [vector for vector in vectors() if fnmatch.fnmatch(vector.case.name, pattern)]
    reports = [graded(vector, layer(vector.case.problem)) for vector in chosen]
    return {report.vector.case.name: report for report in diagnosed_together(reports, KIND)}


def test_the_layer_of_these_tests_is_right():
    assert all(report.right for report in graded_all(Layer()).values())


def test_a_hard_reset_to_0_is_not_called_late():
    reports = [report for report in graded_all(ForwardResetToZero()).values() if not report.right]
    assert len(reports) >= 4
    for report in reports:
        assert report.diagnosis[0].startswith("the hard reset of the forward pass goes to 0, the leak")
        assert "; or" not in report.diagnosis[0]
        assert len(report.diagnosis) == 1


def test_a_late_hard_reset_goes_to_the_reset_value():
    """Late and hard changes no potential before the spike: what leaks from v_r towards v_r is there."""
    vector, right = stored("random/hard-attached")
    assert vector.case.problem.hyperparameters["reset_value"] != 0
    late = made(KIND, vector.case.problem, (MISTAKES["late-reset"],))
    assert right["states/spikes"].any()
    np.testing.assert_allclose(late["states/charged"], right["states/charged"], rtol=1e-13)


def test_what_other_cases_contradict_is_said():
    """psi is 0 wherever it is asked in one case: that is as if it were taken after the reset."""
    alone = graded_all(SlopeDoubled(), "saturated/hard")["saturated/hard"].diagnosis
    assert alone == (f"{MISTAKES['psi-after-reset'].says} [{MISTAKES['psi-after-reset'].equation}]",)
    among_others = graded_all(SlopeDoubled())
    assert "other wrong cases contradict it" in among_others["saturated/hard"].diagnosis[0]
    assert "otherwise no known mistake" in among_others["saturated/hard"].diagnosis[1]
    assert "psi is taken at the potential" not in "".join(among_others["random/hard-attached"].diagnosis)


def test_all_that_explain_alike_are_named_and_other_cases_decide():
    """A hard, detached reset: its slope without 1 - s_t is 1, and so it is where the reset is ignored."""

    def without(problem):
        return made(KIND, problem, (MISTAKES["whole-slope"],)) or Layer()(problem)

    lacks, ignored = (f"{MISTAKES[name].says} [dv_t/dh_t]" for name in ("whole-slope", "straight"))
    alone = graded_all(without, "random/hard-detached")["random/hard-detached"]
    assert alone.diagnosis == (f"{lacks}; or {ignored}",)
    both = graded_all(without, "random/hard-*")
    assert [report.diagnosis for report in both.values()] == [(lacks,), (lacks,)]


def test_what_explains_more_cases_is_named_first():
    """Soft and attached, two mistakes are alike; where the reset is detached, one of them changes nothing."""

    def attached(problem):
        return made(KIND, problem, (MISTAKES["reset-gradient"],))

    names = ("reset-gradient", "straight")
    texts = [f"{MISTAKES[name].says} [dv_t/dh_t]" for name in names]
    alone = graded_all(attached, "random/soft-attached")["random/soft-attached"]
    assert alone.diagnosis == ("; or ".join(texts),)
    both = graded_all(attached, "random/soft-*")
    assert [report.diagnosis for report in both.values()] == [(texts[0],)] * 2


def test_pairs_that_explain_alike_are_named_and_single_ones_come_first():
    def two(problem):
        return made(KIND, problem, (MISTAKES["gain"], MISTAKES["straight"]))

    def said(name):
        return f"{MISTAKES['gain'].says} [{MISTAKES['gain'].equation}]", f"{MISTAKES[name].says} [dv_t/dh_t]"

    alone = graded_all(two, "random/soft-attached")["random/soft-attached"].diagnosis
    assert len(alone) == 1
    named = {frozenset(pair.split("; and ")) for pair in alone[0].split("; or ")}
    assert named == {frozenset(said("straight")), frozenset(said("reset-gradient"))}
    together = graded_all(two, "random/*")
    for name in ("random/soft-attached", "random/hard-attached", "random/hard-detached"):
        (text,) = together[name].diagnosis
        assert set(text.split("; and ")) == set(said("straight")), name
    (text,) = together["random/soft-detached"].diagnosis  # one of the two changes nothing there
    assert text == said("straight")[0]


def test_more_than_a_handful_is_counted():
    explanation = Explanation((MISTAKES["gain"],), (), True)
    assert _joined([explanation] * 7).endswith("; or 2 others that give the same")
    assert _joined([explanation] * 5).count("; or ") == 4


def test_coarse_leaves_and_zeros_explain_no_part():
    """The rate of a late spike, and a gradient of zeros that a cut would give too; the rest is otherwise."""
    vector, right = stored("random/soft-detached")
    late = made(KIND, vector.case.problem, (MISTAKES["late-spike"],))
    spoiled = {
        path: value * np.linspace(1.1, 1.4, value.size).reshape(value.shape) for path, value in right.items()
    }
    for part in (("rate",), ("loss", "rate"), ("states/spikes", "rate")):
        report = diagnosed(graded(vector, spoiled | {path: late[path] for path in part}), KIND)
        assert all(grade.bad for grade in report.grades)
        assert "explains" not in " ".join(report.diagnosis), part
    zeros = {"gradients/start": np.zeros(8), "gradients/current": right["gradients/current"] ** 2}
    report = diagnosed(graded(vector, right | zeros), KIND)
    assert "explains" not in " ".join(report.diagnosis)
    report = diagnosed(graded(vector, late | {"gradients/current": right["gradients/current"] ** 2}), KIND)
    assert "explains states/charged" in " ".join(report.diagnosis)


def test_neurons_with_small_entries_are_not_single_precision():
    def wrong_by_one_percent(x, neurons):
        return x * np.where(np.isin(np.arange(8), neurons), 1.01, 1.0)

    def small(x):
        return np.where(np.isin(np.arange(8), (3, 5)), 1e-4, 1.0) * x

    vector, right = stored("random/soft-detached")
    leaf = vector.expected["gradients/current"]
    scaled = replace(leaf, value=small(leaf.value))
    vector = replace(vector, expected=vector.expected | {"gradients/current": scaled})

    def says(value):
        report = graded(vector, right | {"gradients/current": value})
        (grade,) = (grade for grade in report.grades if grade.bad)
        assert grade.error < 1e-5
        return list(patterns(report, grade))

    assert says(scaled.value.astype(np.float32).astype(float))[0].startswith("right to single precision")
    for neurons in ((3,), (3, 5)):
        wrong = wrong_by_one_percent(scaled.value, neurons)
        assert not any("single" in text for text in says(wrong)), neurons
    last = np.where(np.arange(8) == 3, scaled.value.astype(np.float32), scaled.value)
    assert not any("single" in text for text in says(last))  # the rounding of one neuron: not on the way
