"""Equilibrium propagation beside BPTT on the same networks, on scikit-learn's digits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from refsnn.datasets.digits import load_digits
from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork
from validation.experiments import ExperimentResult, Progress, experiment
from validation.experiments.convergent_training import Setting
from validation.experiments.training import History, learning_curves, summary

WIDTHS = (10, 128, 64)
EPOCHS, SEEDS = 30, 3
# the paper's settings of one hidden layer
# an even K: with an odd one samples in an orbit of period two are noise (claim NC7.parity)
PROTOTYPICAL = Setting(PrototypicalNetwork(WIDTHS, activation="sigm"), 30, 10, 0.1, (0.04, 0.08))
ENERGY_BASED = Setting(
    EnergyBasedNetwork(WIDTHS, activation="sigm", output="official", clamp=True), 100, 12, 0.5, (0.05, 0.1)
)

SHORT = {
    "P-1h: EP, nudge outside (paper)": PROTOTYPICAL,
    "P-1h: BPTT, truncated to K": PROTOTYPICAL.by("BPTT"),
}
LONG = {
    "P-1h: EP, nudge outside (paper)": PROTOTYPICAL,
    "P-1h: EP, nudge inside": PROTOTYPICAL.by("EP", nudge_placement="inside"),
    "P-1h: EP, random sign": PROTOTYPICAL.by("random sign"),
    "P-1h: EP, symmetric": PROTOTYPICAL.by("symmetric"),
    "P-1h: BPTT, truncated to K": PROTOTYPICAL.by("BPTT"),
    "EB-1h: EP, official output, clamped (paper)": ENERGY_BASED,
    "EB-1h: EP, output rho, clamped": ENERGY_BASED.by("EP", output="rho"),
    "EB-1h: BPTT, official output, clamped": ENERGY_BASED.by("BPTT"),
    "EB-1h: BPTT, official output, not clamped": ENERGY_BASED.by("BPTT", clamp=False),
}


def compare(settings: Mapping[str, Setting], progress: Progress) -> ExperimentResult:
    """Every setting on the digits, same seeds."""
    done, total = 0, len(settings) * SEEDS * EPOCHS
    found: dict[str, list[History]] = {name: [] for name in settings}
    for name, setting in settings.items():
        for seed in range(SEEDS):

            def tick(text: str, label: str = name) -> None:
                nonlocal done
                done += 1
                progress(done, total, f"{label}: {text}")

            rng = np.random.default_rng(seed)
            data = load_digits(rng, dtype=np.float32)
            found[name].append(setting.train(data, setting.recipe(EPOCHS), rng, tick))
    return ExperimentResult(
        table_header=(
            "network and rule",
            "test error, mean of the last five epochs",
            "last epoch",
            "train error, last epoch",
            "largest residual, last free phase",
        ),
        table_rows=[
            (
                name,
                summary(histories, epochs=5),
                summary(histories),
                f"{100 * np.mean([h.train_errors[-1] for h in histories]):.2f} %",
                f"{max(h.diagnostics['residual'] for h in histories):.1e}",
            )
            for name, histories in found.items()
        ],
        figures=[
            (
                f"Learning curves, {family}",
                "Test error after each epoch; mean over seeds, and up to four curves with their range.",
                learning_curves(curves, f"digits, {family} network 10-128-64"),
            )
            for family, curves in by_family(found).items()
        ],
        notes=notes(settings),
    )


def by_family(found: Mapping[str, list[History]]) -> dict[str, dict[str, list[History]]]:
    """Curves of either family apart."""
    families = {"prototypical": "P-1h", "energy-based": "EB-1h"}
    split = {
        family: {name: histories for name, histories in found.items() if name.startswith(prefix)}
        for family, prefix in families.items()
    }
    return {family: curves for family, curves in split.items() if curves}


def notes(settings: Mapping[str, Setting]) -> list[str]:
    """The settings, and what to keep in mind."""
    lines = []
    for name, setting in (("P-1h", PROTOTYPICAL), ("EB-1h", ENERGY_BASED)):
        if any(key.startswith(name) for key in settings):
            output, hidden = setting.rates
            lines.append(
                f"{name}: $T={setting.free_steps}$, $K={setting.nudged_steps}$, $\\beta={setting.nudge}$, "
                f"$\\epsilon={setting.network.step_size}$, learning rates {output} and {hidden}, "
                "output to input."
            )
    lines.append(
        f"{SEEDS} seeds, {EPOCHS} epochs, batch 20, float32, constant rates, so that the last epoch is noisy."
    )
    if any("BPTT" in name and name.endswith(", clamped") for name in settings):
        lines.append(
            "Backpropagation through clamped units is no baseline: an output clamped at 0 has no derivative "
            "and stays there, while a finite nudge pulls it off.  The row is here to show that; the baseline "
            "of EB-1h is the row without the clamp."
        )
    return lines


@experiment(
    "equilibrium_propagation/digits",
    "Digits: equilibrium propagation beside BPTT on the same network",
    "A prototypical network 10-128-64, the paper's settings for one hidden layer, 1437 training and 360 test "
    "images of 8x8 pixels.",
)
def digits(progress: Progress) -> ExperimentResult:
    return compare(SHORT, progress)


@experiment(
    "equilibrium_propagation/digits-long",
    "Digits: both families, nine rules",
    "The nudge inside the activation, the nudge of random sign, symmetric nudging, and the energy-based "
    "network of the same size with its output rules and with its clamp off.",
    long=True,
)
def digits_long(progress: Progress) -> ExperimentResult:
    return compare(LONG, progress)
