"""The crosscheck, with functions that stand for frameworks: what is known, new, gone, refused, absent."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from refsnn import cli
from refsnn.commands import crosscheck as command
from refsnn.crosscheck import Adapter, NotExpressibleError, adapter_of, crosscheck
from refsnn.crosscheck import known as known_differences
from refsnn.crosscheck.adapter import imported, versions, warnings
from refsnn.crosscheck.adapters import MODULES
from refsnn.crosscheck.conventions.measuring import (
    Convention,
    compared,
    conventions_of,
    drive,
    measured,
    slopes_compared,
)
from refsnn.crosscheck.html_page import as_html
from refsnn.crosscheck.known import Known, known_of, parsed, read_known
from refsnn.crosscheck.norse import unit
from refsnn.crosscheck.reporting import as_dict, as_page, summary
from refsnn.crosscheck.rules import RULES, adaptive_threshold_of_spikes, leaves_by, next_step, same_step
from refsnn.crosscheck.shapes import psi
from refsnn.crosscheck.simulation import simulated
from refsnn.equations.surrogates import PRESETS, SURROGATES
from refsnn.text_tables import as_lines
from refsnn.vectors.diagnosis import made
from refsnn.vectors.kinds import KINDS
from refsnn.vectors.making import relative_error, vectors_of

KIND = KINDS["spiking_neuron"]
VECTORS = tuple(vectors_of(KIND))


def right(problem):
    return KIND.solve(problem, "plain").leaves


def with_mistake(name, problem):
    """What an implementation with a known mistake gives; the right answer where the mistake says nothing."""
    mistake = next(mistake for mistake in KIND.mistakes if mistake.name == name)
    found = made(KIND, problem, (mistake,))
    return right(problem) if found is None else found


def whole_slope(problem):
    return with_mistake("whole-slope", problem)


KNOWN_SLOPE = Known(
    cases=("*/hard-attached", "zero-upstream/hard"),
    leaves=("gradients/*", "rate_jacobian"),
    versions=("1",),
    reason="lacks the factor",
    rule="slope-without-spike",
)


def hard_attached(problem):
    given = problem.hyperparameters
    return given["reset"] == "hard" and not given["detach_reset"]


def only_attached(problem):
    """Wrong in the hard reset through which the gradient flows, right elsewhere."""
    return whole_slope(problem) if hard_attached(problem) else right(problem)


# ---- verdicts ---------------------------------------------------------------------------------------------


def test_a_right_function_is_right_in_all_cases():
    found = crosscheck(right, VECTORS)
    assert found.good
    assert found.count("right") == len(VECTORS) == found.compared
    assert "DIFFERENT" not in as_lines(as_page(found))


@pytest.mark.parametrize(
    "mistake", ["reset-gradient", "late-reset", "gain", "psi-after-reset", "no-mean-rate"]
)
def test_a_mistake_is_new_and_explained(mistake):
    found = crosscheck(partial(with_mistake, mistake), VECTORS, only="random/*")
    assert not found.good
    wrong = [outcome for outcome in found.outcomes if outcome.status == "differs"]
    says = next(m.says for m in KIND.mistakes if m.name == mistake)
    assert wrong
    assert any(says in text for outcome in wrong for text in outcome.report.diagnosis)
    assert "NEW differences" in as_lines(as_page(found))


def test_a_known_difference_is_no_news_and_all_others_are():
    unknown = crosscheck(only_attached, VECTORS, known=())
    known = crosscheck(only_attached, VECTORS, known=(KNOWN_SLOPE,))
    names = {outcome.name for outcome in unknown.outcomes if outcome.status == "differs"}
    assert names == {o.name for o in of_status(known, "known")} != set()
    assert known.good
    assert not unknown.good
    assert not known.gone
    assert not known.unmatched


def of_status(found, status):
    return [outcome for outcome in found.outcomes if outcome.status == status]


def test_another_error_in_the_same_leaf_is_not_covered():
    def worse(problem):
        leaves = only_attached(problem)
        return leaves | {"gradients/current": 1.001 * leaves["gradients/current"]}

    found = crosscheck(worse, VECTORS, known=(KNOWN_SLOPE,), only="random/hard-attached")
    assert not found.good
    (outcome,) = found.outcomes
    assert "otherwise than is known" in outcome.says


def test_another_leaf_of_a_known_case_stands_out():
    known = replace(KNOWN_SLOPE, leaves=("gradients/current",))
    (outcome,) = crosscheck(only_attached, VECTORS, known=(known,), only="random/hard-attached").outcomes
    assert outcome.status == "differs"
    assert [grade.path for grade in outcome.new] == ["gradients/start", "rate_jacobian"]


def test_a_size_bounds_a_known_difference():
    def rounded(problem):
        leaves = right(problem)
        return leaves | {"gradients/current": leaves["gradients/current"] * (1 + 1e-8)}

    entry = Known(("*",), ("gradients/current",), ("1",), "rounded", at_most=2e-8)
    assert crosscheck(rounded, VECTORS, known=(entry,), only="random/*").count("known") == 4
    narrow = replace(entry, at_most=5e-9)
    assert crosscheck(rounded, VECTORS, known=(narrow,), only="random/*").count("differs") == 4


def test_a_size_does_not_cover_a_leaf_that_is_no_number_or_missing():
    def broken(problem):
        leaves = right(problem)
        return {path: leaf for path, leaf in leaves.items() if path != "rate"} | {
            "gradients/start": np.full_like(leaves["gradients/start"], np.nan)
        }

    entry = Known(("*",), ("rate", "gradients/start"), ("1",), "all the same", at_most=1e9)
    (outcome,) = crosscheck(broken, VECTORS, known=(entry,), only="one-step/*").outcomes
    assert sorted(grade.status for grade in outcome.new) == ["missing", "not finite"]


def test_differences_that_are_gone_and_entries_that_match_nothing_are_reported_but_are_no_failure():
    nowhere = replace(KNOWN_SLOPE, cases=("no/such-case",), reason="nowhere")
    no_leaf = replace(KNOWN_SLOPE, leaves=("no/such/leaf",), reason="no leaf")
    found = crosscheck(right, VECTORS, known=(KNOWN_SLOPE, nowhere, no_leaf))
    assert found.good
    assert {case for entry, case in found.gone if entry is KNOWN_SLOPE} == {
        name for name in (vector.case.name for vector in VECTORS) if KNOWN_SLOPE.names_case(KIND.name, name)
    }
    assert found.unmatched == (nowhere, no_leaf)
    text = as_lines(as_page(found))
    assert "No longer different: random/hard-attached" in text
    assert "Names no case or no leaf: the known difference 'nowhere'" in text


def test_a_pattern_of_cases_does_not_make_entries_match_nothing():
    assert not crosscheck(only_attached, VECTORS, known=(KNOWN_SLOPE,), only="one-step/*").unmatched


def test_a_refusal_is_no_failure_and_says_why():
    def soft_only(problem):
        if problem.hyperparameters["reset"] == "hard":
            raise NotExpressibleError("it has no hard reset")
        return right(problem)

    found = crosscheck(soft_only, VECTORS)
    assert found.good
    assert found.count("not expressible") == sum(
        vector.case.problem.hyperparameters["reset"] == "hard" for vector in VECTORS
    )
    assert "it has no hard reset" in as_lines(as_page(found))


def test_where_all_is_refused_nothing_is_good():
    def nothing(problem):
        raise NotExpressibleError("not today")

    found = crosscheck(nothing, VECTORS)
    assert not found.good
    assert "Nothing was compared" in as_lines(as_page(found))


def test_what_a_framework_raises_is_a_finding():
    def raises(problem):
        raise RuntimeError("no kernel for this dtype")

    found = crosscheck(raises, VECTORS, only="random/*")
    assert not found.good
    assert found.count("error") == 4
    assert "RuntimeError: no kernel for this dtype" in as_lines(as_page(found))


def test_what_is_no_array_is_a_finding_too():
    (outcome,) = crosscheck(lambda problem: {"loss": "high"}, VECTORS, only="one-step/*").outcomes
    assert outcome.status == "error"
    assert "loss: expected numbers" in outcome.says
    found = crosscheck(lambda problem: None, VECTORS, only="one-step/*")
    assert found.outcomes[0].says == "TypeError: expected a dict of leaves by their names, got NoneType"
    assert summary(found).startswith("1 case: ")


def test_the_known_differences_of_the_package_must_be_there(monkeypatch, tmp_path):
    monkeypatch.setattr(known_differences.resources, "files", lambda package: tmp_path)
    assert known_of("mine") == ()
    with pytest.raises(FileNotFoundError, match=r"norse.toml: expected a file of the package"):
        known_of("norse")


def test_single_precision_is_graded_as_such_and_known_so():
    def single(problem):
        return {path: leaf.astype(np.float32) for path, leaf in only_attached(problem).items()}

    found = crosscheck(single, VECTORS, known=(KNOWN_SLOPE,), only="*/hard-attached")
    assert found.count("known") == 3


def test_a_wrong_case_pattern_and_vectors_of_another_kind():
    with pytest.raises(ValueError, match="only: expected a pattern of case names"):
        crosscheck(right, VECTORS, only="nothing/*")
    with pytest.raises(ValueError, match="vectors: expected those of spiking_neuron, got other"):
        crosscheck(right, [replace(VECTORS[0], kind="other")])


# ---- frameworks that are absent, or of another version ----------------------------------------------------


def test_an_absent_framework_says_what_to_install():
    absent = Adapter("absent", "nowhere", ("numpy", "no-such-framework"), {}, right)
    with pytest.raises(ImportError, match=r"found no no-such-framework; pip install 'refsnn\[frameworks\]'"):
        crosscheck(absent, VECTORS)
    with pytest.raises(ImportError, match="no_such_module: expected an installed package"):
        imported("no_such_module.inner")


def test_an_import_that_fails_within_a_run_is_not_a_finding_about_a_case():
    with pytest.raises(ImportError, match="no_such_module"):
        crosscheck(lambda problem: imported("no_such_module"), VECTORS)


def test_an_untested_version_is_a_warning_and_no_failure():
    here = Adapter("here", "numpy", ("numpy",), {"numpy": ("0.0.1",)}, right)
    found = crosscheck(here, VECTORS, only="random/*")
    assert found.good
    assert found.warnings == tuple(warnings(here, versions(here))) != ()
    assert f"Warning: numpy {np.__version__} is untested" in as_lines(as_page(found))
    assert "is untested" in as_html([found])
    tested = replace(here, tested={"numpy": (np.__version__,)})
    assert not crosscheck(tested, VECTORS, only="random/*").warnings


@pytest.mark.parametrize("name", MODULES)
def test_adapters_conventions_and_known_differences_can_be_read_without_the_framework(name):
    adapter = adapter_of(name)
    assert adapter.name == name
    vectors = VECTORS if adapter.kind == KIND.name else ()
    for entry in known_of(name):
        assert any(entry.names_case(vector.kind, vector.case.name) for vector in vectors), entry
        assert all(
            any(Known((), (pattern,), (), "").names_leaf(path) for path in VECTORS[0].asked)
            for pattern in entry.leaves
        )
        assert set(entry.versions) & set(adapter.tested[adapter.distributions[-1]])
    conventions = conventions_of(name)
    assert bool(conventions) == (not name.startswith("torch"))
    assert len({convention.name for convention in conventions}) == len(conventions)


def test_an_unknown_framework_names_all():
    with pytest.raises(ValueError, match=r"framework: expected one of 'torch', .*'brainpy', got 'pytorch'"):
        adapter_of("pytorch")


# ---- files of known differences ---------------------------------------------------------------------------

GOOD_ENTRY = """
framework = "mine"
[[difference]]
cases = ["random/*"]
leaves = ["rate"]
versions = ["1"]
reason = "because"
at_most = 1e-7
"""


def test_a_whole_file_is_read(tmp_path):
    path = tmp_path / "known.toml"
    path.write_text(GOOD_ENTRY)
    (entry,) = read_known(path, "mine")
    assert entry == Known(("random/*",), ("rate",), ("1",), "because", at_most=1e-7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("framework", "frame work"), "expected TOML, found it broken"),
        (('"mine"', '"other"'), "expected framework = 'mine', got 'other'"),
        (("[[difference]]", "[[differences]]"), r"got \['differences'\]"),
        (("[[difference]]", "[difference]"), "expected tables"),
        (('["random/*"]', '"random/*"'), "difference 1: cases: expected a list of texts"),
        (('["rate"]', "[]"), "difference 1: leaves: expected a list of texts"),
        (('["1"]', "[1]"), "difference 1: versions: expected a list of texts"),
        (('"because"', '" "'), "difference 1: reason: expected a text"),
        (("reason", "reasons"), "difference 1: expected .* got"),
        (("at_most = 1e-7", ""), "expected either 'as' or 'at_most', got neither"),
        (("at_most = 1e-7", 'at_most = 1e-7\nas = "same-step"'), "got both"),
        (("at_most = 1e-7", 'as = "no-such-rule"'), "as: expected one of same-step"),
        (("1e-7", "-1e-7"), "at_most: expected a finite floating-point number above 0"),
        (("1e-7", "true"), "at_most: expected a finite floating-point number above 0"),
        (("1e-7", "inf"), "at_most: expected a finite floating-point number above 0"),
        (("1e-7", "nan"), "at_most: expected a finite floating-point number above 0"),
        (("at_most = 1e-7", 'as = "same-step"\nwith = "fires"'), "with: expected a table"),
        (("at_most = 1e-7", "at_most = 1e-7\nlink = 3"), "link: expected a text"),
    ],
)
def test_a_tampered_file_says_where(change, message):
    assert change[0] in GOOD_ENTRY
    with pytest.raises(ValueError, match=message):
        parsed(GOOD_ENTRY.replace(*change, 1), "known.toml", "mine")


def test_a_file_that_is_absent_or_no_text(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a file of known differences"):
        read_known(tmp_path / "none.toml", "mine")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="expected a text in UTF-8"):
        read_known(tmp_path / "bytes.toml", "mine")


# ---- the command ------------------------------------------------------------------------------------------


@pytest.fixture
def refsnn(monkeypatch, capsys):
    monkeypatch.setattr(cli, "COMMANDS", (*(c for c in cli.COMMANDS if c is not command), command))

    def run(*arguments):
        status = cli.main(["crosscheck", *map(str, arguments)])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module of one's own in the working directory."""
    (tmp_path / "a_framework_of_mine.py").write_text(
        "from refsnn.vectors.kinds import KINDS\n"
        "def good(problem):\n    return KINDS['spiking_neuron'].solve(problem, 'plain').leaves\n"
        "def bad(problem):\n    return good(problem) | {'rate': 2 * good(problem)['rate']}\n"
    )
    monkeypatch.chdir(tmp_path)
    yield "a_framework_of_mine"
    sys.modules.pop("a_framework_of_mine", None)


