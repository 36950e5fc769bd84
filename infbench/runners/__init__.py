"""Every way to predict on several processes, behind one contract: `infbench.runners.base.Runner`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from infbench.errors import UnknownNameError

if TYPE_CHECKING:
    from infbench.runners.base import Runner

RUNNERS = {
    "serial": "infbench.runners.serial:SerialRunner",
    "process": "infbench.runners.process:ProcessRunner",
    "forest": "infbench.runners.forest:ForestRunner",
    "auto": "infbench.runners.auto:AutoRunner",
    "pool": "infbench.runners.pool:PoolRunner",
    "pool_per_task": "infbench.runners.pool:PoolPerTaskRunner",
    "futures": "infbench.runners.futures:FuturesRunner",
    "threads": "infbench.runners.threads:ThreadsRunner",
    "native": "infbench.runners.native:NativeRunner",
    "loky": "infbench.runners.joblib_backends:LokyRunner",
    "threading": "infbench.runners.joblib_backends:ThreadingRunner",
    "mpire": "infbench.runners.mpire:MpireRunner",
    "dask": "infbench.runners.dask:DaskRunner",
    "ray": "infbench.runners.ray:RayRunner",
}
"""Name -> ``module:class``. The module is imported when the runner is asked for, not before."""


def runner_class(name: str) -> type[Runner]:
    """Return the class of a runner.

    Parameters
    ----------
    name : str
        One of `RUNNERS`.

    Raises
    ------
    UnknownNameError
        For any other name; the message lists the names.
    """
    if name not in RUNNERS:
        raise UnknownNameError("runner", name, RUNNERS)
    module, _, attribute = RUNNERS[name].partition(":")
    found: type[Runner] = getattr(import_module(module), attribute)
    return found


def make_runner(name: str, estimator: Any, *, n_processes: int | None = None, **options: Any) -> Runner:
    """Make a runner by its name.

    Parameters
    ----------
    name : str
        One of `RUNNERS`.
    estimator : object
        A fitted estimator.
    n_processes : int or None, default=None
        How many processes compute; None: one for each CPU that this process may use.
    **options
        Further parameters of the class: see its docstring.

    Returns
    -------
    Runner
        Not yet started. The code that starts it must close it.

    Raises
    ------
    UnknownNameError, InvalidParameterError, sklearn.exceptions.NotFittedError
    MissingDependencyError
        If the runner needs a package that is not installed.
    """
    return runner_class(name)(estimator, n_processes, **options)
