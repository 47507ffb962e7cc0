"""Saving a cloak: the file, what it measures once it is decoded again, and its reports."""

from __future__ import annotations

import hashlib
import math
import os
import struct
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..cloaking.cloak import Cloak
from ..cloaking.measures import Comparison, Measures
from ..devices import give_back_memory
from ..files.artwork import Artwork, load_artwork, save_artwork, saved_view
from ..files.atomic import make_folder, sync, temporary_beside, write_json
from ..files.credentials import Credentials
from ..files.formats import DEEP, ArtworkError, is_lossless, named
from ..images import to_grid
from ..networks.encoders import Encoder
from ..networks.perceptual import PerceptualMetric, load_metric
from ..styles.target import TargetStyle
from .outputs import Job, caption_bytes, with_ending
from .report import build_report
from .sheet import write_sheet


@dataclass(eq=False)
class Staged:
    """Files under temporary names, until all of them are whole."""

    files: list[tuple[Path, Path]] = field(default_factory=list)  # temporary, final

    def add(self, final: Path) -> Path:
        """A temporary file for ``final``; those added first take their places first."""
        temporary = temporary_beside(final)
        self.files.append((temporary, final))
        return temporary

    def in_users_words(self, error: Exception) -> ArtworkError:
        """The user knows the final names, not the temporary ones."""
        sentence = str(error)
        for temporary, final in self.files:
            sentence = sentence.replace(named(temporary), named(final))
        return ArtworkError(sentence)

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


@dataclass(frozen=True, eq=False)
class Manner:
    """How a cloak is saved; the fields are arguments of
    :func:`comfy_glaze.portfolio.picture.write_cloak` and of
    :class:`comfy_glaze.portfolio.engine.Studio`."""

    format: str
    quality: int
    keep_shift: float
    no_ai_training: bool
    encoder: Encoder
    metric: PerceptualMetric | None
    target: TargetStyle | None
    style_seed: int | None
    credentials: Credentials | None = None
    text: Mapping[str, str] | None = None
    poison: Mapping[str, Any] | None = None


def stage(
    original: Tensor,
    styled: Tensor,
    cloak: Cloak,
    artwork: Artwork,
    job: Job,
    manner: Manner,
    started: float,
) -> tuple[Staged, dict[str, Any]]:
    """Write everything about a picture under temporary names; gives them and the report.

    ``job`` says where to; ``started`` is when the work began (``time.perf_counter``).
    """
    format, quality, encoder = manner.format, manner.quality, manner.encoder
    for folder in {job.target.parent, job.report_stem.parent}:
        make_folder(folder)
    staged = Staged()
    goal = styled if cloak.objective == "towards" else None  # others are led to no picture
    ending = ".anchor.png" if manner.poison else ".goal.png" if cloak.system else ".styled.png"
    goal_file = staged.add(with_ending(job.report_stem, ending)) if goal is not None else None
    sheet, json_file = (
        staged.add(with_ending(job.report_stem, ending)) for ending in (".sheet.png", ".glaze.json")
    )
    caption = staged.add(job.caption_file) if job.caption is not None else None
    picture = staged.add(job.target)
    bench = _Bench(original, styled, cloak, encoder, manner.metric)
    try:
        if not math.isfinite(cloak.measures[0].shift_512):
            raise ArtworkError(f"{encoder.name} must give numbers, but it gave NaN or infinity.")
        pixels, cloak = bench.fitted(artwork, format)
        encoded = None
        while True:
            save_artwork(
                pixels,
                artwork,
                picture,
                format=format,
                quality=quality,
                no_ai_training=manner.no_ai_training,
            )
            if manner.text and format == "png":
                picture.write_bytes(_with_text(picture.read_bytes(), manner.text))
                sync(picture)
            came = load_artwork(picture).pixels
            if is_lossless(format, quality) and not torch.equal(came, cloak.images.cpu()):
                raise ArtworkError(
                    f"{named(picture)} must hold the pixels written to it, but others came back."
                )
            if is_lossless(format, quality) and encoded is None:
                break
            encoded = bench.comparison.measure(came.to(encoder.device))[0]
            survived = _survives(encoded, cloak.measures[0], manner.keep_shift)
            if survived or quality == 100:
                break
            quality = (quality + 101) // 2
        if manner.credentials is None:
            del came  # a large picture fills the memory
            give_back_memory()
        else:  # last, since a signature covers every byte
            asked = manner.no_ai_training
            picture.write_bytes(manner.credentials.sign(picture.read_bytes(), format, asked))
            sync(picture)
            if not torch.equal(load_artwork(picture).pixels, came):
                raise ArtworkError(f"{named(picture)} must keep its pixels when it is signed.")
        report = build_report(
            artwork,
            job.target.name,
            hashlib.sha256(picture.read_bytes()).hexdigest(),
            manner.target,
            encoder,
            cloak,
            style_seed=manner.style_seed,
            encoded=encoded,
            seconds=time.perf_counter() - started,
            original=original,
            poison=manner.poison,
        )
        give_back_memory()
        report["output"] |= {"format": format, "bits": _bits(artwork, format)}
        if encoded is not None:
            report["output"]["quality"] = quality
            report["encoded"] |= {"keep_shift": manner.keep_shift, "survived": survived}
        if goal is not None and goal_file is not None:
            save_artwork(goal, Artwork(goal), goal_file)
        write_sheet(original, goal, cloak.images.cpu(), report, sheet)
        write_json(report, json_file)
        if caption is not None and job.caption is not None:
            caption.write_bytes(caption_bytes(job.caption))
            sync(caption)
    except ArtworkError as error:
        staged.discard()
        raise staged.in_users_words(error) from error
    except BaseException:
        staged.discard()
        raise
    return staged, report


