"""Every kind of golden vectors: the files are what the code gives, the oracles agree, mistakes are named."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from refsnn.vectors.case import FLAGS
from refsnn.vectors.diagnosis import diagnosed, explanations, made
from refsnn.vectors.format import read_file
from refsnn.vectors.grading import graded
from refsnn.vectors.kinds import KINDS
from refsnn.vectors.making import MANIFEST, file_name, make, relative_error, sha256, verify

FOLDER = Path(__file__).resolve().parent.parent / "data" / "vectors"
IN_CUDA = {"spiking_neuron"}  # a launch of the simulator costs seconds: the kernels have tests of their own


@cache
def stored(kind):
    return read_file(FOLDER / file_name(kind))


def alike(found, leaf, room=1.0):
    if not leaf.tolerance:
        return np.array_equal(found, leaf.value)
    return relative_error(found, leaf.value) <= room * leaf.tolerance


def test_every_kind_has_its_files_and_the_manifest_pins_them():
    manifest = json.loads((FOLDER / MANIFEST).read_text())
    names = {file_name(kind, inputs_only) for kind in KINDS for inputs_only in (False, True)}
    assert set(manifest["files"]) == names == {path.name for path in FOLDER.glob("*.h5")}
    for name, entry in manifest["files"].items():
        assert entry["sha256"] == sha256(FOLDER / name), name
    assert manifest["flags"] == FLAGS
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 20e6


@pytest.mark.parametrize("kind", KINDS)
def test_cases_are_those_of_the_file_and_the_oracle_agrees(kind):
    cases = list(KINDS[kind].cases(False))
    assert [case.name for case in cases] == [vector.case.name for vector in ordered(kind, cases)]
    for case, vector in zip(cases, ordered(kind, cases), strict=True):
        assert case.purpose == vector.case.purpose
        assert set(case.flags) == set(vector.case.flags) - {"float64-only"}
        assert case.problem.hyperparameters == vector.case.problem.hyperparameters
        for path, array in case.problem.inputs.items():
            np.testing.assert_allclose(array, vector.case.problem.inputs[path], rtol=1e-12, atol=1e-14)
        verify(KINDS[kind], case, {path: leaf.value for path, leaf in vector.expected.items()})


def ordered(kind, cases):
    by_name = {vector.case.name: vector for vector in stored(kind)}
    assert len(by_name) == len(cases)
    return [by_name[case.name] for case in cases]


@pytest.mark.parametrize(
    ("kind", "backend"),
    [(kind, backend) for kind in KINDS for backend in ("plain", "cpu")]
    + [pytest.param(kind, "cuda", marks=pytest.mark.cuda) for kind in KINDS if kind in IN_CUDA],
)
def test_what_the_inputs_alone_give_is_what_the_file_says(kind, backend):
    """From the inputs-only twin: a case stands alone."""
    answers = {vector.case.name: vector for vector in stored(kind)}
    for vector in read_file(FOLDER / file_name(kind, inputs_only=True)):
        assert not vector.expected
        if backend == "cuda" and "long" in vector.case.flags:
            continue  # a thousand steps in the simulator say nothing new
        found = KINDS[kind].solve(vector.case.problem, backend).leaves
        answer = answers[vector.case.name]
        assert set(found) == set(answer.expected) == set(vector.asked)
        for path, leaf in answer.expected.items():
            assert found[path].dtype == leaf.value.dtype, (vector.case.name, path)
            assert alike(found[path], leaf), (vector.case.name, path)


@pytest.mark.parametrize("kind", KINDS)
def test_single_precision_passes_where_it_can(kind):
    """In plain: that a compiled twin gives the same in single precision is tested with its kernels."""
    graded_cases = 0
    for vector in stored(kind):
        with np.errstate(all="ignore"):
            found = KINDS[kind].solve(vector.case.problem.cast(np.float32), "plain").leaves
        report = graded(vector, found)
        assert not any(grade.bad for grade in report.grades), (vector.case.name, report.grades)
        graded_cases += report.right
    assert graded_cases >= len(stored(kind)) / 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_mistake_that_is_made_is_named(kind):
    """Where it makes a difference, and by a name that explains all of it; each does so somewhere."""
    known = {}

    def make(of, problem, mistakes):
        """Remembers what each mistake gives for each case."""
        key = id(problem), mistakes
        if key not in known:
            known[key] = made(of, problem, mistakes)
        return known[key]

    found = Counter()
    for vector in stored(kind):
        if "long" in vector.case.flags:
            continue
        for mistake in KINDS[kind].mistakes:
            wrong = make(KINDS[kind], vector.case.problem, (mistake,)) if found[mistake.name] < 2 else None
            report = wrong and graded(vector, wrong)
            if not report or not any(grade.bad for grade in report.grades):
                continue
            names = [one.mistakes[0].name for one in explanations(report, KINDS[kind], make) if one.whole]
            assert mistake.name in names, (vector.case.name, mistake.name, names)
            found[mistake.name] += 1
    assert {mistake.name for mistake in KINDS[kind].mistakes} == set(+found)


@pytest.mark.parametrize("kind", KINDS)
def test_right_answers_are_right_and_every_changed_leaf_is_seen(kind):
    for vector in stored(kind):
        answers = {path: leaf.value for path, leaf in vector.expected.items()}
        assert graded(vector, answers).right
        assert diagnosed(graded(vector, answers), KINDS[kind]).diagnosis == ()
        for path, value in answers.items():
            spoiled = np.array(value)
            if spoiled.size == 0:
                continue
            # one entry, by a hundred times what is allowed
            step = 100 * vector.expected[path].tolerance * (np.abs(spoiled).max() or 1.0)
            spoiled.flat[-1] += step or 1
            bad = [grade.path for grade in graded(vector, answers | {path: spoiled}).grades if grade.bad]
            assert bad == [path], (vector.case.name, path)


@pytest.mark.parametrize("kind", KINDS)
def test_words_say_what_each_number_is(kind):
    for vector in stored(kind):
        problem = vector.case.problem
        said = set(KINDS[kind].inputs)

        def explained(name, said=said):
            return any(name == key or (key.endswith("*") and name.startswith(key[:-1])) for key in said)

        assert [name for name in problem.hyperparameters if not explained(name)] == []
        assert [path for path in problem.inputs if not explained(f"inputs/{path}")] == []


def test_making_twice_gives_the_same_bytes(tmp_path):
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        make(tmp_path / folder, [KINDS["spiking_neuron"]])
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes(), path.name
