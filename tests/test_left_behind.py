"""The check that tests leave nothing behind sees each kind of thing, and nothing else."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing import forkserver
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import psutil
import pytest

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
# Prints the process id of a child of its own, and leaves it alone.
ABANDON = f"import subprocess; print(subprocess.Popen({SLEEP!r}, stdout=subprocess.DEVNULL).pid)"


@pytest.fixture
def blames(nothing_left_behind):
    """Return a function that says whether a kind of thing is reported."""

    def blames(kind):
        try:
            nothing_left_behind(grace_s=0)
        except pytest.fail.Exception as error:
            return f"  {kind}: " in str(error)
        return False

    return blames


def test_a_child_process_is_seen(blames):
    with subprocess.Popen(SLEEP) as child:
        seen = blames("processes")
        child.kill()
    assert seen
    assert not blames("processes")


def test_a_worker_of_the_fork_server_is_seen_but_not_the_fork_server(blames, watch):
    worker = multiprocessing.get_context("forkserver").Process(target=time.sleep, args=(60,))
    worker.start()
    seen = blames("processes")
    worker.kill()
    worker.join()
    worker.close()
    assert seen
    assert not blames("processes")
    assert not blames("descriptors")
    assert psutil.Process(forkserver._forkserver._forkserver_pid) not in watch.look()["processes"]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="orphans are found by their environment in /proc")
def test_a_process_whose_parent_is_gone_is_seen(blames):
    orphan = int(subprocess.check_output([sys.executable, "-c", ABANDON]))
    seen = blames("processes")
    psutil.Process(orphan).kill()
    assert seen


def test_a_thread_is_seen(blames):
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    seen = blames("threads")
    end.set()
    thread.join()
    assert seen
    assert not blames("threads")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open descriptors are listed in /proc")
def test_a_descriptor_is_seen(blames):
    fd = os.memfd_create("left")
    seen = blames("descriptors")
    os.close(fd)
    assert seen
    assert not blames("descriptors")


def test_a_temporary_file_is_seen(blames):
    with tempfile.NamedTemporaryFile():
        assert blames("files")
    assert not blames("files")


@pytest.mark.skipif(not Path("/dev/shm").exists(), reason="named shared memory has no directory here")
def test_named_shared_memory_is_seen(blames):
    memory = SharedMemory(create=True, size=1)
    seen = blames("files")
    memory.close()
    memory.unlink()
    assert seen


def test_what_is_about_to_go_is_waited_for(nothing_left_behind):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.2)"]):
        nothing_left_behind(grace_s=30)


def test_what_only_garbage_holds_is_not_blamed(blames):
    holder = [os.fdopen(os.memfd_create("garbage"), "wb")]
    holder[0].itself = holder  # a cycle, so that it goes with a collection and not before
    del holder
    with pytest.warns(ResourceWarning):
        assert not blames("descriptors")


@pytest.mark.leaves_behind("files", reason="this is the test of the marker")
def test_the_marker_excuses_a_kind(nothing_left_behind):
    file = Path(tempfile.gettempdir(), "left")
    file.touch()
    nothing_left_behind(grace_s=0)
    file.unlink()


def test_a_test_that_leaves_something_fails(pytestconfig, tmp_path):
    test = tmp_path / "test_leaving.py"
    test.write_text("import os\n\ndef test_leaving():\n    os.memfd_create('left')\n")
    (tmp_path / "conftest.py").write_text("from tests.conftest import nothing_left_behind, watch\n")
    tests = Path(__file__).parent
    run = subprocess.run(
        [sys.executable, "-m", "pytest", f"-c{pytestconfig.inipath}", f"--basetemp={tmp_path / 'base'}", str(test)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])},
        capture_output=True,
        text=True,
    )
    assert run.returncode == pytest.ExitCode.TESTS_FAILED
    assert "memfd:left" in run.stdout
