"""The pytest plugin in runs of its own: options, seeds, what is imported, and nobody else disturbed."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = "refsnn.testing.plugin"
# pytest loads the plugin of an installed package itself, and refuses to register it a second time
LOAD = () if any(found.value == PLUGIN for found in entry_points(group="pytest11")) else ("-p", PLUGIN)
PROPERTY = """
from hypothesis import given, seed, settings, strategies as st

def write(name, value):
    with open(name, "a") as file:
        print(value, file=file)

@given(st.integers(0, 2**60))
def test_plain(value):
    write("plain", value)

@settings(max_examples=3)
@given(st.integers(0, 2**60))
def test_own_settings(value):
    write("settings", value)

@seed(5)
@given(st.integers(0, 2**60))
def test_own_seed(value):
    write("seed", value)

class TestMethods:
    @given(st.integers(0, 2**60))
    def test_method(self, value):
        write("method", value)

def test_no_property():
    pass
"""


def pytest_run(folder, *options, source=PROPERTY, block=(), **environment):
    """pytest in a process of its own, with the plugin as an installed package has it."""
    (folder / "test_it.py").write_text(source)
    loader = f"""
import builtins, sys
ordinary = builtins.__import__
def without(name, *rest, **options):
    if name.partition(".")[0] in {list(block)}:
        raise ImportError(name)
    return ordinary(name, *rest, **options)
builtins.__import__ = without
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""
    given = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_ADDOPTS")}
    command = [sys.executable, "-c", loader, *LOAD, "-q", "-W", "error", "test_it.py"]
    return subprocess.run(
        [*command, *options], cwd=folder, capture_output=True, text=True,
        env=given | {"PYTHONPATH": str(ROOT)} | environment,
    )  # fmt: skip


def drawn(folder, *options, **environment):
    """What the properties drew, by name."""
    folder.mkdir()
    run = pytest_run(folder, *options, **environment)
    assert run.returncode == 0, run.stdout + run.stderr
    return {name: (folder / name).read_text().split() for name in ("plain", "settings", "seed", "method")}


def test_number_of_examples_and_seed(tmp_path):
    one, same, other = (
        drawn(tmp_path / str(number), "--refsnn-examples", "17", "--refsnn-seed", seed)
        for number, seed in enumerate(("1", "1", "2"))
    )
    assert len(one["plain"]) == len(one["method"]) == len(one["seed"]) == 17
    assert len(one["settings"]) == 3  # what its author asked for
    assert one == same
    for name in ("plain", "settings", "method"):
        assert one[name] != other[name]
    assert one["seed"] == other["seed"]


def test_examples_alone_are_fresh_here_and_the_same_in_ci(tmp_path):
    fresh = [drawn(tmp_path / f"fresh{i}", "--refsnn-examples", "20")["plain"] for i in range(2)]
    assert fresh[0] != fresh[1]
    assert len(fresh[0]) == 20
    fixed = [drawn(tmp_path / f"ci{i}", "--refsnn-examples", "20", CI="1")["plain"] for i in range(2)]
    assert fixed[0] == fixed[1]


def test_a_profile_of_a_conftest_does_not_undo_it(tmp_path):
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "conftest.py").write_text(
        "import hypothesis\nhypothesis.settings.register_profile('own', max_examples=2)\n"
        "hypothesis.settings.load_profile('own')\n"
    )
    run = pytest_run(folder, "--refsnn-examples", "9")
    assert run.returncode == 0, run.stdout
    assert len((folder / "plain").read_text().split()) == 9
    (folder / "plain").unlink()
    assert pytest_run(folder).returncode == 0  # and without the option its own profile holds
    assert len((folder / "plain").read_text().split()) == 2


NOTHING = """
import sys

def test_nothing_is_imported():
    heavy = [name for name in ("numpy", "numba", "scipy", "hypothesis") if name in sys.modules]
    assert heavy == []
    ours = sorted(name for name in sys.modules if name.startswith("refsnn"))
    assert ours == ["refsnn", "refsnn.testing", "refsnn.testing.plugin"]
"""


def test_without_options_nothing_is_imported(tmp_path):
    run = pytest_run(tmp_path, "-p", "no:hypothesispytest", "-p", "no:xdist", source=NOTHING)
    assert run.returncode == 0, run.stdout + run.stderr


def test_without_hypothesis(tmp_path):
    quiet = ("-p", "no:hypothesispytest", "-p", "no:xdist")
    source = "def test_it():\n    pass\n"
    assert pytest_run(tmp_path, *quiet, source=source, block=["hypothesis"]).returncode == 0
    run = pytest_run(tmp_path, *quiet, "--refsnn-seed", "1", source=source, block=["hypothesis"])
    assert run.returncode == 4
    assert "expected the package hypothesis, found none; pip install refsnn[testing]" in run.stderr
    source = "import pytest\n\ndef test_it():\n    with pytest.raises(ImportError, match='refsnn.testing'):\n"
    source += "        import refsnn.testing.strategies\n"
    source += "    import refsnn.testing\n    refsnn.testing.assert_alive(rates=0.5)\n"
    run = pytest_run(tmp_path, *quiet, source=source, block=["hypothesis"])
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--refsnn-examples", "0"), "--refsnn-examples: expected at least 1, got 0"),
        (("--refsnn-seed", "-3"), "--refsnn-seed: expected a number of at least 0, got -3"),
        (("--refsnn-examples", "many"), "invalid int value: 'many'"),
    ],
)
def test_bad_options(tmp_path, options, said):
    run = pytest_run(tmp_path, *options)
    assert run.returncode == 4
    assert said in run.stderr


def test_with_xdist(tmp_path):
    pytest.importorskip("xdist")
    both = [
        drawn(tmp_path / str(i), "-n", "2", "--refsnn-examples", "11", "--refsnn-seed", "3") for i in range(2)
    ]
    assert both[0] == both[1]
    assert len(both[0]["plain"]) == 11
