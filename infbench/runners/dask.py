"""dask.distributed, as its documentation shows it."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import Any, ClassVar

from infbench.errors import RunnerError
from infbench.extras import import_extra
from infbench.runners.base import Runner
from infbench.runners.batches import Batches, join, packed
from infbench.runners.inner_threads import inner_threads_of_worker
from infbench.runners.signals import ctrl_c_waits


class DaskRunner(Runner):
    """Submits each batch to a dask cluster, to which the estimator was scattered once.

    Parameters
    ----------
    estimator : object
        A fitted, picklable estimator.
    n_processes : int or None, default=None
        Worker processes of the runner's own cluster. A cluster given by `address` keeps the workers that it has.
    inner_threads : int or None, default=1
        BLAS and OpenMP threads in each worker.
    address : str or None, default=None
        Address of a scheduler, as in ``"tcp://host:8786"``. None: the runner starts its own cluster on this machine,
        which ends with the runner.

    Raises
    ------
    MissingDependencyError
        If dask.distributed is not installed.
    OSError
        From `start`, if there is no scheduler at the address.

    Notes
    -----
    A batch that is not C-ordered becomes so on its way, or arrives at an address from which BLAS must copy it. BLAS
    then takes another path, and floats may differ from the serial ones in the last bit.
    """

    name: ClassVar[str] = "dask"

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
        self._distributed = import_extra("distributed", "dask")

    def _start(self) -> None:
        self._cluster: Any = None
        self._client: Any = None
        self._estimator: Any = None
        try:
            if self.address is None:
                with ctrl_c_waits():
                    self._cluster = self._distributed.LocalCluster(
                        n_workers=self.n_processes,
                        threads_per_worker=1,
                        processes=True,
                        dashboard_address=None,
                        # It serves figures over HTTP all the same, from port 8787 on, and warns if that is taken.
                        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
                        silence_logs=logging.CRITICAL,
                    )
            where = self.address if self._cluster is None else self._cluster
            self._client = self._distributed.Client(where, set_as_default=False)
            self._scatter()
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        self._estimator = None
        with ExitStack() as both:  # the client first, then the cluster, even if that failed
            for opened in (self._cluster, self._client):
                if opened is not None:
                    both.callback(opened.close)

    def _scatter(self) -> None:
        self._estimator = self._client.scatter(self.estimator, broadcast=True, hash=False)

    def _run(self, method: str, batches: Batches) -> Any:
        import dask

        # Batches are meant to travel with their tasks, so no warning is needed if they are large.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 PB"}):
            futures = [
                # Not pure: dask would hash every batch, and return its stored answer if the same rows came again.
                self._client.submit(_compute, self._estimator, method, packed(batch), self.inner_threads, pure=False)
                for batch in batches
            ]
        try:
            return join(self._client.gather(futures))
        except (self._distributed.KilledWorker, self._distributed.CancelledError) as lost:
            self._scatter()  # the estimator may have been lost with the workers
            raise RunnerError(f"a worker of dask died: {lost}") from lost


def _compute(estimator: Any, method: str, batch: Any, inner_threads: int | None) -> Any:
    with inner_threads_of_worker(inner_threads).limited():
        return getattr(estimator, method)(batch)
