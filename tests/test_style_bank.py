from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from comfy_glaze.builtin_bank import builtin_bank, content_pictures, make_builtin_bank
from comfy_glaze.encoders import Encoder, load_encoder
from comfy_glaze.style_bank import (
    Style,
    StyleBank,
    StyleBankError,
    build_style_bank,
    builtin_styles,
    centroid_of,
    find_style,
    load_style_bank,
    save_style_bank,
)

from .conftest import smooth_picture

STYLES = (
    Style("Flat", "Minimalism", None, "a flat picture", None),
    Style("Dämmerung", "Fauvism", "Nobody", "dusk", 3),
)


def bank_of(encoder: Encoder) -> StyleBank:
    pictures = {"Flat": torch.full((1, 3, 64, 64), 0.5), "Dämmerung": smooth_picture(64, 64)}
    return build_style_bank(STYLES, lambda style: [pictures[style.name]], encoder)


def test_builtin_styles_are_complete_and_unique() -> None:
    styles = builtin_styles()
    assert len({style.name for style in styles}) == len(styles) == 26
    assert sorted(style.embedded for style in styles if style.embedded is not None) == list(
        range(26)
    )
    assert all(style.genre and style.prompt for style in styles)


def test_centroid_keeps_palette_and_texture_but_not_place(block_encoder: Encoder) -> None:
    flat, picture = torch.full((1, 3, 64, 64), 0.5), smooth_picture(64, 64)
    upside_down = picture.flip(2)
    assert centroid_of([flat], block_encoder).tolist() == pytest.approx([4, 4, 4, 0, 0, 0])
    turned = centroid_of([upside_down], block_encoder)
    assert torch.allclose(centroid_of([picture], block_encoder), turned, atol=1e-5)
    both = centroid_of([flat, picture], block_encoder)
    assert torch.allclose(
        both, (centroid_of([flat], block_encoder) + centroid_of([picture], block_encoder)) / 2
    )


def test_centroid_of_nothing_is_named(block_encoder: Encoder) -> None:
    with pytest.raises(StyleBankError, match="at least one picture, but none was given"):
        centroid_of([], block_encoder)


def test_bank_survives_its_file(block_encoder: Encoder, tmp_path: Path) -> None:
    bank = bank_of(block_encoder)
    save_style_bank(bank, tmp_path / "bank.safetensors")
    loaded = load_style_bank(tmp_path / "bank.safetensors")
    assert loaded.styles == STYLES
    assert (loaded.encoder_name, loaded.fingerprint) == ("blocks", "0" * 16)
    assert torch.allclose(loaded.centroids, bank.centroids, atol=5e-3)


def test_bank_belongs_to_one_encoder(block_encoder: Encoder) -> None:
    bank = bank_of(block_encoder)
    bank.check(block_encoder)
    with pytest.raises(StyleBankError, match=r"encoder blocks \(0+\), .* is other \(1+\)"):
        bank.check(replace(block_encoder, name="other", fingerprint="1" * 16))


def test_bank_can_be_restricted(block_encoder: Encoder) -> None:
    bank = bank_of(block_encoder)
    some = bank.restricted_to(lambda style: style.embedded is not None)
    assert [style.name for style in some.styles] == ["Dämmerung"]
    assert torch.equal(some.centroids, bank.centroids[1:])


def _text(path: Path) -> None:
    path.write_text("no bank")


def _other_tensors(path: Path) -> None:
    save_file({"a": torch.zeros(2)}, path)


def _no_styles(path: Path) -> None:
    save_file({"centroids": torch.zeros(2, 2)}, path, {"format": "comfy_glaze style bank 1"})


def _too_few_styles(path: Path) -> None:
    metadata = {
        "format": "comfy_glaze style bank 1",
        "styles": "[]",
        "encoder": "blocks",
        "fingerprint": "0" * 16,
    }
    save_file({"centroids": torch.zeros(2, 2)}, path, metadata)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (_text, "Expected a style bank, but bank.safetensors"),
        (_other_tensors, "but bank.safetensors is another file"),
        (_no_styles, "Expected a style bank, but bank.safetensors: 'styles'"),
        (_too_few_styles, r"one centroid per style .* 0 styles and centroids of shape \(2, 2\)"),
        (lambda path: None, "Expected a style bank, but bank.safetensors"),
    ],
)
def test_what_is_no_bank_is_named(
    write: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    write(tmp_path / "bank.safetensors")
    with pytest.raises(StyleBankError, match=words):
        load_style_bank(tmp_path / "bank.safetensors")


def test_styles_are_found_by_name_whatever_the_case() -> None:
    assert find_style(STYLES, "flat") is STYLES[0]
    with pytest.raises(StyleBankError, match=r"no style called 'Flatt'; did you mean Flat\?"):
        find_style(STYLES, "Flatt")
    with pytest.raises(
        StyleBankError, match=r"no style called 'zzz'; see: comfy-glaze styles list"
    ):
        find_style(STYLES, "zzz")


def test_shipped_bank_is_the_embedded_encoders() -> None:
    """The file in the package equals what its script makes of one style today."""
    encoder = load_encoder("embedded")
    bank = builtin_bank(encoder)
    bank.check(encoder)
    assert bank.styles == builtin_styles()
    assert bank.centroids.std(dim=0).min() > 1e-3
    from comfy_glaze.style_transfer import load_style_transfer

    redraw = load_style_transfer("embedded")
    drawn = [redraw(picture, bank.styles[7]) for picture in content_pictures()]
    assert torch.allclose(centroid_of(drawn, encoder), bank.centroids[7], atol=0.02)


def test_bank_is_made_once_for_another_encoder(
    block_encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comfy_glaze.builtin_bank.builtin_styles", lambda: builtin_styles()[:2])
    seen: list[tuple[int, int]] = []
    first = builtin_bank(block_encoder, lambda done, of: seen.append((done, of)))
    assert seen == [(1, 2), (2, 2)]
    again = builtin_bank(block_encoder, lambda done, of: seen.append((done, of)))
    assert len(seen) == 2
    assert torch.allclose(first.centroids, again.centroids, atol=1e-2)
    assert torch.equal(make_builtin_bank(block_encoder).centroids, first.centroids)
