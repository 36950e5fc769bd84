"""What two processes write to each other in memory."""

from __future__ import annotations

import mmap
import os
import threading

import pytest

from infbench.runners.workers.mailbox import DESK_BYTES, LIMIT, NEXT, Desk


@pytest.fixture
def memory():
    with mmap.mmap(-1, 3 * DESK_BYTES) as shared, memoryview(shared) as view:
        yield view


@pytest.fixture
def ends(memory):
    """Give the caller's end of a desk and the worker's."""
    caller = Desk(memory, 1)
    caller.clear()
    worker = Desk(memory, 1)
    yield caller, worker
    worker.close()
    caller.close()


def test_each_message_is_taken_once(ends):
    caller, worker = ends
    assert worker.shares.take() is None
    for message in (b"one", b"a longer one", b"", bytes(900)):
        caller.shares.put(message)
        assert worker.shares.take() == message
        assert worker.shares.take() is None
        assert caller.dones.take() is None


def test_sender_learns_whether_the_receiver_sleeps(ends):
    caller, worker = ends
    assert not caller.shares.put(b"before the worker has begun to look, as it will before it sleeps")
    assert worker.shares.take()
    assert not caller.shares.put(b"")
    worker.shares.say_asleep()
    assert caller.shares.put(b"")
    assert not worker.dones.put(b"the caller is awake as long as it does not say otherwise")


def test_message_that_does_not_fit_is_refused(ends):
    with pytest.raises(ValueError, match="structure"):
        ends[0].shares.put(bytes(1_024))


def test_desks_do_not_touch(memory):
    desks = [Desk(memory, index) for index in range(3)]
    for number, desk in enumerate(desks):
        desk.clear()
        desk.words[NEXT], desk.words[LIMIT] = number, -number
        desk.shares.put(b"%d" % number * 900)
        desk.dones.put(b"%d" % -number * 400)
    for number, desk in enumerate(desks):
        assert (desk.words[NEXT], desk.words[LIMIT]) == (number, -number)
        assert desk.shares.take() == b"%d" % number * 900
        assert desk.dones.take() == b"%d" % -number * 400
        desk.close()


def test_cleared_desk_forgets_what_a_killed_worker_left(memory):
    caller = Desk(memory, 0)
    caller.clear()
    caller.shares.put(b"to the old one")
    before = Desk(memory, 0)
    before.dones.put(b"from the old one")
    before.close()
    caller.clear()
    worker = Desk(memory, 0)
    assert worker.shares.take() is None
    assert caller.dones.take() is None
    caller.shares.put(b"to the new one")
    assert worker.shares.take() == b"to the new one"
    worker.close()
    caller.close()


def test_two_processes_lose_nothing_and_mix_nothing(ends):
    """Neither ever sees a half-written message, however many they pass to and fro."""
    caller, worker = ends
    n_messages = 20_000
    pid = os.fork()
    if pid == 0:
        try:
            for _ in range(n_messages):
                while (message := worker.shares.take()) is None:
                    os.sched_yield()  # there may be one CPU
                worker.dones.put(message[::-1])
            os._exit(0)
        finally:
            os._exit(1)
    killer = threading.Timer(60, os.kill, (pid, 9))
    killer.start()
    try:
        for number in range(n_messages):
            message = b"%d," % number * (number % 100 + 1)
            caller.shares.put(message)
            while (answer := caller.dones.take()) is None:
                os.sched_yield()
            assert answer == message[::-1]
        assert os.waitpid(pid, 0)[1] == 0
    finally:
        killer.cancel()
