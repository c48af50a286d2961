"""The ledger's verdicts and the main job around them, on claims made up for the purpose."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from refsnn.files import plain, write_whole
from validation import ledger
from validation.files import records_json
from validation.ledger import Claim, Measured, check, require

ROOT = Path(__file__).resolve().parent.parent
# design of the records; seed, details and error stand beside what a reader of the list may count on
KEYS = [
    "id", "paper", "statement", "source", "metric", "measured", "relation", "bound", "holds", "control",
    "control_measured", "control_fails", "seconds",
]  # fmt: skip


def make(measure, relation="<=", bound=1e-12, id="paper/X1") -> Claim:
    return Claim(id, "A statement.", "Eq. 1", "relative error", relation, bound, "a wrong twin", measure)


# ---- verdicts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("relation", "bound", "value", "control", "holds", "control_fails"),
    [
        ("<=", 1e-12, 1e-15, 0.3, True, True),
        ("<=", 1e-12, 1e-12, 1e-11, True, True),
        ("<=", 1e-12, 2e-12, 0.3, False, True),
        ("<=", 1e-12, 1e-15, 1e-14, True, False),
        (">=", 0.9, 0.95, 0.5, True, True),
        (">=", 0.9, 0.5, 0.95, False, False),
        ("==", 1, 1, 2, True, True),
        ("==", 1, 2, 1, False, False),
        ("in", (1.9, 2.1), 2.0, 1.0, True, True),
        ("in", (1.9, 2.1), 1.0, 2.0, False, False),
        ("<=", 1e-12, np.nan, 0.3, False, True),
        ("<=", 1e-12, 1e-15, np.nan, True, False),
        ("<=", 1e-12, 1e-15, np.inf, True, False),
        (">=", 10, np.inf, 1.0, False, True),
    ],
)
def test_verdicts(relation, bound, value, control, holds, control_fails):
    record = check(make(lambda rng: Measured(value, control), relation, bound), seed=1)
    assert (record.holds, record.control_fails) == (holds, control_fails)
    assert record.good is (holds and control_fails)
    assert (record.error is None) is bool(np.isfinite(value) and np.isfinite(control))


def silent(rng):
    require(False, "layer 2 is silent: rate 0, expected more than 0.05")


def broken(rng):
    return np.ones(3) @ np.ones(4)


@pytest.mark.parametrize(
    ("measure", "message"), [(silent, "layer 2 is silent"), (broken, "ValueError: matmul")]
)
def test_a_claim_that_raises_does_not_hold_and_says_why(measure, message):
    record = check(make(measure), seed=1)
    assert not record.holds
    assert not record.control_fails
    assert record.measured is None
    assert message in record.error


def test_an_interrupt_is_not_a_verdict():
    def interrupted(rng):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(make(interrupted), seed=1)


def test_inputs_come_from_seed_and_id():
    def draw(seed, id):
        return check(make(lambda rng: Measured(rng.random(), 2.0), bound=1.0, id=id), seed).measured

    assert draw(7, "paper/X1") == draw(7, "paper/X1")
    others = {draw(7, "paper/X1"), draw(8, "paper/X1"), draw(7, "paper/X2"), draw(7, "paper/X11")}
    assert len(others) == 4


def test_claims_of_a_run_know_its_seed():
    for seed in (0, 7, 999_999_999):
        assert ledger.seed_of_run(ledger.generator_for(seed, "paper/X1")) == seed
    assert ledger.seed_of_run(np.random.default_rng(5)) == 5


def test_a_relation_or_an_id_twice_is_refused(monkeypatch):
    monkeypatch.setattr(ledger, "_CLAIMS", {})
    given = {"source": "", "metric": "", "bound": 1.0, "control": ""}
    with pytest.raises(ValueError, match="relation: expected one of"):
        ledger.claim("paper/X1", "", relation="<", **given)
    ledger.claim("paper/X1", "", relation="<=", **given)(silent)
    with pytest.raises(ValueError, match="'paper/X1' is registered twice"):
        ledger.claim("paper/X1", "", relation="<=", **given)


# ---- files ------------------------------------------------------------------------------------------------


def test_records_are_strict_json():
    details = {
        "rates": np.array([0.5, np.nan]),
        "margin": np.float32(0.25),
        "leaf": {"n": np.int64(3)},
        "on": np.True_,
    }
    records = [
        check(make(lambda rng: Measured(1e-15, np.inf, details)), 3),
        check(make(lambda rng: Measured(2.0, 1.0), "in", (1.9, 2.1)), 3),
        check(make(silent), 3),
    ]
    entries = json.loads(records_json(records), parse_constant=lambda word: pytest.fail(f"{word} in JSON"))
    assert [set(KEYS) <= entry.keys() for entry in entries] == [True] * 3
    assert entries[0]["details"] == {"rates": [0.5, None], "margin": 0.25, "leaf": {"n": 3}, "on": True}
    assert entries[0]["control_measured"] is None
    assert entries[0]["error"] == "control is inf: not a figure"
    assert entries[1]["bound"] == [1.9, 2.1]
    assert entries[2]["measured"] is None
    assert entries[0]["seed"] == 3
    assert plain(Path("a")) == "a"


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    target = tmp_path / "records.json"
    target.write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            write_whole(target, "new")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["records.json"]
    write_whole(target, "new")
    assert target.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["records.json"]


# ---- the main job -----------------------------------------------------------------------------------------

PRELUDE = '''
"""The main job over a registry of its own: arguments as in python -m validation."""
import sys, time, types

sys.modules["validation.claims"] = types.ModuleType("validation.claims")
from validation import experiments, figures
from validation.cli import main
from validation.ledger import Measured, claim, require

experiments.__path__, figures.__path__ = [], []  # nor what the tree has there

def add(id, value, control=1.0):
    def measure(rng):
        return Measured(value(rng) if callable(value) else value, control)
    claim(id, f"Statement of {id} with $x^2$.", source="Eq. 1", metric="relative error", relation="<=",
          bound=1e-12, control="a wrong twin")(measure)

add("alpha/X1", 1e-15)
add("alpha/X2", lambda rng: 1e-13 * rng.random())
add("beta/O1", 0.0)
'''


@pytest.fixture
def job(tmp_path):
    """Run the main job in an empty folder; `more` is put behind the good claims."""

    def run(*arguments: str, more: str = "", **options) -> subprocess.CompletedProcess:
        script = tmp_path.parent / f"{tmp_path.name}.py"
        script.write_text(PRELUDE + textwrap.dedent(more) + "\nraise SystemExit(main())\n")
        command = [sys.executable, str(script), *arguments]
        # colours asked for everywhere: a log stays plain all the same
        environment = os.environ | {"PYTHONPATH": str(ROOT), "FORCE_COLOR": "1", "TERM": "xterm-256color"}
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            **options,
        )

    return run


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_all_good_is_exit_zero_with_a_report(job, tmp_path):
    run = job("--json", "records.json")
    assert (run.returncode, run.stderr) == (0, "")
    assert files(tmp_path) == ["records.json", "validation-report.html"]
    entries = json.loads((tmp_path / "records.json").read_text())
    assert [entry["id"] for entry in entries] == ["alpha/X1", "alpha/X2", "beta/O1"]
    assert list(entries[0])[: len(KEYS)] == KEYS
    assert "3 of 3 claims hold, 3 of 3 controls fail as they should" in run.stdout


def test_a_log_is_plain_text(job):
    run = job(more='add("beta/O2", 1.0)\nadd("beta/O3", float("nan"))')
    assert [mark for mark in run.stdout if ord(mark) < 32 and mark != "\n"] == []
    rows = [line for line in run.stdout.splitlines() if line.startswith(("holds", "FAILS"))]
    assert len(rows) == 5
    assert re.sub(r"\s+", " ", rows[0]) == "holds X1 1e-15 ≤ 1e-12 1 fails 0.00 s relative error"


def test_a_log_in_an_old_encoding_is_no_crash(job):
    run = job("--claims-only", more="sys.stdout.reconfigure(encoding='ascii')")
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ('add("beta/O2", 1.0)', "beta/O2: it does not hold"),
        ('add("beta/O2", 0.0, control=1e-13)', "beta/O2: its control does not fail"),
        ('add("beta/O2", 0.0, control=float("nan"))', "beta/O2: its control does not fail"),
        (
            'add("beta/O2", lambda rng: require(False, "layer 2 is silent"))',
            "VacuousError: layer 2 is silent",
        ),
    ],
)
def test_a_claim_that_does_not_stand_is_exit_one(job, tmp_path, more, why):
    run = job("--json", "records.json", more=more)
    assert run.returncode == 1
    assert why in run.stdout
    seed = json.loads((tmp_path / "records.json").read_text())[0]["seed"]
    assert f"python -m validation beta/O2 --seed {seed}" in run.stdout
    assert "validation-report.html" in files(tmp_path)


def test_one_claim_with_the_printed_seed_draws_the_same_again(job, tmp_path):
    job("--json", "all.json", "--claims-only")
    everything = json.loads((tmp_path / "all.json").read_text())
    seed = everything[0]["seed"]
    assert job("alpha/X2", "--seed", str(seed), "--json", "one.json").returncode == 0
    (one,) = json.loads((tmp_path / "one.json").read_text())
    assert one["measured"] == everything[1]["measured"]
    job("--json", "other.json", "--claims-only")
    other = json.loads((tmp_path / "other.json").read_text())
    assert (other[0]["seed"], other[1]["measured"]) != (seed, one["measured"])


def test_names_choose_claims_and_leave_the_report_alone(job, tmp_path):
    run = job("beta", "alpha/X2", "--json", "records.json")
    assert run.returncode == 0
    assert files(tmp_path) == ["records.json"]
    entries = json.loads((tmp_path / "records.json").read_text())
    assert [entry["id"] for entry in entries] == ["alpha/X2", "beta/O1"]


def test_list_prints_ids_statements_bounds_and_measures_nothing(job, tmp_path):
    run = job("--list", "alpha", more="add('alpha/X3', lambda rng: sys.exit('measured'))")
    assert run.returncode == 0
    for text in ("alpha/X1", "alpha/X3", "Statement of alpha/X2 with $x^2$.", "≤ 1e-12"):
        assert text in run.stdout
    assert "beta" not in run.stdout
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gamma"], "expected a paper (alpha, beta) or an id such as alpha/X1, got 'gamma'"),
        (["alpha/X9"], "got 'alpha/X9'"),
        (["--seed", "-1"], "expected an integer of at least 0, got '-1'"),
        (["--seed", "x"], "expected an integer of at least 0, got 'x'"),
        (["--json", "no/such/file.json"], "--json: expected a file in an existing folder"),
        (["--report", "."], "--report: expected a file name, got the folder ."),
        (["--experiments", "--claims-only"], "not allowed with"),
    ],
)
def test_a_wrong_command_line_is_exit_two_before_any_work(job, tmp_path, arguments, message):
    run = job(*arguments)
    assert run.returncode == 2
    assert message in run.stderr
    assert run.stdout == ""
    assert files(tmp_path) == []


EXPERIMENTS = """
from validation.experiments import ExperimentResult, Unavailable, experiment

