"""Shares out the trees of a forest among processes, for small batches."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

import numpy as np

from infbench.errors import InvalidParameterError, WorkerDied, WorkerTimeoutError
from infbench.runners.base import Runner
from infbench.runners.batches import Batches, join
from infbench.runners.inner_threads import InnerThreads
from infbench.runners.process import ProcessRunner

_ROWS_AT_ONCE = 1_000
"""Most rows for which the answers of all trees are held at once: with 100 trees and 2 classes, a row takes 1.6 kB."""

_SHARES_PER_PROCESS = 4
"""Pieces of work for each process: several, so that a process that is late leaves some to the others."""


class ForestRunner(Runner):
    """Shares out the trees of a forest, unlike other runners, which share out the rows.

    Each process computes all rows of a batch with its share of the trees, through their public methods, and the caller
    adds the trees' answers in the order in which the forest adds them. So the answer equals the forest's to the last
    bit, and even a single row is shared out.

    Parameters
    ----------
    estimator : object
        A fitted random forest or forest of extra trees, classifier or regressor, with one output.
    n_processes : int or None, default=None
        How many processes compute, the caller included. With 1 there are no workers; the only gain then comes from
        calling the trees one after the other, without what the forest does around each of them.
    inner_threads, start_method, timeout
        As for `ProcessRunner`.

    Raises
    ------
    InvalidParameterError
        If a parameter is invalid, or the estimator is not such a forest.

    Notes
    -----
    For 100 trees and one row, the forest's own ``predict`` spends three quarters of its time between the trees. The
    more rows there are, the less there is to gain, and `ProcessRunner` becomes the better choice.

    Rows whose values need a closer look (missing values, text) and rows that the forest would refuse are given to the
    forest itself, in this process.

    Examples
    --------
    >>> import infbench
    >>> X = infbench.make_data(n_samples=1, n_features=20)
    >>> with ForestRunner(infbench.make_model("random_forest"), n_processes=2) as runner:
    ...     runner.predict_proba(X).shape
    (1, 2)
    """

    name: ClassVar[str] = "forest"
    shares_out_rows: ClassVar[bool] = False  # the trees of one batch keep every process busy

    def __init__(
        self,
        estimator: Any,
        n_processes: int | None = None,
        *,
        inner_threads: int | None = 1,
        start_method: str | None = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(estimator, n_processes, inner_threads=inner_threads)
        if not is_forest(estimator):
            raise InvalidParameterError(
                "the forest runner takes RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier and "
                f"ExtraTreesRegressor with one output, got {type(estimator).__name__}"
            )
        self._trees = ProcessRunner(
            _Trees(estimator), self.n_processes, inner_threads=inner_threads, start_method=start_method, timeout=timeout
        )

    def _start(self) -> None:
        self._inner_threads = InnerThreads(self.inner_threads)
        self._trees.start()

    def _close(self) -> None:
        self._trees.close()

    _close_in_fork = _close

    def _run(self, method: str, batches: Batches) -> Any:
        self._trees.takes_over = self.takes_over
        answers = []
        for index, batch in enumerate(batches):
            try:
                answers.append(self._run_batch(method, batch))
            except WorkerDied as died:  # both errors name trees where rows are meant
                raise WorkerDied(batches.rows(index, index + 1), died.exit_code) from None
            except WorkerTimeoutError as late:
                raise WorkerTimeoutError(batches.rows(index, index + 1), late.timeout_s) from None
        return join(answers)

    def _run_batch(self, method: str, batch: Any) -> Any:
        X = _as_trees_want_it(batch, self.estimator)
        if X is None or method not in {"predict", "predict_proba"}:
            with self._inner_threads.limited():
                return getattr(self.estimator, method)(batch)
        n_trees = len(self.estimator.estimators_)
        size = -(-n_trees // (_SHARES_PER_PROCESS * self.n_processes)) if self.n_processes > 1 else n_trees
        sums = []
        for start in range(0, len(X), _ROWS_AT_ONCE):
            tasks = _Tasks(X[start : start + _ROWS_AT_ONCE], 0, n_trees)
            by_tree = self._trees.predict(tasks, batch_size=size)
            # One tree after the other, as in the forest: a sum in another order may differ in the last bit. The forest
            # begins with 0.0, so that a sum of -0.0 becomes 0.0.
            sums.append(np.add.accumulate(by_tree, axis=0, out=by_tree)[-1] + 0.0)
        mean = join(sums) / n_trees
        if method == "predict" and hasattr(self.estimator, "classes_"):
            return self.estimator.classes_.take(np.argmax(mean, axis=1), axis=0)
        return mean


def is_forest(estimator: Any) -> bool:
    """Tell whether an estimator is one whose trees can be shared out.

    Parameters
    ----------
    estimator : object
        Fitted.

    Returns
    -------
    bool
        True only for scikit-learn's classes themselves: a class derived from them may do something else.
    """
    ensemble = sys.modules.get("sklearn.ensemble")
    if ensemble is None:  # an estimator of such a class would have loaded it
        return False
    kinds = (
        ensemble.RandomForestClassifier,
        ensemble.RandomForestRegressor,
        ensemble.ExtraTreesClassifier,
        ensemble.ExtraTreesRegressor,
    )
    return type(estimator) in kinds and estimator.n_outputs_ == 1


def _as_trees_want_it(X: Any, forest: Any) -> np.ndarray[Any, Any] | None:
    """Return rows as the forest hands them to its trees, or None if they are better left to the forest."""
    names = getattr(forest, "feature_names_in_", None)
    if hasattr(X, "columns"):
        kinds = {getattr(dtype, "kind", "O") for dtype in X.dtypes}  # not every library's dtypes have a kind
        if names is None or list(X.columns) != list(names) or not kinds <= set("biuf"):
            return None
    elif type(X) is not np.ndarray or X.dtype.kind not in "biuf" or names is not None:
        return None
    try:
        with np.errstate(over="ignore"):
            rows = np.asarray(X, dtype=np.float32)
    except (TypeError, ValueError):  # pandas has numeric dtypes that allow missing values
        return None
    return rows if np.isfinite(rows).all() else None


class _Tasks:
    """The trees from `start` up to `stop`, each to be given all rows of `X`. A runner treats the trees as its rows."""

    def __init__(self, X: np.ndarray[Any, Any], start: int, stop: int) -> None:
        self.X = X
        self.start = start
        self.stop = stop

    @property
    def nbytes(self) -> int:
        """Bytes of the rows. A runner assumes that trees cost the same if they are given the same number of bytes."""
        return self.X.nbytes

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, part: slice) -> _Tasks:
        start, stop, _ = part.indices(len(self))
        return _Tasks(self.X, self.start + start, self.start + stop)


class _Trees:
    """The trees of a forest, as an estimator that takes `_Tasks`."""

    def __init__(self, forest: Any) -> None:
        method = "predict_proba" if hasattr(forest, "classes_") else "predict"
        self._compute = [getattr(tree, method) for tree in forest.estimators_]

    def get_params(self) -> dict[str, Any]:
        """Return one of the trees, so that other processes load the module that defines it beforehand."""
        return {"tree": self._compute[0].__self__}

    def predict(self, tasks: _Tasks) -> np.ndarray[Any, Any]:
        """Return each tree's answer for each row, of shape (n_trees, n_samples, n_classes) or (n_trees, n_samples)."""
        return np.stack([compute(tasks.X, check_input=False) for compute in self._compute[tasks.start : tasks.stop]])
