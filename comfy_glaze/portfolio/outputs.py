"""Where everything goes: pictures into one folder, what is not to be published into its sibling."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from ..files.atomic import remove_leftovers
from ..files.formats import FORMATS, READ_ONLY, SUFFIXES, ArtworkError, named, suffix_format
from ..files.hashing import file_sha256
from .manifest import Manifest

_LONGEST_NAME = 255  # bytes, on every usual file system


@dataclass(frozen=True)
class Job:
    """One picture to cloak.

    Attributes:
        source: the original, which is only read.
        target: where the cloaked picture goes.
        report_stem: where its reports go, without their endings (``art.png`` gives
            ``art.png.glaze.json``, ``art.png.sheet.png`` and ``art.png.styled.png``).
        name: of the target below the output folder, as the manifest writes it.
        caption: what a text file beside the picture is to say; None for no such file.
    """

    source: Path
    target: Path
    report_stem: Path
    name: str
    caption: str | None = None

    @property
    def caption_file(self) -> Path:
        """Where the caption goes: the picture's name with .txt, as training scripts expect it."""
        return caption_file(self.target)


def caption_file(picture: Path) -> Path:
    """The text file beside a picture; only a picture's own suffix gives way to .txt."""
    known = picture.suffix.lower() in SUFFIXES
    return picture.with_name(fitting_name(picture.stem if known else picture.name, ".txt"))


def fitting_name(stem: str, ending: str) -> str:
    """A file's name, its stem cut short where a file system would not take all of it.

    A cut stem ends with a mark of what was cut, so that no two names become one.
    """
    raw = os.fsencode(stem)
    room = _LONGEST_NAME - len(os.fsencode(ending))
    if len(raw) <= room:
        return stem + ending
    mark = "~" + hashlib.sha256(raw).hexdigest()[:8]
    return raw[: room - len(mark)].decode("utf-8", "ignore") + mark + ending


def reports_folder(out: Path) -> Path:
    """The sibling of ``out`` that holds everything which is not to be published."""
    return out.resolve().with_name(out.resolve().name + "-reports")


def check_output_folder(sources: Sequence[Path], out: Path) -> None:
    """Refuse an output folder that is part of the input.

    Raises:
        ArtworkError: naming both.
    """
    for source in sources:
        if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
            raise ArtworkError(
                f"The output folder must lie outside the folder of the originals, "
                f"but {named(out)} lies in {named(source)}."
            )


