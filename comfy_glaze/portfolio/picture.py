"""One picture from disk to disk: load → style transfer → cloak → save → measure the file → report.

Everything about a picture is first written under temporary names.  Then its line goes into the
manifest, and the files take their places: the reports first, the picture last.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..cloaking.cloak import Cloak, optimize_cloak
from ..cloaking.methods import OnStep
from ..files.artwork import Artwork, check_saving, load_artwork
from ..files.formats import KEEP_SHIFT, ArtworkError, named, output_format
from ..files.hashing import file_sha256
from ..images import resize, together
from ..networks.encoders import Encoder
from ..networks.perceptual import PerceptualMetric
from ..styles.target import TargetStyle
from .engine import Studio
from .manifest import Manifest
from .outputs import Job, caption_bytes, caption_file, check_caption
from .saving import Manner, Staged, stage


@dataclass(frozen=True, eq=False)
class Prepared:
    """A cloaked picture, written and measured, that has not taken its place yet."""

    job: Job
    report: dict[str, Any]
    settings: str
    staged: Staged


def settings_fingerprint(studio: Studio, mask: Path | None) -> str:
    """Sixteen hex digits that name everything that decides a picture but its source."""
    parts = {
        "encoder": studio.encoder.fingerprint,
        "style_transfer": studio.style_transfer.name,
        "style": asdict(studio.target.style),
        "budget": asdict(studio.budget),
        "cloak": asdict(studio.settings),
        "format": studio.format,
        "quality": studio.quality,
        "keep_shift": studio.keep_shift,
        "no_ai_training": studio.no_ai_training,
        "credentials": studio.credentials.fingerprint if studio.credentials else None,
        "mask": file_sha256(mask) if mask else None,
    }
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def cloak_file(
    source: Path,
    target: Path,
    report_stem: Path,
    studio: Studio,
    *,
    mask: Path | None = None,
    on_step: OnStep | None = None,
    manifest: Manifest | None = None,
) -> dict[str, Any]:
    """Cloak one file and write everything about it.

    Args:
        source: the original, which is only read.
        target: where the cloaked picture goes; its folder is made.
        report_stem: where its reports go, without their endings (see :class:`Job`).
        studio: what to do it with.
        mask: a picture of the artwork's proportions, light where pixels must stay (see
            :func:`load_mask`).
        on_step: as in :func:`optimize_cloak`.
        manifest: where it is noted, if anywhere.

    Returns:
        The report, as written.

    Raises:
        ArtworkError: the source cannot be read, or something cannot be written.
    """
    job = Job(source, target, report_stem, target.name)
    (prepared,) = prepare([job], [load_artwork(source)], studio, mask=mask, on_step=on_step)
    return publish(prepared, manifest)


def prepare(
    jobs: Sequence[Job],
    artworks: Sequence[Artwork],
    studio: Studio,
    *,
    mask: Path | None = None,
    on_step: OnStep | None = None,
) -> list[Prepared]:
    """Cloak pictures of one size together, and write everything under temporary names."""
    started = time.perf_counter()
    formats = [
        output_format(studio.format, artwork.format, job.target)
        for job, artwork in zip(jobs, artworks, strict=True)
    ]
    for job, artwork, format in zip(jobs, artworks, formats, strict=True):
        check_saving(artwork, format, job.target)
    styled = together(
        [
            studio.style_transfer(artwork.pixels, studio.target.style, studio.settings.seed)
            for artwork in artworks
        ]
    )
    cloaks = optimize_cloak(
        together([artwork.pixels for artwork in artworks]),
        styled,
        studio.encoder,
        studio.budget,
        studio.settings,
        on_step,
        keep_clear=_keep_clear(artworks, mask),
        metric=studio.metric,
    )
    fingerprint = settings_fingerprint(studio, mask)
    done: list[Prepared] = []
    try:
        for i, (job, artwork, format) in enumerate(zip(jobs, artworks, formats, strict=True)):
            staged, report = stage(
                artwork.pixels,
                styled[i : i + 1],
                replace(
                    cloaks,
                    images=cloaks.images[i : i + 1],
                    measures=cloaks.measures[i : i + 1],
                    seconds=cloaks.seconds / len(jobs),
                ),
                artwork,
                job,
                _manner_of(studio, format, artwork),
                started,
            )
            done.append(Prepared(job, report, fingerprint, staged))
    except BaseException:
        for prepared in done:
            prepared.staged.discard()
        raise
    return done


def _manner_of(studio: Studio, format: str, artwork: Artwork) -> Manner:
    poison = studio.poison
    return Manner(
        format,
        studio.quality,
        studio.keep_shift,
        studio.no_ai_training,
        studio.encoder,
        studio.metric,
        None if poison else studio.target,
        None if poison else studio.style_seed,
        studio.credentials,
        poison=poison.as_json(artwork) if poison else None,
    )


def publish(prepared: Prepared, manifest: Manifest | None) -> dict[str, Any]:
    """Note a prepared picture in the manifest and let its files take their places."""
    job, report = prepared.job, prepared.report
    final = report.get("encoded", report)
    try:
        if manifest is not None:
            manifest.promise(
                {
                    "source": {"file": str(job.source), "sha256": report["source"]["sha256"]},
                    "settings": prepared.settings,
                    "output": {"file": job.name, "sha256": report["output"]["sha256"]},
                    "replaces": file_sha256(job.target),
                    "caption": _caption_entry(job),
                    "shift": final["shift"]["512"],
                    "perceptual": final["perceptual"]["value"],
                }
            )
        prepared.staged.place()
    finally:
        prepared.staged.discard()
    return report


def _caption_entry(job: Job) -> dict[str, str] | None:
    if job.caption is None:
        return None
    text = caption_file(Path(job.name)).as_posix()
    return {"file": text, "sha256": hashlib.sha256(caption_bytes(job.caption)).hexdigest()}


def write_cloak(
    original: Tensor,
    styled: Tensor,
    cloak: Cloak,
    artwork: Artwork,
    job: Job,
    *,
    target: TargetStyle | None,
    style_seed: int | None,
    encoder: Encoder,
    metric: PerceptualMetric | None,
    format: str,
    quality: int,
    keep_shift: float = KEEP_SHIFT,
    no_ai_training: bool = False,
    text: Mapping[str, str] | None = None,
    started: float | None = None,
    manifest: Manifest | None = None,
    fingerprint: str = "",
    poison: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Save one cloaked picture, measure the file, and write its reports.

    Args:
        original, styled: what it was made from, images (1, 3, H, W) in [0, 1].
        cloak: of one picture, with its measures.
        artwork: what is saved along with the pixels.
        job: where the picture and its reports go.
        target, style_seed: T and the seed that drew it, where they are known.
        encoder, metric: what the cloak was made with; they measure the file of a lossy format.
        keep_shift: of a lossy format, see :attr:`comfy_glaze.portfolio.engine.Studio.keep_shift`.
        no_ai_training: as in :func:`save_artwork`.
        text: for a PNG file, texts to be held in it, by their keywords.
        started: when the work began (``time.perf_counter``); by default the cloak's own time and
            that of this call count.
        manifest: where it is noted, if anywhere.
        fingerprint: for the manifest, what names the settings (see :func:`settings_fingerprint`).
        poison: what the report says of concept poison; None for a cloak.

    Returns:
        The report, as written.

    Raises:
        ArtworkError: something cannot be written.
    """
    if started is None:
        started = time.perf_counter() - cloak.seconds
    check_saving(artwork, format, job.target)
    if job.caption is not None:
        check_caption(job, manifest)
    staged, report = stage(
        original,
        styled,
        cloak,
        artwork,
        job,
        Manner(
            format=format,
            quality=quality,
            keep_shift=keep_shift,
            no_ai_training=no_ai_training,
            encoder=encoder,
            metric=metric,
            target=target,
            style_seed=style_seed,
            text=text,
            poison=poison,
        ),
        started,
    )
    return publish(Prepared(job, report, fingerprint, staged), manifest)


