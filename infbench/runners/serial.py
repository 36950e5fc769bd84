"""One process, batch after batch: the baseline."""

from __future__ import annotations

from typing import Any, ClassVar

from infbench.errors import InvalidParameterError
from infbench.runners.base import Runner
from infbench.runners.batches import Batches, join
from infbench.runners.inner_threads import InnerThreads


class SerialRunner(Runner):
    """Calls the estimator in this process, for one batch after the other.

    Its answer is the right one by definition: every other runner is checked against it.

    Parameters
    ----------
    estimator : object
        A fitted estimator.
    n_processes : 1 or None, default=None
        There is only one process. The parameter is here because every runner has it.
    inner_threads : int or None, default=1
        BLAS and OpenMP threads. None leaves the libraries at their defaults, as ``estimator.predict`` by itself does.

    Examples
    --------
    >>> import infbench
    >>> X = infbench.make_data(n_samples=10, n_features=20)
    >>> with SerialRunner(infbench.make_model("logistic_regression")) as runner:
    ...     runner.predict(X, batch_size=4).shape
    (10,)
    """

    name: ClassVar[str] = "serial"
    shares_out_rows: ClassVar[bool] = False

    def __init__(self, estimator: Any, n_processes: int | None = None, *, inner_threads: int | None = 1) -> None:
        super().__init__(estimator, n_processes, inner_threads=inner_threads)
        if n_processes is not None and n_processes != 1:
            raise InvalidParameterError(f"n_processes must be 1 or None for the serial runner, got {n_processes!r}")
        self.n_processes = 1

    def _start(self) -> None:
        self._inner_threads = InnerThreads(self.inner_threads)

    def _close(self) -> None:
        pass

    def _run(self, method: str, batches: Batches) -> Any:
        call = getattr(self.estimator, method)
        with self._inner_threads.limited():
            return join([call(batch) for batch in batches])
