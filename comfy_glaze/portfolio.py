"""One file after another: the path that every artwork takes from disk to disk.

load → style transfer → cloak → save → measure the saved file → report.
"""

from __future__ import annotations

import hashlib
import json
import struct
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .artwork import (
    FORMATS,
    Artwork,
    ArtworkError,
    atomic_write,
    check_saving,
    is_lossless,
    load_artwork,
    save_artwork,
)
from .bank_file import load_style_bank
from .budget import Budget
from .builtin_bank import bank_for
from .candidates import find_known_style
from .cloak import Cloak, CloakSettings, OnStep, optimize_cloak
from .encoders import Encoder, load_encoder
from .images import resize, shrink
from .measures import Comparison, Measures, pixel_change, worst_perceptual
from .perceptual import PerceptualMetric, load_metric
from .remembered import target_for
from .report import build_report, measures_as_json, write_json, write_sheet
from .style_bank import CENTROID_SIZE, StyleBank, centroid_of
from .style_transfer import StyleTransfer, load_style_transfer
from .target_style import TargetStyle, rank_styles, select_target_style

WORKS_FOR_CENTROID = 50


@dataclass(frozen=True, eq=False)
class Studio:
    """All that is loaded once and used for every picture of an artist.

    Attributes:
        encoder, style_transfer, metric: Φ, Ω and the perceptual metric (None for no limit).
        target: T, the same for all of the artist's work.
        style_seed: the seed that chose it, for the report.
        budget, settings: of the cloak.
        format: of the saved files, ``same`` for the source's own.
        quality: of JPEG and lossy WebP files, 1 to 100.
    """

    encoder: Encoder
    style_transfer: StyleTransfer
    metric: PerceptualMetric | None
    target: TargetStyle
    style_seed: int
    budget: Budget
    settings: CloakSettings
    format: str = "same"
    quality: int = 95


def open_studio(
    sources: Sequence[Path],
    budget: Budget,
    settings: CloakSettings,
    *,
    encoder: str = "embedded",
    style_transfer: str = "embedded",
    style: str = "auto",
    style_seed: int = 0,
    artist: str = "",
    bank: Path | None = None,
    format: str = "same",
    quality: int = 95,
    device: str = "auto",
    on_style: Callable[[int, int], None] | None = None,
) -> Studio:
    """Load everything, and choose the target style for the artist whose works are ``sources``.

    Args:
        encoder: see :func:`comfy_glaze.encoders.load_encoder`.
        style_transfer: see :func:`comfy_glaze.style_transfer.load_style_transfer`.
        style: a style's name, or ``auto`` for the percentile rule.
        style_seed: draws the style under ``auto``.
        artist: whose target style is remembered (see :mod:`comfy_glaze.remembered`).
        bank: a style bank's file; None for the encoder's own (see
            :func:`comfy_glaze.builtin_bank.bank_for`).
        device: ``auto`` for the fastest there is.
        on_style: progress while a style bank is made for an encoder that has none.

    Raises:
        ValueError: something cannot be had; its sentence says what.
    """
    is_lossless("png" if format == "same" else format, quality)  # raises on a bad quality
    on_device = choose_device(device)
    others = load_style_bank(bank).styles if bank else ()
    named = None if style == "auto" else TargetStyle(find_known_style(style, others), None, None)
    phi = load_encoder(encoder, on_device)
    metric = None if budget.metric == "none" else load_metric(budget.metric, on_device)
    omega = load_style_transfer(style_transfer, on_device)

    def draw() -> TargetStyle:
        candidates = bank_for(phi, omega, bank, on_style)
        return select_target_style(rank_works(candidates, sources, phi), seed=style_seed)

    if named is not None:
        omega.check(named.style)
    target = target_for(artist, named, draw, phi.name)
    omega.check(target.style)
    return Studio(phi, omega, metric, target, style_seed, budget, settings, format, quality)


