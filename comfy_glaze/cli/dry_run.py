"""``--dry-run``: what would be cloaked, how large it is, and how long that takes."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from ..files.formats import MAX_MEGAPIXELS, ArtworkError, check_file, named
from ..optional import import_if_usable
from .terminal import counted, duration, megabytes, results, say

if TYPE_CHECKING:
    from ..portfolio.manifest import Manifest
    from ..portfolio.outputs import Job

_SHEET = 2_000_000  # bytes that a picture's sheet and measures rarely need more than


def dry_run(
    jobs: Sequence[Job], manifest: Manifest, out: Path, resumed: bool, failures: Sequence[str]
) -> list[dict[str, Any]]:
    """Show what a run would do, and give it as JSON.

    Args:
        jobs: all that the run was given.
        resumed: whether pictures that are as the manifest says are left alone.
        failures: what was refused already.
    """
    if (heif := import_if_usable("pillow_heif", "pillow-heif", "comfy-glaze[io]")) is not None:
        heif.register_heif_opener()
    rows = [_row(job, manifest, resumed) for job in jobs]
    table = Table("picture", "width × height", "size", "what", box=None, pad_edge=False)
    for row in rows:
        size = "-" if row["width"] is None else f"{row['width']} × {row['height']}"
        what = escape(row["error"] or row["status"])
        table.add_row(escape(named(row["file"])), size, megabytes(row["bytes"]), what)
    results.print(table)
    todo = [row for row in rows if row["status"] == "planned"]
    pixels = sum(row["width"] * row["height"] for row in todo)
    most = sum(row["most"] for row in todo)
    say(
        f"To cloak: {counted(len(todo), 'picture')}, {pixels / 1e6:.1f} megapixels. As before: "
        f"{sum(row['status'] == 'unchanged' for row in rows)}. "
        f"Cannot be read: {len(failures) + sum(row['status'] == 'failed' for row in rows)}.",
        "none",
    )
    if todo:
        say(_room(most, out), "none")
        say(_time(len(todo), manifest), "none")
    say("Nothing was cloaked or written: this was a dry run.", "none")
    return rows


def _row(job: Job, manifest: Manifest, resumed: bool) -> dict[str, Any]:
    from PIL import Image

    from ..files.hashing import file_sha256
    from ..files.header import Unexpected, check_header

    row: dict[str, Any] = {
        "source": str(job.source),
        "file": job.name,
        "bytes": 0,
        "width": None,
        "height": None,
        "most": 0,
        "status": "planned",
        "verdict": None,
        "error": None,
    }
    kind = "picture"
    try:
        kind = check_file(job.source)
        row["bytes"] = job.source.stat().st_size
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pixels, which nobody decodes here
            with Image.open(job.source) as image:
                row["width"], row["height"] = image.size
                check_header(image)
                depth = 2 if image.mode.startswith("I") else 1
                row["most"] = 2 * image.size[0] * image.size[1] * 4 * depth + _SHEET
    except ArtworkError as refused:
        return row | {"status": "failed", "error": str(refused)}
    except Unexpected as refused:
        return row | {"status": "failed", "error": f"{named(job.source)}: expected {refused}."}
    except Image.DecompressionBombError:
        most = f"expected at most {MAX_MEGAPIXELS} megapixels, but it is larger"
        return row | {"status": "failed", "error": f"{named(job.source)}: {most}."}
    except Exception:  # whatever a broken file raises
        broken = f"expected a whole {kind.upper()} file of 8 or 16 bits, but it is not"
        return row | {"status": "failed", "error": f"{named(job.source)}: {broken}."}
    entry = manifest.entries.get(job.name)
    if (
        resumed
        and entry
        and entry.get("source", {}).get("sha256") == file_sha256(job.source)
        and entry["output"]["sha256"] == file_sha256(job.target)
    ):
        row["status"] = "unchanged"
    return row


def _room(most: int, out: Path) -> str:
    place = next((p for p in (out.resolve(), *out.resolve().parents) if p.exists()), Path.cwd())
    free = shutil.disk_usage(place).free
    enough = "" if free > most else " That may not be enough."
    return (
        f"Room on the disk: at most {megabytes(most)}, reports included; {megabytes(free)} are "
        f"free.{enough}"
    )


def _time(count: int, manifest: Manifest) -> str:
    """How long it takes, as earlier pictures of this folder took."""
    from ..portfolio.outputs import with_ending

    seconds = []
    for name in manifest.entries:
        report = with_ending(manifest.path.parent / name, ".glaze.json")
        try:
            seconds.append(float(json.loads(report.read_text("utf-8"))["seconds"]["total"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    if not seconds:
        return (
            "How long it takes is known once a picture has been cloaked into this folder on this "
            "computer: cloak one first."
        )
    return (
        f"About {duration(fmean(seconds) * count)}: {counted(len(seconds), 'earlier picture')} of "
        f"this folder took {fmean(seconds):.1f} seconds each."
    )
