from __future__ import annotations

import io

import diffusers
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from comfy_glaze.countermeasures import (
    COUNTERMEASURES,
    Case,
    CountermeasureError,
    Tools,
    apply_countermeasure,
    available,
    parse_cases,
)
from comfy_glaze.countermeasures.filters import bilateral
from comfy_glaze.encoders import EncoderError, load_round_trip
from comfy_glaze.images import LEVELS, to_grid

from .conftest import smooth_picture


@pytest.fixture
def tiny_upscaler(tiny_pipeline: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Stable Diffusion ×4 upscaler with random weights, on disk."""
    small = diffusers.StableDiffusionPipeline.from_pretrained(tiny_pipeline)
    torch.manual_seed(1)
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=7,
        out_channels=4,
        num_class_embeds=1000,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=(32, 32, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        scaling_factor=0.08333,
    )
    upscaler = diffusers.StableDiffusionUpscalePipeline(
        vae=vae,
        text_encoder=small.text_encoder,
        tokenizer=small.tokenizer,
        unet=unet,
        low_res_scheduler=diffusers.DDPMScheduler(),
        scheduler=diffusers.DDIMScheduler(clip_sample=False),
        max_noise_level=350,
    )
    folder = tmp_path_factory.mktemp("upscaler")
    upscaler.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("name", COUNTERMEASURES)
def test_deterministic_in_range_batch_kept_and_pixels_changed(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = COUNTERMEASURES[name]
    tools, steps = Tools(), None
    if chosen.needs == "round_trip":
        tools, steps = Tools(round_trip=load_round_trip("embedded")), 2
    elif chosen.needs in ("pipeline", "upscaler"):
        monkeypatch.setattr("comfy_glaze.countermeasures.diffusion.STEPS", 5)
        folder = request.getfixturevalue(f"tiny_{chosen.needs}")
        tools, steps = Tools(**{chosen.needs: folder}), 0.2
    if not available(name, tools):
        pytest.skip(f"{chosen.needs} is not installed")
    images = torch.cat([smooth_picture(44, 61, seed=1), smooth_picture(44, 61, seed=2)])
    once = apply_countermeasure(name, images, steps, seed=3, tools=tools)
    again = apply_countermeasure(name, images, steps, seed=3, tools=tools)
    other = apply_countermeasure(name, images, steps, seed=4, tools=tools)
    alone = apply_countermeasure(name, images[1:], steps, seed=3, tools=tools)
    assert once.shape == images.shape
    assert torch.equal(once, again)
    assert torch.equal(once[1:], alone)
    assert torch.equal(once, to_grid(once))
    assert ((once - images).abs().flatten(1).amax(dim=1) >= 1 / LEVELS).all()
    assert torch.equal(once, other) != chosen.random
