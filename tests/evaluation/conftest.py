"""Tiny random pipelines of the classes that real checkpoints have."""

from __future__ import annotations

from pathlib import Path

import diffusers
import pytest
import torch
import transformers

from ..conftest import tiny_sdxl_unet
from ..styles.tiny_pipelines import saved


@pytest.fixture
def tiny_sdxl(tiny_pipeline: str, tmp_path: Path) -> str:
    """A Stable Diffusion XL with random weights, on disk."""
    torch.manual_seed(1)
    base = diffusers.StableDiffusionPipeline.from_pretrained(tiny_pipeline, safety_checker=None)
    pipeline = diffusers.StableDiffusionXLPipeline(
        vae=base.vae,
        text_encoder=base.text_encoder,
        text_encoder_2=transformers.CLIPTextModelWithProjection(base.text_encoder.config),
        tokenizer=base.tokenizer,
        tokenizer_2=base.tokenizer,
        unet=tiny_sdxl_unet(),
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