def open_output_folder(
    sources: Sequence[Path], out: Path, shard: tuple[int, int] | None = None
) -> Manifest:
    """The manifest of an output folder, which is made where there is none.

    A folder that cannot be written to, or that is part of the input, is refused now; what a killed
    run left half-written in it is cleared away.

    Raises:
        ArtworkError: it is refused.
    """
    check_output_folder(sources, out)
    for folder in (out, reports_folder(out)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise ArtworkError(
                f"{named(folder)} cannot be written to: {error.strerror}."
            ) from error
        remove_leftovers(folder)
    return Manifest(reports_folder(out), shard)


def job_of(source: Path, target: Path, out: Path, caption: str | None = None) -> Job:
    """The job that ends with ``target``, below the output folder ``out``."""
    relative = target.relative_to(out)
    return Job(source, target, reports_folder(out) / relative, relative.as_posix(), caption)


def plan_outputs(
    found: Sequence[tuple[Path, Path]],
    out: Path,
    format: str,
    manifest: Manifest | None = None,
    captions: Mapping[Path, str] | None = None,
) -> tuple[list[Job], list[str]]:
    """A job for each source that has a place below ``out``, and a sentence for each that has none.

    A source of a format that is only read becomes ``art.png``, or ``art.heic.png`` where another
    source has that name.  A source that would take the name of an earlier one, or the place of any
    source, is refused; so is one whose caption would take the place of another picture's, or of a
    stranger's text.  What an earlier run saved, as its report or the manifest tells, may be
    replaced.

    Args:
        found: sources and their names (see :func:`comfy_glaze.files.finding.find_artworks`).
        format: of the saved files, ``same`` for the source's own.
        captions: by source, what the text file beside each picture is to say; None for no such
            files.
    """
    sources = {source.resolve() for source, _ in found}
    taken: dict[str, Path] = {}
    jobs: list[Job] = []
    failures: list[str] = []
    wanted = Counter(str(_target(relative, format)).casefold() for _, relative in found)
    for source, relative in found:
        name = _target(relative, format)
        if wanted[str(name).casefold()] > 1 and suffix_format(relative) in READ_ONLY:
            name = name.with_name(fitting_name(relative.name, name.suffix))
        target = out / name
        job = job_of(source, target, out, None if captions is None else captions[source])
        # some file systems take Art.png and art.png for one
        key = str(target if captions is None else job.caption_file).casefold()
        try:
            _check_place(job, out, sources, taken.get(key), manifest)
        except ArtworkError as error:
            failures.append(str(error))
        else:
            taken[key] = source
            jobs.append(job)
    return jobs, failures


def _check_place(
    job: Job, out: Path, sources: Set[Path], taken_by: Path | None, manifest: Manifest | None
) -> None:
    """Raise ``ArtworkError`` unless a job's files may be written."""
    target, kind = job.target, "cloak" if job.caption is None else "poison"
    would = f"{named(job.source)} would be saved as {named(target)}, which is"
    if target.resolve() in sources:
        raise ArtworkError(f"{would} an original.")
    if taken_by is not None:
        raise ArtworkError(f"{would} already taken by {named(taken_by)}.")
    if not target.resolve().is_relative_to(out.resolve()):
        raise ArtworkError(f"{would} outside the output folder.")
    if target.exists() and not _is_ours(target, job, manifest):
        raise ArtworkError(f"{would} there already and no {kind} of ours.")
    if job.caption is not None:
        check_caption(job, manifest)


def _target(path: Path, format: str) -> Path:
    suffix = path.suffix.lower()
    if format == "same":
        read_only = suffix_format(path) in READ_ONLY
        return path.with_name(fitting_name(path.stem, ".png")) if read_only else path
    if suffix in FORMATS[format]:
        return path
    # only a picture's own suffix is replaced: "still life no. 4" has none
    stem = path.stem if suffix in SUFFIXES else path.name
    return path.with_name(fitting_name(stem, FORMATS[format][0]))


def _is_ours(target: Path, job: Job, manifest: Manifest | None) -> bool:
    """Whether an existing file is what an earlier run saved there, so that it may be replaced."""
    sha256 = file_sha256(target)
    if sha256 is not None and manifest is not None and manifest.promised(job.name, sha256):
        return True
    try:
        report = json.loads(with_ending(job.report_stem, ".glaze.json").read_text("utf-8"))
        return bool(report["output"]["sha256"] == sha256)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def check_caption(job: Job, manifest: Manifest | None) -> None:
    """Raise where a caption would replace a text that no earlier run wrote.

    Raises:
        ArtworkError: naming the picture and the text.
    """
    text, sha256 = job.caption_file, file_sha256(job.caption_file)
    name = caption_file(Path(job.name)).as_posix()
    if sha256 is None or (manifest is not None and manifest.promised(name, sha256)):
        return
    if job.caption is not None and sha256 == hashlib.sha256(caption_bytes(job.caption)).hexdigest():
        return
    why = f"{named(text)} is there already and no caption of ours."
    raise ArtworkError(f"{named(job.source)}: {why}")


def caption_bytes(caption: str) -> bytes:
    """What a caption's file holds: one line."""
    return (caption + "\n").encode("utf-8")


def with_ending(stem: Path, ending: str) -> Path:
    """A file among a picture's reports (see :func:`fitting_name`)."""
    return stem.with_name(fitting_name(stem.name, ending))


def unchanged(job: Job, manifest: Manifest, settings: str) -> bool:
    """Whether an earlier run made this picture from this very source with these settings."""
    if not with_ending(job.report_stem, ".glaze.json").exists():
        return False
    if job.caption is not None and _text_of(job.caption_file) != caption_bytes(job.caption):
        return False
    made = file_sha256(job.target)
    return made is not None and manifest.is_done(job.name, file_sha256(job.source), settings, made)


def _text_of(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None