def test_the_command_lists_the_frameworks(refsnn):
    status, out, _ = refsnn()
    assert status == 0
    assert all(name in out for name in MODULES)


def test_exit_codes(refsnn, mine, monkeypatch):
    assert refsnn(f"{mine}:good", "--only", "random/*")[0] == 0
    status, out, _ = refsnn(f"{mine}:bad", "--only", "random/*")
    assert status == 1
    assert "NEW differences" in out
    assert "1/T is missing" not in out  # twice the rate is no sum for a mean
    assert "2 times what is expected" in out
    monkeypatch.setitem(MODULES, "absent", "test_double")
    monkeypatch.setattr(
        command, "adapter_of", lambda name: Adapter("absent", "nowhere", ("no-such-framework",), {}, right)
    )
    status, out, err = refsnn("absent")
    assert status == 2
    assert not out
    assert err.startswith("refsnn crosscheck: absent: expected no-such-framework to be installed")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nobody",), "framework: expected one of 'torch'"),
        (("no_module_of_mine:run",), "expected MODULE:FUNCTION that can be imported"),
        (("a_framework_of_mine:none",), "expected a function or an Adapter 'none'"),
        (("a_framework_of_mine:good", "--only", "x"), "only: expected a pattern"),
        (("a_framework_of_mine:good", "--vectors", "none.h5"), "none.h5: expected an HDF5 file"),
        (("a_framework_of_mine:good", "--known", "none.toml"), "expected a file of known differences"),
        (("torch", "norse", "--known", "x.toml"), "--known: expected one NAME"),
        (
            ("a_framework_of_mine:good", "--json", "no/folder/x.json"),
            "--json: expected a file in an existing",
        ),
        (("a_framework_of_mine:good", "--html", "."), "--html: expected a file name"),
    ],
)
def test_bad_input_has_a_clear_message_and_status_2(refsnn, mine, arguments, message):
    status, out, err = refsnn(*arguments)
    assert status == 2
    assert message in err
    assert not out


