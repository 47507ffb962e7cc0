"""Saving a cloaked picture: the file, what it measures once it is decoded again, and its reports.

Everything is first written under temporary names.  Then the picture's line goes into the manifest,
and the files take their places: the reports first, the picture last.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..cloaking.objectives import OBJECTIVES
from ..devices import give_back_memory
from ..files.artwork import Artwork, check_saving, save_artwork
from ..files.atomic import atomic_write, make_folder, temporary_beside, write_json
from ..files.formats import ArtworkError, named
from ..files.hashing import file_sha256
from ..files.options import SaveOptions
from ..networks.encoders import Encoder
from ..networks.perceptual import PerceptualMetric
from .cloaked import CloakedPicture
from .manifest import Manifest
from .outputs import Job, caption_bytes, caption_file, check_caption, with_ending
from .picture_file import PictureFile, write_picture
from .report import build_report
from .seen import Seen, seen_by
from .sheet import write_sheet


@dataclass(eq=False)
class StagedFiles:
    """A saved picture and its reports, under temporary names until all of them are whole.

    Attributes:
        job: where they go.
        settings: for the manifest, what names everything that decides the picture but its source.
        report: as written.
        files: (temporary, final); those first in the list take their places first.
    """

    job: Job
    settings: str
    report: dict[str, Any] = field(default_factory=dict)
    files: list[tuple[Path, Path]] = field(default_factory=list)

    def add(self, final: Path) -> tuple[Path, Path]:
        """A temporary file for ``final``, and ``final``, which is what errors must name."""
        self.files.append((temporary_beside(final), final))
        return self.files[-1]

    def publish(self, manifest: Manifest | None) -> dict[str, Any]:
        """Note the picture in the manifest, and let its files take their places; the report.

        Raises:
            ArtworkError: something cannot be written; then nothing temporary is left.
        """
        try:
            if manifest is not None:
                manifest.promise(self._entry())
            self.place()
        finally:
            self.discard()
        return self.report

    def place(self) -> None:
        """Let every file take its place."""
        for temporary, final in self.files:
            try:
                os.replace(temporary, final)
            except OSError as error:
                reason = error.strerror or error
                raise ArtworkError(f"{named(final)} cannot be written: {reason}.") from error

    def discard(self) -> None:
        """Remove what has not taken its place."""
        for temporary, _ in self.files:
            with suppress(OSError):
                temporary.unlink()

    def _entry(self) -> dict[str, Any]:
        job, report = self.job, self.report
        final, caption = report.get("encoded", report), None
        if job.caption is not None:
            text = caption_file(Path(job.name)).as_posix()
            digest = hashlib.sha256(caption_bytes(job.caption)).hexdigest()
            caption = {"file": text, "sha256": digest}
        return {
            "source": {"file": str(job.source), "sha256": report["source"]["sha256"]},
            "settings": self.settings,
            "output": {"file": job.name, "sha256": report["output"]["sha256"]},
            "replaces": file_sha256(job.target),
            "caption": caption,
            "shift": final["shift"]["512"],
            "perceptual": final["perceptual"]["value"],
            "verdict": report["verdict"],
        }


@dataclass(frozen=True, eq=False)
class WrittenPicture:
    """A cloaked picture whose file is written and measured.

    What is left to do, most of the work of saving, is about pixels in the main memory alone: it may
    be done in another thread while the device cloaks the next picture.

    Attributes:
        picture, saved: what was cloaked, and what its file holds.
        staged: where the file is, and where its reports go.
        names: the temporary and the final name of each.
        encoder: Φ, for what the report says of it.
        seen: what autoencoders make of the picture.
        seconds: wall time so far, loading apart.
    """

    picture: CloakedPicture
    saved: PictureFile
    staged: StagedFiles
    names: dict[str, tuple[Path, Path]]
    encoder: Encoder
    seen: Sequence[Seen]
    seconds: float

    def complete(self) -> StagedFiles:
        """Write the reports under temporary names, too.

        Raises:
            ArtworkError: something cannot be written; then nothing temporary is left.
        """
        try:
            self._write_reports()
        except BaseException:
            self.staged.discard()
            raise
        return self.staged

    def _write_reports(self) -> None:
        started = time.perf_counter()
        picture, staged, names = self.picture, self.staged, self.names
        job = staged.job
        path, _ = names["picture"]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        seconds = self.seconds + time.perf_counter() - started
        staged.report = report = build_report(
            picture, self.saved, self.encoder, job.target.name, digest, seconds
        )
        give_back_memory()
        goal = picture.styled if "goal" in names else None
        if goal is not None:
            file, shown_as = names["goal"]
            save_artwork(goal, Artwork(goal), file, shown_as=shown_as)
        images = (picture.original, goal, self.saved.cloak.images)
        write_sheet(*images, report, *names["sheet"], picture.artwork.alpha, self.seen)
        write_json(report, *names["json"])
        if job.caption is not None:
            with atomic_write(*names["caption"]) as caption:
                caption.write_bytes(caption_bytes(job.caption))


def write(
    picture: CloakedPicture,
    job: Job,
    options: SaveOptions,
    encoder: Encoder,
    metric: PerceptualMetric | None = None,
    settings: str = "",
    seen: Sequence[Seen] | None = None,
) -> WrittenPicture:
    """Write a cloaked picture under a temporary name, and do all of saving it that needs Φ.

    Args:
        picture: what is saved.
        job: where to.
        options: how.
        encoder, metric: what the cloak was made with (see
            :func:`comfy_glaze.portfolio.picture_file.write_picture`).
        settings: see :class:`StagedFiles`.
        seen: what the sheet shows of decoded pictures; None for what the encoder's own decoder
            makes of them.

    Raises:
        ArtworkError: something cannot be written.
    """
    started = time.perf_counter()
    artwork = picture.artwork
    options = options.for_file(artwork.format, job.target, artwork.coding.quality)
    check_saving(picture.artwork, options.format, job.target)
    for folder in {job.target.parent, job.report_stem.parent}:
        make_folder(folder)
    staged = StagedFiles(job, settings)
    reports = {"goal": _goal_ending(picture), "sheet": ".sheet.png", "json": ".glaze.json"}
    if not OBJECTIVES[picture.cloak.settings.objective].styled:  # led to no picture
        del reports["goal"]
    names = {name: staged.add(with_ending(job.report_stem, end)) for name, end in reports.items()}
    if job.caption is not None:
        names["caption"] = staged.add(job.caption_file)
    names["picture"] = path, shown_as = staged.add(job.target)
    try:
        saved = write_picture(picture, path, options, encoder, metric, shown_as)
        give_back_memory()  # a large picture fills it
        cloaked = saved.cloak.images.cpu()
        if seen is None:
            seen = seen_by(encoder, picture.original, cloaked)
    except BaseException:
        staged.discard()
        raise
    saved = replace(saved, cloak=replace(saved.cloak, images=cloaked))
    picture = replace(
        picture, styled=picture.styled.cpu(), cloak=replace(picture.cloak, images=cloaked)
    )
    seconds = picture.seconds + time.perf_counter() - started
    return WrittenPicture(picture, saved, staged, names, encoder, seen, seconds)


def _goal_ending(picture: CloakedPicture) -> str:
    if picture.poison:
        return ".anchor.png"
    return ".goal.png" if picture.cloak.system else ".styled.png"


def save_cloaked(
    picture: CloakedPicture,
    job: Job,
    options: SaveOptions,
    encoder: Encoder,
    metric: PerceptualMetric | None = None,
    manifest: Manifest | None = None,
    settings: str = "",
    seen: Sequence[Seen] | None = None,
) -> dict[str, Any]:
    """Save one cloaked picture with its reports, and give the report.

    The arguments are those of :func:`write`; ``manifest`` is where it is noted, if anywhere.

    Raises:
        ArtworkError: something cannot be written.
    """
    if job.caption is not None:
        check_caption(job, manifest)
    written = write(picture, job, options, encoder, metric, settings, seen)
    return written.complete().publish(manifest)
