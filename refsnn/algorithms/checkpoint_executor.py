"""Carrying a schedule out: a loop over its operations, with one working core and slots that exist already.

Nothing here knows a strategy, and nothing recurses: what is live is what the schedule has pushed.  A step is
run by the same function of the core whether its tape is wanted or not, so that each recomputed state has the
bits of the first one, and gradients are added up in the order T, T-1, ..., 1 whatever the schedule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from refsnn.algorithms.checkpoint_slots import DiskSlots, MemorySlots
from refsnn.models.contract import State
from refsnn.models.working_core import Block, WorkingCore, layout_of
from refsnn.schedules.operations import (
    ADVANCE,
    BACK,
    DISK,
    MEMORY,
    NAMES,
    POP_H,
    POP_I,
    PUSH_H,
    PUSH_I,
    RESTORE,
    TAPE,
    Schedule,
)


class Hooks:
    """What should happen once a step, however often it is run; override what is wanted.

    The states that are handed over are views of the core: copy what is to be kept.

    Examples
    --------
    >>> class Norms(Hooks):
    ...     def __init__(self):
    ...         self.norms = []
    ...     def on_first_visit(self, step, state):
    ...         self.norms.append(float(np.abs(state["hidden"]).max()))
    """

    def on_first_visit(self, step: int, state: State) -> None:
        """Called with h_k when step k is run for the first time: k = 1, ..., T, before any `on_back`."""

    def direct(self, step: int, state: State) -> State | None:
        """What else depends on h_k: a part of dL/dh_k, by names of the adjoint; asked for k = T, ..., 1."""

    def on_back(self, step: int, state: State) -> None:
        """Called with h_k when the adjoint has passed step k: k = T, ..., 1."""


@dataclass
class Counts:
    """What was carried out.

    Attributes
    ----------
    advances, tapes : int
        Steps run without and with their tapes wanted; their sum is the cost C.
    backs : int
        Steps pulled back.
    peak_units : int
        Most units that were in use at once.
    restores, pushes : int
        Copies from and to slots.
    bytes_written, bytes_read : int
        To and from the disk.
    """

    advances: int = 0
    tapes: int = 0
    backs: int = 0
    peak_units: int = 0
    restores: int = 0
    pushes: int = 0
    bytes_written: int = 0
    bytes_read: int = 0

    @property
    def cost(self) -> int:
        """C, forward steps run."""
        return self.advances + self.tapes


class IllegalOperation(ValueError):
    """A schedule asked for what is not there."""


@dataclass
class Executor:
    """One run of one schedule.

    Parameters
    ----------
    core : WorkingCore
        Of the model, its parameters and its sequence.
    schedule : Schedule
        In which order.
    memory : MemorySlots
        With at least `schedule.units` units.
    disk : DiskSlots, optional
        Where the schedule has slots on the disk.
    hooks : Hooks
        Called once a step.
    final_adjoint : dict, optional
        A further dL/dh_T, by names of the adjoint.
    at_end : callable, optional
        Called with the core when h_T is in it and the way back begins.
    progress : callable, optional
        Called with the number of steps pulled back and T after each chunk of the schedule.
    """

    core: WorkingCore
    schedule: Schedule
    memory: MemorySlots
    disk: DiskSlots | None = None
    hooks: Hooks | None = None
    final_adjoint: State | None = None
    at_end: Callable[[WorkingCore], None] | None = None
    progress: Callable[[int, int], None] | None = None
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self._start = Block(layout_of(self.core.before.arrays))
        self._hidden: dict[tuple[int, int], int] = {}  # (state, level): address
        self._internal: dict[int, int] = {}  # tape: address
        # which states and which tape are in the core
        self._before, self._after, self._tape = 0, -1, -1
        self._visited = self._units = 0

    def run(self) -> None:
        """Carry the schedule out; loss and gradients are then in the core.

        Raises
        ------
        IllegalOperation
            If an operation asks for a state or tape that is not held.
        SpillError
            If the disk fails.
        """
        np.copyto(self._start.memory, self.core.before.memory)
        carry_out = (
            self._advance, self._taped, self._push_hidden, self._pop_hidden,
            self._push_internal, self._pop_internal, self._restore, self._back,
        )  # fmt: skip
        for chunk in self.schedule.chunks():
            for kind, step, last, address, level in chunk.tolist():
                carry_out[kind](step, last, address, level)
            if self.progress is not None:
                self.progress(self.counts.backs, self.schedule.steps)
        if self.disk is not None:
            self.counts.bytes_written, self.counts.bytes_read = self.disk.bytes_written, self.disk.bytes_read
        if self.counts.backs != self.schedule.steps:
            raise IllegalOperation(
                f"schedule: expected {self.schedule.steps} steps to be pulled back, got {self.counts.backs}"
            )

    # -- forward --------------------------------------------------------------------------------------

    def _advance(self, first: int, last: int, address: int, level: int) -> None:
        self._set_off(ADVANCE, first)
        if self.hooks is not None and last > self._visited:
            for step in range(first, last + 1):
                self._before = step - 1
                self.core.forward(step)
                self._visit(step)
                np.copyto(self.core.before.memory, self.core.after.memory)
        else:
            self.core.advance(first, last)
            self._visited = max(self._visited, last)
        self._before, self._after, self._tape = last, -1, -1
        self.counts.advances += last - first + 1

    def _taped(self, step: int, last: int, address: int, level: int) -> None:
        self._set_off(TAPE, step)
        self.core.forward(step)
        self._after = self._tape = step
        self._visit(step)
        self.counts.tapes += 1

    def _set_off(self, kind: int, step: int) -> None:
        """Bring h_{k-1} to where a step starts."""
        if self._before != step - 1:
            if self._after != step - 1:
                raise self._illegal(kind, step, f"the working state {step - 1}")
            np.copyto(self.core.before.memory, self.core.after.memory)
            self._before = step - 1

    def _visit(self, step: int) -> None:
        if step > self._visited:
            self._visited = step
            if self.hooks is not None:
                self.hooks.on_first_visit(step, self.core.after.guarded)

    # -- slots ----------------------------------------------------------------------------------------

    def _push_hidden(self, step: int, last: int, address: int, level: int) -> None:
        block = self._working(step)
        if block is None:
            raise self._illegal(PUSH_H, step, f"the state {step} in the core")
        if level == DISK:
            self._on_disk().write(address, block)
        else:
            self.memory.write(address, (block,))
            self._use(self.schedule.hidden_units)
        self._hidden[step, level] = address
        self.counts.pushes += 1

    def _pop_hidden(self, step: int, last: int, address: int, level: int) -> None:
        if self._hidden.pop((step, level), None) != address:
            raise self._illegal(POP_H, step, f"the state {step} at {address} of level {level}")
        if level == MEMORY:
            self._use(-self.schedule.hidden_units)

    def _push_internal(self, step: int, last: int, address: int, level: int) -> None:
        if self._tape != step:
            raise self._illegal(PUSH_I, step, f"the tape {step} in the core")
        self.memory.write(address, self._of_a_tape)
        self._internal[step] = address
        self._use(self.schedule.internal_units)
        self.counts.pushes += 1

    def _pop_internal(self, step: int, last: int, address: int, level: int) -> None:
        if self._internal.get(step) != address:
            raise self._illegal(POP_I, step, f"the tape {step} at {address}")
        if self.schedule.shares_input and self._before != step - 1:
            self._fetch(step - 1, MEMORY, POP_I)
        self.memory.read(self._internal.pop(step), self._of_a_tape)
        self.core.recover(step)
        self._before, self._after, self._tape = step - 1, step, step
        self._use(-self.schedule.internal_units)

    def _restore(self, step: int, last: int, address: int, level: int) -> None:
        if self._before != step:
            self._fetch(step, level, RESTORE)
        self.counts.restores += 1

    def _fetch(self, step: int, level: int, kind: int) -> None:
        """Put h_k into `before`: from the core, the start, a slot of that level, a tape, a slot elsewhere."""
        core = self.core
        if step == self._after:
            np.copyto(core.before.memory, core.after.memory)
        elif step == 0:
            np.copyto(core.before.memory, self._start.memory)
        elif (step, level) in self._hidden:
            self._read_hidden(step, level)
        elif step in self._internal:
            self.memory.read(self._internal[step], self._of_a_tape)
            core.recover(step)
            np.copyto(core.before.memory, core.after.memory)
            self._after = self._tape = step
        elif (step, DISK) in self._hidden:
            self._read_hidden(step, DISK)
        else:
            raise self._illegal(kind, step, f"the state {step} anywhere")
        self._before = step

    def _read_hidden(self, step: int, level: int) -> None:
        address = self._hidden[step, level]
        if level == DISK:
            self._on_disk().read(address, self.core.before)
        else:
            self.memory.read(address, (self.core.before,))

    # -- backward -------------------------------------------------------------------------------------

    def _back(self, step: int, last: int, address: int, level: int) -> None:
        core, expected = self.core, self.schedule.steps - self.counts.backs
        if step != expected or self._tape != step or self._before != step - 1:
            raise self._illegal(BACK, step, f"step {expected} to be next, its tape and the state before it")
        if self.counts.backs == 0:
            core.seed(self.final_adjoint)
            if self.at_end is not None:
                self.at_end(core)
        if self.hooks is not None:
            for name, value in (self.hooks.direct(step, core.after.guarded) or {}).items():
                core.adjoint.arrays[name] += value
        core.backward(step)
        self.counts.backs += 1
        if self.hooks is not None:
            self.hooks.on_back(step, core.after.guarded)

    # -- bookkeeping ----------------------------------------------------------------------------------

    @property
    def _of_a_tape(self) -> tuple[Block, ...]:
        """What a pushed tape consists of."""
        if self.schedule.shares_input:
            return (self.core.tape,)
        return self.core.before, self.core.tape

    def _working(self, step: int) -> Block | None:
        if step == self._after:
            return self.core.after
        return self.core.before if step == self._before else None

    def _use(self, units: int) -> None:
        self._units += units
        self.counts.peak_units = max(self.counts.peak_units, self._units)

    def _on_disk(self) -> DiskSlots:
        if self.disk is None:
            raise IllegalOperation("schedule: it uses the disk, but no slots were made there")
        return self.disk

    def _illegal(self, kind: int, step: int, needed: str) -> IllegalOperation:
        held = sorted({state for state, _ in self._hidden})
        return IllegalOperation(
            f"schedule: {NAMES[kind]} {step} needs {needed}; held are the states {held} and the tapes "
            f"{sorted(self._internal)}, in the core the states {self._before} and {self._after} and the tape "
            f"{self._tape}"
        )
