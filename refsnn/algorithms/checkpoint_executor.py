"""Carrying a schedule out: a loop over its operations, with one working core and slots that exist already.

Nothing here knows a strategy, and nothing recurses: what is live is what the schedule has pushed.  A step is
run by the same function of the core whether its tape is wanted or not, so that each recomputed state has the
bits of the first one, and gradients are added up in the order T, T-1, ..., 1 whatever the schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from refsnn import checks
from refsnn.algorithms.checkpoint_places import Copy, Places
from refsnn.algorithms.checkpoint_slots import DiskSlots, MemorySlots
from refsnn.models.contract import State
from refsnn.models.working_core import Block, WorkingCore, layout_of
from refsnn.schedules.operations import (
    ADVANCE,
    BACK,
    COLUMNS,
    DISK,
    MEMORY,
    NAMES,
    NOWHERE,
    POP_H,
    POP_I,
    PUSH_H,
    PUSH_I,
    RESTORE,
    TAPE,
    Operation,
    Schedule,
)

# rows that are made Python numbers at a time
_PIECE = 64


class Hooks:
    """What should happen once a step, however often it is run; override what is wanted.

    The states that are handed over are views of the core, and cannot be written to: copy what is to be kept.

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
        """What else depends on h_k: a part of dL/dh_k, by names of the adjoint; asked for k = T, ..., 1.

        Entries may be left out; those that are given have the shape and dtype of the adjoint.
        """

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
    hooks : Hooks, optional
        Called once a step.
    final_adjoint : dict, optional
        A further dL/dh_T, by names of the adjoint; entries that are left out are 0.
    at_end : callable, optional
        Called with the core when h_T is in it and the way back begins.
    progress : callable, optional
        Called with the number of steps pulled back and T, every so many operations and at the end.
    counts : Counts
        What was carried out so far.

    Raises
    ------
    TypeError, ValueError
        For hooks that are none, and a `final_adjoint` of other names, shapes, dtypes or not of numbers.
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
        if self.hooks is not None:
            checks.instance("hooks", self.hooks, Hooks, "one of a class that inherits from Hooks")
        if self.final_adjoint is not None:
            self.final_adjoint = self.core.adjoint.checked("final_adjoint", self.final_adjoint, whole=False)
        self._start = Block(layout_of(self.core.before.arrays))
        self._places: tuple[Places, Places]  # in memory, on the disk
        # the working state, which states are in the core, and which tape
        self._working, self._before, self._after, self._tape = 0, 0, -1, -1
        self._visited = 0

    def run(self) -> None:
        """Carry the schedule out; loss and gradients are then in the core.

        Raises
        ------
        IllegalOperation
            If an operation asks for a state, a tape or a place that is not there.
        FloatingPointError
            If h_T, the loss or a gradient is not finite.
        SpillError
            If the disk fails.
        """
        np.copyto(self._start.memory, self.core.before.memory)
        if self.schedule.disk_slots and self.disk is None:
            raise IllegalOperation("schedule: it uses the disk, but no slots were made there")
        self._places = Places(self.schedule.units), Places(self.schedule.disk_slots)
        carry_out = (
            self._advance, self._taped, self._push_hidden, self._pop_hidden,
            self._push_internal, self._pop_internal, self._restore, self._back,
        )  # fmt: skip
        for rows in self._pieces():
            for kind, step, last, address, level in rows:
                self._check_row(kind, step, last, address, level)
                carry_out[kind](step, last, address, level)
            if self.progress is not None:
                self.progress(self.counts.backs, self.schedule.steps)
        self.counts.peak_units = self._places[MEMORY].peak
        if self.disk is not None:
            self.counts.bytes_written, self.counts.bytes_read = self.disk.bytes_written, self.disk.bytes_read
        self._check_end()

    def _pieces(self) -> Iterator[list[list[int]]]:
        """The rows of the schedule, some at a time."""
        for chunk in self.schedule.chunks():
            if chunk.ndim != 2 or chunk.shape[1] != COLUMNS or chunk.dtype != np.int64:
                raise IllegalOperation(
                    f"schedule: expected int64 rows of {COLUMNS}, got {chunk.dtype} of shape {chunk.shape}"
                )
            for first in range(0, len(chunk), _PIECE):
                yield chunk[first : first + _PIECE].tolist()

    def _check_row(self, kind: int, step: int, last: int, address: int, level: int) -> None:
        """Refuse what is no operation on steps and levels that there are."""
        if not ADVANCE <= kind <= BACK:
            raise IllegalOperation(f"schedule: expected operations 0 to {BACK}, got {kind}")
        least = 0 if kind in (PUSH_H, POP_H, RESTORE) else 1
        fits = least <= step <= last <= self.schedule.steps and (last == step or kind == ADVANCE)
        if not fits or level not in (MEMORY, DISK):
            raise IllegalOperation(
                f"schedule: {Operation(kind, step, last, address, level)} is no operation on steps "
                f"{least}..{self.schedule.steps} and levels {MEMORY} and {DISK}; its row is "
                f"{(kind, step, last, address, level)}"
            )

    def _check_end(self) -> None:
        """All steps are pulled back, all copies are freed, all numbers are finite."""
        if self.counts.backs != self.schedule.steps:
            raise IllegalOperation(
                f"schedule: expected {self.schedule.steps} steps to be pulled back, got {self.counts.backs}"
            )
        left = [places.used for places in self._places]
        if any(left):
            raise IllegalOperation(
                f"schedule: expected all copies to be freed at the end, {left[MEMORY]} units of memory and "
                f"{left[DISK]} slots of the disk are not"
            )
        _check_finite("the loss", {"": np.asarray(self.core.loss)})
        _check_finite("the gradient of", self.core.gradients)
        _check_finite("the gradient of the start,", self.core.adjoint.arrays)
        if self.core.input_gradients is not None:
            for step, row in enumerate(self.core.input_gradients, 1):
                _check_finite(f"the gradient of the input of step {step}", {"": row})

    # -- forward --------------------------------------------------------------------------------------

    def _advance(self, first: int, last: int, address: int, level: int) -> None:
        self._set_off(ADVANCE, first)
        if self.hooks is not None and last > self._visited:
            for step in range(first, last + 1):
                self.core.forward(step)
                self._visit(step)
                np.copyto(self.core.before.memory, self.core.after.memory)
        else:
            self.core.advance(first, last)
            self._visited = max(self._visited, last)
        self._working, self._before, self._after, self._tape = last, last, -1, -1
        self.counts.advances += last - first + 1

    def _taped(self, step: int, last: int, address: int, level: int) -> None:
        self._set_off(TAPE, step)
        self.core.forward(step)
        self._working = self._after = self._tape = step
        self._visit(step)
        self.counts.tapes += 1

    def _set_off(self, kind: int, step: int) -> None:
        """Bring h_{k-1} to where a step starts."""
        if self._working != step - 1:
            raise self._illegal(kind, step, f"the working state {step - 1}")
        if self._before != step - 1:
            np.copyto(self.core.before.memory, self.core.after.memory)
            self._before = step - 1

    def _visit(self, step: int) -> None:
        if step > self._visited:
            self._visited = step
            if self.hooks is not None:
                self.hooks.on_first_visit(step, self.core.state_after(step))

    # -- slots ----------------------------------------------------------------------------------------

    def _push_hidden(self, step: int, last: int, address: int, level: int) -> None:
        if step not in (self._before, self._after):
            raise self._illegal(PUSH_H, step, f"the state {step} in the core")
        block = self.core.after if step == self._after else self.core.before
        units = self.schedule.hidden_units if level == MEMORY else 1
        self._put((PUSH_H, step), level, address, units, (block,))

    def _pop_hidden(self, step: int, last: int, address: int, level: int) -> None:
        if self._places[level].at(address) != (PUSH_H, step):
            raise self._illegal(POP_H, step, f"the state {step} at {address} of level {level}")
        self._places[level].free(address)

    def _push_internal(self, step: int, last: int, address: int, level: int) -> None:
        if self._tape != step or level != MEMORY:
            raise self._illegal(PUSH_I, step, f"the tape {step} in the core, and goes to memory only")
        self._put((PUSH_I, step), level, address, self.schedule.internal_units, self._of_a_tape)

    def _put(self, copy: Copy, level: int, address: int, units: int, blocks: tuple[Block, ...]) -> None:
        """Copy blocks to a place that must be free and large enough."""
        places = self._places[level]
        nbytes = sum(block.nbytes for block in blocks)
        if not places.has_room(address, units):
            needed = f"{units} free units at {address} of the {places.units} of level {level}"
            raise self._illegal(*copy, needed)
        if level == DISK:
            self._on_disk().write(address, blocks[0])
        elif nbytes > units * self.memory.unit_bytes:
            needed = f"{nbytes} bytes, more than its {units} units of {self.memory.unit_bytes}"
            raise self._illegal(*copy, needed)
        else:
            self.memory.write(address, blocks)
        places.put(address, units, copy)
        self.counts.pushes += 1

    def _pop_internal(self, step: int, last: int, address: int, level: int) -> None:
        if level != MEMORY or self._places[MEMORY].at(address) != (PUSH_I, step):
            raise self._illegal(POP_I, step, f"the tape {step} at {address}")
        if self.schedule.shares_input:
            self._fetch(step - 1, *self._whereabouts(step - 1))
        self._read_tape(step, address)
        self._working = self._before = step - 1
        self._places[MEMORY].free(address)

    def _restore(self, step: int, last: int, address: int, level: int) -> None:
        at_start = step == 0 and address == NOWHERE and level == MEMORY
        if not at_start and self._places[level].at(address) not in ((PUSH_H, step), (PUSH_I, step)):
            raise self._illegal(RESTORE, step, f"the state {step} at {address} of level {level}")
        if self._working != step:
            self._fetch(step, level, address)
            self._working, self._tape = step, -1
        self.counts.restores += 1

    def _fetch(self, step: int, level: int, address: int) -> None:
        """Put h_k into `before`: from the core, the start, or that place, where it or its tape is."""
        core = self.core
        if step == self._before:
            return
        if step == self._after:
            np.copyto(core.before.memory, core.after.memory)
        elif address == NOWHERE:
            np.copyto(core.before.memory, self._start.memory)
        elif level == DISK:
            self._on_disk().read(address, core.before)
        elif self._places[MEMORY].at(address) == (PUSH_H, step):
            self.memory.read(address, (core.before,))
        else:
            self._read_tape(step, address)
            np.copyto(core.before.memory, core.after.memory)
        self._before = step

    def _read_tape(self, step: int, address: int) -> None:
        """Copy a tape to the core; with it comes the state after its step."""
        self.memory.read(address, self._of_a_tape)
        self.core.recover(step)
        self._after = self._tape = step

    def _whereabouts(self, step: int) -> tuple[int, int]:
        """Level and address of h_k, or of the tape that it is in; it may be in the core, or the start."""
        if step in (0, self._before, self._after):
            return MEMORY, NOWHERE
        for level, kind in ((MEMORY, PUSH_H), (MEMORY, PUSH_I), (DISK, PUSH_H)):
            address = self._places[level].address_of((kind, step))
            if address is not None:
                return level, address
        raise self._illegal(POP_I, step + 1, f"the state {step} anywhere")

    # -- backward -------------------------------------------------------------------------------------

    def _back(self, step: int, last: int, address: int, level: int) -> None:
        core, expected = self.core, self.schedule.steps - self.counts.backs
        if step != expected or self._tape != step or self._before != step - 1:
            raise self._illegal(BACK, step, f"step {expected} to be next, its tape and the state before it")
        if self.counts.backs == 0:
            _check_finite(f"h_T, T = {step}:", core.after.arrays)
            core.seed(self.final_adjoint)
            if self.at_end is not None:
                self.at_end(core)
        if self.hooks is not None:
            self._add_direct(step)
        core.backward(step)
        self._tape = -1
        self.counts.backs += 1
        if self.hooks is not None:
            self.hooks.on_back(step, core.state_after(step))

    def _add_direct(self, step: int) -> None:
        """The share of a hook in dL/dh_k."""
        assert self.hooks is not None
        adjoint = self.core.adjoint
        terms = self.hooks.direct(step, self.core.state_after(step))
        if terms is not None:
            for name, value in adjoint.checked("what hooks.direct returned", terms, whole=False).items():
                adjoint.arrays[name] += value

    # -- bookkeeping ----------------------------------------------------------------------------------

    @property
    def _of_a_tape(self) -> tuple[Block, ...]:
        """What a pushed tape consists of."""
        if self.schedule.shares_input:
            return (self.core.tape,)
        return self.core.before, self.core.tape

    def _on_disk(self) -> DiskSlots:
        assert self.disk is not None  # `run` has seen to it
        return self.disk

    def _illegal(self, kind: int, step: int, needed: str) -> IllegalOperation:
        memory, disk = self._places
        return IllegalOperation(
            f"schedule: {NAMES[kind]} {step} needs {needed}; held are the states "
            f"{_few(memory.steps(PUSH_H))} and the tapes {_few(memory.steps(PUSH_I))} in memory, the states "
            f"{_few(disk.steps(PUSH_H))} on the disk, the working state {self._working} and "
            f"{'no tape' if self._tape < 0 else f'the tape {self._tape}'} in the core"
        )


def _few(steps: list[int]) -> str:
    """All of a few, or the first ones and how many there are."""
    return str(steps) if len(steps) <= 8 else f"{str(steps[:6])[:-1]}, ...] ({len(steps)} in all)"


def _check_finite(what: str, arrays: dict[str, np.ndarray]) -> None:
    """NaN in a potential never fires, and looks like silence: it is refused."""
    for name, array in arrays.items():
        if array.dtype.kind in "fc" and not np.isfinite(array).all():
            raise FloatingPointError(
                f"{f'{what} {name}'.strip()}: expected finite numbers, got NaN or infinite ones; a step left "
                "the range of its numbers: take smaller weights or inputs, or find the step with a hook that "
                "looks at each state in on_first_visit"
            )
