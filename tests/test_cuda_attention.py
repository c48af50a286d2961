"""Sparse attention on a CUDA device: every rule against plain, ties too; threads, barriers, what travels.

`test_attention_kernels` holds all backends against brute force and a complex step; here are the cases that a
device alone can get wrong.
"""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass, replace

import numpy as np
import pytest
from barriers import Device
from numba import config

from refsnn.kernels import attention_kernels
from refsnn.kernels.attention import CODES, MINIMUM, PAPER, Reading, Sparsifier

pytestmark = pytest.mark.cuda

RELATIVE = {np.float64: 1e-12, np.float32: 2e-5}
THRESHOLDED = ["paper", "dev", "release", "min"]


@dataclass(frozen=True)
class Case:
    """One step forward and back over drawn memories; the first `ties` slots of a sample are the same."""

    name: str
    top: int = 3
    mixed: bool = False
    squashed: bool = True
    attached: bool = True
    dtype: type = np.float64
    batch: int = 3
    filled: int = 8
    units: int = 4
    width: int = 5
    ties: int = 0
    seed: int = 0

    @property
    def rule(self) -> Sparsifier:
        return Sparsifier(CODES[self.name], self.top, self.dtype(0.05), self.dtype(0.02), self.mixed)

    def run(self, backend: str) -> dict[str, np.ndarray]:
        """All that the four functions write, with rubbish where they were to write."""
        rng, kernels, rule = np.random.default_rng(self.seed), attention_kernels(backend), self.rule
        slots, batch = self.filled + 2, self.batch

        def drawn(*shape):
            return rng.standard_normal(shape).astype(self.dtype)

        keys, memory = drawn(slots, batch, self.width), drawn(slots, batch, self.units)
        keys[: self.ties], memory[: self.ties] = keys[:1], memory[:1]
        query, weight, upstream = drawn(batch, self.width), drawn(self.width), drawn(batch, self.units)
        scores = np.full((batch, slots), np.nan, self.dtype)
        kernels.score(keys[: self.filled], query, weight, self.squashed, scores)
        whole = (np.full(shape, -7, np.int32) for shape in ((batch, self.filled + 1), batch, batch))
        real = (np.full(shape, np.nan, self.dtype) for shape in ((batch, self.filled + 1), batch))
        reading, gap = Reading(*whole, *real), np.full(1, 10, self.dtype)
        own = scores if backend == "plain" else self.run("plain")["scores"]  # the same bits
        kernels.select(rule, own, self.filled, reading, gap)
        summary = np.full((batch, self.units), np.nan, self.dtype)
        kernels.summarise(memory, reading, summary)
        by_memory, by_keys, by_weight = drawn(*memory.shape), drawn(*keys.shape), drawn(self.width)
        start = by_keys.copy()
        by_query, work = np.full(query.shape, np.nan, self.dtype), np.zeros_like(scores)
        kernels.attend_backward(
            rule, self.filled, keys, query, weight, self.squashed, memory, reading, upstream, self.attached,
            by_memory, by_keys, by_weight, by_query, work,
        )  # fmt: skip
        assert not work.any()
        there = np.arange(self.filled + 1) < reading.survivors[:, None]
        return {
            "scores": scores, "survivors": reading.survivors, "chosen": np.where(there, reading.chosen, -1),
            "threshold_slot": reading.threshold_slot, "gap": gap,
            "weights": np.where(there, reading.weights, 0), "normaliser": reading.normaliser,
            "summary": summary, "by_memory": by_memory, "by_keys": by_keys, "by_weight": by_weight,
            "by_query": by_query, "moved": by_keys - start,
        }  # fmt: skip


EXACT = "survivors", "chosen", "threshold_slot", "gap"


def agree(found, expected, dtype, relative=None):
    assert found.keys() == expected.keys()
    relative = RELATIVE[dtype] if relative is None else relative
    for name, value in expected.items():
        one = found[name]
        assert one.dtype == value.dtype, name
        bound = 0 if name in EXACT else relative * max(np.nanmax(np.abs(value)), 1)
        np.testing.assert_allclose(one, value, rtol=0, atol=bound, err_msg=name)  # NaN is NaN