def load_mask(path: Path, artwork: Artwork) -> Tensor:
    """A picture whose light half says which pixels to leave alone, at the artwork's size.

    Its own transparent parts leave nothing alone.

    Returns:
        (1, 1, H, W) in [0, 1].

    Raises:
        ArtworkError: the mask cannot be read, or has other proportions than the artwork.
    """
    picture = load_artwork(path)
    mask = picture.pixels.mean(dim=1, keepdim=True)
    if picture.alpha is not None:
        mask = mask * picture.alpha
    (height, width), (own_height, own_width) = artwork.pixels.shape[-2:], mask.shape[-2:]
    if abs(own_width * height - width * own_height) > max(height, width, own_height, own_width):
        raise ArtworkError(
            f"{named(path)} must have the proportions of the artwork, {width} × {height}, "
            f"but it is {own_width} × {own_height}."
        )
    return resize(mask, height, width).clamp(0, 1)


def _keep_clear(artworks: Sequence[Artwork], mask: Path | None) -> Tensor | None:
    """What must not change, (B, 1, H, W): fully transparent pixels, and those of a mask."""
    if mask is None and all(artwork.alpha is None for artwork in artworks):
        return None
    clear = []
    for artwork in artworks:
        own = artwork.keep_clear
        own = torch.zeros_like(artwork.pixels[:, :1]) if own is None else own
        clear.append(own if mask is None else torch.maximum(own, load_mask(mask, artwork)))
    return torch.cat(clear)
