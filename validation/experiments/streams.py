"""Trainings on tasks that never end: each update sees a batch that is drawn for it.

A training is a network, a rule that turns gradients into weights (an optimiser alone, or one under DEEP R),
and a function that draws a batch, runs it and says what came of it.  It can be kept in a file at any update,
and goes on from there to the same bits.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import numpy as np

from refsnn.algorithms.deep_rewiring import DeepRewiring
from refsnn.algorithms.fixed_signs import SignedState
from refsnn.algorithms.optimisers import Optimiser
from refsnn.files import plain
from refsnn.models.contract import Parameters, State
from validation.experiments.checkpoints import FORMAT, Checkpoint, digest, read_of, write


class Rule(Protocol):
    """From gradients to weights."""

    def initial_state(self, parameters: Parameters) -> SignedState:
        """Before the first update."""
        ...

    def weights(self, state: SignedState) -> Parameters:
        """What the network computes with."""
        ...

    def update(self, state: SignedState, gradients: Parameters, rng: np.random.Generator) -> SignedState:
        """One update."""
        ...


@dataclass(frozen=True)
class Unconstrained:
    """An optimiser and nothing else.

    Attributes
    ----------
    optimiser : Optimiser
        Of all parameters.
    """

    optimiser: Optimiser

    def initial_state(self, parameters: Parameters) -> SignedState:
        """Before the first update."""
        return SignedState(parameters, self.optimiser.initial_state(parameters))

    def weights(self, state: SignedState) -> Parameters:
        """The parameters."""
        return state.strengths

    def update(self, state: SignedState, gradients: Parameters, rng: np.random.Generator) -> SignedState:
        """One update; nothing is drawn."""
        return SignedState(*self.optimiser.update(state.strengths, gradients, state.optimiser))


@dataclass(frozen=True)
class Outcome:
    """What one batch gave.

    Attributes
    ----------
    gradients : dict of ndarray
        Of the loss and its penalties.
    figures : dict of str to float
        What is to be plotted: loss, error, rates.
    state : dict of ndarray, or None
        What the next batch starts from, where it is not rest.
    """

    gradients: Parameters
    figures: dict[str, float]
    state: State | None = None


# (parameters, state that the batch before left, rng) to what the batch gave
Batch = Callable[[Parameters, State | None, np.random.Generator], Outcome]


@dataclass
class Stream:
    """A training, to its end or to where its time was up.

    Attributes
    ----------
    rule_state : SignedState
        Of the rule.
    carried : dict of ndarray, or None
        What the next batch starts from.
    curves : dict of str to list of float
        One number an update for each figure.
    spent : float
        Seconds of training, over all runs.
    """

    rule_state: SignedState
    carried: State | None = None
    curves: dict[str, list[float]] = field(default_factory=dict)
    spent: float = 0.0

    @property
    def updates(self) -> int:
        """Updates done."""
        return len(next(iter(self.curves.values()), []))

    def running_mean(self, name: str, over: int = 20) -> float:
        """Mean of a figure over the last updates."""
        return float(np.mean(self.curves[name][-over:]))


def train_stream(
    parameters: Parameters,
    batch: Batch,
    rule: Rule,
    updates: int,
    rng: np.random.Generator,
    *,
    checkpoint: Checkpoint | None = None,
    stop: Callable[[], bool] = lambda: False,
    reached: Callable[[Stream], bool] = lambda stream: False,
    tick: Callable[[Stream], None] = lambda stream: None,
) -> Stream:
    """Train until `updates` are done, `reached` says that it is enough, or `stop` that the time is up.

    Parameters
    ----------
    parameters : dict of ndarray
        Before the first update.
    batch : callable
        Draws and runs a batch.
    rule : Rule
        What gradients do.
    updates : int
        At most so many.
    rng : numpy.random.Generator
        For batches and rewiring.
    checkpoint : Checkpoint, optional
        Where the training is kept, and from where it goes on; its identity says whose it is.
    stop, reached, tick : callable
        Asked before, asked after, called after each update.

    Returns
    -------
    Stream

    Raises
    ------
    ValueError
        If the checkpoint is damaged or belongs to another training.
    """
    stream = Stream(rule.initial_state(parameters))
    whose: dict[str, str] = {}
    if checkpoint is not None:
        whose = {"parameters": digest(parameters), "rule": _described(rule), **checkpoint.identity}
        if checkpoint.path.exists():
            stream = _load(checkpoint, whose, rng)
    begun = kept = time.monotonic()
    before = stream.spent

    def keep(after: float = 0.0) -> None:
        nonlocal kept
        stream.spent = before + time.monotonic() - begun
        if checkpoint is not None and time.monotonic() - kept >= after:
            _save(checkpoint, stream, whose, rng)
            kept = time.monotonic()

    while stream.updates < updates and not (stream.updates and reached(stream)) and not stop():
        outcome = batch(rule.weights(stream.rule_state), stream.carried, rng)
        stream.rule_state = rule.update(stream.rule_state, outcome.gradients, rng)
        stream.carried = outcome.state
        for name, value in outcome.figures.items():
            stream.curves.setdefault(name, []).append(float(value))
        keep(checkpoint.seconds if checkpoint else np.inf)
        tick(stream)
    keep()
    return stream


def _described(rule: Rule) -> str:
    """Hyper-parameters of a rule, signs as a digest."""
    if not isinstance(rule, DeepRewiring):
        return repr(rule)
    options = {field.name: getattr(rule, field.name) for field in fields(rule)}
    options["signs"] = digest(dict(rule.signs))[:16]
    return f"DEEP R, {options}"


def _save(checkpoint: Checkpoint, stream: Stream, whose: dict[str, str], rng: np.random.Generator) -> None:
    arrays = {f"rule/{name}": array for name, array in stream.rule_state.as_arrays().items()}
    arrays |= {f"carried/{name}": array for name, array in (stream.carried or {}).items()}
    arrays |= {f"curves/{name}": np.array(curve) for name, curve in stream.curves.items()}
    texts = {
        "format": FORMAT,
        "fingerprint": json.dumps(whose),
        "generator": json.dumps(plain(rng.bit_generator.state)),
        "spent": json.dumps(stream.spent),
    }
    write(checkpoint.path, arrays, texts)


def _load(checkpoint: Checkpoint, whose: dict[str, str], rng: np.random.Generator) -> Stream:
    arrays, texts = read_of(checkpoint.path, whose)
    rng.bit_generator.state = json.loads(texts["generator"])

    def of(room: str) -> dict[str, Any]:
        start = f"{room}/"
        return {name.removeprefix(start): value for name, value in arrays.items() if name.startswith(start)}

    curves = {name: curve.tolist() for name, curve in of("curves").items()}
    return Stream(
        SignedState.from_arrays(of("rule")), of("carried") or None, curves, json.loads(texts["spent"])
    )
