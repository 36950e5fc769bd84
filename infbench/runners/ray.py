"""ray, as its documentation shows it."""

from __future__ import annotations

import logging
import os
from typing import Any, ClassVar

from infbench.runners.base import Runner
from infbench.runners.batches import Batches, join, packed
from infbench.runners.extras import import_extra
from infbench.runners.joblib_backends import compute_in_worker


class RayRunner(Runner):
    """Makes each batch a task of ray; the estimator lies in ray's object store.

    Parameters
    ----------
    estimator : object
        A fitted estimator, picklable.
    n_processes : int or None, default=None
        CPUs of an instance of its own. An instance that is given has the workers that it has.
    inner_threads : int or None, default=1
        BLAS and OpenMP threads in each worker.
    address : str or None, default=None
        Address of an instance, as ``ray.init`` takes it. None: an instance of its own on this machine, which ends with
        the runner.

    Raises
    ------
    MissingDependencyError
        Where ray is not installed.
    ConnectionError
        From `start`, where there is no instance at the address.

    Notes
    -----
    ray connects a process to one instance at a time, so only one such runner can be started in a process.

    A batch that is contiguous in no order becomes C-ordered on its way. BLAS then takes another path, and floats may
    differ from the serial ones in the last bit.
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
        own = {"num_cpus": self.n_processes, "include_dashboard": False} if self.address is None else {}
        self._ray.init(address=self.address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
        try:
            self._estimator = self._ray.put(self.estimator)
            self._compute = self._ray.remote(compute_in_worker)
        except BaseException:
            self._ray.shutdown()
            raise

    def _close(self) -> None:
        del self._estimator
        self._ray.shutdown()

    def _run(self, method: str, batches: Batches) -> Any:
        tasks = [self._compute.remote(self._estimator, method, packed(batch), self.inner_threads) for batch in batches]
        try:
            return join(self._ray.get(tasks))
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
