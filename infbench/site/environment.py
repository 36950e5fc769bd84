"""asv environments that hold one release set each, installed by uv in one step.

asv finds the class through ``plugins`` and ``environment_type`` in ``asv.conf.json``.
"""

from __future__ import annotations

import os
from importlib import metadata
from typing import Any, ClassVar

from asv.console import log
from asv.plugins.uv import Uv
from asv.util import ProcessError

_NEEDED = ("psutil", "threadpoolctl")
"""What the measuring half of infbench imports besides the release set. Not in ``asv.conf.json``, because everything
there becomes part of the environment's name, and so of the history."""


class ReleaseSetEnvironment(Uv):  # type: ignore[misc]  # asv has no types
    """A virtual environment with exactly the versions that the configuration names.

    asv's own environments install one requirement after the other, so a later one may change the version of an earlier
    one. Here uv is asked once for all of them: it finds one consistent set or says that there is none. It also compiles
    them: where bytecode may not be written (``PYTHONDONTWRITEBYTECODE``), every process would otherwise compile them
    again, which makes the start of a worker 1.5 s longer.
    """

    tool_name: ClassVar[str] = "release-set"

    _failure: ProcessError | None = None

    def create(self) -> None:
        """Create the environment unless it exists; keep a failure for `install_project`.

        If this raises, asv gives up the whole run. If `install_project` does, asv says which release set has failed,
        measures the others and exits with 2.
        """
        if self._failure is not None:
            return  # asv tries again before each of its steps
        try:
            super().create()
        except ProcessError as error:
            log.error(f"The release set {self.name} cannot be built; the others are measured")
            self._failure = error

    def install_project(self, *arguments: Any, **options: Any) -> None:
        """Build a commit of infbench and install it.

        Raises
        ------
        asv.util.ProcessError
            If that fails, or if the environment could not be created.
        """
        if self._failure is not None:
            raise self._failure
        super().install_project(*arguments, **options)

    def find_executable(self, executable: str) -> str:
        """Return the path of a command: uv is the one that asv has found, all others are the environment's."""
        found: str = self._uv_path if executable == "uv" else super().find_executable(executable)
        return found

    def _install_requirements(self) -> None:
        # asv_runner must speak the same language as the asv that reads its answers.
        pinned = {"pip+asv_runner": metadata.version("asv_runner")}
        requirements = {**self._requirements, **self._base_requirements, **pinned}
        names = [_as_requirement(name, version) for name, version in requirements.items()]
        log.debug(f"One installation of {', '.join(names)} in {self.name}")
        self.run_executable(
            "uv",
            ["pip", "install", "--compile-bytecode", "--python", self.find_executable("python"), *names, *_NEEDED],
            env={**os.environ, **self.build_env_vars},
            timeout=self._install_timeout,
        )


def _as_requirement(name: str, version: Any) -> str:
    name = name.removeprefix("pip+")
    return f"{name}=={version}" if version else name
