"""The planter of faults: what it changes, what it leaves alone, who is asked, what is counted."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from validation.mutation.__main__ import drawn, interval, main, summary
from validation.mutation.campaign import (
    LEDGER,
    NOBODY,
    Copy,
    Verdict,
    asked_tests,
    claims_for,
    judged,
    sources,
)
from validation.mutation.faults import Fault, faults, is_fault

ROOT = Path(__file__).resolve().parent.parent


def of(text):
    source = textwrap.dedent(text)
    return {(one.kind, one.before, one.after) for one in faults("refsnn/equations/x.py", source)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + b", {("operator", "+", "-"), ("term", "a + b", "a"), ("term", "a + b", "b")}),
        ("a - b", {("operator", "-", "+"), ("term", "a - b", "a")}),
        ("a * b", {("operator", "*", "/"), ("term", "a * b", "a"), ("term", "a * b", "b")}),
        ("(a > b) * one", {("comparison", ">", ">="), ("term", "(a > b) * one", "one")}),
        ("(a) / (b)", {("operator", "/", "*")}),
        ("-a", {("sign", "-a", "a")}),
        ("a >= b", {("comparison", ">=", ">")}),
        ("a < b < c", {("comparison", "<", "<=")}),
        ("a[1:]", {("index", "1", "1 + 1"), ("constant", "1", "2")}),
        ("a[t]", {("time", "t", "t - 1")}),
        ("a[n]", set()),
        ("zip(a, b, strict=True)", set()),
        ("range(n)", {("time", "range(n)", "range(1, n)"), ("time", "range(n)", "range(n - 1)")}),
        (
            "f(True, 3, 0.5)",
            {("constant", "True", "False"), ("constant", "3", "4"), ("constant", "0.5", "1.0")},
        ),
    ],
)
def test_what_is_planted(text, expected):
    assert of(f"x = {text}\n") == expected


def test_statements_and_returns():
    found = of(
        """
        def f(a, b):
            a += b
            np.add(a, b, out=a)
            return a
        """
    )
    assert {("operator", "+=", "-="), ("statement", "a += b", "pass"), ("sign", "a", "-(a)")} <= found
    assert ("statement", "np.add(a, b, out=a)", "pass") in found


def test_what_does_not_compute_is_left_alone():
    assert (
        of(
            '''
            """A doc 1 + 1."""
            import numpy as np
            def check_widths(a):
                return a + 1
            class Network:
                """x >= 1."""
                width: "int"
                def __post_init__(self):
                    checks.number("leak", self.leak, 0, 1)
            def f(a):
                """Returns -1."""
                checks.count("a", a, minimum=1)
                if a < 0 and b > 2:
                    raise ValueError(f"{a + 1}: expected more" + "text")
                assert a > 3
            '''
        )
        == set()
    )


def test_every_fault_of_the_tree_keeps_the_rest_of_the_file():
    text = sources(ROOT)
    name = "refsnn/algorithms/rate_backpropagation.py"
    found = faults(name, text[name])
    assert len(found) > 30
    assert {one.kind for one in found} >= {"operator", "term", "constant", "statement"}
    valid = [one for one in found if is_fault(one, text[name])]
    assert len(valid) > 0.9 * len(found)
    for one in valid:
        planted = one.planted(text[name])
        assert len(planted.splitlines()[: one.line - 1]) == one.line - 1
        assert planted.splitlines()[: one.line - 1] == text[name].splitlines()[: one.line - 1]


def test_names_beyond_ascii_keep_their_places():
    found = faults("x.py", 's = "é"; y = a + b\n')
    assert {one.planted('s = "é"; y = a + b\n') for one in found} >= {'s = "é"; y = a - b\n'}


def fault(file="refsnn/algorithms/bptt.py", function="bptt"):
    return Fault(file, function, 1, "sign", 0, 1, "a", "b")


def test_claims_that_enter_the_function_are_asked_first():
    known = {
        "p/slow": (9.0, ["refsnn/algorithms/bptt.py:bptt"]),
        "p/quick": (1.0, ["refsnn/algorithms/bptt.py:bptt"]),
        "p/file": (0.1, ["refsnn/algorithms/bptt.py:other"]),
        "p/elsewhere": (0.1, ["refsnn/algorithms/ottt.py:ottt"]),
        "p/inner": (2.0, ["refsnn/algorithms/bptt.py:bptt.inner"]),
    }
    assert claims_for(fault(), known) == ["p/quick", "p/inner", "p/slow", "p/file"]
    assert claims_for(fault(function=""), known) == ["p/file", "p/quick", "p/inner", "p/slow"]
    assert set(claims_for(fault("refsnn/equations/spiking.py", "charge"), known)) == set(known)


def test_tests_that_import_the_module_are_asked():
    files = asked_tests(fault("refsnn/algorithms/optimisers.py", "Adam"), ROOT)
    assert files[0] == "refsnn/algorithms/optimisers.py"
    assert "tests/test_optimisers.py" in files
    assert "tests/test_planted_errors.py" not in files
    # through a helper of the tests
    assert "from spiking_graphs import" in (ROOT / "tests" / "test_checkpoint_executor.py").read_text()
    assert "tests/test_checkpoint_executor.py" in asked_tests(fault("refsnn/models/edges.py"), ROOT)


class FakeCopy(Copy):
    """Claims and tests that notice or do not."""

    def __init__(self, folder, *answers):
        self.folder, self.answers, self.seen = folder, list(answers), []

    def run(self, arguments, patience=0.0):
        self.seen.append((self.folder / "refsnn/algorithms/bptt.py").read_text())
        return self.answers.pop(0)


@pytest.mark.parametrize(
    ("answers", "found_by", "who"),
    [
        ([(0, "noticed by p/O1\n")], LEDGER, "p/O1"),
        ([(1, "Traceback\nImportError: x\n")], LEDGER, "ImportError: x"),
        ([None], "does not end", ""),
        (
            [(0, "noticed by \n"), (1, "FAILED tests/test_x.py::test_y - no\n")],
            "tests",
            "tests/test_x.py::test_y",
        ),
        ([(0, "noticed by \n"), None], "does not end", ""),
        ([(0, "noticed by \n"), (0, "3 passed\n")], NOBODY, ""),
        ([(0, "noticed by \n"), (5, "no tests ran\n")], NOBODY, ""),
    ],
)
def test_a_fault_is_planted_judged_and_taken_out(tmp_path, answers, found_by, who):
    path = tmp_path / "refsnn/algorithms/bptt.py"
    path.parent.mkdir(parents=True)
    (tmp_path / "tests").mkdir()
    path.write_text("a = 1\n")
    copy = FakeCopy(tmp_path, *answers)
    known = {"p/O1": (1.0, ["refsnn/algorithms/bptt.py:bptt"])}
    verdict = judged(fault(), copy, known)
    assert (verdict.found_by, verdict.who) == (found_by, who)
    assert set(copy.seen) == {"b = 1\n"}
    assert path.read_text() == "a = 1\n"


def test_shares_and_survivors_are_named():
    verdicts = [Verdict(fault(), LEDGER, "p/O1", 1.0)] * 19 + [Verdict(fault(), NOBODY, "", 1.0)]
    lines = summary(verdicts)
    assert lines[0].startswith("19 of 20 faults found: 95.0%")
    assert lines[-1] == "not found: refsnn/algorithms/bptt.py:1 bptt: a -> b [sign]"


def test_intervals_hold_the_share():
    low, high = interval(19, 20)
    assert low < 0.95 < high
    assert interval(0, 5)[0] == 0
    assert interval(5, 5)[1] == 1


def test_a_draw_is_the_same_for_a_seed(capsys):
    assert drawn([], 20, 3) == drawn([], 20, 3)
    assert drawn([], 20, 3) != drawn([], 20, 4)
    assert main(["--list", "--sample", "5"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert main(["nonsense.py"]) == 2
    assert "FILE: expected files such as" in capsys.readouterr().err
