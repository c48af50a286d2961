"""Slots in memory and on the disk: what goes in comes out, a bad disk is refused, no file is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from recurrent_cases import ALL, problem

from refsnn.algorithms.checkpoint_executor import Hooks
from refsnn.algorithms.checkpoint_slots import DiskSlots, MemorySlots, SpillError
from refsnn.algorithms.memory_efficient_bptt import memory_efficient_bptt
from refsnn.models.working_core import Block
from refsnn.schedules.two_level import TransferCosts, TwoLevelSchedule

LAYOUTS = {
    "doubles": {"h": ((2, 3), np.float64)},
    "singles": {"h": ((5, 1), np.float32), "c": ((5, 3), np.float32)},
    "mixed": {
        "spikes": ((3, 7), np.bool_),
        "potential": ((3, 7), np.float32),
        "step": ((1,), np.int64),
        "phase": ((2,), np.complex128),
        "sum": ((1,), np.float64),
    },
    "scalars": {"h": ((), np.float64), "count": ((), np.int32), "flag": ((), np.bool_)},
    "nothing in one": {"h": ((2,), np.float64), "none": ((0, 4), np.float32)},
}


def filled(layout: dict, seed: int) -> Block:
    """A block of random bits, but for the bools."""
    block, rng = Block(layout), np.random.default_rng(seed)
    for view in block.arrays.values():
        if view.dtype.kind == "b":
            view[...] = rng.random(view.shape) < 0.5
        elif view.dtype.kind == "i":
            view[...] = rng.integers(-(2**31), 2**31, view.shape)
        else:
            view[...] = rng.standard_normal(view.shape)
    assert np.ptp(block.memory) > 0
    return block


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_memory_gives_back_what_it_took(layout):
    blocks, empty = [filled(layout, seed) for seed in range(4)], Block(layout)
    unit = -(-blocks[0].nbytes // 2)  # a block takes two units
    slots = MemorySlots(8, unit)
    held = slots.memory
    for address, block in zip((6, 0, 2, 4), blocks, strict=True):
        slots.write(address, (block,))
    for address, block in zip((6, 0, 2, 4), blocks, strict=True):
        slots.read(address, (empty,))
        assert empty.memory.tobytes() == block.memory.tobytes()
    assert slots.memory is held
    assert held.nbytes == 8 * unit


def test_memory_keeps_blocks_side_by_side():
    first, second = filled(LAYOUTS["mixed"], 0), filled(LAYOUTS["doubles"], 1)
    slots = MemorySlots(2, first.nbytes + second.nbytes)
    slots.write(1, (first, second))
    found = Block(LAYOUTS["mixed"]), Block(LAYOUTS["doubles"])
    slots.read(1, found)
    for name, view in {**first.arrays, **second.arrays}.items():
        np.testing.assert_array_equal({**found[0].arrays, **found[1].arrays}[name], view)
    assert not slots.memory[: slots.unit_bytes].any()  # the first unit was not touched


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_disk_gives_back_what_it_took(layout, tmp_path):
    blocks, empty = [filled(layout, seed) for seed in range(3)], Block(layout)
    with DiskSlots(tmp_path, 3, empty) as slots:
        for address, block in enumerate(blocks):
            slots.write(address, block)
        slots.write(1, blocks[0])  # used again
        for address, block in enumerate((blocks[0], blocks[0], blocks[2])):
            slots.read(address, empty)
            assert empty.memory.tobytes() == block.memory.tobytes()
        assert (slots.bytes_written, slots.bytes_read) == (4 * empty.nbytes, 3 * empty.nbytes)
        if os.name != "nt":
            assert not list(tmp_path.iterdir())  # the file has no name from the start
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["step", "potential", "spikes"])
def test_what_the_disk_changed_is_refused(name, tmp_path):
    block = filled(LAYOUTS["mixed"], 0)
    with DiskSlots(tmp_path, 2, block) as slots:
        for address in range(2):
            slots.write(address, block)
        stored = slots._datasets[name][1]
        changed = ~stored if stored.dtype.kind == "b" else stored + stored.dtype.type(1)
        slots._datasets[name][1] = changed
        slots.read(0, block)
        with pytest.raises(
            SpillError, match=r"spill_folder: the state in slot 1 .* is not the one .* written"
        ):
            slots.read(1, block)


def test_a_slot_that_was_never_written_is_refused(tmp_path):
    block = filled(LAYOUTS["mixed"], 0)
    with DiskSlots(tmp_path, 2, block) as slots, pytest.raises(SpillError, match=r"slot 1"):
        slots.read(1, block)


@pytest.mark.parametrize("folder", ["missing", "file"])
def test_a_folder_that_is_none_is_refused(folder, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SpillError, match=r"spill_folder: .* cannot be written to .* choose another folder"):
        DiskSlots(tmp_path / folder, 2, filled(LAYOUTS["doubles"], 0))


def test_a_folder_that_is_no_path_is_refused():
    with pytest.raises(TypeError, match=r"spill_folder: expected a path, got 3"):
        DiskSlots(3, 2, filled(LAYOUTS["doubles"], 0))


# -- what another process is needed for ----------------------------------------------------------------------

WRITES = """
    import os, resource, signal, sys
    import numpy as np
    from refsnn.algorithms.checkpoint_slots import DiskSlots, SpillError
    from refsnn.models.working_core import Block

    folder, limit, ready = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background may ignore it
    if limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    block = Block({"h": ((1000,), np.float64)})
    if sys.argv[4:]:
        os.setuid(int(sys.argv[4]))
    try:
        with DiskSlots(folder, 50, block) as slots:
            for turn in range(100000):
                slots.write(turn % 50, block)
                if turn == 60:
                    open(ready, "w").close()
            print("wrote all")
    except SpillError as error:
        print(error)
