"""Trainings on endless tasks, one after the other, each with a share of the time and from its checkpoint."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from refsnn.models.adaptive.network import AdaptiveSpikingNetwork
from refsnn.models.contract import Parameters
from validation.experiments import Allowance, Progress
from validation.experiments.checkpoints import Checkpoint
from validation.experiments.streams import Batch, Rule, Stream, train_stream


@dataclass(frozen=True)
class Begun:
    """A training before its first update.

    Attributes
    ----------
    network : AdaptiveSpikingNetwork
        What is trained.
    parameters : dict of ndarray
        Its first parameters, and what else is trained.
    batch : callable
        Draws and runs a batch.
    rule : Rule
        What gradients do.
    """

    network: AdaptiveSpikingNetwork
    parameters: Parameters
    batch: Batch
    rule: Rule


@dataclass(frozen=True)
class Job:
    """One training among several.

    Attributes
    ----------
    name, key : str
        For messages, and for the file of its checkpoint.
    begin : callable
        From a generator to a training.
    updates, seed : int
        How many, and with which seed.
    shown : str
        The figure that messages tell.
    """

    name: str
    key: str
    begin: Callable[[np.random.Generator], Begun]
    updates: int
    seed: int
    shown: str


@dataclass(frozen=True)
class Done:
    """What became of a job."""

    job: Job
    begun: Begun
    stream: Stream

    @property
    def parameters(self) -> Parameters:
        """As they are now."""
        return self.begun.rule.weights(self.stream.rule_state)

    @property
    def finished(self) -> bool:
        """Whether all updates are done."""
        return self.stream.updates >= self.job.updates

    @property
    def progress(self) -> str:
        """How far it is, for a table."""
        done = self.stream.updates
        return str(done) if self.finished else f"{done} of {self.job.updates}"


def train_in_turn(jobs: Sequence[Job], allowance: Allowance, progress: Progress) -> list[Done]:
    """Train one after the other; each may take its share of what the ones before it left.

    Parameters
    ----------
    jobs : sequence of Job
        What to train.
    allowance : Allowance
        How long, and where checkpoints are.
    progress : callable
        Told after each update.

    Returns
    -------
    list of Done
    """
    start, total, before, found = time.monotonic(), sum(job.updates for job in jobs), 0, []
    for place, job in enumerate(jobs):
        now = time.monotonic()
        deadline = now + max(start + allowance.seconds - now, 0.0) / (len(jobs) - place)
        rng = np.random.default_rng(job.seed)
        begun = job.begin(rng)

        def tick(stream: Stream, job: Job = job, before: int = before) -> None:
            mean = stream.running_mean(job.shown)
            progress(before + stream.updates, total, f"{job.name}: {job.shown} {mean:.4g}")

        def late(deadline: float = deadline) -> bool:
            return time.monotonic() >= deadline

        stream = train_stream(
            begun.parameters, begun.batch, begun.rule, job.updates, rng,
            checkpoint=_checkpoint(job, begun.network, allowance), stop=late, tick=tick,
        )  # fmt: skip
        found.append(Done(job, begun, stream))
        before += job.updates
    return found


def left_over(found: Sequence[Done], allowance: Allowance) -> list[str]:
    """A note on trainings that are not finished, if there are any."""
    if all(done.finished for done in found):
        return []
    kept = "go on from their checkpoints in the next run"
    if allowance.folder is None:
        kept = "begin anew in the next run; with --checkpoints DIR they go on where they stopped"
    return [f"Trainings that are not done {kept}."]


def _checkpoint(job: Job, network: AdaptiveSpikingNetwork, allowance: Allowance) -> Checkpoint | None:
    """Where it is kept; time constants are drawn too, so that they belong to what it is."""
    if allowance.folder is None:
        return None
    neuron = hashlib.sha256(repr(network.neuron).encode()).hexdigest()[:16]
    return Checkpoint(
        allowance.folder / f"{job.key}-seed{job.seed}.h5", {"seed": str(job.seed), "neuron": neuron}
    )