def choose_device(name: str) -> torch.device:
    """A device by name; ``auto`` is the fastest one of this machine.

    Raises:
        ValueError: there is no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: a build without CUDA
        raise ValueError(f"Expected a device of this machine, but {name} is none.") from error
    return device


def rank_works(bank: StyleBank, sources: Sequence[Path], encoder: Encoder) -> list[TargetStyle]:
    """The candidates as seen from an artist's works, nearest first.

    At most :data:`WORKS_FOR_CENTROID` works count, evenly spread; unreadable ones are passed over.

    Raises:
        ArtworkError: none of the works can be read; the first one's sentence.
        StyleBankError: the bank was made for another encoder.
    """
    bank.check(encoder)
    every = max(1, -(-len(sources) // WORKS_FOR_CENTROID))
    works: list[Tensor] = []
    first_error: ArtworkError | None = None
    for source in sources[::every]:
        try:
            works.append(shrink(load_artwork(source).pixels, CENTROID_SIZE))
        except ArtworkError as error:
            first_error = first_error or error
    if not works and first_error is not None:
        raise first_error
    return rank_styles(bank, centroid_of(works, encoder, bank.statistic))


def plan_outputs(
    found: Sequence[tuple[Path, Path]], out: Path, format: str
) -> list[tuple[Path, Path | ArtworkError]]:
    """Where each source will be saved, below ``out``, or why it cannot be.

    A source that would take the name of an earlier one, or the place of any source, is refused.
    """
    sources = {source.resolve() for source, _ in found}
    taken: dict[str, Path] = {}
    plan: list[tuple[Path, Path | ArtworkError]] = []
    for source, relative in found:
        target = out / relative
        if format != "same" and target.suffix.lower() not in FORMATS[format]:
            target = target.with_suffix(FORMATS[format][0])
        key = str(target).casefold()  # some file systems take Art.png and art.png for one
        would = f"{source} would be saved as {target}, which is"
        if target.resolve() in sources:
            plan.append((source, ArtworkError(f"{would} an original.")))
        elif key in taken:
            plan.append((source, ArtworkError(f"{would} already taken by {taken[key]}.")))
        elif target.exists() and not _is_ours(target, reports_folder(out) / relative.parent):
            plan.append((source, ArtworkError(f"{would} there already and no cloak of ours.")))
        else:
            taken[key] = source
            plan.append((source, target))
    return plan


def _is_ours(target: Path, reports: Path) -> bool:
    """Whether an existing file is what an earlier run saved there, so that it may be replaced."""
    try:
        report = json.loads((reports / f"{target.name}.glaze.json").read_text(encoding="utf-8"))
        return bool(report["output"]["sha256"] == hashlib.sha256(target.read_bytes()).hexdigest())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def reports_folder(out: Path) -> Path:
    """The sibling of ``out`` that holds everything which is not to be published."""
    return out.resolve().with_name(out.resolve().name + "-reports")


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
            f"{path} must have the proportions of the artwork, {width} × {height}, "
            f"but it is {own_width} × {own_height}."
        )
    return resize(mask, height, width).clamp(0, 1)


def cloak_file(
    source: Path,
    target: Path,
    report_stem: Path,
    studio: Studio,
    *,
    mask: Path | None = None,
    on_step: OnStep | None = None,
) -> dict[str, Any]:
    """Cloak one file and write everything about it.

    Args:
        source: the original, which is only read.
        target: where the cloaked picture goes; its folder is made.
        report_stem: where its reports go, without their endings (``art.png`` gives
            ``art.png.glaze.json``, ``art.png.sheet.png`` and ``art.png.styled.png``).
        studio: what to do it with.
        mask: a picture of the artwork's proportions, light where pixels must stay (see
            :func:`load_mask`).
        on_step: as in :func:`optimize_cloak`.

    Returns:
        The report, as written.

    Raises:
        ArtworkError: the source cannot be read, or something cannot be written.
    """
    started = time.perf_counter()
    artwork = load_artwork(source)
    format = artwork.format if studio.format == "same" else studio.format
    check_saving(artwork, format, target)
    styled = studio.style_transfer(artwork.pixels, studio.target.style, studio.settings.seed)
    cloak = optimize_cloak(
        artwork.pixels,
        styled,
        studio.encoder,
        studio.budget,
        studio.settings,
        on_step,
        keep_clear=_keep_clear(artwork, mask),
        metric=studio.metric,
    )
    return write_cloak(
        artwork.pixels,
        styled,
        cloak,
        artwork,
        target,
        report_stem,
        target=studio.target,
        style_seed=studio.style_seed,
        encoder=studio.encoder,
        metric=studio.metric,
        format=format,
        quality=studio.quality,
        started=started,
    )


def write_cloak(
    original: Tensor,
    styled: Tensor,
    cloak: Cloak,
    artwork: Artwork,
    path: Path,
    report_stem: Path,
    *,
    target: TargetStyle | None,
    style_seed: int | None,
    encoder: Encoder,
    metric: PerceptualMetric | None,
    format: str,
    quality: int,
    text: Mapping[str, str] | None = None,
    started: float | None = None,
) -> dict[str, Any]:
    """Save one cloaked picture, measure the file, and write its reports.

    Args:
        original, styled: what it was made from, images (1, 3, H, W) in [0, 1].
        cloak: of one picture, with its measures.
        artwork: what is saved along with the pixels.
        path, report_stem: as in :func:`cloak_file`.
        target, style_seed: T and the seed that drew it, where they are known.
        encoder, metric: what the cloak was made with; they measure the file of a lossy format.
        text: for a PNG file, texts to be held in it, by their keywords.
        started: when the work began (``time.perf_counter``); by default the cloak's own time and
            that of this call count.

    Returns:
        The report, as written.

    Raises:
        ArtworkError: something cannot be written.
    """
    if started is None:
        started = time.perf_counter() - cloak.seconds
    check_saving(artwork, format, path)
    for folder in {path.parent, report_stem.parent}:
        _make_folder(folder)
    with atomic_write(path) as saved:  # takes its place last, when all about it is written
        try:
            save_artwork(cloak.images, artwork, saved, format=format, quality=quality)
        except ArtworkError as error:  # the user knows the path, not its temporary file
            raise ArtworkError(str(error).replace(str(saved), str(path))) from error
        if text and format == "png":
            saved.write_bytes(_with_text(saved.read_bytes(), text))
        encoded = _measure_saved(saved, original, styled, cloak, encoder, metric, format, quality)
        report = build_report(
            artwork,
            path.name,
            hashlib.sha256(saved.read_bytes()).hexdigest(),
            target,
            encoder,
            cloak,
            style_seed=style_seed,
            encoded=encoded,
            seconds=time.perf_counter() - started,
        )
        save_artwork(styled, Artwork(styled), _with_ending(report_stem, ".styled.png"))
        write_sheet(
            original, styled, cloak.images.cpu(), report, _with_ending(report_stem, ".sheet.png")
        )
        write_json(report, _with_ending(report_stem, ".glaze.json"))
    return report


def _with_text(png: bytes, text: Mapping[str, str]) -> bytes:
    """A PNG file with tEXt chunks after its header, which is always its first 33 bytes."""
    chunks = b""
    for keyword, value in text.items():
        body = b"tEXt" + keyword.encode("latin-1") + b"\0" + value.encode("latin-1")
        chunks += struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:33] + chunks + png[33:]


def _with_ending(stem: Path, ending: str) -> Path:
    return stem.with_name(stem.name + ending)


def _keep_clear(artwork: Artwork, mask: Path | None) -> Tensor | None:
    """What must not change: fully transparent pixels, and those of a mask."""
    clear = artwork.keep_clear
    if mask is None:
        return clear
    chosen = load_mask(mask, artwork)
    return chosen if clear is None else torch.maximum(clear, chosen)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtworkError(f"{folder} cannot be made: {error.strerror}.") from error


def _measure_saved(
    path: Path,
    original: Tensor,
    styled: Tensor,
    cloak: Cloak,
    encoder: Encoder,
    metric: PerceptualMetric | None,
    format: str,
    quality: int,
) -> Measures | None:
    """Measure what the saved file holds.

    A lossless file must hold the very pixels that were measured already; a lossy one has measures
    of its own.
    """
    saved = load_artwork(path).pixels
    if is_lossless(format, quality):
        if not torch.equal(saved, cloak.images.cpu()):
            raise ArtworkError(f"{path} must hold the pixels written to it, but others came back.")
        return None
    device = encoder.device
    comparison = Comparison.of(original.to(device), styled.to(device), encoder, metric)
    return comparison.measure(saved.to(device))[0]


def measure_files(
    original: Path,
    cloaked: Path,
    styled: Path | None,
    *,
    encoder: str = "embedded",
    metric: str = "auto",
    device: str = "auto",
) -> dict[str, Any]:
    """Measure a cloaked file as its report does, from files alone.

    Without the styled file there is no direction to measure a shift in; then only the perceptual
    value, L∞ and PSNR are returned.

    Raises:
        ArtworkError: a file cannot be read, or the sizes differ.
    """
    on_device = choose_device(device)
    phi, distance = load_encoder(encoder, on_device), load_metric(metric, on_device)
    before = load_artwork(original).pixels.to(on_device)
    others = []
    for path in (cloaked, *([styled] if styled else [])):
        pixels = load_artwork(path).pixels.to(on_device)
        if pixels.shape != before.shape:
            raise ArtworkError(
                f"{path} must have the size of {original}, {tuple(before.shape[-2:])}, "
                f"but it has {tuple(pixels.shape[-2:])}."
            )
        others.append(pixels)
    if styled is None:
        linf, psnr = pixel_change(before, others[0])
        return {
            "perceptual": {
                "metric": distance.name,
                "value": float(worst_perceptual(before, others[0], distance)[0]),
            },
            "linf": linf[0],
            "psnr": psnr[0],
        }
    measures = Comparison.of(before, others[1], phi, distance).measure(others[0])[0]
    return {
        "encoder": {"name": phi.name, "fingerprint": phi.fingerprint},
        **measures_as_json(measures, distance.name, limit=None),
    }
