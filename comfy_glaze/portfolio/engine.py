"""What is loaded once and used for every picture of an artist."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..cloaking.budget import Budget
from ..cloaking.cloak import CloakSettings
from ..devices import choose_device
from ..files.credentials import Credentials, load_credentials
from ..files.formats import KEEP_SHIFT, is_lossless
from ..networks.encoder_files import load_encoder
from ..networks.encoders import Encoder
from ..networks.perceptual import PerceptualMetric, load_metric
from ..poison.anchors import Poison
from ..styles.bank_file import load_style_bank
from ..styles.builtin_bank import bank_for
from ..styles.candidates import find_known_style
from ..styles.memory import target_for
from ..styles.target import TargetStyle, select_target_style
from ..styles.transfer import StyleTransfer, load_style_transfer
from ..styles.works import rank_works


@dataclass(frozen=True, eq=False)
class Studio:
    """All that is loaded once and used for every picture of an artist.

    Attributes:
        encoder, style_transfer, metric: Φ, Ω and the perceptual metric (None for no limit).
        target: T, the same for all of the artist's work.
        style_seed: the seed that chose it, for the report.
        budget, settings: of the cloak.
        format: of the saved files, ``same`` for the source's own.
        quality: of JPEG, AVIF and lossy WebP files, 1 to 100.
        keep_shift: the share of the cloak's shift that a lossy file must keep, 0 to 1; the quality
            is raised up to 100 for it.
        no_ai_training: whether the files state that they may not be used to train models.
        credentials: what signs the files; None for no content credentials.
        poison: concept poison in place of a cloak: then Ω gives each picture's anchor, ``target``
            is named after the destination concept, and reports tell it apart from a style.
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
    keep_shift: float = KEEP_SHIFT
    no_ai_training: bool = False
    credentials: Credentials | None = None
    poison: Poison | None = None


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
    keep_shift: float = KEEP_SHIFT,
    no_ai_training: bool = False,
    credentials: Path | None = None,
    device: str = "auto",
    poison: Poison | None = None,
    on_style: Callable[[int, int], None] | None = None,
) -> Studio:
    """Load everything, and choose the target style for the artist whose works are ``sources``.

    Args:
        encoder: see :func:`comfy_glaze.networks.encoder_files.load_encoder`.
        style_transfer: see :func:`comfy_glaze.styles.transfer.load_style_transfer`.
        style: a style's name, or ``auto`` for the percentile rule.
        style_seed: draws the style under ``auto``.
        artist: whose target style is remembered (see :mod:`comfy_glaze.styles.memory`).
        bank: a style bank's file; None for the encoder's own (see
            :func:`comfy_glaze.styles.builtin_bank.bank_for`).
        keep_shift, no_ai_training: see :class:`Studio`.
        credentials: a folder for :func:`comfy_glaze.files.credentials.load_credentials`.
        device: ``auto`` for the fastest there is.
        poison: concept poison in place of a cloak; then style and style transfer have no say.
        on_style: progress while a style bank is made for an encoder that has none.

    Raises:
        ValueError: something cannot be had; its sentence says what.
    """
    is_lossless("png" if format == "same" else format, quality)  # raises on a bad quality
    if not 0 <= keep_shift <= 1:
        raise ValueError(f"The share of the shift to keep must lie in [0, 1], not {keep_shift:g}.")
    signed_by = load_credentials(credentials) if credentials else None
    on_device = choose_device(device)
    others = load_style_bank(bank).styles if bank else ()
    named = None
    if poison is not None:
        named = TargetStyle(poison.destination, None, None)
    elif style != "auto":
        named = TargetStyle(find_known_style(style, others), None, None)
    phi = load_encoder(encoder, on_device)
    metric = None if budget.metric == "none" else load_metric(budget.metric, on_device)
    omega = poison.omega() if poison else load_style_transfer(style_transfer, on_device)

    def draw() -> TargetStyle:
        candidates = bank_for(phi, omega, bank, on_style)
        return select_target_style(rank_works(candidates, sources, phi), seed=style_seed)

    if named is not None:
        omega.check(named.style)
    target = target_for(artist, named, draw, phi.name)
    omega.check(target.style)
    return Studio(
        phi,
        omega,
        metric,
        target,
        style_seed,
        budget,
        settings,
        format,
        quality,
        keep_shift,
        no_ai_training,
        signed_by,
        poison,
    )
