"""Text-to-image pipelines of diffusers as the lab needs them: latents, prompts, one denoiser call.

Stable Diffusion 1.x, 2.x and SDXL differ in what their U-Net is told, and FLUX.1 has a transformer
in its place; here they look alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..optional import import_part
from ..styles.pipelines import load_pipeline, networks_of, single_file_class


class GeneratorError(ValueError):
    """A generator that cannot be had or used, in one sentence."""


@dataclass(frozen=True, eq=False)
class Prompts:
    """Encoded prompts.

    Attributes:
        hidden: (N, T, D), what cross-attention reads.
        pooled: (N, P) for SDXL and FLUX.1, else None.
    """

    hidden: Tensor
    pooled: Tensor | None

    def __getitem__(self, index: Tensor) -> Prompts:
        return Prompts(self.hidden[index], None if self.pooled is None else self.pooled[index])


def is_flow(pipeline: Any) -> bool:
    """Whether it learns a flow along straight lines (FLUX.1), and not a diffusion."""
    return hasattr(pipeline, "transformer")


def denoiser_of(pipeline: Any) -> Any:
    """The network that learns: the U-Net, or FLUX.1's transformer."""
    return pipeline.transformer if is_flow(pipeline) else pipeline.unet


def load_generator(source: str, device: torch.device | str = "cpu") -> Any:
    """A text-to-image pipeline, from a folder, a hub id or a .safetensors checkpoint.

    One with a U-Net is in float32; FLUX.1 is in float32 on the CPU and in half precision on a GPU.

    Raises:
        StyleTransferError: no pipeline can be loaded.
        GeneratorError: it is of another family.
    """
    device = torch.device(device)
    dtype = None if family_of(source) == "FluxPipeline" else torch.float32
    pipeline = load_pipeline(source, device, "text-to-image", dtype)
    called = type(pipeline).__name__
    if not hasattr(pipeline, "unet") and called != "FluxPipeline":
        raise GeneratorError(
            f"Expected a Stable Diffusion 1, 2 or XL, or a FLUX.1, but {source} is a {called}."
        )
    for network in networks_of(pipeline).values():
        network.requires_grad_(False)
    if hasattr(pipeline, "unet"):
        pipeline.unet.to(memory_format=torch.channels_last)  # 1.5 times as fast on two cores
    return pipeline


def family_of(source: str) -> str:
    """The class of a pipeline that is not loaded yet; empty where nothing says it."""
    path = Path(source).expanduser()
    try:
        if path.is_file():
            return str(single_file_class(path, "text-to-image").__name__)
        place = str(path) if path.is_dir() else source
        config = import_part("diffusers", "DiffusionPipeline").load_config(place)
        return str(config["_class_name"])
    except (OSError, ValueError, KeyError):
        return ""


@torch.no_grad()
def encode_prompts(pipeline: Any, prompts: Sequence[str]) -> Prompts:
    """The text encoders' outputs for N prompts."""
    hidden, pooled = [], []
    unguided = {} if is_flow(pipeline) else {"do_classifier_free_guidance": False}
    for prompt in prompts:
        encoded = pipeline.encode_prompt(
            prompt=prompt, device=pipeline.device, num_images_per_prompt=1, **unguided
        )
        hidden.append(encoded[0])
        if is_flow(pipeline):
            pooled.append(encoded[1])
        elif len(encoded) == 4:  # SDXL
            pooled.append(encoded[2])
    return Prompts(torch.cat(hidden), torch.cat(pooled) if pooled else None)


@torch.no_grad()
def encode_images(pipeline: Any, images: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the latents (N, C, h, w), scaled as the denoiser expects.

    Args:
        images: pictures (1, 3, R, R) in [0, 1].
    """
    means, deviations = [], []
    for image in images:
        encoded = pipeline.vae.encode(image.to(pipeline.device, pipeline.vae.dtype) * 2 - 1)
        if hasattr(encoded, "latent_dist"):
            means.append(encoded.latent_dist.mean.float())
            deviations.append(encoded.latent_dist.std.float())
        else:
            means.append(encoded.latents.float())
            deviations.append(torch.zeros_like(means[-1]))
    config = pipeline.vae.config
    shift = getattr(config, "shift_factor", None) or 0.0
    scale = config.scaling_factor
    return (torch.cat(means) - shift) * scale, torch.cat(deviations) * scale


def predict(pipeline: Any, noisy: Tensor, times: Tensor, prompts: Prompts, resolution: int) -> Any:
    """What the denoiser says of noisy latents (B, C, h, w) at times (B,), of the same shape.

    Args:
        times: a U-Net's steps, or the share of noise in [0, 1] for a flow.
    """
    if is_flow(pipeline):
        return _predict_flow(pipeline, noisy, times, prompts)
    extra = None
    if prompts.pooled is not None:
        size = [resolution, resolution, 0, 0, resolution, resolution]
        extra = {
            "text_embeds": prompts.pooled,
            "time_ids": torch.tensor([size] * len(noisy), device=noisy.device, dtype=noisy.dtype),
        }
    return pipeline.unet(
        noisy, times, encoder_hidden_states=prompts.hidden, added_cond_kwargs=extra
    ).sample


def _predict_flow(pipeline: Any, noisy: Tensor, sigmas: Tensor, prompts: Prompts) -> Tensor:
    """FLUX.1 takes 2 × 2 positions for one token, and knows each by its row and column."""
    transformer = pipeline.transformer
    packed = F.pixel_unshuffle(noisy, 2)
    height, width = packed.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).flatten(0, 1)
    guided = transformer.config.guidance_embeds
    said: Tensor = transformer(
        hidden_states=packed.flatten(2).transpose(1, 2).to(transformer.dtype),
        timestep=sigmas.to(transformer.dtype),
        guidance=torch.ones_like(sigmas) if guided else None,
        pooled_projections=prompts.pooled,
        encoder_hidden_states=prompts.hidden,
        txt_ids=torch.zeros(prompts.hidden.shape[1], 3, device=noisy.device),
        img_ids=places.to(noisy.device, torch.float32),
        return_dict=False,
    )[0]
    return F.pixel_shuffle(said.transpose(1, 2).reshape(len(said), -1, height, width), 2)
