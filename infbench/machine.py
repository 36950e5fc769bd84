"""What a result must record to be understood later: the machine, its load and the versions."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

LIBRARIES = ("infbench", "scikit-learn", "numpy", "scipy", "joblib")


@dataclass(frozen=True, slots=True)
class Machine:
    """The conditions of a measurement.

    Attributes
    ----------
    cpu : str
        Model name of the processor, empty if the system does not tell.
    n_cpus : int
        Processors that the system has.
    n_cpus_usable : int
        Processors that this process may use, by affinity and container limits.
    load_1min : float or None
        Mean number of runnable processes in the minute before the measurement; None if unknown.
    system : str
        Name and architecture of the operating system: ``"Linux x86_64"``.
    python : str
        Version of the interpreter.
    versions : dict of str to str
        Library name to installed version, for `LIBRARIES`. That of infbench names the commit if it runs from a
        checkout: ``"0.1.0+g8294446"``, or ``"0.1.0+g8294446.dirty"`` if files of the package have been changed or added
        since.
    inner_threads : dict of str to int
        Library thread pool (``"openblas"``, ``"openmp"``) to its number of threads when nothing limits it.
    """

    cpu: str
    n_cpus: int
    n_cpus_usable: int
    load_1min: float | None
    system: str
    python: str
    versions: dict[str, str]
    inner_threads: dict[str, int]

    @property
    def cpus(self) -> str:
        """How many CPUs of which model."""
        return f"{self.n_cpus_usable} usable of {self.n_cpus}, {self.cpu or 'unknown model'}"

    @property
    def libraries(self) -> str:
        """Each library with its version."""
        return ", ".join(f"{library} {version}" for library, version in self.versions.items())


def usable_cpus() -> int:
    """Return the number of CPUs that this process may use, by affinity and by container limits."""
    import joblib

    return int(joblib.cpu_count())


def library_versions() -> dict[str, str]:
    """Return library name to version, in the order of `LIBRARIES`; absent libraries are left out."""
    from infbench import __version__  # not the installed version: it may be older than the checkout that runs

    versions = {"infbench": __version__ + _local_version()}
    for library in LIBRARIES[1:]:
        with suppress(metadata.PackageNotFoundError):
            versions[library] = metadata.version(library)
    return versions


def describe_machine() -> Machine:
    """Look at the machine as it is now.

    Returns
    -------
    Machine
    """
    from threadpoolctl import threadpool_info

    load_1min = None
    with suppress(AttributeError, OSError):  # not every system tells
        load_1min = os.getloadavg()[0]
    return Machine(
        cpu=_cpu_model(),
        n_cpus=os.cpu_count() or 1,
        n_cpus_usable=usable_cpus(),
        load_1min=load_1min,
        system=f"{platform.system()} {platform.machine()}",
        python=".".join(map(str, sys.version_info[:3])),
        versions=library_versions(),
        inner_threads={pool["internal_api"]: pool["num_threads"] for pool in threadpool_info()},
    )


@cache
def _local_version() -> str:
    """Return what this checkout's version ends with, or nothing if this is not a checkout."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=False)  # noqa: S603, S607

    try:
        # An installed package may lie inside another repository, but that does not track it.
        if git("ls-files", "--error-unmatch", __file__).returncode != 0:
            return ""
        commit = git("rev-parse", "--short", "HEAD").stdout.strip()
        dirty = ".dirty" if git("status", "--porcelain", "--", ".").stdout else ""
    except OSError:  # no git
        return ""
    return f"+g{commit}{dirty}" if commit else ""


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