def test_files_are_whole_and_hold_all_figures(refsnn, mine, tmp_path):
    status, _, _ = refsnn(f"{mine}:bad", "--only", "threshold/*", "--json", "out.json", "--html", "out.html")
    assert status == 1
    found = json.loads((tmp_path / "out.json").read_text())
    (framework,) = found["frameworks"]
    assert found["good"] is False
    assert framework["counts"]["differs"] == sum(case["status"] == "differs" for case in framework["cases"])
    assert {"rate"} == {path for case in framework["cases"] for path in case["new"]}
    page = (tmp_path / "out.html").read_text()
    assert page.startswith("<!doctype html>")
    assert page.count("class=new") == framework["counts"]["differs"]
    assert "src=" not in page
    assert "http" not in page
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix in (".tmp", ".json", ".html")) == [
        "out.html",
        "out.json",
    ]


def test_bad_input_leaves_the_old_files(refsnn, mine, tmp_path):
    (tmp_path / "out.json").write_text("old")
    assert refsnn(f"{mine}:good", "--only", "x", "--json", "out.json")[0] == 2
    assert (tmp_path / "out.json").read_text() == "old"


def test_what_a_framework_says_is_escaped_on_the_page():
    def raises(problem):
        raise RuntimeError("<script>alert(1)</script>")

    page = as_html([crosscheck(raises, VECTORS, only="one-step/*")])
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_known_differences_of_a_function_of_ones_own(refsnn, mine, tmp_path):
    (tmp_path / "known.toml").write_text(
        f'framework = "{mine}:bad"\n[[difference]]\ncases = ["*"]\nleaves = ["rate"]\nversions = ["1"]\n'
        'reason = "counts twice"\nat_most = 1.001\n'
    )
    status, out, _ = refsnn(f"{mine}:bad", "--only", "random/*", "--known", "known.toml")
    assert status == 0
    assert "counts twice" in out


