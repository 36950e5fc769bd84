"""What every test gets without asking: a clean place, and a check that it leaves it clean."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing import forkserver

import hypothesis
import psutil
import pytest
from left_behind import KINDS, Watch, watching

import infbench
from infbench.runners.workers import sharing

# A deadline would be an assertion on wall-clock time. CI takes the same examples each time, so that red stays red.
hypothesis.settings.register_profile("infbench", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("infbench")

# A shell that starts the tests in the background makes them, and all that they start, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

GRACE_S = 2.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of `make test PYTEST_ARGS=--full`."""
    parser.addoption("--full", action="store_true", help="repeat every fault as often as issues ask, for half an hour")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Lift the time limits with ``--full``: such tests take as long as they take."""
    if config.getoption("full"):
        for item in items:
            item.add_marker(pytest.mark.timeout(0), append=False)


@pytest.fixture(autouse=True)
def _as_long_as_it_takes(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("full"):
        faulthandler.cancel_dump_traceback_later()  # that of `faulthandler_timeout`, which pytest began for this test


@pytest.fixture
def times(request: pytest.FixtureRequest) -> Callable[[int, int], range]:
    """Give the rounds of a test that repeats something: a few usually, many with ``--full``."""
    return lambda few, many: range(many if request.config.getoption("full") else few)


@pytest.fixture(scope="session", autouse=True)
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    """Keep everything that the tests make apart from what others make on the same machine."""
    tmp_path_factory.getbasetemp()  # before TMPDIR changes: tmp_path stays where pytest keeps it for later
    with watching() as watch:
        # Processes that outlive single tests start before the first one. A pool's workers find the libraries loaded.
        multiprocessing.set_forkserver_preload(
            ["infbench.runners.workers.worker", "sklearn.ensemble", "sklearn.linear_model"]
        )
        forkserver.ensure_running()
        with infbench.ProcessRunner(infbench.make_model("dummy"), n_processes=2):
            pass
        yield watch


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest, watch: Watch) -> Iterator[Callable[..., None]]:
    """Fail a test that leaves something behind; a test may also call this to check what it has left so far.

    The marker ``leaves_behind("processes", "files", reason="...")`` excuses a test from some kinds or, if it names
    none, from all of them.
    """
    excused = request.node.get_closest_marker("leaves_behind")
    if excused is not None:
        unknown = set(excused.args) - set(KINDS)
        assert not unknown, f"leaves_behind takes {', '.join(KINDS)}; got {', '.join(sorted(unknown))}"
        assert excused.kwargs.get("reason"), "leaves_behind needs a reason"
    ignored = () if excused is None else excused.args or KINDS
    before = watch.look()

    def check(grace_s: float = GRACE_S) -> None:
        left = watch.new_since(before, grace_s, ignored)
        if left:
            lines = [f"  {kind}: {thing}" for kind, things in left.items() for thing in things.values()]
            pytest.fail("\n".join(["left behind:", *lines]), pytrace=False)

    yield check
    try:
        check()
    except BaseException:
        # A process that is left would slow down all later tests, and might keep this run from ending.
        for left in set(watch.look()["processes"]) - set(before["processes"]):
            if "processes" not in ignored and isinstance(left, psutil.Process):
                left.kill()
        raise


@pytest.fixture
def alarm():
    """Give a function that has another called after some seconds, in the middle of whatever is being done."""
    before = signal.getsignal(signal.SIGALRM)

    def after(seconds, act):
        signal.signal(signal.SIGALRM, lambda *_: act())
        signal.setitimer(signal.ITIMER_REAL, seconds)

    yield after
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _workers_are_not_spared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `ProcessRunner` share even calls that are not worth it: most models of the tests cost next to nothing."""
    monkeypatch.setattr(sharing, "HAND_OUT_S", 0.0)
    monkeypatch.setattr(sharing, "WAKE_S", 0.0)
