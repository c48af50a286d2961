"""The tree keeps the rules of `architecture.py`, and that script sees the violations planted here."""

from __future__ import annotations

import textwrap
from pathlib import Path

import architecture
import pytest

ROOT = Path(__file__).resolve().parent.parent


def modules() -> dict[str, str]:
    found = architecture.sources(ROOT, "refsnn", "validation", "tests")
    assert {"refsnn", "refsnn.checks", "refsnn.models.contract", "validation.ledger"} <= found.keys()
    return found


def test_imports_run_downwards_and_in_no_circle():
    tree = modules()
    assert architecture.import_violations(tree) == []
    # alive: the rule was applied to imports, and to some across floors
    edges = [entry for name, source in tree.items() for entry in architecture.imports(name, source, tree)]
    assert sum(architecture.room(entry.module) != architecture.room(entry.target) for entry in edges) > 10


def test_public_names_are_documented():
    problems = [
        problem
        for name, source in modules().items()
        if name.split(".")[0] == "refsnn"
        for problem in architecture.docstring_violations(name, source)
    ]
    assert problems == []


GOOD = {
    "refsnn": '__version__ = "1"',
    "refsnn.checks": "import numpy",
    "refsnn.equations": "from refsnn.equations import surrogates",
    "refsnn.equations.surrogates": "from refsnn import __version__, checks",
    "refsnn.kernels.plain": "from refsnn.equations.surrogates import sigmoid",
    "refsnn.models.contract": "def f():\n    from refsnn.kernels import plain",
    "refsnn.algorithms.bptt": "from .result import Result\nfrom ..models.contract import Model",
    "refsnn.algorithms.result": "import refsnn.models.contract as contract",
    "refsnn.oracles.affine": "from refsnn.equations.surrogates import sigmoid",
    "refsnn.datasets": "from refsnn.checks import count",
    "refsnn.comparison": "from refsnn.algorithms.bptt import bptt",
    "refsnn.cli": "from refsnn.comparison import compare",
    "refsnn.__main__": "from refsnn.cli import main",
    "validation.ledger": "import refsnn.algorithms.bptt",
    "tests.test_x": "import validation.ledger, refsnn",
}


def test_good_imports_pass():
    assert architecture.import_violations(GOOD) == []


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        (
            "refsnn.equations.surrogates",
            "from refsnn.kernels.plain import loop",
            "imports refsnn.kernels.plain",
        ),
        ("refsnn.checks", "import refsnn.equations.surrogates", "floor 0 may not import from floor 1"),
        (
            "refsnn.models.contract",
            "def f():\n    from refsnn.algorithms import bptt",
            "refsnn.algorithms.bptt",
        ),
        ("refsnn.models.contract", "from ..algorithms import bptt", "imports refsnn.algorithms.bptt"),
        (
            "refsnn.algorithms.bptt",
            "from refsnn.oracles.affine import run",
            "floor 4 may not import from floor 4",
        ),
        ("refsnn.datasets", "import refsnn.testing", "floor 5 may not import from floor 5"),
        ("refsnn.comparison", "from refsnn.cli import main", "floor 5 may not import from floor 5"),
        ("refsnn.cli", "import validation.ledger", "floor 5 may not import from floor 6"),
        ("refsnn.datasets", "import validation.ledger", "floor 5 may not import from floor 6"),
        (
            "refsnn.datasets",
            "if TYPE_CHECKING:\n    from validation import ledger",
            "imports validation.ledger",
        ),
        ("validation.ledger", "import tests.test_x", "floor 6 may not import from floor 7"),
        ("refsnn", "from refsnn.checks import count", "floor -1 may not import from floor 0"),
        ("refsnn.helpers", "", "the room 'helpers' has no floor"),
        (
            "refsnn.algorithms.result",
            "from refsnn.algorithms.bptt import bptt",
            "circle: refsnn.algorithms.bptt -> refsnn.algorithms.result -> refsnn.algorithms.bptt",
        ),
        (
            "refsnn.algorithms.result",
            "def late():\n    from . import bptt",
            "circle: refsnn.algorithms.bptt -> refsnn.algorithms.result -> refsnn.algorithms.bptt",
        ),
        ("refsnn.equations.surrogates", "from refsnn.equations import names", "circle: refsnn.equations -> "),
    ],
)
def test_planted_imports_are_caught(module, source, complaint):
    problems = architecture.import_violations(GOOD | {module: source})
    assert any(complaint in problem for problem in problems), problems


DOCUMENTED = '''
"""A module."""

def short(x):
    """Return x."""
    return x

def full(x, *rest, key=None, **options) -> float:
    """One line.

    Parameters
    ----------
    x, *rest : float
        Text with a colon : in it.
    key : str, optional
    **options : dict
        More.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If wrong.
    """
    raise ValueError

def again():
    """Raise again what was caught, and define a function that raises."""
    def inner():
        raise ValueError
    try:
        inner()
    except ValueError:
        raise

def _private(x):
    raise ValueError

@dataclass(frozen=True)
class Point:
    """A point.

    Attributes
    ----------
    x, y : float
    """
    x: float
    y: float
    _hidden: float = 0

    @property
    def norm(self):
        """Length."""
        return 0

    @norm.setter
    def norm(self, value):
        raise ValueError

    def __len__(self):
        raise TypeError

class Machine:
    """A machine.

    Parameters
    ----------
    speed : float
    """
    def __init__(self, speed):
        self.speed = speed
'''


def test_good_docstrings_pass():
    assert architecture.docstring_violations("refsnn.good", textwrap.dedent(DOCUMENTED)) == []


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ('"""A module."""', "", "refsnn.bad: the module has no docstring"),
        ('"""Return x."""', "", "refsnn.bad.short, line 4: no docstring"),
        ('"""Length."""', "", "refsnn.bad.Point.norm, line 55: no docstring"),
        (
            "x, *rest : float\n",
            "y, *rest : float\n",
            "documents the parameters ['y', 'rest', 'key', 'options']",
        ),
        ("    key : str, optional\n", "", "documents the parameters ['x', 'rest', 'options']"),
        ("full(x, *rest, key=None,", "full(x, *rest, key=None, more=1,", "'key', 'more', 'options']"),
        ("full(x, *rest,", "full(rest, *x,", "the signature has ['rest', 'x',"),
        ("    Returns\n    -------\n    float\n", "", "has no Returns section"),
        (
            "    Raises\n    ------\n    ValueError\n        If wrong.\n",
            "",
            "raises, but has no Raises section",
        ),
        (
            "    return x\n",
            "    if x:\n        raise ValueError(x)\n    return x\n",
            "short, line 4: raises, but",
        ),
        ("    x, y : float\n", "    x, z : float\n", "documents ['x', 'z'], its fields"),
        ("    y: float\n", "    y: float\n    z: float\n", "are ['x', 'y', 'z']"),
        ("    speed : float\n", "    velocity : float\n", "are ['speed']"),
    ],
)
def test_planted_docstrings_are_caught(before, after, complaint):
    source = DOCUMENTED.replace(before, after, 1)
    assert source != DOCUMENTED
    problems = architecture.docstring_violations("refsnn.bad", source)
    assert any(complaint in problem for problem in problems), problems


def test_every_room_of_the_plan_has_a_floor_below_validation():
    assert max(architecture.FLOORS.values()) < architecture.TOP_FLOOR
    assert architecture.floor("refsnn.checks") == 0
    assert architecture.floor("validation.cli") == architecture.TOP_FLOOR
