"""The ledger must notice: one error at a time is planted in a copy, and claims must turn red."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from refsnn.kernels.compilation import KERNEL_ROOMS

ROOT = Path(__file__).resolve().parent.parent

# a few claims a plant: each is a process of its own; one claim where kernels are compiled anew for it
RATE = tuple(f"rate_backpropagation/{id}" for id in ("X3", "X8", "X12", "N6"))
EQUILIBRIUM = tuple(f"equilibrium_propagation/{id}" for id in ("O1", "O2", "O3", "O4", "O6", "O7"))
SUCCESSORS = tuple(
    f"equilibrium_propagation/{id}" for id in ("O7.conv", "O15", "O16", "CE1", "RBP", "VF.correction")
)
ONLINE = tuple(f"ottt/{id}" for id in ("O1", "O2", "O4", "O5", "O7", "SLTT"))
CHECKPOINTED = tuple(f"memory_efficient_bptt/{id}" for id in ("O7", "O7.simulated", "O12"))

# name: (file, what stands there, what is planted, claims to run)
PLANTS = {
    "reset term of the adjoint dropped": (
        "refsnn/equations/spiking.py",
        "    return one - threshold * spike_slope\n",
        "    return one\n",
        ("rate_backpropagation/X12",),
    ),
    "potential adjoint dropped": (
        "refsnn/equations/spiking.py",
        "    return spike_adjoint * spike_slope + potential_adjoint * reset_slope\n",
        "    return spike_adjoint * spike_slope\n",
        ("rate_backpropagation/N6",),
    ),
    "trace shifted by one step": (
        "refsnn/kernels/cpu/spiking.py",
        "slopes[j] += spike_slope * rho[j]",
        "slopes[j] += spike_slope * next_trace(one, rho[j], leak * slope_of_reset)",
        ("rate_backpropagation/N6",),
    ),
    "1/T forgotten": (
        "refsnn/algorithms/rate_backpropagation.py",
        'self.scale = 1 / steps if scale == "paper" else 1.0\n',
        "self.scale = 1.0\n",
        RATE,
    ),
    "1/T of the readout forgotten in BPTT": (
        "refsnn/algorithms/readout.py",
        "        one /= one.dtype.type(self.steps)\n",
        "",
        RATE,
    ),
    "trace without the spike of this step": (
        "refsnn/algorithms/forward_in_time.py",
        "            trace *= factor\n            trace += tape.values[source]\n",
        "            trace += tape.values[source]\n            trace *= factor\n",
        ONLINE,
    ),
    "error growing with time": (
        "refsnn/algorithms/forward_in_time.py",
        "error, {}, self.kernels, NO_EDGES, self.products(weights, tape)",
        "error * self.traces.steps, {}, self.kernels, NO_EDGES, self.products(weights, tape)",
        ONLINE,
    ),
    "feedback at the first step": (
        "refsnn/models/spiking_step.py",
        "linear_operator(node).forward(own, read) if started else np.zeros(shape, read.dtype)",
        "linear_operator(node).forward(own, read)",
        ONLINE,
    ),
    "feedback edge of the adjoint cut": (
        "refsnn/models/spiking_step.py",
        "            if edges.has_feedback(node.name) and tape.started:\n",
        "            if False:\n",
        ONLINE,
    ),
    "surrogate at the potential after the reset": (
        "refsnn/kernels/cpu/spiking.py",
        "                h = charged_t[j]\n"
        "                spike = fire(h, threshold, one)\n"
        "                spike_slope = surrogate(h - threshold, slope, height, one)\n",
        "                h = charged_t[j]\n"
        "                spike = fire(h, threshold, one)\n"
        "                spike_slope = surrogate(h - threshold * spike - threshold, slope, height, one)\n",
        ("rate_backpropagation/N6",),
    ),
    "nudge with the wrong sign": (
        "refsnn/equations/relaxation.py",
        "    return nudge * (target - state)\n",
        "    return nudge * (state - target)\n",
        EQUILIBRIUM,
    ),
    "second use of a tied weight dropped": (
        "refsnn/models/couplings.py",
        '            if self.tied:\n                share[f"{name}.weight"] += downward\n            else:\n',
        "            if not self.tied:\n",
        EQUILIBRIUM,
    ),
    "second phase of the symmetric update dropped": (
        "refsnn/algorithms/equilibrium_propagation.py",
        "nudges = (nudge, -nudge) if symmetric else (nudge,)",
        "nudges = (nudge, 0.0) if symmetric else (nudge,)",
        EQUILIBRIUM,
    ),
    "states compared one step late": (
        "refsnn/algorithms/bptt_convergent.py",
        "free.kept[-2 - t]",
        "free.kept[-1 - t]",
        ("equilibrium_propagation/O7",),
    ),
    "feedback of a maximum sent to the first of its window": (
        "refsnn/models/convolution.py",
        "        np.put_along_axis(windows, index, pooled[..., None], axis=-1)\n",
        "        windows[..., 0] = pooled\n",
        SUCCESSORS,
    ),
    "softmax of the outputs forgotten": (
        "refsnn/models/convergent_network.py",
        'return softmax(outputs) if self.loss_function == "cross_entropy" else outputs',
        "return outputs",
        SUCCESSORS,
    ),
    "parameters of the continual phase moved uphill": (
        "refsnn/algorithms/continual_equilibrium_propagation.py",
        "theta[name] + rates[name] * update[name]",
        "theta[name] - rates[name] * update[name]",
        SUCCESSORS,
    ),
    "adjoint of the steady state without its source": (
        "refsnn/algorithms/recurrent_backpropagation.py",
        "after = {name: source[name] + sent_back[name] for name in source}",
        "after = sent_back",
        SUCCESSORS,
    ),
    "correction of a vector field with the wrong sign": (
        "refsnn/algorithms/nonconservative_equilibrium_propagation.py",
        "after[name] + transposed[name] - straight[name]",
        "after[name] + straight[name] - transposed[name]",
        SUCCESSORS,
    ),
    "cell adjoint without what the output says": (
        "refsnn/equations/recurrent.py",
        "cell_adjoint + hidden_adjoint * output_gate * tanh_slope_of(squashed, one)",
        "cell_adjoint",
        ("memory_efficient_bptt/O12",),
    ),
    "the start counted twice": (
        "refsnn/schedules/frames.py",
        "split_in_64_bits(t, e // hidden_units + 1, option == 1)",
        "split_in_64_bits(t, e // hidden_units, option == 1)",
        ("memory_efficient_bptt/O7.simulated",),
    ),
    "hooks at each visit": (
        "refsnn/algorithms/checkpoint_executor.py",
        "        if step > self._visited:\n            self._visited = step\n",
        "        if step:\n            self._visited = step\n",
        CHECKPOINTED,
    ),
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy to plant in."""
    folder = tmp_path_factory.mktemp("copy")
    for room in ("refsnn", "validation"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@contextmanager
def planted(path: Path, old: str, new: str) -> Iterator[None]:
    source, times = path.read_text(encoding="utf-8"), path.stat()
    assert source.count(old) == 1, f"{path.name} holds the text to replace {source.count(old)} times"
    path.write_text(source.replace(old, new), encoding="utf-8")
    yield
    path.write_text(source, encoding="utf-8")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def red_claims(folder: Path, claims: tuple[str, ...], in_kernels: bool = False) -> list[dict]:
    """Of the copy as it stands.

    Plants that no kernel can see share what is compiled; one that kernels are made of would have them
    compiled anew and thrown away after it.
    """
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "NUMBA_CACHE_DIR": str(folder / ("cache of a plant" if in_kernels else "cache")),
        "PYTHONDONTWRITEBYTECODE": "1",  # byte code goes by the second and the size of its source
    }
    records = folder / "records.json"
    records.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "validation", "--seed", "7", "--json", records.name, *claims],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert records.exists(), done.stdout + done.stderr
    entries = json.loads(records.read_text(encoding="utf-8"))
    red = [entry for entry in entries if not (entry["holds"] and entry["control_fails"])]
    assert done.returncode == (1 if red else 0), done.stdout + done.stderr
    return red


@pytest.mark.parametrize(
    "claims",
    [RATE, EQUILIBRIUM, SUCCESSORS, ONLINE, CHECKPOINTED],
    ids=["rate", "equilibrium", "successors", "online", "checkpointed"],
)
def test_nothing_is_red_where_nothing_is_planted(copy, claims):
    assert red_claims(copy, claims) == []


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_error_turns_a_claim_red(copy, name):
    path, old, new, claims = PLANTS[name]
    with planted(copy / path, old, new):
        red = red_claims(copy, claims, in_kernels=Path(path).parts[1] in KERNEL_ROOMS)
    assert red, f"no claim noticed: {name}"
    print(f"{name}: {', '.join(entry['id'] for entry in red)}")
