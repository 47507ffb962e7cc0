"""Tiny random pipelines of the classes that real checkpoints have."""

from __future__ import annotations

from pathlib import Path

import diffusers
import pytest
import torch
import transformers

from ..styles.tiny_pipelines import saved


@pytest.fixture
def tiny_sdxl(tiny_pipeline: str, tmp_path: Path) -> str:
    """A Stable Diffusion XL with random weights, on disk."""
    torch.manual_seed(1)
    base = diffusers.StableDiffusionPipeline.from_pretrained(tiny_pipeline, safety_checker=None)
    config = base.text_encoder.config
    config.projection_dim = 32
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=64,
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 32,
    )
    pipeline = diffusers.StableDiffusionXLPipeline(
        vae=base.vae,
        text_encoder=base.text_encoder,
        text_encoder_2=transformers.CLIPTextModelWithProjection(config),
        tokenizer=base.tokenizer,
        tokenizer_2=base.tokenizer,
        unet=unet,
        scheduler=diffusers.EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
        ),
    )
    pipeline.save_pretrained(tmp_path / "tiny-sdxl")
    return str(tmp_path / "tiny-sdxl")


@pytest.fixture
def tiny_sd2(tiny_pipeline: str, tmp_path: Path) -> str:
    """As Stable Diffusion 2.1: the U-Net predicts velocity."""
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(tiny_pipeline, safety_checker=None)
    pipeline.scheduler = diffusers.PNDMScheduler.from_config(
        pipeline.scheduler.config, prediction_type="v_prediction"
    )
    pipeline.save_pretrained(tmp_path / "tiny-sd2")
    return str(tmp_path / "tiny-sd2")


@pytest.fixture
def tiny_flux(tmp_path: Path) -> str:
    """A FLUX.1 with random weights, on disk."""
    return saved("FLUX.1", tmp_path)