# ---- rules, and what is measured with them ----------------------------------------------------------------


@pytest.mark.parametrize("shape", SURROGATES)
def test_psi_in_another_library_is_that_of_the_equations(shape):
    given = {"surrogate.shape": shape, "surrogate.slope": 1.7, "surrogate.height": 0.6}
    u = np.array([-3.0, -1 / 1.7, -0.3, 0.0, 0.2, 0.58, 2.0])
    expected = SURROGATES[shape](u, 1.7, 0.6, 1.0)
    np.testing.assert_allclose(psi(np, given, u), expected, rtol=1e-15, atol=1e-16)


def test_an_unknown_shape():
    given = {"surrogate.shape": "square", "surrogate.slope": 1.0, "surrogate.height": 1.0}
    with pytest.raises(ValueError, match=r"surrogate\.shape: expected"):
        psi(np, given, np.zeros(1))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.case.name)
def test_the_rule_of_the_reference_gives_the_vectors(vector):
    found = leaves_by("same-step", vector.case.problem)
    for path, leaf in vector.expected.items():
        assert relative_error(found[path], leaf.value) < 1e-13, path


@pytest.mark.parametrize("name", [name for name in RULES if name not in ("same-step", "next-step-zero")])
def test_every_other_rule_is_another_neuron_somewhere(name):
    errors = []
    for vector in VECTORS:
        with np.errstate(all="ignore"):
            found = leaves_by(name, vector.case.problem)
        errors.append(max(relative_error(found[path], leaf.value) for path, leaf in vector.expected.items()))
    assert max(errors) > 0.1


