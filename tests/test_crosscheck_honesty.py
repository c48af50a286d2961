"""What a crosscheck must not hide: changed inputs, a program that ends, single precision, other versions."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from refsnn import cli
from refsnn.crosscheck import Adapter, crosscheck
from refsnn.crosscheck.conventions.measuring import Convention, measured
from refsnn.crosscheck.html_page import as_html
from refsnn.crosscheck.known import Known
from refsnn.crosscheck.reporting import as_dict, as_page
from refsnn.crosscheck.rules import leaves_by
from refsnn.text_tables import as_lines
from refsnn.vectors.case import Problem
from refsnn.vectors.kinds import KINDS
from refsnn.vectors.making import vectors_of

KIND = KINDS["spiking_neuron"]
VECTORS = tuple(vectors_of(KIND))
CASE = "random/hard-attached"
SLOPE = Known(
    ("*/hard-attached",), ("gradients/*", "rate_jacobian"), ("1",), "no 1 - s", "slope-without-spike"
)


def right(problem):
    return dict(KIND.solve(problem, "plain").leaves)


def without_spike(problem):
    return dict(leaves_by("slope-without-spike", problem))


def shown(found):
    """Text and HTML, and the figures of the only framework."""
    (figures,) = json.loads(json.dumps(as_dict([found])))["frameworks"]
    return as_lines(as_page(found)), as_html([found]), figures


# ---- inputs that are changed in place -----------------------------------------------------------------


def changes(problem, run, name, how):
    how(problem.inputs[name])
    return run(problem)


def first_is_lost(upstream):
    upstream[0] = 0


@pytest.mark.parametrize("leaves", [("*",), ("gradients/*", "rate_jacobian")])
def test_a_new_difference_made_in_place_is_not_hidden_by_a_known_one(leaves):
    known = replace(SLOPE, leaves=leaves)
    assert crosscheck(without_spike, VECTORS, known=(known,), only=CASE).count("known") == 1
    spoiled = partial(changes, run=without_spike, name="spike_adjoint", how=first_is_lost)
    (outcome,) = crosscheck(spoiled, VECTORS, known=(known,), only=CASE).outcomes
    assert outcome.status == "differs"
    assert "gradients/current" in {grade.path for grade in outcome.new}
    assert "otherwise than is known" in outcome.says


def test_a_change_in_place_is_not_told_as_a_rule_of_the_right_neuron():
    def doubled(upstream):
        upstream *= 2

    spoiled = partial(changes, run=right, name="spike_adjoint", how=doubled)
    (outcome,) = crosscheck(spoiled, VECTORS, only=CASE).outcomes
    assert outcome.status == "differs"
    assert "same-step" not in outcome.says
    assert any("2 times what is expected" in text for text in outcome.report.diagnosis)


def test_what_is_changed_in_place_is_told_and_is_no_failure_by_itself():
    def late(problem):
        leaves = right(problem)
        problem.inputs["current"][0] += 1
        problem.hyperparameters["leak"] = 0.0
        return leaves

    before = [vector.case.problem.inputs["current"].copy() for vector in VECTORS]
    found = crosscheck(late, VECTORS, only="random/*")
    assert found.good
    assert {outcome.altered for outcome in found.outcomes} == {("current", "leak")}
    text, page, figures = shown(found)
    for said in (text, page):
        assert "what it was given is changed in place, current, leak: random/soft-detached" in said
    assert figures["cases"][0]["changed_in_place"] == ["current", "leak"]
    for vector, current in zip(VECTORS, before, strict=True):  # the next framework gets what it should
        np.testing.assert_array_equal(vector.case.problem.inputs["current"], current)
    clean = crosscheck(right, VECTORS, only="random/*")
    assert not any(outcome.altered for outcome in clean.outcomes)
    assert "changed in place" not in as_lines(as_page(clean))


@pytest.mark.parametrize("change", ["taken out", "another dtype", "one bit", "negative zero", "a list"])
def test_each_kind_of_change_is_seen(change):
    def run(problem: Problem):
        leaves, start = right(problem), problem.inputs["start"]
        if change == "taken out":
            del problem.inputs["start"]
        elif change == "another dtype":
            problem.inputs["start"] = start.astype(np.float32)
        elif change == "a list":
            problem.inputs["start"] = start.tolist()
        elif change == "negative zero":
            start[...] = -start
        else:
            start[0] = np.nextafter(start[0], 9.0)
        return leaves

    case = next(v.case for v in VECTORS if not v.case.problem.inputs["start"].any())
    (outcome,) = crosscheck(run, VECTORS, only=case.name).outcomes
    assert outcome.altered == ("start",)


def test_a_buffer_that_is_used_again_does_not_change_earlier_grades():
    buffer = {}

    def run(problem):
        for path, leaf in right(problem).items():
            buffer[path] = (
                buffer[path] if path in buffer and buffer[path].shape == leaf.shape else np.zeros_like(leaf)
            )
            buffer[path][...] = leaf
        return buffer

    found = crosscheck(run, VECTORS, only="random/*")
    first = found.outcomes[0].report
    for path, leaf in first.vector.expected.items():
        np.testing.assert_allclose(first.found[path], leaf.value, rtol=1e-9, atol=1e-9)


# ---- a program that ends ------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0, 1, None, "stop"])
def test_a_framework_that_ends_the_program_is_a_finding(status):
    def ends(problem):
        raise SystemExit(status)

    found = crosscheck(ends, VECTORS, only="random/*")
    assert not found.good
    assert found.count("error") == 4
    assert f"SystemExit: {status}" in as_lines(as_page(found))
    (claim,) = measured((Convention("ends", "it ends", partial(ends, None)),))
    assert not claim.holds


def test_an_interrupt_of_the_user_is_none():
    def interrupted(problem):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crosscheck(interrupted, VECTORS, only="random/*")


def test_the_command_reports_it_and_its_exit_status_is_not_that_of_the_framework(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "ends_in_a_case.py").write_text("import sys\ndef run(problem): sys.exit(0)\n")
    (tmp_path / "ends_at_once.py").write_text("import sys\nsys.exit(0)\n")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["crosscheck", "ends_in_a_case:run", "--only", "random/*"]) == 1
    assert "4 raised an ERROR" in capsys.readouterr().out
    assert cli.main(["crosscheck", "ends_at_once:run", "--only", "random/*"]) == 2
    assert "'ends_at_once:run', which ends the program (SystemExit: 0)" in capsys.readouterr().err


# ---- precision ----------------------------------------------------------------------------------------


def single(problem, error=0.0):
    return {path: (leaf * (1 + error)).astype(np.float32) for path, leaf in right(problem).items()}


def spikes_in_single(problem):
    leaves = right(problem)
    return leaves | {"states/spikes": leaves["states/spikes"].astype(np.float32)}


def test_single_precision_is_told_everywhere():
    found = crosscheck(single, VECTORS, only="random/*")
    text, page, figures = shown(found)
    assert found.count("right") == len(found.single) == 4
    for said in (text, page):
        assert "4 of 4 cases came in single precision, where errors up to 1.0e-04 of the largest" in said
        assert "right, in single precision" in said
        assert "4 came in SINGLE PRECISION." in said
    assert "<td>4 of 4</td>" in page
    assert figures["cases_in_single_precision"] == 4
    assert "gradients/current" in figures["cases"][0]["single_precision"]
    assert {leaf["path"] for leaf in figures["cases"][0]["leaves"] if leaf["single"]} == set(
        VECTORS[0].expected
    )


@pytest.mark.parametrize("run", [right, spikes_in_single])
def test_double_precision_is_not_told_as_single(run):
    found = crosscheck(run, VECTORS, only="random/*")
    text, page, figures = shown(found)
    assert found.count("right") == 4
    assert found.single == ()
    assert "came in" not in text + page
    assert figures["cases_in_single_precision"] == 0


def test_a_case_of_which_nothing_is_graded_is_not_right():
    vectors = [
        replace(vector, case=replace(vector.case, flags=(*vector.case.flags, "float64-only")))
        for vector in VECTORS
        if vector.case.name == CASE
    ]
    found = crosscheck(single, vectors)
    (outcome,) = found.outcomes
    assert outcome.status == "not graded"
    assert "8 of 8 leaves came in single precision" in outcome.says
    assert (found.good, found.compared) == (False, 0)
    text, page, figures = shown(found)
    assert "1 not graded" in text
    assert "for double precision only" in text
    assert "not graded" in page
    assert figures["counts"]["not graded"] == 1
    (mostly,) = crosscheck(spikes_in_single, vectors).outcomes
    assert mostly.status == "not graded"  # right is each leaf
    assert "1 of 8 leaves came in single precision" in mostly.says


# ---- known differences --------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [9e-9, 3e-12])
def test_a_small_new_error_beside_a_known_difference_is_new(error):
    def run(problem):
        leaves = without_spike(problem)
        return leaves | {"gradients/current": leaves["gradients/current"] * (1 + error)}

    (outcome,) = crosscheck(run, VECTORS, known=(SLOPE,), only=CASE).outcomes
    assert outcome.status == "differs"
    assert outcome.says.startswith(
        "it differs otherwise than is known; it is nearly as the rule slope-without"
    )


def test_rounding_beside_a_known_difference_is_none():
    def run(problem):
        return {path: leaf * (1 + 1e-13 * (leaf % 1 != 0)) for path, leaf in without_spike(problem).items()}

    assert crosscheck(run, VECTORS, known=(SLOPE,), only=CASE).count("known") == 1


def test_a_small_error_of_the_right_neuron_is_not_told_as_a_rule():
    def run(problem):
        leaves = right(problem)
        return leaves | {"gradients/current": leaves["gradients/current"] * (1 + 9e-9)}

    (outcome,) = crosscheck(run, VECTORS, only=CASE).outcomes
    assert (outcome.status, outcome.says) == ("differs", "")


def test_an_entry_about_leaves_that_are_right_is_no_reason():
    other = Known(("*",), ("loss",), ("1",), "another matter", at_most=1e-3)
    (outcome,) = crosscheck(without_spike, VECTORS, known=(SLOPE, other), only=CASE).outcomes
    assert (outcome.status, outcome.says, outcome.known) == ("known", "no 1 - s", (SLOPE,))


def test_a_difference_known_of_another_version_is_known_and_told():
    framework = Adapter("mine", "mine", ("scipy", "numpy"), {}, without_spike)
    found = crosscheck(framework, VECTORS, known=(SLOPE,), only=CASE)
    assert found.good
    assert found.count("known") == 1
    assert found.elsewhere == ((SLOPE, CASE),)
    text, page, figures = shown(found)
    assert f"{CASE}: 'no 1 - s' is known of 1, not of the version that is installed" in text
    assert "is known of 1, not of the version that is installed" in page
    assert figures["known_of_other_versions"] == [{"case": CASE, "reason": "no 1 - s", "versions": ["1"]}]


def test_a_difference_known_of_this_version_and_that_of_a_function_are_not():
    here = replace(SLOPE, versions=("1", np.__version__))
    framework = Adapter("mine", "mine", ("scipy", "numpy"), {}, without_spike)
    for run, known in ((framework, here), (without_spike, SLOPE)):
        found = crosscheck(run, VECTORS, known=(known,), only=CASE)
        assert found.count("known") == 1
        assert found.elsewhere == ()
        assert "is known of" not in as_lines(as_page(found))


def test_a_difference_of_another_version_that_explains_nothing_is_not_told():
    framework = Adapter("mine", "mine", ("numpy",), {}, right)
    found = crosscheck(framework, VECTORS, known=(SLOPE,), only=CASE)
    assert found.elsewhere == ()
    assert [case for _, case in found.gone] == [CASE]
