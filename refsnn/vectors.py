"""Golden vectors of the spiking neuron: small cases with everything in them, for checking other software.

One HDF5 file, a group a case.  A case is self-contained: the neuron's constants as attributes, `inputs/`
(currents and upstream gradients) and `expected/` (charged potentials, spikes, gradients, rate Jacobian),
its purpose in words and as flags, and `margin`, the smallest distance of a charged potential to the
threshold.  `manifest.json` beside it pins the file by SHA-256.

    python -m refsnn.vectors data          write file and manifest anew
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.kernels import spiking_kernels

FORMAT = "1.0.0"  # major: the format changed; minor: more cases; patch: a case was wrong
FILE, MANIFEST = "spiking_neuron.h5", "manifest.json"

FLAGS = {
    "exact-threshold": "a charged potential equals the threshold to the last bit (dyadic numbers)",
    "residual-above-threshold": "after a soft reset the potential is still above the threshold",
    "reset-value": "the hard reset goes to a value other than zero",
    "attached-reset": "the gradient flows through the reset",
    "silent": "no neuron fires",
    "saturated": "every neuron fires at every step",
    "one-step": "T = 1",
    "one-neuron": "a single neuron",
    "negative-drive": "currents far below zero",
    "carried-state": "starts from a potential other than the reset value",
    "zero-upstream": "the upstream gradient is zero",
    "long": "the state is fed back over a thousand steps",
    "random": "nothing special: random currents",
}


@dataclass(frozen=True)
class VectorCase:
    """One case: a neuron, its inputs, and what it is for.

    Attributes
    ----------
    name : str
        Path of the group, repeated in its attributes.
    flags : tuple of str
        Keys of `FLAGS`.
    neuron : SpikingNeuron
        Constants and options.
    current : ndarray, (T, M)
        Input current.
    start : ndarray, (M,)
        Potential before the first step.
    spike_adjoint : ndarray, (T, M)
        Upstream gradient on the spikes.
    """

    name: str
    flags: tuple[str, ...]
    neuron: SpikingNeuron
    current: np.ndarray
    start: np.ndarray
    spike_adjoint: np.ndarray


def cases() -> Iterator[VectorCase]:
    """Every case, the same each time.

    Yields
    ------
    VectorCase
        Inputs only; `expected` computes the rest.

    Examples
    --------
    >>> next(cases()).name
    'random/soft-detached'
    """
    rng = np.random.default_rng(20190101)

    def case(name: str, neuron: SpikingNeuron, current: Any, *flags: str, **other: Any) -> VectorCase:
        current = np.atleast_2d(np.asarray(current, dtype=float))
        arrays = {
            "start": np.full(current.shape[1], neuron.reset_value),
            "spike_adjoint": rng.standard_normal(current.shape),
        } | other
        of_the_inputs = {
            "attached-reset": not neuron.detach_reset,
            "reset-value": neuron.reset_value != 0,
            "one-step": len(current) == 1,
            "one-neuron": current.shape[1] == 1,
            "long": len(current) >= 1000,
            "negative-drive": bool(current.max() <= 0 and current.mean() < -1),
            "carried-state": bool((arrays["start"] != neuron.reset_value).any()),
            "zero-upstream": not arrays["spike_adjoint"].any(),
        }
        flags += tuple(flag for flag, holds in of_the_inputs.items() if holds)
        return VectorCase(name, flags, neuron, current, **arrays)

    neurons = {
        "soft-detached": SpikingNeuron(0.9),
        "soft-attached": SpikingNeuron(0.9, detach_reset=False, surrogate=Surrogate("arctan", np.pi, 1.0)),
        "hard-detached": SpikingNeuron(0.7, reset="hard", surrogate=Surrogate("triangle", 1.0, 0.3)),
        "hard-attached": SpikingNeuron(0.7, 1.2, reset="hard", reset_value=-0.25, detach_reset=False),
    }
    for name, neuron in neurons.items():
        yield case(f"random/{name}", neuron, rng.normal(0.4, 0.8, (12, 8)), "random")
        current, start = rng.normal(0.4, 0.8, (6, 4)), rng.normal(0, 0.4, 4)
        yield case(f"carried/{name}", neuron, current, start=start)
    halves = SpikingNeuron(0.5)  # halves and quarters are exact in every binary format
    dyadic = [[0.5], [0.75], [0.0], [1.0], [1.0]]
    yield case("threshold/at-or-above", halves, dyadic, "exact-threshold")
    yield case("threshold/above", SpikingNeuron(0.5, fires=">"), dyadic, "exact-threshold")
    yield case("residual/soft", halves, [[3.5, 2.25], [0.0, 0.0], [0.0, 0.0]], "residual-above-threshold")
    yield case("silent/soft", neurons["soft-attached"], -5 * rng.random((6, 4)), "silent")
    yield case("saturated/hard", neurons["hard-detached"], 1.5 + rng.random((6, 4)), "saturated")
    yield case("one-step/soft", neurons["soft-detached"], [[1.25]], "saturated")
    current = rng.normal(0.4, 0.8, (5, 3))
    yield case("zero-upstream/hard", neurons["hard-attached"], current, spike_adjoint=np.zeros((5, 3)))
    yield case("long/soft-attached", neurons["soft-attached"], rng.normal(0.2, 0.5, (1000, 4)))


def expected(case: VectorCase, backend: str = "plain", dtype: Any = np.float64) -> dict[str, np.ndarray]:
    """What a case must give.

    Parameters
    ----------
    case : VectorCase
        Neuron and inputs.
    backend : {"plain", "cpu", "cuda"}
        Who computes.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    dict of str to ndarray
        `charged`, `spikes`, `potential` (after the last step), `current_adjoint`, `start_adjoint`,
        `rate` and `rate_jacobian`.

    Examples
    --------
    >>> expected(next(cases()))["spikes"].shape
    (12, 8)
    """
    kernels = spiking_kernels(backend)
    current, upstream = case.current.astype(dtype), case.spike_adjoint.astype(dtype)
    found = {name: np.empty_like(current) for name in ("charged", "spikes", "current_adjoint")}
    potential, start_adjoint = case.start.astype(dtype), np.zeros_like(current[0])
    kernels.forward(case.neuron, current, potential, found["charged"], found["spikes"])
    kernels.backward(case.neuron, found["charged"], upstream, start_adjoint, found["current_adjoint"], 0)
    state, trace = case.start.astype(dtype), np.ones_like(current[0])
    slope_sum, spike_sum, spikes = np.zeros_like(trace), np.zeros_like(trace), np.empty_like(current)
    margin = np.full_like(trace, np.inf)
    kernels.rate_forward(case.neuron, current, state, trace, slope_sum, spike_sum, margin, spikes)
    return found | {
        "potential": potential,
        "start_adjoint": start_adjoint,
        "rate": spike_sum / len(current),
        "rate_jacobian": slope_sum / len(current),
    }


def write_vectors(folder: str | os.PathLike[str]) -> Path:
    """Write file and manifest, each under a temporary name first.

    Parameters
    ----------
    folder : path
        An existing folder.

    Returns
    -------
    Path
        Of the HDF5 file.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"folder: expected an existing folder, got {folder}; create it first")
    paths = [folder / FILE, folder / MANIFEST]
    temporaries = [path.with_name(f".{path.name}.{os.getpid()}") for path in paths]
    try:
        with h5py.File(temporaries[0], "w") as file:
            file.attrs["format"] = FORMAT
            for case in cases():
                _write_case(file.create_group(case.name), case)
        manifest = {
            "format": FORMAT,
            "files": {FILE: {"sha256": sha256(temporaries[0]), "cases": [case.name for case in cases()]}},
            "flags": FLAGS,
        }
        temporaries[1].write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        for temporary, path in zip(temporaries, paths, strict=True):
            os.replace(temporary, path)
    finally:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)
    return paths[0]


def _write_case(group: h5py.Group, case: VectorCase) -> None:
    results = expected(case)
    group.attrs["name"] = case.name
    group.attrs["flags"] = list(case.flags)
    group.attrs["margin"] = float(np.abs(results["charged"] - case.neuron.threshold).min())
    for name, value in asdict(case.neuron).items():
        for key, entry in value.items() if isinstance(value, dict) else [("", value)]:
            group.attrs[f"{name}.{key}" if key else name] = entry
    for room, arrays in (
        ("inputs", {"current": case.current, "start": case.start, "spike_adjoint": case.spike_adjoint}),
        ("expected", results),
    ):
        for name, array in arrays.items():
            group.create_dataset(f"{room}/{name}", data=array)


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file.

    Parameters
    ----------
    path : path
        Any file.

    Returns
    -------
    str
        Hexadecimal digest.
    """
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


if __name__ == "__main__":
    print(write_vectors(sys.argv[1] if len(sys.argv) > 1 else "data"))
