"""What `cuda_benchmark` runs of sparse attention, in float32: a memory as full as after a long run."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from refsnn.kernels import attention_kernels
from refsnn.kernels.attention import CODES, Reading, Sparsifier
from validation.cuda_recurrent_workload import CELL_BOUND, drawn
from validation.cuda_workload import SPIKING_BOUND, Case, Sizes, kernel_case


def attention_cases(sizes: Sizes) -> Iterator[Case]:
    """Scores of all slots, a selection slot by slot, the sum over survivors, and the way back."""
    rng, slots, batch, units = np.random.default_rng(7), sizes.slots, sizes.readers, sizes.memory_width
    rule = Sparsifier(CODES["paper"], sizes.survivors, np.float32(1e-7), np.float32(1e-7), False)
    keys, memory = drawn(rng, slots, batch, units), drawn(rng, slots, batch, units)
    query, weight = drawn(rng, batch, units), drawn(rng, units, scale=units**-0.5)
    upstream, work = drawn(rng, batch, units), np.zeros((batch, slots), np.float32)
    scores = np.empty((batch, slots), np.float32)
    attention_kernels("plain").score(keys, query, weight, True, scores)

    def reading_of(backend: str) -> tuple[Reading, np.ndarray]:
        whole = np.zeros((batch, sizes.survivors), np.int32), *np.zeros((2, batch), np.int32)
        reading = Reading(*whole, np.zeros((batch, sizes.survivors), np.float32), np.zeros(batch, np.float32))
        gap = np.full(1, np.inf, np.float32)
        attention_kernels(backend).select(rule, scores, slots, reading, gap)
        return reading, gap

    def select(backend: str) -> list[np.ndarray]:
        reading, gap = reading_of(backend)
        return [*reading, gap]  # one slot for another is far above the bound

    reading, _ = reading_of("plain")
    case = partial(kernel_case, attention_kernels, bound=CELL_BOUND)
    yield case("score", read=(keys, query, weight, True), filled=[scores])
    yield Case("attention.select", CELL_BOUND, select, select)
    yield case("summarise", read=(memory, reading), filled=[query])
    yield kernel_case(
        attention_kernels, "attend_backward", SPIKING_BOUND,
        (rule, slots, keys, query, weight, True, memory, reading, upstream, True),
        [np.zeros_like(memory), np.zeros_like(keys), np.zeros_like(weight)], [query], score_adjoint=work,
    )  # fmt: skip