@dataclass(eq=False)
class _Bench:
    """One cloak and what it is measured with; the comparison is made when it is first needed."""

    original: Tensor
    styled: Tensor
    cloak: Cloak
    encoder: Encoder
    metric: PerceptualMetric | None
    _comparison: Comparison | None = None

    @property
    def comparison(self) -> Comparison:
        if self._comparison is None:
            device, metric = self.encoder.device, self.metric
            if metric is None and self.cloak.budget.metric != "none":
                metric = load_metric(self.cloak.budget.metric, device)
            images = self.original.to(device), self.styled.to(device)
            self._comparison = Comparison.of(*images, self.encoder, metric, self.cloak.objective)
        return self._comparison

    def fitted(self, artwork: Artwork, format: str) -> tuple[Tensor, Cloak]:
        """The pixels to save, and the cloak as the file will show it.

        They differ where a wide colour space does not have the cloak's levels; then the cloak is
        measured anew, and made weaker until it is inside its limit again.
        """
        cloak, pixels = self.cloak, self.cloak.images.cpu()
        view = saved_view(pixels, artwork, format)
        if torch.equal(view, pixels):
            return pixels, cloak
        original, limit = self.original.cpu(), cloak.budget.limit
        delta = pixels - original
        for share in (1.0, 0.9, 0.8, 0.65, 0.5, 0.25, 0.0):
            pixels = to_grid(original + share * delta)
            view = saved_view(pixels, artwork, format)
            measures = self.comparison.measure(view.to(self.encoder.device))
            if measures[0].perceptual is None or measures[0].perceptual <= limit:
                break
        return pixels, replace(cloak, images=view, measures=measures)


def _survives(encoded: Measures, cloak: Measures, keep_shift: float) -> bool:
    """Whether a decoded file keeps the asked share of a cloak's shift, at both scales."""
    pairs = (
        (encoded.shift_512, cloak.shift_512),
        (encoded.shift_native, cloak.shift_native),
    )
    return all(after >= keep_shift * before for after, before in pairs if before > 0)


def _bits(artwork: Artwork, format: str) -> int:
    if format not in DEEP:
        return 8
    return min(artwork.bits, 12 if format == "avif" else 16)


def _with_text(png: bytes, text: Mapping[str, str]) -> bytes:
    """A PNG file with tEXt chunks after its header, which is always its first 33 bytes."""
    chunks = b""
    for keyword, value in text.items():
        body = b"tEXt" + keyword.encode("latin-1") + b"\0" + value.encode("latin-1")
        chunks += struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:33] + chunks + png[33:]
