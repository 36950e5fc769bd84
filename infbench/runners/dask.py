"""dask.distributed, as its documentation shows it."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

from infbench.runners.base import Runner
from infbench.runners.batches import Batches, join, packed
from infbench.runners.extras import import_extra
from infbench.runners.joblib_backends import compute_in_worker


class DaskRunner(Runner):
    """Submits each batch to a dask cluster, to which the estimator was scattered once.

    Parameters
    ----------
    estimator : object
        A fitted estimator, picklable.
    n_processes : int or None, default=None
        Worker processes of a cluster of its own. A cluster that is given has the workers that it has.
    inner_threads : int or None, default=1
        BLAS and OpenMP threads in each worker.
    address : str or None, default=None
        Address of a scheduler, as ``"tcp://host:8786"``. None: a cluster of its own on this machine, which ends with
        the runner.

    Raises
    ------
    MissingDependencyError
        Where dask.distributed is not installed.
    OSError
        From `start`, where there is no scheduler at the address.

    Notes
    -----
    A batch in another order than C becomes C-ordered on its way, or lies at an address that BLAS must copy it from.
    BLAS then takes another path, and floats may differ from the serial ones in the last bit.
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
        self._cluster = None
        if self.address is None:
            self._cluster = self._distributed.LocalCluster(
                n_workers=self.n_processes,
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
            )
        try:
            self._client = self._distributed.Client(self._cluster or self.address, set_as_default=False)
            self._estimator = self._client.scatter(self.estimator, broadcast=True, hash=False)
        except BaseException:
            if self._cluster is not None:
                self._cluster.close()
            raise

    def _close(self) -> None:
        del self._estimator
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()

    def _run(self, method: str, batches: Batches) -> Any:
        futures = [
            # Not pure: dask would hash every batch, and return what it has when the same rows come again.
            self._client.submit(
                compute_in_worker, self._estimator, method, packed(batch), self.inner_threads, pure=False
            )
            for batch in batches
        ]
        return join(self._client.gather(futures))
