"""``comfy-glaze outdated``, and what ``comfy-glaze cloak --outdated`` takes from it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from .. import __version__
from ..files.formats import named
from .options import JsonOption, one_sentence
from .terminal import counted, print_json, results, say, speak

if TYPE_CHECKING:
    from ..portfolio.changes import Change
    from ..portfolio.manifest import Manifest
    from ..portfolio.outdated import Published
    from ..portfolio.outputs import Job

_FOLDERS_NAMED = 3


def outdated(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="What `comfy-glaze cloak --out` was given."),
    ],
    as_json: JsonOption = False,
) -> None:
    """List the pictures that were cloaked before something changed, the worst first.

    It reads the reports and touches nothing. `comfy-glaze cloak ORIGINALS --out FOLDER --outdated`
    cloaks them again.
    """
    from ..portfolio.outdated import manifest_of, published_pictures

    speak(as_json=as_json)
    with one_sentence():
        reports, manifest = manifest_of(folder)
    pictures = published_pictures(reports, manifest)
    listed = [picture for picture in pictures if picture.is_outdated]
    if as_json:
        print_json(
            {
                "schema": 1,
                "version": __version__,
                "counts": {"pictures": len(pictures), "outdated": len(listed)},
                "pictures": [picture.as_json() for picture in pictures],
            }
        )
        return
    results.print(f"{counted(len(pictures), 'picture')}, {len(listed)} of them outdated.")
    for version, number in Counter(picture.version for picture in pictures).items():
        results.print(f"Cloaked by version {version}: {number}.", markup=False, highlight=False)
    if not listed:
        return
    changes = list(dict.fromkeys(change for picture in listed for change in picture.changes))
    results.print(_table(listed, changes))
    for number, change in enumerate(changes, start=1):
        since = f"Since {change.since:%d %B %Y}: " if change.since else ""
        again = f" To answer it: {change.again}" if change.again else " Nothing answers it yet."
        line = f"{number}. {since}{change.says} ({change.source}){again}"
        results.print(line, markup=False, highlight=False, soft_wrap=True)
    if any(picture.can_be_mended for picture in listed):
        command = f"comfy-glaze cloak {_originals(listed)} --out {_quoted(folder)} --outdated"
        say("To cloak them again from the originals, with the options named above:", "none")
        say(f"  {command}", "none")


def outdated_jobs(jobs: Sequence[Job], manifest: Manifest) -> list[Job]:
    """Those jobs whose picture is outdated in a way that cloaking it again can answer."""
    from ..portfolio.outdated import published_pictures

    pictures = published_pictures(manifest.path.parent, manifest)
    order = [picture.name for picture in pictures if picture.can_be_mended]
    by_name = {job.name: job for job in jobs}
    return [by_name[name] for name in order if name in by_name]


def _table(pictures: Sequence[Published], changes: Sequence[Change]) -> Table:
    table = Table("picture", "cloaked", "version", "for", "verdict", box=None, pad_edge=False)
    table.add_column("shift", justify="right")
    table.add_column("since then", justify="left")
    for picture in pictures:
        numbers = ", ".join(str(changes.index(change) + 1) for change in picture.changes)
        table.add_row(
            escape(named(picture.name)),
            f"{picture.made:%Y-%m-%d}",
            picture.version,
            escape(picture.led),
            picture.level or "-",
            f"{picture.shift:.3f}",
            numbers,
        )
    return table


def _originals(pictures: Sequence[Published]) -> str:
    """The folders that the originals were taken from, as far as the manifest tells them."""
    folders: dict[Path, None] = {}
    for picture in pictures:
        if picture.source is None:
            return "ORIGINALS"
        below = PurePosixPath(picture.name).parent.parts
        source = Path(picture.source)
        top = source.parents[len(below)] if len(source.parents) > len(below) else None
        if top is None or source.parent.parts[len(source.parent.parts) - len(below) :] != below:
            return "ORIGINALS"
        folders[top] = None
    if len(folders) > _FOLDERS_NAMED:
        return "ORIGINALS"
    return " ".join(map(_quoted, folders))


def _quoted(path: Path) -> str:
    return shlex.quote(named(path))
