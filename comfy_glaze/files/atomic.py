"""Files that appear whole or not at all, and what a killed run leaves behind."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .formats import ArtworkError, named


def _this_host() -> str:
    """The machine, and on Linux the container, whose process numbers are ours."""
    space = ""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return re.sub(r"[^A-Za-z0-9]", "", socket.gethostname()[:40] + space) or "host"


_HOST = _this_host()
_RUN = secrets.token_hex(4)
_TEMPORARY = re.compile(
    r"\.comfy-glaze-([A-Za-z0-9]+)-(\d+)-([0-9a-f]{8})-[0-9a-f]{8}(\..*)?", re.DOTALL
)
_LONGEST_SUFFIX = 16  # characters: what is longer is no suffix but a sentence with a dot in it
_LONG = 3600  # seconds: no picture takes so long to write, so another machine's run has ended


@contextmanager
def atomic_write(path: Path, shown_as: Path | None = None) -> Iterator[Path]:
    """A temporary file beside ``path``, with its suffix, that takes its place once it is whole.

    On any failure, an interrupt included, it is removed and what was at ``path`` stays untouched.
    Raises ``ArtworkError`` with the system's reason if it cannot be written.  It names ``shown_as``
    where ``path`` is itself a temporary name for that file.
    """
    temporary = temporary_beside(path)
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or error
        raise ArtworkError(f"{named(shown_as or path)} cannot be written: {reason}.") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def temporary_beside(path: Path) -> Path:
    """A name for a file to be made, which tells whose it is."""
    owner = f"{_HOST}-{os.getpid()}-{_RUN}-{secrets.token_hex(4)}"
    suffix = path.suffix if len(path.suffix) <= _LONGEST_SUFFIX else ""
    return path.parent / f".comfy-glaze-{owner}{suffix}"


def _sync(path: Path) -> None:
    """Wait until a file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def remove_leftovers(top: Path) -> int:
    """Remove the temporary files below ``top`` whose run has ended, and return how many.

    A run on this machine has ended when its process has; one on another, an hour later.
    """
    removed = 0
    for folder, _, files in os.walk(top):
        for name in files:
            match = _TEMPORARY.fullmatch(name)
            if match and _has_ended(Path(folder, name), match[1], int(match[2]), match[3]):
                with suppress(OSError):
                    Path(folder, name).unlink()
                    removed += 1
    return removed


def _has_ended(temporary: Path, host: str, process: int, run: str) -> bool:
    if host == _HOST and process == os.getpid():
        return run != _RUN
    if host == _HOST and os.name == "posix":
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False
    with suppress(OSError):
        return time.time() - temporary.stat().st_mtime > _LONG
    return False


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, or raise ``ArtworkError``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtworkError(f"{named(folder)} cannot be made: {error.strerror}.") from error


def write_json(value: Any, path: Path, shown_as: Path | None = None) -> None:
    """Write a report, or any other value, whole or not at all; for errors see
    :func:`atomic_write`."""
    with atomic_write(path, shown_as) as temporary:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        # a name that is not UTF-8 stands in the JSON as its escapes
        temporary.write_bytes((text + "\n").encode("utf-8", "backslashreplace"))
