"""The threads that scikit-learn itself can use."""

from __future__ import annotations

from typing import Any, ClassVar

import joblib
from threadpoolctl import ThreadpoolController

from infbench.runners.base import Runner
from infbench.runners.batches import Batches, join


class NativeRunner(Runner):
    """Calls the estimator in this process and lets it use `n_processes` threads, through its ``n_jobs`` or OpenMP.

    There are no other processes; `n_processes` is the number of threads that compute, so that efficiency means the same
    as for the other runners. An estimator whose own ``n_jobs`` is set keeps it.

    Parameters
    ----------
    estimator : object
        A fitted estimator.
    n_processes : int or None, default=None
        Threads: joblib's, BLAS's and OpenMP's alike.
    inner_threads : ignored
        All threads of this runner are inner ones. The parameter is here because every runner has it.

    Notes
    -----
    The threads of a forest add their trees' answers in the order in which they finish, so the last bit may vary.
    """

    name: ClassVar[str] = "native"
    bit_exact: ClassVar[bool] = False
    shares_out_rows: ClassVar[bool] = False  # the threads of one batch keep every CPU busy

    def _start(self) -> None:
        self._controller = ThreadpoolController()

    def _close(self) -> None:
        pass

    def _run(self, method: str, batches: Batches) -> Any:
        call = getattr(self.estimator, method)
        # In this context, an `n_jobs` of None, every estimator's default, means the context's `n_jobs`.
        with (
            self._controller.limit(limits=self.n_processes),
            joblib.parallel_backend("threading", n_jobs=self.n_processes),
        ):
            return join([call(batch) for batch in batches])