def test_a_reset_in_the_next_step_is_that_of_the_known_mistake():
    mistake = next(mistake for mistake in KIND.mistakes if mistake.name == "late-reset")
    for vector in VECTORS:
        given = vector.case.problem.hyperparameters
        if given["reset"] == "soft" and given["detach_reset"] and "carried-state" not in vector.case.flags:
            expected = made(KIND, vector.case.problem, (mistake,))
            found = leaves_by("next-step", vector.case.problem)
            for path in ("states/charged", "states/spikes", "gradients/current"):
                assert relative_error(found[path], expected[path]) < 1e-13, (vector.case.name, path)


def test_a_threshold_that_adapts_with_scale_0_does_not():
    problem = drive("sinabs-3.1.3-SingleExponential", scale=0.0, rho=0.5)
    found = simulated(adaptive_threshold_of_spikes, problem, lambda start, given: (start, 0 * start))
    expected = simulated(same_step, problem)
    assert relative_error(found["gradients/current"], expected["gradients/current"]) < 1e-14


@pytest.mark.parametrize("shape", ["triangle", "sigmoid", "gaussian", "fast_sigmoid"])
def test_units_of_norse_give_our_psi(shape):
    given = {"surrogate.shape": shape, "surrogate.slope": 1.7, "surrogate.height": 0.6}
    if shape == "fast_sigmoid":
        with pytest.raises(NotExpressibleError, match="whatever alpha is"):
            unit(given)
        given["surrogate.height"] = 1.7
    how, u = unit(given), np.linspace(-2, 2, 41)
    own = {
        "triangle": lambda x, alpha: alpha * np.maximum(0, 1 - abs(x)),
        "tanh": lambda x, alpha: 1 - np.tanh(alpha * x) ** 2,
        "heavi_erfc": lambda x, alpha: 2 / np.sqrt(np.pi) * np.exp(-((alpha * x) ** 2)),
        "super": lambda x, alpha: 1 / (1 + abs(x)) ** 2,
    }[how.method]
    np.testing.assert_allclose(
        how.scale * own(how.scale * u, how.alpha), psi(np, given, u), rtol=1e-12, atol=1e-14
    )


