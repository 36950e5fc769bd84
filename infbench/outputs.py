"""Files that a command writes."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from infbench.errors import InvalidParameterError


def check_writable(paths: Sequence[str], inputs: Sequence[str] = ()) -> None:
    """Raise unless a file can be written at each path; existing files are not touched.

    Parameters
    ----------
    paths : sequence of str
    inputs : sequence of str, default=()
        Files that are read and must not be replaced.

    Raises
    ------
    InvalidParameterError
        The message says which path, and why not.
    """
    targets = [_target(path) for path in paths]
    sources = [Path(os.path.realpath(path)) for path in inputs]
    for path, target in zip(paths, targets, strict=True):
        if (descriptor := _descriptor(path)) is not None:
            try:
                os.fstat(descriptor)
            except OSError as error:
                raise InvalidParameterError(f"cannot write {path}: {error.strerror}") from error
            continue
        if _is_special(target):
            continue
        if targets.count(target) > 1:
            raise InvalidParameterError(f"cannot write {path}: it is named for two outputs")
        if target in sources:
            raise InvalidParameterError(f"cannot write {path}: it is one of the inputs")
        if target.is_dir():
            raise InvalidParameterError(f"cannot write {path}: it is a folder")
        if not target.parent.is_dir():
            raise InvalidParameterError(f"cannot write {path}: its folder does not exist")
        if target.exists() and not os.access(target, os.W_OK):
            raise InvalidParameterError(f"cannot write {path}: permission denied")
        try:
            # Trying is the only way to know: root is told that it may write even where nobody can.
            tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.").close()
        except OSError as error:
            raise InvalidParameterError(f"cannot write {path}: no file can be made there ({error.strerror})") from error


def _target(path: str) -> Path:
    target = Path(os.path.realpath(path))
    if target.is_symlink():  # `Path.resolve` raises a RuntimeError then, up to Python 3.12
        raise InvalidParameterError(f"cannot write {path}: it is a link to itself")
    return target


def _descriptor(path: str) -> int | None:
    """Return the descriptor of an open file if the path names one: even a regular file is then not to be replaced."""
    if path in _STREAMS:
        return _STREAMS[path]
    found = re.fullmatch(r"/(?:dev|proc/self)/fd/(\d{1,9})", path)
    return int(found[1]) if found else None


_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}


def _is_special(target: Path) -> bool:
    return target.exists() and not target.is_file() and not target.is_dir()


def write_whole(path: str, text: str) -> None:
    """Write a file whole or not at all: an interruption leaves the old one as it was.

    Parameters
    ----------
    path : str
        Special files, such as ``/dev/null``, and files that are open already, such as ``/dev/stdout``, are written to
        directly.
    text : str

    Raises
    ------
    OSError
    """
    if (descriptor := _descriptor(path)) is not None:
        with open(os.dup(descriptor), "w", encoding="utf-8") as file:
            file.write(text)
        return
    target = Path(path).resolve()
    if _is_special(target):  # /dev/null and its like must not be replaced by a file
        target.write_text(text, encoding="utf-8")
        return
    mode = target.stat().st_mode if target.exists() else 0o666 & ~_umask()
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=target.parent, prefix=f".{target.name}.", delete=False
    ) as file:
        written = Path(file.name)
        try:
            file.write(text)
            file.close()
            written.chmod(mode)
            written.replace(target)
        except BaseException:
            written.unlink(missing_ok=True)  # it may have become the file
            raise


def _umask() -> int:
    mask = os.umask(0)  # there is no way to read it without setting it
    os.umask(mask)
    return mask
