"""The secret that draws an artist's target style where neither a style nor a seed is given.

If everyone drew with the same seed, everyone would be led to the same place among the candidates,
and whoever removes cloaks would know it.  So each installation has a secret of its own, beside the
remembered choices.  Like these it is private: who has it can tell which style the cloaks lead to.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path

from filelock import FileLock

from ..errors import first_line
from ..files.atomic import atomic_write
from ..files.formats import ArtworkError
from ..files.places import config_folder
from .bank import StyleBankError
from .memory import WAIT_SECONDS, artist_key

_BYTES = 32


def secret_file() -> Path:
    """Where the secret is kept."""
    return config_folder() / "target-style-secret"


def seed_of(artist: str, seed: int) -> int:
    """What draws an artist's target style: a seed other than 0 as it is, the same everywhere.

    Under 0 it is a number below 2⁶⁴ that this installation's secret gives for the artist: the same
    each time here, another one elsewhere.

    Args:
        artist: the name, or empty.

    Raises:
        StyleBankError: no name of an artist, or the secret cannot be read.
        ArtworkError: the secret cannot be written.
    """
    if seed:
        return seed
    name = artist_key(artist) if artist.strip() else ""
    digest = hmac.digest(_secret(), name.encode("utf-8", "surrogateescape"), hashlib.sha256)
    return int.from_bytes(digest[:8], "big")


def _secret() -> bytes:
    """The secret; it is made, and written, when it is first needed."""
    path = secret_file()
    if (found := _read(path)) is not None:
        return found
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock"), timeout=WAIT_SECONDS):
            if (found := _read(path)) is not None:  # another process was first
                return found
            made = secrets.token_bytes(_BYTES)
            with atomic_write(path) as temporary:
                temporary.touch(0o600)
                temporary.write_text(made.hex() + "\n", encoding="ascii")
            return made
    except (ArtworkError, OSError) as error:  # a Timeout too
        raise ArtworkError(
            f"The secret that draws your target style cannot be kept ({first_line(error)}); to do "
            "without it, name a style (--style) or a seed other than 0 (--style-seed)."
        ) from error


def _read(path: Path) -> bytes | None:
    try:
        found = bytes.fromhex(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StyleBankError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError:
        found = b""
    if len(found) != _BYTES:
        raise StyleBankError(
            f"{path}, the secret that draws your target style, is damaged; restore it, or remove "
            "it and have a new one drawn."
        )
    return found
