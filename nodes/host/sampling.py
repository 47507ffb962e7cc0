"""Ω by the host: the wired model, text encoder and VAE, through the host's own sampling."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
from torch import Tensor

from ...comfy_glaze.images import resize, size_with_short_side
from ...comfy_glaze.networks.encoders import fingerprint_of
from ...comfy_glaze.styles.bank import Style
from ...comfy_glaze.styles.pipelines import StyleTransferError
from ...comfy_glaze.styles.transfer import LOOKED_AT, StyleTransfer, named_by
from .encoder_kinds import hosts_block

SAMPLERS: list[str] = list(comfy.samplers.KSampler.SAMPLERS)
SCHEDULERS: list[str] = list(comfy.samplers.KSampler.SCHEDULERS)

MOST_DISTILLED_CFG = 5.0
"""Above it, a guidance-distilled model is taken for one whose cfg was left as it came."""

_UNFILLED = "text_projection.weight"
"""What the host leaves as it stands in memory where a checkpoint has none, as that of SD 1.5."""


@dataclass(frozen=True)
class Sampling:
    """The host's settings for img2img, under the host's names."""

    steps: int
    cfg: float
    denoise: float
    sampler: str
    scheduler: str
    short_side: int


def img2img(model: Any, clip: Any, vae: Any, sampling: Sampling) -> StyleTransfer:
    """Ω from what is wired.

    Raises:
        StyleTransferError: a socket is empty, the VAE is of another family than the model, or the
            model is drawn with much more cfg than it bears.
    """
    wired = {"model": model, "clip": clip, "vae": vae}
    missing = [name for name, value in wired.items() if value is None]
    if missing:
        raise StyleTransferError(
            f"To redraw with your checkpoint, wire model, clip and vae: {' and '.join(missing)} "
            "brings nothing. To use the small built-in engine instead, wire none of the three."
        )

    _check_family(model, vae)
    _check_cfg(model, sampling.cfg)

    def redraw(image: Tensor, style: Style, seed: int) -> Tensor:
        return _sample(model, clip, vae, sampling, image, style, seed)

    @cache
    def fingerprint() -> str:
        """LoRAs that the host lays over the model and the text encoder do not count."""
        parts = (model.model_state_dict(), clip.get_sd(), vae.get_sd())
        kept = ({k: part[k] for k in part if not k.endswith(_UNFILLED)} for part in parts)
        return named_by(sampling, *(fingerprint_of(part, LOOKED_AT) for part in kept))

    return StyleTransfer("checkpoint's", redraw, lambda style: True, fingerprint)


def _check_family(model: Any, vae: Any) -> None:
    """Raise ``StyleTransferError`` where the model cannot work on what the VAE gives."""
    wanted = model.model.latent_format
    needs = (wanted.latent_channels, wanted.latent_dimensions)
    if (vae.latent_channels, vae.latent_dim) != needs:
        raise StyleTransferError(
            "The VAE at the socket 'vae' is of another family than the model: it gives "
            f"{_in_words(vae.latent_channels, vae.latent_dim)}, and the model works on "
            f"{_in_words(*needs)}. Wire the VAE that belongs to the model."
        )


def _in_words(channels: int, dimensions: int) -> str:
    return f"{channels} channels" + (" of a video" if dimensions == 3 else "")


def _check_cfg(model: Any, cfg: float) -> None:
    """Raise ``StyleTransferError`` where a guidance-distilled model is drawn with strong cfg."""
    if is_distilled(model) and cfg > MOST_DISTILLED_CFG:
        raise StyleTransferError(
            "This model is distilled: it follows the style's name by itself, and 'cfg' burns its "
            f"pictures. Set 'cfg' to 1; it is {cfg:g}."
        )


def is_distilled(model: Any) -> bool:
    """Whether a model follows its text without guidance, as Flux does."""
    config = model.model.model_config.unet_config
    return bool(config.get("guidance_embed")) or config.get("image_model") in ("flux", "flux2")


def _sample(
    model: Any, clip: Any, vae: Any, sampling: Sampling, image: Tensor, style: Style, seed: int
) -> Tensor:
    """One picture (1, 3, H, W) in [0, 1], redrawn at the size that the model works at."""
    positive, negative = (
        clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in (style.prompt, "")
    )
    block = hosts_block(vae)
    height, width = size_with_short_side(image.shape[-2], image.shape[-1], sampling.short_side)
    height, width = (max(block, side // block * block) for side in (height, width))
    small = resize(image, height, width).clamp(0, 1)
    latent = comfy.sample.fix_empty_latent_channels(model, vae.encode(small.movedim(1, -1)))
    drawn = comfy.sample.sample(
        model,
        comfy.sample.prepare_noise(latent, seed),
        sampling.steps,
        sampling.cfg,
        sampling.sampler,
        sampling.scheduler,
        positive,
        negative,
        latent,
        denoise=sampling.denoise,
        callback=latent_preview.prepare_callback(model, sampling.steps),
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=seed,
    )
    pictures = vae.decode(drawn)  # (1, H, W, 3), or (1, frames, H, W, 3) from video kinds
    picture: Tensor = pictures.reshape(-1, *pictures.shape[-3:])[:1, ..., :3]
    return picture.movedim(-1, 1).float().cpu().clamp(0, 1)
