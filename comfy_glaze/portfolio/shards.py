"""Shards: parts of one portfolio for machines that share a disk and nothing else.

An automatic target style is drawn from a secret of the machine
(:mod:`comfy_glaze.styles.secret`), so machines would draw different ones.  The first shard notes
its choice in the reports' folder, and the others take it from there.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..files.atomic import write_json
from ..files.formats import ArtworkError, named
from .outputs import Job


class ShardError(ValueError):
    """A shard does not know the style that the others lead to; one sentence with what to run."""


@dataclass(frozen=True)
class Shard:
    """A part of a portfolio.

    Attributes:
        part, of: the ``part``-th of so many, from 1.
    """

    part: int
    of: int

    def jobs(self, jobs: Sequence[Job]) -> list[Job]:
        """The pictures of this shard, out of all of the portfolio's.

        Shards of the same pictures have no picture in common, leave none out, and differ in number
        by one at most.  Names are dealt by their hashes, so that a folder with large pictures does
        not fall to one shard.
        """
        dealt = sorted(jobs, key=lambda job: _digest(job.name))
        mine = {job.name for job in dealt[self.part - 1 :: self.of]}
        return [job for job in jobs if job.name in mine]

    def shared_style(self, reports: Path, encoder: str, remembered: str | None) -> str | None:
        """The style that the first shard chose; None for the first one before it has chosen.

        Args:
            reports: the folder of the reports, which all shards share.
            encoder: as it was named to the command.
            remembered: the style that this machine remembers for the artist, if any.

        Raises:
            ShardError: the first shard has not chosen yet, or another style is remembered here.
            ArtworkError: the choice cannot be read.
        """
        chosen = _read(_file(reports, encoder))
        if chosen is None and self.part > 1:
            raise ShardError(
                f"Expected the target style of shard 1/{self.of} in {named(reports)}, but it is "
                "not there; wait until that shard cloaks, or give all shards one seed: "
                f"--style-seed {1 + secrets.randbelow(2**31 - 1)}"
            )
        if None not in (chosen, remembered) and chosen != remembered:
            raise ShardError(
                f"Expected one target style for all shards, but the first one leads to {chosen}, "
                f"and {remembered} is remembered here; say which it is to be: --style "
                f'"{chosen}"'
            )
        return chosen

    def share_style(self, reports: Path, encoder: str, style: str) -> None:
        """Note the first shard's choice for the others.

        Raises:
            ArtworkError: it cannot be written.
        """
        if self.part == 1:
            write_json({"encoder": encoder, "style": style}, _file(reports, encoder))


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()


def _file(reports: Path, encoder: str) -> Path:
    return reports / f"shared-style-{_digest(encoder).hex()[:8]}.json"


def _read(path: Path) -> str | None:
    try:
        style = json.loads(path.read_text("utf-8"))["style"]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ArtworkError(f"{named(path)} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ArtworkError(f"{named(path)} is damaged; remove it.") from error
    if not isinstance(style, str):
        raise ArtworkError(f"{named(path)} is damaged; remove it.")
    return style