"""
posix = pytest.mark.skipif(os.name == "nt", reason="limits and signals of a Unix")


def child(folder, limit: int, ready, *user: str) -> subprocess.Popen:
    command = [sys.executable, "-c", textwrap.dedent(WRITES), str(folder), str(limit), str(ready), *user]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@posix
def test_a_full_disk_is_found_before_the_first_step(tmp_path):
    """The file may not grow beyond 100 kB of the 400 kB that are asked for."""
    spill = tmp_path / "spill"
    spill.mkdir()
    said, _ = child(spill, 100_000, tmp_path / "ready").communicate(timeout=60)
    assert "has no room for 50 states of 8000 bytes (400000 in all)" in said
    assert "spill_folder" in said
    assert "Traceback" not in said
    assert not list(spill.iterdir())
    assert not (tmp_path / "ready").exists()


@posix
def test_a_read_only_folder_is_refused(tmp_path):
    spill = tmp_path / "spill"
    spill.mkdir(mode=0o555)
    user = ["65534"] if os.geteuid() == 0 else []  # root may write anywhere
    said, _ = child(spill, 0, tmp_path / "ready", *user).communicate(timeout=60)
    assert "cannot be written to" in said
    assert "Permission denied" in said
    assert "Traceback" not in said
    assert not list(spill.iterdir())


@posix
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_kill_while_spilling_leaves_nothing_behind(how, tmp_path):
    spill, ready = tmp_path / "spill", tmp_path / "ready"
    spill.mkdir()
    process = child(spill, 0, ready)
    for _ in range(3000):
        if ready.exists() or process.poll() is not None:
            break
        time.sleep(0.01)
    assert ready.exists()
    assert process.poll() is None
    if os.path.isdir("/proc"):  # there is a file, without a name
        descriptors = Path(f"/proc/{process.pid}/fd").iterdir()
        assert any(str(spill) in os.readlink(link) for link in descriptors if link.is_symlink())
    for _ in range(100):  # an interrupt that meets a destructor is ignored
        process.send_signal(how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=0.5)
            break
    assert process.returncode != 0
    assert not list(spill.iterdir())


FILLS_LATER = """
    import resource, signal, sys
    import numpy as np
    from refsnn.algorithms.checkpoint_slots import DiskSlots, SpillError
    from refsnn.models.working_core import Block

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    block = Block({"h": ((1000,), np.float64)})
    try:
        with DiskSlots(sys.argv[1], 50, block) as slots:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
            for slot in range(50):
                slots.write(slot, block)
    except SpillError as error:
        print(slot, error)
