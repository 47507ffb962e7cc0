"""The manifest: what was done to which source, one line of JSON each, in the reports' folder.

A picture's line is written just before the picture takes its place.  It is a promise, kept when the
file at that place has the hash that the line tells; so a run that is killed at any moment can go on
where it was, and no file of ours is ever taken for a stranger's.  Lines are only appended; the last
one about a picture counts.  Each shard of a run writes a manifest of its own and reads them all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..files.formats import ArtworkError, named

SCHEMA = 1


class Manifest:
    """The manifest of one output folder.

    Attributes:
        path: the file that this run appends to.
        entries: the last entry about each picture, by the picture's name below the output folder.
        run: what the last run wrote about itself (its target style ...), or None.
    """

    def __init__(self, folder: Path, shard: tuple[int, int] | None = None) -> None:
        """Read all manifests in ``folder``, the reports' folder; ``shard`` is (i, n)."""
        ending = f"-{shard[0]}-of-{shard[1]}" if shard else ""
        self.path = folder / f"manifest{ending}.jsonl"
        self.entries: dict[str, dict[str, Any]] = {}
        self.run: dict[str, Any] | None = None
        self._promises: set[tuple[str, str]] = set()
        self._pending_run: dict[str, Any] | None = None
        for path in sorted(folder.glob("manifest*.jsonl"), key=lambda path: path == self.path):
            for line in _lines(path):
                self._take(line)

    def _take(self, line: dict[str, Any]) -> None:
        if isinstance(line.get("run"), dict):
            self.run = line["run"]
            return
        try:
            name = line["output"]["file"]
            for sha256 in (line["output"]["sha256"], line.get("replaces")):
                if isinstance(sha256, str):
                    self._promises.add((name, sha256))
            caption = line.get("caption")
            if isinstance(caption, dict):
                self._promises.add((caption["file"], caption["sha256"]))
            self.entries[name] = line
        except (KeyError, TypeError):  # a line of another kind, or of a later version
            return

    def promised(self, name: str, sha256: str) -> bool:
        """Whether a run wrote, or was to replace, a file of this name with these bytes."""
        return (name, sha256) in self._promises

    def is_done(
        self, name: str, source_sha256: str | None, settings: str, output_sha256: str | None
    ) -> bool:
        """Whether the file that is there was made from this source with these settings."""
        entry = self.entries.get(name)
        return (
            entry is not None
            and output_sha256 is not None
            and entry["output"]["sha256"] == output_sha256
            and entry.get("source", {}).get("sha256") == source_sha256
            and entry.get("settings") == settings
        )

    def begin(self, run: dict[str, Any]) -> None:
        """Note what is the same for all of a run; it is written with the first picture."""
        self._pending_run = run if run != self.run else None

    def promise(self, entry: dict[str, Any]) -> None:
        """Write a picture's entry, and wait until it is on the disk.

        Raises:
            ArtworkError: it cannot be written.
        """
        lines = [{"schema": SCHEMA, **entry}]
        if self._pending_run is not None:
            lines.insert(0, {"schema": SCHEMA, "run": self._pending_run})
        text = "".join(json.dumps(line) + "\n" for line in lines)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                if _ends_torn(self.path):
                    text = "\n" + text
                file.write(text.encode("ascii"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ArtworkError(
                f"{named(self.path)} cannot be written: {error.strerror}."
            ) from error
        for line in lines:
            self._take(line)
        self._pending_run = None


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a manifest; one that a killed run tore is passed over."""
    try:
        with path.open("rb") as file:
            for raw in file:
                try:
                    line = json.loads(raw)
                except ValueError:
                    continue
                if isinstance(line, dict):
                    yield line
    except OSError as error:
        raise ArtworkError(f"{named(path)} cannot be read: {error.strerror}.") from error


def _ends_torn(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