def alive(result, case):
    """Somebody is read, not everybody, and credit comes back to all that there is."""
    expected = {"raw": case.filled, "softmax": case.filled, "zero": 0}.get(case.name)
    if expected is None:
        assert 0 < result["survivors"].max() <= case.filled
        assert result["gap"][0] < 10
    else:
        assert (result["survivors"] == expected).all()
        assert result["gap"][0] == 10
    assert (np.abs(result["moved"]).max() > 1e-3) == (case.name != "zero")


CASES = [
    *(Case(name) for name in CODES),
    *(Case(name, mixed=True, squashed=False, ties=4, seed=1) for name in THRESHOLDED),
    Case("dev", ties=5, attached=False, seed=2),
    Case("release", top=8, seed=3),  # the last place of all
    Case("paper", top=7, seed=3),
    Case("paper", top=6, filled=9, batch=1, seed=4),
    Case("dev", top=1, filled=2, mixed=True, seed=5),  # fewer slots than threads
    Case("min", filled=1, top=1, batch=2, seed=6),
    Case("softmax", filled=1, batch=2, width=1, squashed=False),
    Case("paper", width=1, units=1, squashed=False, batch=4, seed=7),
    Case("raw", attached=False, seed=8),
]


def label(case):
    extras = [name for name in ("mixed", "ties") if getattr(case, name)]
    return "-".join([case.name, str(case.top), str(case.filled), *extras, case.dtype.__name__])


@pytest.mark.parametrize(
    "case", [*CASES, *(replace(case, dtype=np.float32) for case in CASES[: len(CODES) + 2])], ids=label
)
def test_every_rule_is_plain(case):
    expected, found = case.run("plain"), case.run("cuda")
    if case.filled > 2:
        alive(expected, case)
    agree(found, expected, case.dtype)


def test_the_cases_hold_what_is_hard():
    """A threshold among survivors and one that is none, ties at the threshold, and a cost from others."""
    results = [(case, case.run("plain")) for case in CASES]
    kinds = {
        (case.mixed, bool((result["chosen"][b] == result["threshold_slot"][b]).any()))
        for case, result in results
        if case.name in THRESHOLDED
        for b in range(case.batch)
    }
    assert kinds == {(False, False), (False, True), (True, False), (True, True)}
    assert any(result["gap"][0] == 0 for _, result in results)
    uneven = [len(set(result["survivors"])) for case, result in results if case.mixed]
    assert max(uneven) > 1  # samples with other numbers of survivors


def selected(backend, rule, scores):
    """What was read of all slots, and the gap."""
    batch, slots = scores.shape
    whole = np.zeros((batch, slots), np.int32), *np.zeros((2, batch), np.int32)
    reading, gap = Reading(*whole, np.zeros((batch, slots)), np.zeros(batch)), np.full(1, np.inf)
    attention_kernels(backend).select(rule, scores, slots, reading, gap)
    return (*reading, gap)


@pytest.mark.parametrize(("code", "top"), [(PAPER, 30), (MINIMUM, 30), (PAPER, 290)])
def test_hundreds_of_slots(code, top):
    """Few distinct scores; found from either end of the order."""
    scores = np.random.default_rng(0).integers(0, 40, (2, 300)) / 8
    rule = Sparsifier(code, top, np.float64(2**-20), np.float64(2**-20), False)
    found, expected = (selected(backend, rule, scores) for backend in ("cuda", "plain"))
    assert expected[1].min() > 20
    for name, mine, value in zip(("chosen", "survivors", "threshold_slot"), found, expected, strict=False):
        np.testing.assert_array_equal(mine, value, err_msg=name)
    for mine, value in zip(found[3:5], expected[3:5], strict=True):
        np.testing.assert_allclose(mine, value, rtol=1e-12)
    assert found[5] == expected[5]


