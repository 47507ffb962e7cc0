"""A portfolio: one picture after another, so that a run may be stopped at any moment and go on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..cloaking.methods import OnStep
from ..devices import choose_device
from ..files.artwork import Artwork, load_artwork
from ..files.formats import named
from ..files.hashing import file_sha256
from ..styles.works import WORKS_FOR_CENTROID, rank_works, small_works, works_for_centroid
from .engine import Studio, open_studio
from .manifest import Manifest
from .measuring import measure_files
from .outputs import (
    Job,
    caption_bytes,
    job_of,
    plan_outputs,
    prepare_output_folder,
    reports_folder,
    with_ending,
)
from .picture import cloak_file, load_mask, prepare, publish, settings_fingerprint, write_cloak

__all__ = [
    "WORKS_FOR_CENTROID",
    "Job",
    "Manifest",
    "Outcome",
    "Studio",
    "choose_device",
    "cloak_file",
    "cloak_portfolio",
    "in_shard",
    "job_of",
    "load_mask",
    "measure_files",
    "open_studio",
    "plan_outputs",
    "prepare_output_folder",
    "rank_works",
    "remember_target",
    "remembered_style",
    "reports_folder",
    "small_works",
    "unchanged",
    "works_for_centroid",
    "write_cloak",
]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one picture: a report, or the sentence that says why there is none.

    Attributes:
        job: the picture.
        report: as written; None for a picture that failed, or was left as an earlier run made it.
        error: why it failed.
    """

    job: Job
    report: dict[str, Any] | None = None
    error: str | None = None


def in_shard(job: Job, shard: tuple[int, int] | None) -> bool:
    """Whether a picture belongs to shard (i, n), i from 1 to n; its name alone decides."""
    if shard is None:
        return True
    number = int.from_bytes(
        hashlib.sha256(job.name.encode("utf-8", "surrogateescape")).digest(), "big"
    )
    return number % shard[1] == shard[0] - 1


def remembered_style(manifest: Manifest, encoder: str, style_seed: int) -> str | None:
    """The target style of an earlier run with this encoder and seed, so that it stays the same when
    pictures are added; None where there was none."""
    run = manifest.run or {}
    if (run.get("encoder"), run.get("style_seed")) != (encoder, style_seed):
        return None
    name = run.get("target_style", {}).get("name")
    return name if isinstance(name, str) else None


def remember_target(manifest: Manifest, studio: Studio, encoder: str, resumed: bool) -> Studio:
    """Note the run's target style; the studio of a resumed run is told where that style lies."""
    target, earlier = studio.target, (manifest.run or {}).get("target_style", {})
    if resumed and target.distance is None and earlier.get("name") == target.style.name:
        places = {key: earlier.get(key) for key in ("distance", "percentile")}
        studio = replace(studio, target=replace(target, **places))
        target = studio.target
    manifest.begin(
        {
            "encoder": encoder,
            "style_seed": studio.style_seed,
            "target_style": {
                "name": target.style.name,
                "distance": target.distance,
                "percentile": target.percentile,
            },
        }
    )
    return studio


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


def cloak_portfolio(
    jobs: Sequence[Job],
    studio: Studio,
    manifest: Manifest,
    *,
    mask: Path | None = None,
    resume: bool = False,
    batch: int = 1,
    on_begin: Callable[[Job], OnStep | None] | None = None,
) -> Iterator[Outcome]:
    """Cloak pictures, and tell what became of each as soon as it is known.

    While pictures are cloaked, the next ones are read.  One that fails costs no other.

    Args:
        jobs: what to cloak.
        studio: what to do it with.
        manifest: where it is noted.
        mask: as in :func:`cloak_file`.
        resume: leave pictures alone that an earlier run made from the same source and settings.
        batch: how many pictures of one size are cloaked together, at most.
        on_begin: called before a picture, the first of a batch; gives its ``on_step``.
    """
    settings = settings_fingerprint(studio, mask)
    waiting: list[Job] = []
    for job in jobs:
        if resume and unchanged(job, manifest, settings):
            yield Outcome(job)
        else:
            waiting.append(job)
    groups = [waiting[at : at + batch] for at in range(0, len(waiting), batch)]
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="reader") as reader:
        ahead = [reader.submit(_load, group) for group in groups[:1]]
        for number in range(len(groups)):
            loaded = ahead.pop().result()
            ahead = [reader.submit(_load, group) for group in groups[number + 1 : number + 2]]
            yield from _cloak_group(loaded, studio, manifest, mask, on_begin)
            del loaded


def _load(group: Sequence[Job]) -> list[tuple[Job, Artwork | Exception]]:
    loaded: list[tuple[Job, Artwork | Exception]] = []
    for job in group:
        try:
            loaded.append((job, load_artwork(job.source)))
        except Exception as error:  # told when it is this picture's turn
            loaded.append((job, error))
    return loaded


def _cloak_group(
    loaded: Sequence[tuple[Job, Artwork | Exception]],
    studio: Studio,
    manifest: Manifest,
    mask: Path | None,
    on_begin: Callable[[Job], OnStep | None] | None,
) -> Iterator[Outcome]:
    by_size: dict[tuple[int, ...], list[tuple[Job, Artwork]]] = {}
    for job, artwork in loaded:
        if isinstance(artwork, Exception):
            yield Outcome(job, error=sentence_of(artwork, job.source))
        else:
            by_size.setdefault(tuple(artwork.pixels.shape), []).append((job, artwork))
    for together in by_size.values():
        yield from _cloak_together(together, studio, manifest, mask, on_begin)


def _cloak_together(
    together: Sequence[tuple[Job, Artwork]],
    studio: Studio,
    manifest: Manifest,
    mask: Path | None,
    on_begin: Callable[[Job], OnStep | None] | None,
) -> Iterator[Outcome]:
    jobs, artworks = zip(*together, strict=True)
    on_step = on_begin(jobs[0]) if on_begin else None
    try:
        waiting = prepare(jobs, artworks, studio, mask=mask, on_step=on_step)
    except Exception as error:  # one picture must not take the others with it
        if len(together) > 1:  # nor must a batch that outgrows the memory
            for one in together:
                yield from _cloak_together([one], studio, manifest, mask, on_begin)
            return
        yield Outcome(jobs[0], error=sentence_of(error, jobs[0].source))
        return
    try:
        while waiting:
            prepared = waiting.pop(0)
            try:
                outcome = Outcome(prepared.job, publish(prepared, manifest))
            except Exception as error:
                outcome = Outcome(prepared.job, error=sentence_of(error, prepared.job.source))
            yield outcome
    finally:
        for prepared in waiting:
            prepared.staged.discard()


def sentence_of(error: Exception, source: Path) -> str:
    """One sentence that names the source, and for an unknown error its kind."""
    known = isinstance(error, ValueError)
    sentence = str(error) if known else f"{type(error).__name__}: {error}"
    sentence = " ".join(sentence.split())
    return sentence if source.name in sentence else f"{named(source)}: {sentence}"
