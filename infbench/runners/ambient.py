"""Settings of a thread that another thread or process needs as well, to compute the same."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np


class Ambient(NamedTuple):
    """Settings of a thread.

    Attributes
    ----------
    sklearn : dict of str to object
        What `sklearn.get_config` returns: a context of ``transform_output="pandas"`` gives other answers. Empty if
        nobody has loaded scikit-learn, which takes a second.
    numpy : dict of str to str
        What `numpy.geterr` returns: under ``over="raise"`` a call raises what it would not otherwise. Errors meant for
        a function or a log of this thread are ignored: other threads have neither.
    """

    sklearn: dict[str, Any]
    numpy: dict[str, str]


def ambient() -> Ambient:
    """Return the settings of this thread."""
    config: dict[str, Any] = {}
    if "sklearn" in sys.modules:
        import sklearn  # another thread may be about to load it: this waits

        config = sklearn.get_config()
    modes = {kind: "ignore" if mode in ("call", "log") else mode for kind, mode in np.geterr().items()}
    return Ambient(config, modes)  # type: ignore[arg-type]  # numpy says that these are objects, they are text


def take_on(settings: Ambient) -> None:
    """Apply settings to all that this thread does from now on.

    Parameters
    ----------
    settings : Ambient
        From a thread that runs the same releases of scikit-learn and numpy.
    """
    # A worker whose estimator uses nothing from scikit-learn has not loaded it, and need not.
    if (sklearn := sys.modules.get("sklearn")) is not None:
        sklearn.set_config(**settings.sklearn)
    np.seterr(**settings.numpy)  # type: ignore[arg-type]
