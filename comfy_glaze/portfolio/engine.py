"""The engine: the loaded models, and the values that decide how every picture is cloaked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ..cloaking.budget import Budget
from ..cloaking.cloak import CloakSettings
from ..devices import choose_device
from ..files.credentials import load_credentials
from ..files.hashing import file_sha256
from ..files.options import SaveOptions
from ..networks.encoders import Encoder
from ..networks.ensemble import load_encoders
from ..networks.perceptual import PerceptualMetric, load_metric
from ..poison.anchors import Poison
from ..styles.bank_file import load_style_bank
from ..styles.builtin_bank import bank_for
from ..styles.candidates import find_known_style
from ..styles.memory import target_for
from ..styles.secret import seed_of
from ..styles.target import TargetStyle, select_target_style
from ..styles.transfer import StyleTransfer, load_style_transfer
from ..styles.works import rank_works


@dataclass(frozen=True)
class ModelNames:
    """Which models to load, and where.

    Attributes:
        encoders: see :func:`comfy_glaze.networks.ensemble.load_encoders`.
        style_transfer, dtype: see :func:`comfy_glaze.styles.transfer.load_style_transfer`.
        device: see :func:`comfy_glaze.devices.choose_device`.
    """

    encoders: tuple[str, ...] = ("embedded",)
    style_transfer: str = "embedded"
    device: str = "auto"
    dtype: str = "auto"


@dataclass(frozen=True)
class StyleChoice:
    """How the target style T is chosen.

    Attributes:
        style: its name, or ``auto`` for the percentile rule.
        seed: draws it under ``auto``; 0 draws it from this machine's secret (see
            :func:`comfy_glaze.styles.secret.seed_of`).
        artist: whose target style is remembered (see :mod:`comfy_glaze.styles.memory`); empty for
            nobody's.
        bank: a style bank's file; None for the encoder's own (see
            :func:`comfy_glaze.styles.builtin_bank.bank_for`).
        chosen: T, where it is known already; then nothing is chosen or remembered.
    """

    style: str = "auto"
    seed: int = 0
    artist: str = ""
    bank: Path | None = None
    chosen: TargetStyle | None = None


@dataclass(frozen=True)
class CloakRequest:
    """What an artist asks for, before anything is loaded.

    Attributes:
        budget, settings: of the cloak.
        models, style, saving: what to load, how to choose T, how to save.
        poison: concept poison in place of a cloak; then style and style transfer have no say.
    """

    budget: Budget
    settings: CloakSettings = field(default_factory=CloakSettings)
    models: ModelNames = field(default_factory=ModelNames)
    style: StyleChoice = field(default_factory=StyleChoice)
    saving: SaveOptions = field(default_factory=SaveOptions)
    poison: Poison | None = None


@dataclass(frozen=True, eq=False)
class Engine:
    """All that is loaded once and used for every picture of an artist.

    Attributes:
        encoder, style_transfer, metric: Φ, Ω and the perceptual metric (None for no limit).
        target: T, the same for all of the artist's work.
        budget: with the metric's real name in place of ``auto``.
        settings, saving: of the cloak and its files.
        poison: concept poison in place of a cloak: then Ω gives each picture's anchor, ``target``
            is named after the destination concept, and reports tell it apart from a style.
    """

    encoder: Encoder
    style_transfer: StyleTransfer
    metric: PerceptualMetric | None
    target: TargetStyle
    budget: Budget
    settings: CloakSettings
    saving: SaveOptions = field(default_factory=SaveOptions)
    poison: Poison | None = None

    def fingerprint(self, mask: Path | None = None) -> str:
        """Sixteen hex digits that name everything that decides a picture but its source."""
        saving = asdict(self.saving)
        if self.saving.credentials is not None:
            saving["credentials"] = load_credentials(self.saving.credentials).fingerprint
        parts = {
            "encoder": self.encoder.fingerprint,
            "style_transfer": self.style_transfer.fingerprint(),
            "style": asdict(self.target.style),
            "budget": asdict(self.budget),
            "cloak": asdict(self.settings),
            "saving": saving,
            "mask": file_sha256(mask) if mask else None,
        }
        text = json.dumps(parts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def open_engine(
    request: CloakRequest,
    works: Sequence[Path] = (),
    on_style: Callable[[int, int], None] | None = None,
) -> Engine:
    """Load everything, and choose the target style.

    Args:
        works: the artist's, which say how far each style lies from their own.
        on_style: progress while a style bank is made for an encoder that has none.

    Raises:
        ValueError: something cannot be had; its sentence says what.
    """
    if request.saving.credentials is not None:
        load_credentials(request.saving.credentials)
    models, poison, choice = request.models, request.poison, request.style
    device = choose_device(models.device)
    named = _named_style(request)
    encoder = load_encoders(models.encoders, device)
    budget, metric = request.budget, None
    if budget.metric != "none":
        metric = load_metric(budget.metric, device)
        budget = replace(budget, metric=metric.name)
    if poison:
        redraw = poison.omega()
    else:
        redraw = load_style_transfer(models.style_transfer, device, dtype=models.dtype)
    if named is not None:
        redraw.check(named.style)
    target = choice.chosen
    if target is None:

        def draw() -> TargetStyle:
            bank = bank_for(encoder, redraw, choice.bank, on_style)
            ranked = rank_works(bank, works, encoder)
            return select_target_style(ranked, seed=seed_of(choice.artist, choice.seed))

        target = target_for(choice.artist, named, draw, encoder.name)
        target = replace(target, seed=None if poison else choice.seed)
    redraw.check(target.style)
    return Engine(encoder, redraw, metric, target, budget, request.settings, request.saving, poison)


def _named_style(request: CloakRequest) -> TargetStyle | None:
    """The style that was asked for by name; None for an automatic choice."""
    if request.poison is not None:
        return TargetStyle(request.poison.destination)
    if request.style.chosen is not None or request.style.style == "auto":
        return request.style.chosen
    others = load_style_bank(request.style.bank).styles if request.style.bank else ()
    return TargetStyle(find_known_style(request.style.style, others))
