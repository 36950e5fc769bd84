"""`ProcessRunner` in a web server, gunicorn, which forks its own workers and has threads in each."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest
from programs import wait_until_gone

HERE = Path(__file__).parent

APP = """
import json
import os

import numpy as np

import infbench
from estimators import Slow

runner = infbench.ProcessRunner(Slow(0.01), n_processes=2)  # starts nothing: `--preload` makes it before the forks
runner.takes_over = False


def app(environ, start_response):
    first = float(environ["PATH_INFO"].strip("/"))
    answer = runner.start().predict(np.arange(first, first + 20).reshape(10, 2), batch_size=5)
    pids = [worker.pid for worker in runner._crew.workers]
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"answer": answer.tolist(), "server_pid": os.getpid(), "pids": pids}).encode()]
"""


@pytest.fixture(params=[[], ["--preload"]], ids=["app in each", "app before the forks"])
def server(request, tmp_path):
    """Return the server's process and its address."""
    (tmp_path / "app.py").write_text(APP)
    command = [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--workers", "2", "--threads", "4"]
    path = os.pathsep.join([str(HERE), str(HERE.parent)])
    with subprocess.Popen(
        [*command, *request.param, "app:app"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "XDG_RUNTIME_DIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            said = iter(process.stderr.readline, "")
            yield process, next(found[0] for line in said if (found := re.search(r"http://\S+", line)))
        finally:
            process.terminate()
            process.communicate(timeout=30)


def ask(address, first):
    """Have the rows from this number on predicted, check the answer, and return who gave it."""
    with build_opener(ProxyHandler({})).open(f"{address}/{first}", timeout=30) as response:
        reply = json.load(response)
    assert reply["answer"] == [first + 2.0 * row for row in range(10)]
    return reply["server_pid"], reply["pids"]


def ask_until(address, is_enough):
    """Ask, four at a time, until enough server processes have replied; return the pids of their workers by process."""
    replies = {}
    with ThreadPoolExecutor(4) as clients:
        while not is_enough(replies):
            replies.update(clients.map(lambda first: ask(address, first), range(8)))
    return replies


def all_pids(replies):
    return [pid for server_pid, pids in replies.items() for pid in (server_pid, *pids)]


def test_a_server_may_be_used_by_threads_reloaded_killed_in_part_and_ended(server):
    process, address = server
    first = ask_until(address, lambda replies: len(replies) == 2)
    process.send_signal(signal.SIGHUP)  # new server processes, with what has changed
    wait_until_gone(all_pids(first), within_s=20)
    second = ask_until(address, lambda replies: len(replies) == 2)
    killed, *_ = second
    os.kill(killed, signal.SIGKILL)  # as gunicorn does with one that takes longer than its limit
    wait_until_gone(second[killed], within_s=10)
    third = ask_until(address, lambda replies: replies.keys() - second.keys())
    process.terminate()
    assert process.wait(30) == 0
    wait_until_gone(all_pids(second | third), within_s=10)
