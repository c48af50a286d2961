"""Trainings that share an allowance of time, and go on in the next run from where they stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from threading import Lock

import numpy as np

from refsnn.datasets.labelled import LabelledImages
from validation.experiments import Allowance, Progress
from validation.experiments.checkpoints import Checkpoint
from validation.experiments.spiking_training import SpikingSetting
from validation.experiments.training import History, Recipe, error_rate

WORKERS = 2
SEED = 0


@dataclass
class Limit:
    """When a training ends: at a time, or at once."""

    deadline: float
    interrupted: bool = False

    def reached(self) -> bool:
        """Whether to stop."""
        return self.interrupted or time.monotonic() >= self.deadline


@dataclass(frozen=True)
class Training:
    """One training of a table.

    Attributes
    ----------
    key : str
        Name of its checkpoint.
    network : str
        Which network, for the table; trainings of one network are compared.
    setting : SpikingSetting
        Network and rule.
    recipe : Recipe
        How to train.
    """

    key: str
    network: str
    setting: SpikingSetting
    recipe: Recipe

    @property
    def label(self) -> str:
        """For messages and curves."""
        return f"{self.network}, {self.setting.rule}"


@dataclass(frozen=True)
class Trained:
    """What became of a training; no test error before its first update."""

    training: Training
    history: History
    test_error: float | None


def train_sharing(
    trainings: Sequence[Training],
    data: LabelledImages,
    allowance: Allowance,
    progress: Progress,
    workers: int = WORKERS,
) -> list[Trained]:
    """Train all within the allowed time, some at once, each with a fair share of what is left as it begins.

    Who ends early leaves its time to those after it.  After an error or Ctrl-C all stop, and are kept.
    """
    start, places, lock = time.monotonic(), count(), Lock()
    limits: list[Limit] = []
    stopped = False

    def tick(text: str) -> None:
        progress(time.monotonic() - start, allowance.seconds, text)

    def work(training: Training) -> Trained:
        with lock:
            rounds = math.ceil((len(trainings) - next(places)) / workers)
            left = max(allowance.seconds - (time.monotonic() - start), 0.0)
            limit = Limit(time.monotonic() + left / rounds, stopped)
            limits.append(limit)
        return train_one(training, data, allowance.folder, tick, limit)

    with ThreadPoolExecutor(max_workers=workers) as pool:
        tasks = [pool.submit(work, training) for training in trainings]
        try:
            wait(tasks, return_when=FIRST_EXCEPTION)
        finally:
            with lock:
                stopped = not all(task.done() for task in tasks)
                for limit in limits:
                    limit.interrupted = stopped
        return [task.result() for task in tasks]


def train_one(
    training: Training,
    data: LabelledImages,
    folder: Path | None,
    tick: Callable[[str], None],
    limit: Limit,
) -> Trained:
    """One training, from its checkpoint if there is one."""
    setting = training.setting
    tick(f"{training.label}: begins")
    checkpoint = None
    if folder is not None:
        checkpoint = Checkpoint(folder / f"{training.key}-seed{SEED}.h5", {"seed": str(SEED)})
    history = setting.train(
        data,
        training.recipe,
        np.random.default_rng(SEED),
        lambda text: tick(f"{training.label}: {text}"),
        checkpoint,
        limit.reached,
    )
    return Trained(training, history, None if limit.interrupted else current_error(setting, history, data))


def current_error(setting: SpikingSetting, history: History, data: LabelledImages) -> float | None:
    """Test error of the parameters as they are, in the midst of an epoch too; None before any update."""
    if not history.epochs:
        return None
    if history.epochs == len(history.test_errors):
        return history.test_error

    predict = partial(setting.predict, running=history.running)
    rng = np.random.default_rng(SEED)
    return error_rate(predict, history.parameters, data.test_images, data.test_labels, rng)
