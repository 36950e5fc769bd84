"""ray, as its documentation shows it."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import psutil

from infbench.errors import RunnerError
from infbench.extras import import_extra
from infbench.runners.base import Runner
from infbench.runners.batches import Batches, join, packed
from infbench.runners.joblib_backends import compute_in_worker
from infbench.runners.signals import ctrl_c_waits

_END_S = 5.0
"""How long the processes of an instance may take to end by themselves."""


class RayRunner(Runner):
    """Makes each batch a task of ray; the estimator lies in ray's object store.

    Parameters
    ----------
    estimator : object
        A fitted, picklable estimator.
    n_processes : int or None, default=None
        CPUs of the runner's own instance. An instance given by `address` keeps the workers that it has.
    inner_threads : int or None, default=1
        BLAS and OpenMP threads in each worker.
    address : str or None, default=None
        Address of an instance, as ``ray.init`` takes it. None: the runner starts its own instance on this machine,
        which ends with the runner.

    Raises
    ------
    MissingDependencyError
        If ray is not installed.
    ConnectionError
        From `start`, if there is no instance at the address.
    RunnerError
        From `start`, if this process is already connected to an instance.

    Notes
    -----
    ray connects a process to one instance at a time, so a process can have only one such runner started at a time.

    The runner's own instance listens on the loopback address only, and sends no usage statistics.

    A batch, or an array of the estimator, that is contiguous in neither order becomes C-ordered on its way. BLAS then
    takes another path, and floats may differ from the serial ones in the last bit.
    """

    name: ClassVar[str] = "ray"

    def __init__(
        self,
        estimator: Any,
        n_processes: int | None = None,
        *,
        inner_threads: int | None = 1,
        address: str | None = None,
    ) -> None:
        super().__init__(estimator, n_processes, inner_threads=inner_threads)
        self.address = address
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read at import
        self._ray = import_extra("ray", "ray")

    def _start(self) -> None:
        if self._ray.is_initialized():
            raise RunnerError("this process is connected to an instance of ray already: close that first")
        self._directory = None
        try:
            quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
            if self.address is None:
                # Not in the usual temporary folder: ray puts sockets there, and their paths must be short.
                self._directory = tempfile.mkdtemp(prefix="ray-", dir=os.environ.get("RAY_TMPDIR", "/tmp"))  # noqa: S108
                own = {"num_cpus": self.n_processes, "include_dashboard": False, "_temp_dir": self._directory}
                with ctrl_c_waits(), _on_loopback():
                    self._ray.init(address="local", **quiet, **own)
            else:
                self._ray.init(address=self.address, **quiet)
            self._estimator = self._ray.put(self.estimator)
            self._compute = self._ray.remote(compute_in_worker)
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        self._estimator = None
        if self._directory is None:
            self._ray.shutdown()
            return
        processes = _processes_with(self._directory)
        try:
            self._ray.shutdown()
        finally:
            # ray does not wait for all of them, and they write to the folder as long as they live.
            for late in psutil.wait_procs(processes, _END_S)[1]:
                late.kill()
            shutil.rmtree(self._directory, ignore_errors=True)

    def _run(self, method: str, batches: Batches) -> Any:
        tasks = [self._compute.remote(self._estimator, method, packed(batch), self.inner_threads) for batch in batches]
        try:
            return join(self._ray.get(tasks))
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self._ray.exceptions.RayError as error:
            raise RunnerError(f"a worker of ray died, or could not load its task: {error}") from error


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Let an instance that is started inside listen on the loopback address only, as ray does on other systems.

    ray's argument for the address of a node is not enough: its agents listen on all addresses nevertheless.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _processes_with(directory: str) -> list[psutil.Process]:
    """Return our child processes that were started with this folder in an argument, and all their descendants."""
    found = []
    for process in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if any(directory in argument for argument in process.cmdline()):
                found += [process, *process.children(recursive=True)]
    return found
