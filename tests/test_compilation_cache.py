"""Cached kernels are never stale: an edited equation is seen, though it stands in another file.

Each run is a fresh process on a copy of the package, with a cache folder of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import refsnn

_SCRIPT = """
import json
import numpy as np
import refsnn
from refsnn.equations.spiking import SpikingNeuron
from refsnn.kernels.cpu import spiking
from refsnn.kernels.plain import spiking as plain

neuron = SpikingNeuron(leak=0.5)
kernel_of, kernels = spiking._forward_kernel, []
spiking._forward_kernel = lambda *a, **k: kernels.append(kernel_of(*a, **k)) or kernels[-1]
potentials = []
for module in (spiking, plain):
    potential = np.zeros(1)
    current, charged, spikes = np.array([[1.5], [0.25]]), np.empty((2, 1)), np.empty((2, 1))
    module.forward(neuron, current, potential, charged, spikes)
    assert spikes.sum() == 1
    potentials.append(float(potential[0]))
(kernel,) = kernels
print(json.dumps({
    "package": refsnn.__file__, "cpu": potentials[0], "plain": potentials[1],
    "hits": sum(kernel.stats.cache_hits.values()), "misses": sum(kernel.stats.cache_misses.values()),
}))
"""

# A unit of a convergent network: the loop over time takes the loops over its units by their addresses.
_RELAXATION = """
import json
import numpy as np
import refsnn
from refsnn.algorithms.relaxation import relax
from refsnn.kernels.cpu import dense_relaxation
from refsnn.models.convergent import PrototypicalNetwork

made, unit_loop = [], dense_relaxation._advance_loop
dense_relaxation._advance_loop = lambda *given: made.append(unit_loop(*given)) or made[-1]
model = PrototypicalNetwork((1, 1), activation="identity", nudge_placement="inside", step_size=0.5)
parameters = {name: np.ones(shape) for name, shape in model.parameter_shapes().items()}
ends = {
    backend: float(relax(model, parameters, np.ones((1, 1)), steps=1, backend=backend).state["layer.0"][0, 0])
    for backend in ("plain", "cpu")
}
loop = dense_relaxation._relax.stats
print(json.dumps({
    "package": refsnn.__file__, **ends,
    "hits": made[0]._cache_hits + sum(loop.cache_hits.values()), "misses": sum(loop.cache_misses.values()),
}))
"""

# Once per run a spike: 1.5 -> 0.5 after the reset, 0.25 + 0.5 * 0.5 at last; with the edit 1.5 -> -0.5 -> 0.
RIGHT, EDITED = 0.5, 0.0


class Copy:
    """A copy of the package that can be edited and run."""

    def __init__(self, folder: Path, script: str = _SCRIPT) -> None:
        self.folder = folder
        source = Path(refsnn.__file__).parent
        shutil.copytree(source, folder / "refsnn", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "script.py").write_text(script)

    def replace(self, name: str, old: str, new: str) -> None:
        """Edit one place of one file."""
        path = self.folder / "refsnn" / name
        text = path.read_text()
        assert text.count(old) == 1, f"{name} has changed: this test edits {old!r} in it"
        path.write_text(text.replace(old, new))

    def run(self) -> dict:
        """Run the script in a process of its own."""
        environment = os.environ | {
            "NUMBA_CACHE_DIR": str(self.folder / "cache"),
            "PYTHONPATH": str(self.folder),
            "PYTHONDONTWRITEBYTECODE": "1",  # two edits in one second must not meet an old .pyc
        }
        run = subprocess.run(
            [sys.executable, "script.py"],
            cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        result = json.loads(run.stdout)
        assert Path(result["package"]).is_relative_to(self.folder)
        return result

    def kernel_file(self) -> tuple[int, int]:
        """What Numba itself looks at."""
        status = (self.folder / "refsnn/kernels/cpu/spiking.py").stat()
        return status.st_mtime_ns, status.st_size

    def subtract_twice(self) -> None:
        """The edit: the soft reset subtracts the threshold twice."""
        self.replace(
            "equations/spiking.py",
            "return charged - threshold * spike\n",
            "return charged - (threshold + threshold) * spike\n",
        )


def counts(result: dict) -> tuple[int, int]:
    return result["hits"], result["misses"]


@pytest.fixture
def copy(tmp_path) -> Copy:
    return Copy(tmp_path)


def test_the_cache_is_used_and_sees_an_edited_equation(copy):
    first = copy.run()
    assert (first["cpu"], first["plain"], counts(first)) == (RIGHT, RIGHT, (0, 1))
    second = copy.run()
    assert (second["cpu"], counts(second)) == (RIGHT, (1, 0))

    before = copy.kernel_file()
    copy.subtract_twice()
    assert copy.kernel_file() == before
    edited = copy.run()
    assert (edited["cpu"], edited["plain"], counts(edited)) == (EDITED, EDITED, (0, 1))


def test_without_the_fingerprint_the_edit_goes_unnoticed(copy):
    """The control: Numba alone goes on computing the old equation."""
    copy.replace("kernels/compilation.py", "return digest.hexdigest()", 'return "always the same"')
    assert copy.run()["cpu"] == RIGHT
    copy.subtract_twice()
    stale = copy.run()
    assert (stale["plain"], stale["cpu"], counts(stale)) == (EDITED, RIGHT, (1, 0))


def test_the_loops_over_units_are_cached_and_see_an_edited_equation(tmp_path):
    """Both parts of a relaxation: closures over closures of equations, and the loop that is handed them."""
    copy = Copy(tmp_path, _RELAXATION)
    first = copy.run()
    assert (first["cpu"], first["plain"], counts(first)) == (1.0, 1.0, (0, 1))
    second = copy.run()
    assert (second["cpu"], counts(second)) == (1.0, (2, 0))

    copy.replace(
        "equations/relaxation.py",
        "return (one - step_size) * state + step_size * pull\n",
        "return (one - step_size) * state + step_size * (pull + pull)\n",
    )
    edited = copy.run()
    assert (edited["cpu"], edited["plain"], counts(edited)) == (2.0, 2.0, (0, 1))