def test_a_claim_holds_with_its_rule_and_not_with_another():
    problem = drive("snntorch-1.0.0-atan", fires=">", detach_reset=True)
    control = partial(simulated, same_step)
    assert compared(partial(simulated, next_step), next_step, problem, 1e-13, control).holds
    assert not compared(partial(simulated, same_step), next_step, problem, 1e-13, control).holds
    # a control that says the same makes a claim empty
    assert not compared(control, same_step, problem, 1e-13, control).holds

    def nearly(one):
        leaves = simulated(next_step, one)
        return leaves | {"gradients/current": leaves["gradients/current"] * (1 + 1e-9)}

    assert not compared(nearly, next_step, problem, 1e-13, control).holds


def test_one_spike_that_differs_is_enough_for_a_claim_not_to_hold():
    problem = drive("snntorch-1.0.0-atan", fires=">", detach_reset=True)

    def one_spike_more(one):
        leaves = simulated(next_step, one)
        spikes = leaves["states/spikes"].copy()
        spikes[3, 2] = 1 - spikes[3, 2]
        return leaves | {"states/spikes": spikes}

    found = compared(one_spike_more, next_step, problem, 1e-13, partial(simulated, same_step))
    assert not found.holds
    assert found.figure.startswith("1 spikes differ")


def test_a_dead_problem_says_nothing():
    problem = drive("snntorch-1.0.0-atan", amplitude=1e-3)
    run = partial(simulated, same_step)
    with pytest.raises(ArithmeticError, match="expected a live problem"):
        compared(run, same_step, problem, 1e-13, partial(simulated, next_step))


def test_claims_that_raise_do_not_hold_and_make_the_exit_status_1():
    def raises():
        raise AttributeError("no such option")

    (outcome,) = measured((Convention("gone", "an option", raises),))
    assert not outcome.holds
    assert outcome.figure == "AttributeError: no such option"
    found = replace(crosscheck(right, VECTORS, only="one-step/*"), conventions=(outcome,))
    assert not found.good
    assert "gone, DOES NOT HOLD: an option" in as_lines(as_page(found))
    assert as_dict([found])["frameworks"][0]["conventions"][0]["holds"] is False
    assert "DOES NOT HOLD" in as_html([found])


def test_a_surrogate_of_another_height_is_seen():
    preset = PRESETS["snntorch-1.0.0-atan"]
    given = {f"surrogate.{part}": getattr(preset, part) for part in ("shape", "slope", "height")}
    own = partial(psi, np, given)
    assert slopes_compared({"snntorch-1.0.0-atan": own}, 1e-12).holds
    assert not slopes_compared({"snntorch-1.0.0-atan": lambda u: 1.001 * own(u)}, 1e-12).holds
