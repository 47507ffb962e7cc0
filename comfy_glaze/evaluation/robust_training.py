"""Robust training: a mimic retrains the encoder so that cloaks no longer move it (Glaze, A.4).

    min over Φ (and D)  ‖Φ(x_cloaked) − Φ(x)‖²  +  ‖D(Φ(x)) − x‖²            (Eq. 3, regularised)

``retrain`` is Eq. 3 with the reconstruction loss and the decoder trained along, which moves the
feature space: the generator must be fine-tuned to it.  ``keep`` is the variant that stays in the
original feature space Φ₀, so that the generator needs no change:

    min over Φ  ‖Φ(x_cloaked) − Φ₀(x)‖²  +  ‖Φ(x) − Φ₀(x)‖²
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..cloaking.measures import feature_distance
from ..files.atomic import write_json
from ..networks.encoders import Encoder, encoder_from_module
from ..networks.kinds import ENCODERS

VARIANTS = ("retrain", "keep")


@dataclass(frozen=True)
class RobustTraining:
    """How an encoder is retrained.

    Attributes:
        variant: ``retrain`` or ``keep``.
        steps: K; as many random crops are seen as steps × batch.
        batch: pairs per step.
        crop: pixels.
        learning_rate: of Adam.
        reconstruction: weight of the reconstruction loss against Eq. 3's.
        seed: decides everything random.
    """

    variant: str = "retrain"
    steps: int = 1000
    batch: int = 4
    crop: int = 128
    learning_rate: float = 1e-4
    reconstruction: float = 10.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise ValueError(
                f"Expected a variant among {', '.join(VARIANTS)}, but got {self.variant}."
            )


def encode(model: Any, images: Tensor) -> Tensor:
    """Features of a whole diffusers autoencoder, as :mod:`comfy_glaze.networks.kinds` has
    them."""
    return ENCODERS[type(model).__name__].features(model, images)


def decode(model: Any, features: Tensor) -> Tensor:
    """Images in about [0, 1] from features."""
    decoded: Tensor = model.decode(features).sample
    return (decoded + 1) / 2


@torch.inference_mode(False)
@torch.enable_grad()
def train_robustly(
    model: nn.Module,
    pairs: Sequence[tuple[Tensor, Tensor]],
    settings: RobustTraining,
    on_step: Callable[[int, float], None] = lambda *_: None,
) -> nn.Module:
    """A robust copy of an autoencoder.

    Args:
        model: a diffusers autoencoder, encoder and decoder; it stays as it is.
        pairs: originals and their cloaked versions, images (1, 3, H, W) in [0, 1] each.
        settings: variant, steps, seed.
        on_step: called with the step and the loss.

    Raises:
        ValueError: no pairs, or a pair of different sizes.
    """
    if not pairs or any(a.shape != b.shape for a, b in pairs):
        raise ValueError("Robust training needs pairs of equal size, but got none or others.")
    original = copy.deepcopy(model).eval().requires_grad_(False)
    robust = copy.deepcopy(model).train().requires_grad_(True)
    if settings.variant == "keep":
        robust.decoder.requires_grad_(False)
    learned = [p for p in robust.parameters() if p.requires_grad]
    adam = torch.optim.Adam(learned, lr=settings.learning_rate)
    device = next(robust.parameters()).device
    for step in range(1, settings.steps + 1):
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
        batch = [_crop(pairs, settings.crop, generator) for _ in range(settings.batch)]
        plain, cloaked = (torch.cat(half).to(device) for half in zip(*batch, strict=True))
        own, moved = encode(robust, plain), encode(robust, cloaked)
        if settings.variant == "keep":
            wanted = encode(original, plain)
            loss = feature_distance(moved, wanted) + feature_distance(own, wanted)
        else:
            error = (decode(robust, own) - plain).square().flatten(1).mean(dim=1)
            loss = feature_distance(moved, own) + settings.reconstruction * error
        adam.zero_grad()
        loss.mean().backward()  # type: ignore[no-untyped-call]
        adam.step()
        on_step(step, float(loss.mean().detach()))
    return robust.eval().requires_grad_(False)


def _crop(
    pairs: Sequence[tuple[Tensor, Tensor]], side: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The same random window of an original and its cloaked version."""
    pick = int(torch.randint(len(pairs), (), generator=generator))
    plain, cloaked = pairs[pick]
    height, width = min(side, plain.shape[-2]) // 8 * 8, min(side, plain.shape[-1]) // 8 * 8
    top = int(torch.randint(plain.shape[-2] - height + 1, (), generator=generator))
    left = int(torch.randint(plain.shape[-1] - width + 1, (), generator=generator))
    window = (..., slice(top, top + height), slice(left, left + width))
    return plain[window], cloaked[window]


@dataclass(frozen=True)
class Resistance:
    """What robust training bought, and what it cost, on pictures it has not seen.

    Attributes:
        displacement: d(Φ(cloaked), Φ(x)) over the variance of Φ(x): how far a cloak moves the
            features, on a scale that a collapsing encoder cannot shrink.
        drift: d(Φ(x), Φ₀(x)) over the variance of Φ₀(x): how far the feature space has moved.
        psnr: of D(Φ(x)) in dB.
    """

    displacement: float
    drift: float
    psnr: float

    def as_json(self) -> dict[str, float]:
        return asdict(self)


@torch.no_grad()
def measure_resistance(
    model: nn.Module, original: nn.Module, pairs: Sequence[tuple[Tensor, Tensor]]
) -> Resistance:
    """How an autoencoder resists cloaks, on pairs; the original one gives the row for K = 0."""
    device = next(model.parameters()).device
    displacement, drift, errors = [], [], []
    for pair in pairs:
        plain, cloaked = (_multiple_of_8(picture).to(device) for picture in pair)
        own, before = encode(model, plain), encode(original, plain)
        spread = own.var(dim=(0, 2, 3)).mean()
        displacement.append(float(feature_distance(encode(model, cloaked), own)[0] / spread))
        drift.append(float(feature_distance(own, before)[0] / before.var(dim=(0, 2, 3)).mean()))
        errors.append(float((decode(model, own).clamp(0, 1) - plain).square().mean()))
    count = len(pairs)
    psnr = sum(-10 * math.log10(max(error, 1e-10)) for error in errors) / count
    return Resistance(sum(displacement) / count, sum(drift) / count, psnr)


def _multiple_of_8(picture: Tensor) -> Tensor:
    height, width = (size // 8 * 8 for size in picture.shape[-2:])
    return picture[..., :height, :width]


def as_encoder(model: nn.Module, name: str) -> Encoder:
    """The robust encoder as Φ, so that cloaks can be made against it (the adaptive artist)."""
    device = next(model.parameters()).device
    return encoder_from_module(copy.deepcopy(model), name, device)


def save_robust(model: Any, settings: RobustTraining, folder: Path) -> None:
    """Write the autoencoder in diffusers' layout, with ``training.json``."""
    model.save_pretrained(folder)
    write_json(asdict(settings), folder / "training.json")
