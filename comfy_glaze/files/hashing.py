"""The hash of a file, remembered while the file stays as it is."""

from __future__ import annotations

import hashlib
import stat
import time
from functools import lru_cache
from pathlib import Path


def file_sha256(path: Path) -> str | None:
    """The hash of a file's bytes, hexadecimal; None where it is no file or cannot be
    read.

    A file that has not been touched since it was last hashed is not read again.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # opening a pipe would wait for ever
            return None
        touched = max(found.st_mtime, found.st_ctime)
        settled = touched < time.time() - _SETTLED  # a clock may be too coarse to show a change
        hashed = _sha256 if settled else _sha256.__wrapped__
        return hashed(path, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    except OSError:
        return None


_SETTLED = 3.0  # seconds


@lru_cache(maxsize=100_000)
def _sha256(path: Path, *stamp: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