@experiment("alpha/quick", "A quick one", "Trains.")
def quick(progress):
    progress(1, 2, "half")
    print("ran quick")
    return ExperimentResult(("rule", "accuracy"), (("BPTT", 0.98),), ())

@experiment("beta/long", "A long one", "Trains.", long=True)
def long(progress):
    print("ran long")
    raise Unavailable("the data are missing; get them there")
"""


@pytest.mark.parametrize(
    ("arguments", "ran"),
    [
        ([], ["quick"]),
        (["--claims-only"], []),
        (["--experiments"], ["quick", "long"]),
        (["alpha"], []),
        (["alpha", "--experiments"], ["quick"]),
        (["beta/O1", "--experiments"], ["long"]),
    ],
)
def test_which_experiments_run(job, arguments, ran):
    run = job(*arguments, more=EXPERIMENTS)
    assert run.returncode == 0, run.stdout + run.stderr
    assert [line.split()[1] for line in run.stdout.splitlines() if line.startswith("ran ")] == ran


def test_an_experiment_or_a_figure_that_breaks_is_exit_one_and_the_rest_is_written(job, tmp_path):
    broken = EXPERIMENTS.replace('print("ran quick")', "1 / 0")
    run = job("--json", "records.json", more=broken)
    assert run.returncode == 1
    assert "Went wrong: alpha/quick: ZeroDivisionError" in run.stdout
    figure = """
    @figures.figure("alpha", "A figure", "Caption.")
    def draw(rng):
        1 / 0
    """
    run = job(more=figure)
    assert run.returncode == 1
    assert "(A figure): ZeroDivisionError" in run.stdout
    assert files(tmp_path) == ["records.json", "validation-report.html"]


def test_ctrl_c_leaves_old_files_whole(job, tmp_path):
    for name in ("records.json", "validation-report.html"):
        (tmp_path / name).write_text("old")
    slow = """
    add("beta/slow", lambda rng: (print("started", flush=True), time.sleep(60)))
    """
    script = tmp_path.parent / "interrupted.py"
    script.write_text(PRELUDE + textwrap.dedent(slow) + "\nraise SystemExit(main())\n")
    with subprocess.Popen(
        [sys.executable, str(script), "--json", "records.json"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        # where the tests run in the background, Ctrl-C is ignored, and a child would inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        started = time.monotonic()
        assert any("started" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert time.monotonic() - started < 30
    assert process.returncode == 130
    assert "Interrupted" in output
    assert "Traceback" not in errors
    assert files(tmp_path) == ["records.json", "validation-report.html"]
    assert {path.read_text() for path in tmp_path.iterdir()} == {"old"}


def test_the_first_verdict_does_not_wait_for_heavy_imports():
    code = (
        "import sys, validation.cli\n"
        "print(sorted({'matplotlib', 'sklearn', 'numba', 'jinja2'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_real_registry_lists_and_refuses():
    run = subprocess.run(
        [sys.executable, "-m", "validation", "--list"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert run.returncode == 0, run.stderr
    for name in ("rate_backpropagation/X1", "equilibrium_propagation/"):
        assert name in run.stdout
    run = subprocess.run(
        [sys.executable, "-m", "validation", "no_such_paper"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 2
    assert "got 'no_such_paper'" in run.stderr
