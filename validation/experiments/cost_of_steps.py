"""Memory and time of a gradient against the number of steps T, for every rule.

Yu 2024, Fig. 4, and Xiao 2022, Fig. 2, in small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from refsnn.models.builders.initialisation import initialise_kaiming
from refsnn.models.builders.vgg import vgg_sws
from refsnn.models.contract import StaticInput
from validation.experiments import ExperimentResult, Progress, experiment
from validation.experiments.spiking_training import RULES
from validation.timing import WARM_UPS, one_thread, peak_memory, take_turns

NETWORK = vgg_sws(plan=(8, "pool", 16, "pool", 16), image=(3, 16, 16), loss_over="each_step")
COSTED = (
    "BPTT, reset detached",
    "rate-based",
    "rate-based, step by step",
    "Galerkin, K = 2",
    "OTTT_A",
    "SLTT",
)
STEPS = (1, 2, 4, 8, 16, 32, 64)
BATCH, REPEATS = 8, 3

Costs = dict[str, list[tuple[float, float]]]  # of each rule: (MiB, milliseconds) for each T


def measure(rules: Sequence[str], steps: Sequence[int], progress: Progress, dtype: Any = np.float32) -> Costs:
    """Peak memory and best time of one gradient."""
    rng = np.random.default_rng(0)
    parameters = initialise_kaiming(NETWORK, rng, dtype)
    images = rng.standard_normal((BATCH, *NETWORK.input_shape)).astype(dtype)
    labels = rng.integers(0, NETWORK.classes, BATCH)
    costs: Costs = {rule: [] for rule in rules}
    done, total = 0, (WARM_UPS + REPEATS + 1) * sum(steps)
    with one_thread():
        for count in steps:
            runs = {
                rule: partial(RULES[rule].gradient, NETWORK, parameters, StaticInput(images, count), labels)
                for rule in rules
                if count > 1 or not rule.startswith("Galerkin")
            }

            def tick(count: int = count) -> None:
                nonlocal done
                done += count
                progress(done, total, f"T = {count}")

            times = take_turns(runs, REPEATS, progress=tick)
            for rule in rules:
                costs[rule].append(
                    (peak_memory(runs[rule]) / 2**20, min(times[rule])) if rule in runs else (np.nan, np.nan)
                )
    return costs


def drawn(costs: Mapping[str, Sequence[tuple[float, float]]], steps: Sequence[int]) -> Any:
    """Two panels: memory and time against T."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    drawing = Figure(figsize=(7.2, 3.4))
    panels = drawing.subplots(1, 2)
    for panel, which, label in zip(panels, (0, 1), ("peak memory [MiB]", "time [ms]"), strict=True):
        for (rule, pairs), marker in zip(costs.items(), "os^vDx", strict=True):
            panel.plot(steps, [pair[which] for pair in pairs], marker=marker, label=rule)
        panel.set_xscale("log", base=2)
        panel.set_yscale("log")
        panel.xaxis.set_major_locator(FixedLocator(list(steps)))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.xaxis.set_major_formatter(ScalarFormatter())
        panel.set(xlabel="steps T", ylabel=label)
    drawing.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return drawing


@experiment(
    "rate_backpropagation/steps",
    "What a gradient costs against the number of steps",
    r"8C3-AP2-16C3-AP2-16C3 on images of 16x16, a batch of 8, static input, float32, one thread.",
)
def cost_of_steps(progress: Progress) -> ExperimentResult:
    costs = measure(COSTED, STEPS, progress)
    rows = [
        (
            rule,
            *(f"{memory:.2f}" for memory, _ in (pairs[STEPS.index(4)], pairs[-1])),
            f"{pairs[-1][0] / pairs[STEPS.index(4)][0]:.2f}",
            *(f"{spent:.1f}" for _, spent in (pairs[STEPS.index(4)], pairs[-1])),
            f"{pairs[-1][1] / costs[COSTED[0]][-1][1]:.2f}",
        )
        for rule, pairs in costs.items()
    ]
    return ExperimentResult(
        table_header=(
            "rule",
            "MiB at T = 4",
            f"MiB at T = {STEPS[-1]}",
            "ratio",
            "ms at T = 4",
            f"ms at T = {STEPS[-1]}",
            "of BPTT's",
        ),
        table_rows=rows,
        figures=[
            (
                "Memory and time against the number of steps",
                "Peak of all arrays during one gradient, and its best time of three; both axes logarithmic.",
                drawn(costs, STEPS),
            )
        ],
        notes=[
            "Rate-based backpropagation keeps nothing of length $T$ for its way down in either mode; "
            "layer by layer it holds the spikes of the layer that runs, all steps of them, and step by step "
            "not even those.  The times forward grow with $T$ for every rule.",
        ],
    )
