"""Does multi-process inference pay for this scikit-learn model, by how much, and from which batch on?

Every worker process imports this package, so it loads nothing but itself: the module of a public name, and with it
numpy or scikit-learn, is imported at first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from infbench.data import DATA as DATA
    from infbench.data import load_data as load_data
    from infbench.data import make_data as make_data
    from infbench.errors import InfbenchError as InfbenchError
    from infbench.measure import compare as compare
    from infbench.models import MODELS as MODELS
    from infbench.models import make_model as make_model
    from infbench.results import Comparison as Comparison
    from infbench.runners import RUNNERS as RUNNERS
    from infbench.runners import make_runner as make_runner
    from infbench.runners.auto import AutoRunner as AutoRunner
    from infbench.runners.base import Runner as Runner
    from infbench.runners.forest import ForestRunner as ForestRunner
    from infbench.runners.pool import PoolRunner as PoolRunner
    from infbench.runners.process import ProcessRunner as ProcessRunner
    from infbench.runners.serial import SerialRunner as SerialRunner

__version__ = "0.1.0"

_HOME = {
    "DATA": "infbench.data",
    "load_data": "infbench.data",
    "make_data": "infbench.data",
    "InfbenchError": "infbench.errors",
    "compare": "infbench.measure",
    "MODELS": "infbench.models",
    "make_model": "infbench.models",
    "Comparison": "infbench.results",
    "RUNNERS": "infbench.runners",
    "make_runner": "infbench.runners",
    "AutoRunner": "infbench.runners.auto",
    "Runner": "infbench.runners.base",
    "ForestRunner": "infbench.runners.forest",
    "PoolRunner": "infbench.runners.pool",
    "ProcessRunner": "infbench.runners.process",
    "SerialRunner": "infbench.runners.serial",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'infbench' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