def test_scores_that_are_no_numbers():
    """Nothing is said, nobody outside of the arrays is touched, and other samples do not notice."""
    scores = np.random.default_rng(0).standard_normal((3, 6))
    rule = Sparsifier(PAPER, 2, np.float64(0.1), np.float64(0), False)
    expected = selected("cuda", rule, scores)
    scores[1] = np.nan
    found = selected("cuda", rule, scores)
    assert expected[1].tolist() == [2, 2, 2]
    assert found[1].tolist() == [2, 0, 2]
    for mine, value in zip(found[:5], expected[:5], strict=True):
        np.testing.assert_array_equal(mine[[0, 2]], value[[0, 2]])


# ---------------------------------------------------------------- what travels


def test_only_what_was_read_travels(monkeypatch):
    """On the way back, and for the sum: K memories of a sample, whatever the length of the sequence."""
    device = importlib.import_module("refsnn.kernels.cuda.device")
    sent, launch = [], device.run

    def counted(kernel, blocks, threads, shared_bytes, arguments):
        sent.append(max(getattr(argument, "size", 1) for argument in arguments))
        launch(kernel, blocks, threads, shared_bytes, arguments)

    monkeypatch.setattr(device, "run", counted)
    case = Case("paper", top=2, filled=60)
    assert case.run("cuda")["survivors"].tolist() == [2, 2, 2]
    assert len(sent) == 8
    assert sent[0] == 60 * 3 * 5  # keys, for the scores
    assert max(sent[3:]) <= 3 * 61  # places for weights; three memories of each of three samples


# ---------------------------------------------------------------- threads and barriers


def watched(monkeypatch, case, device, order=list, threads=3):
    """A case on the CUDA kernels as Python, watched; a thread that is an entry is a block of its own."""
    module = attention_kernels("cuda")

    def launch(kernel, blocks, threads, shared_bytes, arguments):
        parameters = inspect.signature(kernel.py_func).parameters
        given = [
            (f"{kernel.py_func.__name__}: {name}", argument.array) if hasattr(argument, "array") else argument
            for name, argument in zip(parameters, arguments, strict=True)
        ]
        device.launch(kernel.py_func, blocks, threads, shared_bytes, given, lambda n: order(range(n)))

    def over_samples(kernel, samples, own_threads, shared_bytes, arguments, then=()):
        launch(kernel, samples, own_threads, shared_bytes, arguments)
        for following, columns, given in then:
            launch(following, columns + 1, 1, 0, given)  # a grid is whole blocks

    def over_columns(kernel, shape, arguments):
        launch(kernel, shape[1] + 1, 1, 0, arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, "over_samples", over_samples)
        patch.setattr(module, "over_columns", over_columns)
        patch.setattr(module, "threads_for", lambda units: threads)
        patch.setattr(module, "cuda", device)
        return case.run("cuda")


RACING = (
    Case("dev", ties=3, seed=2),
    Case("paper", top=2, mixed=True, seed=1),
    Case("release", top=8, seed=3),
    Case("softmax"),
    Case("raw"),
)


@pytest.mark.parametrize("case", RACING, ids=label)
def test_no_number_or_order_of_threads_changes_a_bit(monkeypatch, case):
    expected = case.run("cuda")
    alive(expected, case)
    for threads, order in ((1, list), (3, list), (4, lambda r: list(reversed(r)))):
        device = Device()
        found = watched(monkeypatch, case, device, order, threads)
        assert not device.log.races
        # a device contracts products and sums, Python does not
        agree(found, expected, np.float64, relative=0 if config.ENABLE_CUDASIM else None)


def test_every_barrier_is_needed(monkeypatch):
    """Each of them left out in turn: two threads meet at an entry."""
    case, whole = RACING[0], Device()
    watched(monkeypatch, case, whole)
    assert not whole.log.races
    assert len(whole.lines) == 7  # of the search for the next in order, of the weights, and back
    for line in whole.lines:
        device = Device(without=line)
        watched(monkeypatch, case, device)
        assert device.log.races, f"the barrier in line {line} does nothing"
