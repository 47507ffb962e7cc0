"""Which published pictures were cloaked before something changed; read from the reports alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..files.formats import ArtworkError, named
from .changes import CHANGES, Change, changes_since
from .manifest import Manifest
from .outputs import reports_folder, with_ending


@dataclass(frozen=True)
class Published:
    """A picture that was cloaked and saved.

    Attributes:
        name: below the output folder.
        source: the original, as the manifest names it; None where it does not.
        version: of the program.
        made: when, UTC; of a report that does not say so, when its file was written.
        led: whose encoder, as artists know it, or else the encoder's name.
        level: of the verdict; None for a picture that has none.
        shift: of what the file holds.
        changes: what has changed since, the weightiest first.
    """

    name: str
    source: str | None
    version: str
    made: datetime
    led: str
    level: str | None
    shift: float
    changes: tuple[Change, ...]

    @property
    def is_outdated(self) -> bool:
        """Whether anything that concerns it has changed."""
        return bool(self.changes)

    @property
    def can_be_mended(self) -> bool:
        """Whether cloaking it again would answer some of it."""
        return any(change.again for change in self.changes)

    def as_json(self) -> dict[str, Any]:
        """For the command's JSON."""
        return {
            "file": self.name,
            "source": self.source,
            "version": self.version,
            "made": self.made.isoformat(timespec="seconds"),
            "led": self.led,
            "verdict": self.level,
            "shift": self.shift,
            "changes": [
                {"says": change.says, "again": change.again, "source": change.source}
                for change in self.changes
            ],
        }


def manifest_of(folder: Path) -> tuple[Path, Manifest]:
    """The reports' folder that belongs to a folder of cloaked pictures, and its manifest.

    Args:
        folder: of the pictures, or of their reports.

    Raises:
        ArtworkError: nothing was cloaked into it.
    """
    for reports in (folder, reports_folder(folder)):
        if next(reports.glob("manifest*.jsonl"), None) is not None:
            return reports, Manifest(reports)
    raise ArtworkError(
        f"Expected a folder that pictures were cloaked into, but {named(reports_folder(folder))} "
        "has no manifest."
    )


def published_pictures(reports: Path, manifest: Manifest) -> list[Published]:
    """Every picture that has a report: outdated ones first, the worst of them at the head.

    One is worse than another by its weightiest change, then by the number of its changes, then by
    its shift.
    """
    return sorted(_published(reports, manifest), key=_order)


def _order(picture: Published) -> tuple[int, int, float, str]:
    weightiest = CHANGES.index(picture.changes[0]) if picture.changes else len(CHANGES)
    return weightiest, -len(picture.changes), picture.shift, picture.name


def _published(reports: Path, manifest: Manifest) -> Iterator[Published]:
    for name, entry in manifest.entries.items():
        path = with_ending(reports / name, ".glaze.json")
        try:
            report = json.loads(path.read_bytes())
            yield _picture(name, entry, report, made_at(report, path))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # removed, or changed by hand


def _picture(name: str, entry: dict[str, Any], report: dict[str, Any], made: datetime) -> Published:
    verdict, encoder = report.get("verdict"), report["encoder"]
    source = (entry.get("source") or {}).get("file")
    return Published(
        name=name,
        source=source if isinstance(source, str) else None,
        version=str(report["version"]),
        made=made,
        led=encoder.get("family") or encoder["name"],
        level=verdict["level"] if verdict else None,
        shift=float(report.get("encoded", report)["shift"]["512"]),
        changes=tuple(changes_since(made, report)),
    )


def made_at(report: dict[str, Any], path: Path) -> datetime:
    """When a picture was cloaked: as its report says, or when the report was written.

    Raises:
        OSError, ValueError: neither is known.
    """
    said = report.get("made")
    if isinstance(said, str):
        made = datetime.fromisoformat(said)
        return made if made.tzinfo else made.replace(tzinfo=timezone.utc)
    return datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
