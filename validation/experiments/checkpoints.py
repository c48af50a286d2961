"""Checkpoints of a training: one HDF5 file, whole or absent, that remembers whose it is.

A file holds all that a training changes (`TrainingState`) and a fingerprint of all that it does not: recipe,
network, data, dtype, seed.  A training that goes on from it, with the same code and the same libraries, ends
with the same bits as one that was never stopped; a file of another training is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from refsnn.files import plain, replacing
from refsnn.models.contract import Parameters

FORMAT = "1"
# one number an epoch each
CURVES = ("losses", "train_errors", "test_errors")


@dataclass(frozen=True)
class Checkpoint:
    """Where a training is kept, and what it is besides recipe, data and initial parameters.

    Attributes
    ----------
    path : Path
        The file; its folder exists.
    identity : dict of str to str
        What only the caller knows, such as the network, the rule and the seed.
    seconds : float
        Least time between two writings within an epoch; the ends of epochs are always written.
    """

    path: Path
    identity: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 60.0


@dataclass
class TrainingState:
    """All that a training changes, but for the state of its generator.

    Attributes
    ----------
    parameters, velocity : dict of ndarray
        theta and the momentum.
    epoch, update : int
        Epochs done, and updates done in the one under way.
    order : ndarray of int, or None
        The shuffled samples of the epoch under way; None before they are drawn.
    batch_losses : list of float
        One an update of the epoch under way.
    wrong : int
        Training samples of the epoch under way that were classified wrongly before their update.
    curves : dict of str to list of float
        `CURVES`, one number an epoch.
    diagnostics : dict
        Of the last update.
    spent : float
        Seconds of training so far, over all runs.
    running : dict of str to dict of ndarray
        Running statistics of each normalisation; empty for networks without.
    """

    parameters: Parameters
    velocity: Parameters
    epoch: int = 0
    update: int = 0
    order: np.ndarray | None = None
    batch_losses: list[float] = field(default_factory=list)
    wrong: int = 0
    curves: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in CURVES})
    diagnostics: dict[str, Any] = field(default_factory=dict)
    spent: float = 0.0
    running: dict[str, Parameters] = field(default_factory=dict)


def save(path: Path, state: TrainingState, rng: np.random.Generator, fingerprint: Mapping[str, str]) -> None:
    """Write the state; a kill at any moment leaves the old file or the new one.

    Raises
    ------
    OSError
        If the disk is full or the folder is gone.
    """
    arrays = {f"parameters/{name}": array for name, array in state.parameters.items()}
    arrays |= {f"velocity/{name}": array for name, array in state.velocity.items()}
    for node, statistics in state.running.items():
        arrays |= {f"running/{node}/{name}": array for name, array in statistics.items()}
    arrays |= {f"curves/{name}": np.array(curve, np.float64) for name, curve in state.curves.items()}
    arrays["batch_losses"] = np.array(state.batch_losses, np.float64)
    if state.order is not None:
        arrays["order"] = state.order
    texts = {
        "format": FORMAT,
        "fingerprint": json.dumps(dict(fingerprint)),
        "generator": json.dumps(plain(rng.bit_generator.state)),
        "counters": json.dumps(
            {"epoch": state.epoch, "update": state.update, "wrong": state.wrong, "spent": state.spent}
        ),
        "diagnostics": json.dumps(plain(state.diagnostics)),
    }
    write(path, arrays, texts)


def write(path: Path, arrays: Mapping[str, np.ndarray], texts: Mapping[str, str]) -> None:
    """Write arrays and texts as one file; a kill at any moment leaves the old file or the new one.

    Raises
    ------
    OSError
        If the disk is full or the folder is gone.
    """
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
        for name, text in texts.items():
            file.attrs[name] = text
        file.attrs["sha256"] = digest(arrays, texts)


def load(
    path: Path, state: TrainingState, rng: np.random.Generator, fingerprint: Mapping[str, str]
) -> TrainingState:
    """Read what `save` wrote, and put `rng` where it was then.

    Parameters
    ----------
    path : Path
        An existing file.
    state : TrainingState
        The training before its first update: says which arrays there must be.
    rng : numpy.random.Generator
        Of the same kind as then.
    fingerprint : dict of str to str
        Of the training that wants to go on.

    Raises
    ------
    ValueError
        If the file is damaged, or belongs to another training: says in what they differ.
    """
    arrays, texts = read_of(path, fingerprint)
    rng.bit_generator.state = json.loads(texts["generator"])
    return TrainingState(
        parameters={name: arrays[f"parameters/{name}"] for name in state.parameters},
        velocity={name: arrays[f"velocity/{name}"] for name in state.velocity},
        running={
            node: {name: arrays[f"running/{node}/{name}"] for name in statistics}
            for node, statistics in state.running.items()
        },
        order=arrays.get("order"),
        batch_losses=arrays["batch_losses"].tolist(),
        curves={name: arrays[f"curves/{name}"].tolist() for name in CURVES},
        diagnostics=json.loads(texts["diagnostics"]),
        **json.loads(texts["counters"]),
    )


def read_of(path: Path, fingerprint: Mapping[str, str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and texts of the checkpoint of one training.

    Parameters
    ----------
    path : Path
        An existing file, with the texts "format" and "fingerprint" (JSON).
    fingerprint : dict of str to str
        Of the training that wants to go on.

    Returns
    -------
    arrays : dict of str to ndarray
    texts : dict of str to str

    Raises
    ------
    ValueError
        If the file is damaged, or belongs to another training: says in what they differ.
    """
    arrays, texts = _read(path)
    if texts.get("format") != FORMAT:
        raise ValueError(
            f"{path}: expected a checkpoint of format {FORMAT}, got {texts.get('format')}; "
            "delete it to start anew, or name another folder"
        )
    theirs = json.loads(texts["fingerprint"])
    differences = [
        f"{name}: {theirs.get(name, 'nothing')} there, {fingerprint.get(name, 'nothing')} here"
        for name in dict.fromkeys([*theirs, *fingerprint])
        if theirs.get(name) != fingerprint.get(name)
    ]
    if differences:
        raise ValueError(
            f"{path}: expected a checkpoint of this training, got one of another; they differ in "
            f"{'; '.join(differences)}.  Name another folder, or delete the file to start anew"
        )
    return arrays, texts


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and texts of a whole file."""
    arrays: dict[str, np.ndarray] = {}

    def collect(name: str, entry: Any) -> None:
        if isinstance(entry, h5py.Dataset):
            arrays[name] = entry[()]

    why = "its content is not what was written"
    try:
        with h5py.File(path, "r") as file:
            file.visititems(collect)
            texts = {name: str(value) for name, value in file.attrs.items()}
        whole = texts.pop("sha256", None) == digest(arrays, texts)
    except (
        OSError,
        RuntimeError,
        KeyError,
        ValueError,
        TypeError,
    ) as error:  # what h5py says of broken files
        whole, why = False, str(error)
    if not whole:
        raise ValueError(
            f"{path}: expected a whole checkpoint, found a damaged one ({why}); delete it to start anew"
        )
    return arrays, texts


def digest(arrays: Mapping[str, np.ndarray], texts: Mapping[str, str] | None = None) -> str:
    """SHA-256 over names, dtypes, shapes and bytes.

    Examples
    --------
    >>> digest({"a": np.zeros(2)}) == digest({"a": np.zeros(2, np.float32)})
    False
    """
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        total.update(array.data)
    for name, text in sorted((texts or {}).items()):
        total.update(f"{name} {len(text)} {text} ".encode())
    return total.hexdigest()
