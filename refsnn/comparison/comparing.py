"""Running every algorithm on one network and one input, and measuring it against BPTT."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.algorithms.result import GradientResult
from refsnn.comparison.contenders import DETACHED, FULL, Contender, contenders, default_names
from refsnn.comparison.measures import best_time, cosine_and_error, norm, peak_memory, rounding
from refsnn.comparison.results import Comparison, Leaf, Row
from refsnn.kernels import spiking_kernels
from refsnn.models.contract import Parameters
from refsnn.models.spiking_graph import SpikingGraph

Progress = Callable[[int, int, str], None]


def compare(
    graph: SpikingGraph,
    parameters: Any,
    inputs: Any,
    targets: Any,
    *,
    algorithms: Sequence[str] | None = None,
    backend: str = "cpu",
    repeat: int = 3,
    rng: np.random.Generator | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Every algorithm's gradient against BPTT's, with its memory and its time.

    The yardsticks are BPTT over all edges of time, with the gradient through the resets ("full") and without
    it ("detached"), whatever `graph.edges` says.  Each algorithm is measured by the yardsticks of its own
    loss: those that learn at each step are run on ``graph.with_loss(loss_over="each_step")`` where the
    network has the loss of the mean read-out, and BPTT is run on that as well.

    Parameters
    ----------
    graph : SpikingGraph
        The network.
    parameters, inputs, targets
        As `graph.check` wants them.
    algorithms : sequence of str, optional
        Names, see `refsnn.comparison.contenders.NAMES`; `default_names(T)` by default.
    backend : {"plain", "cpu", "cuda"}
        Which kernels run the neurons; forward mode (rtrl) has NumPy only.
    repeat : int
        Calls to take the best time of.
    rng : numpy.random.Generator, optional
        Draws the steps of SLTT-K.
    progress : callable of (done, total, name), optional
        Called before each algorithm.

    Returns
    -------
    Comparison
        An algorithm that cannot treat the network is a row that says why.

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range.

    Examples
    --------
    >>> from refsnn.models.builders.dense import dense_network
    >>> graph, rng = dense_network((4, 8, 6, 3)), np.random.default_rng(0)
    >>> table = compare(
    ...     graph, graph.initialise(rng, gain=3.0), rng.random((5, 2, 4)), [0, 2],
    ...     algorithms=["rate_multi_step", "galerkin_5", "ottt_paper"], repeat=1,
    ... )
    >>> [row.loss_over for row in table.rows]
    ['mean_readout', 'mean_readout', 'each_step']
    >>> table.row("galerkin_5").worst().error_detached < 1e-12  # as many modes as steps are BPTT
    True
    """
    checks.instance("graph", graph, SpikingGraph, "dense_network((64, 32, 10))")
    spiking_kernels(backend)  # refuses an unknown or absent backend
    checks.count("repeat", repeat)
    rng = np.random.default_rng(0) if rng is None else checks.generator("rng", rng)
    parameters, inputs, targets = graph.check_arrays(parameters, inputs, targets)
    steps = len(inputs)
    wanted = contenders(default_names(steps) if algorithms is None else algorithms, rng)

    rows: list[Row] = []
    notes: list[str] = []
    groups = _by_loss(graph, wanted)
    if len(groups) > 1:
        notes.append(
            "algorithms that learn at each step need the loss at each step: they stand apart, measured by "
            "BPTT's gradients of that loss"
        )
    total, done = sum(len(group) for _, group in groups), 0
    for judged, group in groups:
        court = _Court(judged, (parameters, inputs, targets), backend, repeat)
        notes += court.notes
        for contender in group:
            if progress is not None:
                progress(done, total, contender.name)
            rows.append(court.row(contender))
            done += 1
    return Comparison(
        rows=tuple(rows),
        steps=steps,
        batch=len(inputs[0]),
        numbers=sum(value.size for value in parameters.values()),
        dtype=str(next(iter(parameters.values())).dtype),
        backend=backend,
        notes=tuple(dict.fromkeys(notes)),
    )


def _by_loss(graph: SpikingGraph, wanted: list[Contender]) -> list[tuple[SpikingGraph, list[Contender]]]:
    """Which are run under the network's own loss, and which under the loss at each step."""
    if graph.loss_over == "each_step":
        return [(graph, wanted)]
    own = [contender for contender in wanted if not contender.online]
    online = [contender for contender in wanted if contender.online]
    groups = [(graph, own)] if own else []
    if online:
        yardsticks = [contender for contender in own if contender.name in (FULL, DETACHED)]
        groups.append((graph.with_loss(loss_over="each_step"), yardsticks + online))
    return groups


class _Court:
    """The yardsticks of one loss, and rows measured by them."""

    def __init__(
        self, graph: SpikingGraph, arguments: tuple[Parameters, Any, Any], backend: str, repeat: int
    ) -> None:
        self.graph, self.arguments, self.backend, self.repeat = graph, arguments, backend, repeat
        self.notes: list[str] = []
        rng = np.random.default_rng(0)  # not used by these two
        self.yardsticks = {c.name: self._tried(c)[0] for c in contenders([FULL, DETACHED], rng)}
        self._look(self.yardsticks[DETACHED] or self.yardsticks[FULL])

    def _tried(self, contender: Contender) -> tuple[GradientResult | None, str]:
        """A result, or why there is none."""
        try:
            return contender.run(self.graph, *self.arguments, self.backend), ""
        except (TypeError, ValueError, MemoryError) as error:
            return None, str(error) or type(error).__name__

    def _look(self, yardstick: GradientResult | None) -> None:
        """A figure on silence is no figure: say so."""
        if yardstick is None:
            self.notes.append("BPTT cannot treat this network: there is no yardstick")
            return
        for name, rate in yardstick.diagnostics.spike_rates.items():
            if rate in (0.0, 1.0):
                what = "never fires" if rate == 0 else "fires at every step"
                self.notes.append(f"{name} {what}: what is below it has nothing to learn from")
        nothing = rounding(yardstick.gradients)
        for name, gradient in yardstick.gradients.items():
            if norm(gradient) <= nothing:
                self.notes.append(f"the gradient of {name} is 0 but for rounding: no cosine, no error")

    def row(self, contender: Contender) -> Row:
        """Gradient, memory and time of one algorithm."""
        # the first call compiles; its gradient is the one that is compared
        result, refused = self._tried(contender)
        if result is None:
            return Row(contender.name, self.graph.loss_over, refused)

        def call() -> GradientResult:
            return contender.run(self.graph, *self.arguments, self.backend)

        _, peak = peak_memory(call)
        return Row(
            algorithm=contender.name,
            loss_over=self.graph.loss_over,
            loss=result.loss,
            leaves={name: self._leaf(name, value) for name, value in result.gradients.items()},
            peak_bytes=peak,
            bytes_kept=result.diagnostics.bytes_kept,
            seconds=best_time(call, self.repeat),
            spike_rates=result.diagnostics.spike_rates,
            margin=result.diagnostics.margin,
        )

    def _leaf(self, name: str, gradient: np.ndarray) -> Leaf:
        figures: list[float | None] = []
        for yardstick in (self.yardsticks[FULL], self.yardsticks[DETACHED]):
            if yardstick is None:
                figures += [None, None]
            else:
                nothing = rounding(yardstick.gradients)
                figures += cosine_and_error(gradient, yardstick.gradients[name], nothing)
        return Leaf(norm(gradient), *figures)
