"""Models of full size with random weights, which take as long as real ones, or toys for a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import diffusers
import torch
from real_art.generator import Generator, Shape
from torch import Tensor

from comfy_glaze.evaluation.speed import random_kl
from comfy_glaze.networks.encoders import Encoder, encoder_from_module


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    Attributes:
        width: channels of the KL encoders' first level; real ones have 128.
        sizes: height and width of the pictures that are cloaked.
        views: of the largest views that pictures of 1024 px have.
        steps: of a cloak; 0 for the method's own number.
        repeats: of each timing, beside one that does not count.
        drawing: side of the pictures that are redrawn.
        training: batch and seconds of the generator's training.
        portfolio: height and width of pictures that are cloaked and saved, and how many.
        compiles: whether ``torch.compile`` is tried.
    """

    width: int = 128
    sizes: tuple[tuple[int, int], ...] = ((512, 512), (1024, 1024), (3000, 4000))
    views: tuple[tuple[int, int], ...] = ((512, 512), (512, 768))
    steps: int = 0
    repeats: int = 5
    drawing: int = 768
    training: tuple[int, float] = (16, 60.0)
    portfolio: tuple[int, int, int] = (1024, 1024, 4)
    compiles: bool = True


FULL = Scale()
TOY = Scale(
    32,
    ((32, 32), (40, 48)),
    ((32, 32), (40, 48)),
    steps=2,
    repeats=1,
    drawing=64,
    training=(2, 0.1),
    portfolio=(64, 64, 2),
    compiles=False,
)


def encoder(family: str, device: torch.device, scale: Scale) -> Encoder:
    """A KL encoder of a family (see :data:`comfy_glaze.evaluation.speed.FULL_SIZE`), the same
    weights each time."""
    torch.manual_seed(0)
    return random_kl(family, device, scale.width)


def tiny_encoder(device: torch.device, scale: Scale) -> Encoder:
    """TAESD's encoder."""
    torch.manual_seed(1)
    widths = (scale.width // 2,) * 4
    model = diffusers.AutoencoderTiny(
        encoder_block_out_channels=widths, decoder_block_out_channels=widths
    )
    return encoder_from_module(model, "TAESD's shape, random weights", device)


def sdxl(device: torch.device, scale: Scale) -> tuple[Any, dict[str, Tensor]]:
    """SDXL's image-to-image without its text encoders, and what it is given in their place."""
    real = scale.width == FULL.width
    words = 2048 if real else 64
    kept = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if device.type == "cuda" else torch.float32)
    try:
        with torch.device(device):
            unet = diffusers.UNet2DConditionModel(
                sample_size=128,
                block_out_channels=(320, 640, 1280) if real else (32, 32, 64),
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                transformer_layers_per_block=(1, 2, 10) if real else 1,
                attention_head_dim=(5, 10, 20) if real else 8,
                cross_attention_dim=words,
                use_linear_projection=True,
                addition_embed_type="text_time",
                addition_time_embed_dim=256,
                projection_class_embeddings_input_dim=1280 + 6 * 256,
            )
            vae = diffusers.AutoencoderKL(
                block_out_channels=tuple(scale.width * times for times in (1, 2, 4, 4)),
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                layers_per_block=2,
                force_upcast=False,
            )
            told = {
                f"{negative}{name}": torch.zeros(1, *shape)
                for negative in ("", "negative_")
                for name, shape in (
                    ("prompt_embeds", (77, words)),
                    ("pooled_prompt_embeds", (1280,)),
                )
            }
    finally:
        torch.set_default_dtype(kept)
    pipeline = diffusers.StableDiffusionXLImg2ImgPipeline(
        vae=vae,
        text_encoder=None,
        text_encoder_2=None,
        tokenizer=None,
        tokenizer_2=None,
        unet=unet,
        scheduler=diffusers.EulerDiscreteScheduler(),
        add_watermarker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline, told


def generator(device: torch.device, scale: Scale) -> Generator:
    """The generator of the world on real art (see ``training/real_art``), untrained."""
    widths = (56, 88) if scale.width == FULL.width else (16, 16)
    shape = Shape(widths, 1, ("nobody",), ("word",))
    return Generator(shape).to(device)
