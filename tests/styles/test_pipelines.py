"""Checkpoints of every family redraw a picture, or say why they cannot."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from comfy_glaze.styles import pipelines
from comfy_glaze.styles import transfer as style_transfer
from comfy_glaze.styles.bank import Style
from comfy_glaze.styles.pipelines import ROOM, StyleTransferError, load_pipeline, placement
from comfy_glaze.styles.transfer import load_style_transfer, load_text_to_image

from ..conftest import smooth_picture
from .tiny_pipelines import FAMILIES, saved

pytestmark = [  # the newest diffusers' own
    pytest.mark.filterwarnings("ignore::FutureWarning:diffusers"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
MONET = Style("Monet", "Impressionism", "Claude Monet", "a painting by monet", None)
PICASSO = Style("Picasso", "Cubism", "Pablo Picasso", "cubes by picasso", None)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_redraws(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style_transfer, "IMG2IMG_STEPS", 4)
    monkeypatch.setattr(style_transfer, "TEXT_TO_IMAGE_STEPS", 1)
    monkeypatch.setattr(style_transfer, "TEXT_TO_IMAGE_SIZE", 32)
    source = saved(family, tmp_path)
    redraw, images = load_style_transfer(source), smooth_picture(51, 70)
    first = redraw(images, MONET, 1)
    assert first.shape == images.shape
    assert first.isfinite().all()
    assert (first - images).abs().mean() > 0.01
    assert torch.equal(first, redraw(images, MONET, 1))
    assert not torch.equal(first, redraw(images, MONET, 2)), "the seed counts"
    assert not torch.equal(first, redraw(images, PICASSO, 1)), "the words count"
    assert len(redraw.fingerprint()) == 16
    drawn = load_text_to_image(source)([MONET.prompt], [0])
    assert drawn.shape == (1, 3, 32, 32)


@pytest.mark.parametrize(
    ("saved_as", "words"),
    [
        ("Flux2Pipeline", "FLUX.2 edits a picture as it is told"),
        ("FluxKontextPipeline", "FLUX.1 Kontext edits a picture as it is told"),
        ("QwenImageEditPipeline", "Qwen-Image-Edit edits a picture as it is told"),
        ("SanaPipeline", "SanaPipeline"),
    ],
)
def test_families_that_cannot_redraw_are_named(saved_as: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": saved_as}))
    with pytest.raises(StyleTransferError, match=r"No image-to-image pipeline .* from") as caught:
        load_style_transfer(str(tmp_path))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_transformer_alone_is_named(tmp_path: Path) -> None:
    save_file({"double_blocks.0.weight": torch.zeros(2)}, tmp_path / "flux1-dev.safetensors")
    with pytest.raises(StyleTransferError, match=r"holds no text encoder, .* folder or hub id"):
        load_style_transfer(str(tmp_path / "flux1-dev.safetensors"))


def test_the_type_can_be_chosen_and_is_in_the_fingerprint(tiny_pipeline: str) -> None:
    pipeline = load_pipeline(tiny_pipeline, torch.device("cpu"), dtype=torch.bfloat16)
    assert {pipeline.unet.dtype, pipeline.vae.dtype} == {torch.bfloat16}
    usual = load_style_transfer(tiny_pipeline)
    half = load_style_transfer(tiny_pipeline, dtype="bfloat16")
    assert half.fingerprint() != usual.fingerprint()
    images = smooth_picture(32, 32)
    assert not torch.equal(half(images, MONET), usual(images, MONET))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_computes_in_half_precision_and_in_turns(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a card that is too small for all networks, or for one; here the CPU is the card."""
    monkeypatch.setattr(style_transfer, "IMG2IMG_STEPS", 2)
    source, images = saved(family, tmp_path), smooth_picture(51, 70)
    whole = load_style_transfer(source)(images, MONET, 1)
    half = load_style_transfer(source, dtype="bfloat16")(images, MONET, 1)
    assert not torch.equal(half, whole)
    assert (half - whole).abs().max() < 0.1
    for where in ("networks", "layers"):
        monkeypatch.setattr(pipelines, "placement", lambda sizes, free, where=where: where)
        redraw = load_style_transfer(source)
        assert torch.equal(redraw(images, MONET, 1), whole)
        assert torch.equal(redraw(images, MONET, 1), whole), "and once more"


@pytest.mark.parametrize("how", [{"variant": "fp16"}, {"max_shard_size": "100KB"}])
def test_weights_in_half_precision_or_in_parts_are_found(
    how: dict[str, str], tmp_path: Path, tiny_pipeline: str
) -> None:
    folder = tmp_path / "other"
    diffusers.DiffusionPipeline.from_pretrained(tiny_pipeline).save_pretrained(folder, **how)
    assert not list(folder.rglob("diffusion_pytorch_model.safetensors"))
    drawn = load_style_transfer(str(folder)).redraw(smooth_picture(32, 32), MONET, 1)
    assert drawn.isfinite().all()
    for file in (folder / "unet").glob("*.safetensors"):
        file.unlink()
    with pytest.raises(StyleTransferError, match="No image-to-image pipeline could be loaded"):
        load_style_transfer(str(folder))


def test_half_precision_suits_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    monkeypatch.setattr(pipelines, "fast_dtype", lambda device: torch.bfloat16)
    assert pipelines._usual_dtype(gpu, transformer=True) is torch.bfloat16
    assert pipelines._usual_dtype(gpu, transformer=False) is torch.float16
    assert pipelines._usual_dtype(torch.device("cpu"), transformer=True) is torch.float32


@pytest.mark.parametrize(
    ("sizes", "where"),
    [([4, 3, 1], "all"), ([6, 5, 1], "networks"), ([12, 5, 1], "layers")],
)
def test_what_does_not_fit_on_a_gpu_waits_on_the_cpu(
    sizes: list[int], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card of 12 GB of which 11 are free."""
    gb, gpu, asked = 2**30, torch.device("cuda"), []
    free = 9 * gb + ROOM
    assert placement([size * gb for size in sizes], free) == where
    assert placement([size * gb for size in sizes], None) == "all"

    def network(size: int) -> nn.Module:
        with torch.device("meta"):
            return nn.Linear(gb // 4, size, bias=False)

    pipeline: Any = SimpleNamespace(
        components={f"part {number}": network(size) for number, size in enumerate(sizes)},
        to=lambda device, dtype: asked.append("all"),
        enable_model_cpu_offload=lambda device: asked.append("networks"),
        enable_group_offload=lambda device, offload_type: asked.append("layers"),
    )
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 12 * gb))
    pipelines._placed(pipeline, gpu, torch.float16)
    assert asked == [where]


def test_a_turbo_is_not_guided(tmp_path: Path, tiny_pipeline: str) -> None:
    pipeline = load_pipeline(tiny_pipeline, torch.device("cpu"))
    assert pipelines.settings_of(pipeline, tiny_pipeline, 8, 8) == {"guidance_scale": 7.5}
    turbo = pipelines.settings_of(pipeline, "stabilityai/sd-turbo", 8, 8)
    assert turbo == {"guidance_scale": 0.0}