"""


@posix
def test_a_write_that_fails_later_is_an_error_and_not_the_end_of_the_process(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(FILLS_LATER), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("12 spill_folder:")
    assert "took no state" in done.stdout
    assert not done.stderr
    assert not list(tmp_path.iterdir())


@posix
def test_a_run_on_a_disk_that_fills_up(tmp_path):
    """The whole algorithm, in a process that may not write so large a file."""
    program = """
        import resource, signal, sys
        import numpy as np
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        from refsnn.algorithms.memory_efficient_bptt import memory_efficient_bptt
        from refsnn.models.recurrent import TanhNetwork
        from refsnn.schedules.two_level import TransferCosts, TwoLevelSchedule
        network, rng = TanhNetwork((2, 300, 3)), np.random.default_rng(0)
        arguments = network.initialise(rng), rng.random((40, 4, 2)), [0, 1, 2, 0]
        schedule = TwoLevelSchedule(40, 2, 8, TransferCosts())
        # compiled, and that kept in its files, before no large file may be written
        memory_efficient_bptt(network, *arguments, schedule=schedule, spill_folder=sys.argv[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        memory_efficient_bptt(network, *arguments, schedule=schedule, spill_folder=sys.argv[1])
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "SpillError: spill_folder" in last
    assert "has no room for 8 states of 9600 bytes" in last
    assert not list(tmp_path.iterdir())


# -- what goes wrong in a run --------------------------------------------------------------------------------


class Wrong(Hooks):
    """Raises at a step, on the way forward or back."""

    def __init__(self, step: int, error: type[BaseException], backward: bool, folder) -> None:
        self.step, self.error, self.backward, self.folder = step, error, backward, folder
        self.names: list = []

    def on_first_visit(self, step, state):
        if step == self.step and not self.backward:
            self.fail()

    def on_back(self, step, state):
        if step == self.step and self.backward:
            self.fail()

    def fail(self):
        self.names += self.folder.iterdir()
        raise self.error("as planned")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, MemoryError])
@pytest.mark.parametrize(("step", "backward"), [(1, False), (25, False), (30, True), (1, True)])
def test_errors_in_a_run_leave_no_file(error, step, backward, tmp_path):
    network, parameters, inputs, targets = problem(ALL["lstm"], steps=30)
    schedule = TwoLevelSchedule(30, 2, 3, TransferCosts())
    hooks = Wrong(step, error, backward, tmp_path)
    with pytest.raises(error, match=r"as planned"):
        memory_efficient_bptt(
            network, parameters, inputs, targets, schedule=schedule, hooks=hooks, spill_folder=tmp_path
        )
    assert not list(tmp_path.iterdir())
    assert os.name == "nt" or not hooks.names


@pytest.mark.parametrize("where", ["_reserve", "h5py.File", "np.zeros"])
def test_an_error_while_the_file_is_made_leaves_none(where, tmp_path, monkeypatch):
    def stopped(*arguments, **options):
        raise KeyboardInterrupt

    block = filled(LAYOUTS["doubles"], 0)
    monkeypatch.setattr(f"refsnn.algorithms.checkpoint_slots.{where}", stopped)
    with pytest.raises(KeyboardInterrupt):
        DiskSlots(tmp_path, 2, block)
    assert not list(tmp_path.iterdir())
