from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from comfy_glaze.files.bundled import content_pictures
from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.networks.encoders import Encoder
from comfy_glaze.styles.bank import (
    Style,
    StyleBank,
    StyleBankError,
    builtin_styles,
    centroid_of,
    find_style,
)
from comfy_glaze.styles.bank_build import build_style_bank, one_by_one
from comfy_glaze.styles.bank_file import save_style_bank, thumbnail_of
from comfy_glaze.styles.builtin_bank import bank_for, builtin_bank, make_builtin_bank, own_bank_file
from comfy_glaze.styles.transfer import load_style_transfer

from ..conftest import smooth_picture

STYLES = (
    Style("Flat", "Minimalism", None, "a flat picture", None),
    Style("Dämmerung", "Fauvism", "Nobody", "dusk", 3),
)


def bank_of(encoder: Encoder) -> StyleBank:
    pictures = {"Flat": torch.full((1, 3, 64, 64), 0.5), "Dämmerung": smooth_picture(64, 64)}
    source = one_by_one("test", lambda style: [pictures[style.name]])
    return build_style_bank(STYLES, source, encoder)


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
    redraw = load_style_transfer("embedded")
    drawn = [redraw(picture, bank.styles[7]) for picture in content_pictures()]
    assert torch.allclose(centroid_of(drawn, encoder), bank.centroids[7], atol=0.02)
    assert all(row["thumbnail"] for row in bank.listing())
    assert bank.thumbnail(bank.styles[7].name) == thumbnail_of(drawn[0])


def test_painter_alone_finds_their_only_style() -> None:
    styles = (*STYLES, Style("Dawn", "Fauvism", "Nobody", "dawn", None))
    assert find_style(STYLES, "nobody") is STYLES[1]
    with pytest.raises(StyleBankError, match=r"2 styles by Nobody; which one: Dämmerung, Dawn\?"):
        find_style(styles, "Nobody")


def test_users_own_bank_goes_before_the_built_in_one(
    block_encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "comfy_glaze.styles.builtin_bank.builtin_styles", lambda: builtin_styles()[:2]
    )
    assert len(bank_for(block_encoder).styles) == 2
    own = own_bank_file(block_encoder)
    own.parent.mkdir(parents=True)
    save_style_bank(bank_of(block_encoder), own)
    assert bank_for(block_encoder).styles == STYLES
    redraw = load_style_transfer("embedded")
    assert bank_for(block_encoder, redraw).styles == STYLES[1:]
    named = tmp_path / "named.safetensors"
    save_style_bank(bank_of(block_encoder).restricted_to(lambda s: s.embedded is None), named)
    assert bank_for(block_encoder, file=named).styles == STYLES[:1]
    with pytest.raises(StyleBankError, match=r"embedded style transfer can draw none .* in named"):
        bank_for(block_encoder, redraw, named)
    other = replace(block_encoder, name="other", fingerprint="1" * 16)
    with pytest.raises(StyleBankError, match=r"made with the encoder blocks .* in use is other"):
        bank_for(other, file=named)


def test_own_bank_without_a_drawable_style_gives_way(
    block_encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "comfy_glaze.styles.builtin_bank.builtin_styles", lambda: builtin_styles()[:2]
    )
    own = own_bank_file(block_encoder)
    own.parent.mkdir(parents=True)
    save_style_bank(bank_of(block_encoder).restricted_to(lambda s: s.embedded is None), own)
    found = bank_for(block_encoder, load_style_transfer("embedded"))
    assert found.styles == builtin_styles()[:2]


def test_bank_is_made_once_for_another_encoder(
    block_encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "comfy_glaze.styles.builtin_bank.builtin_styles", lambda: builtin_styles()[:2]
    )
    seen: list[tuple[int, int]] = []
    first = builtin_bank(block_encoder, lambda done, of: seen.append((done, of)))
    assert seen == [(1, 2), (2, 2)]
    again = builtin_bank(block_encoder, lambda done, of: seen.append((done, of)))
    assert len(seen) == 2
    assert torch.allclose(first.centroids, again.centroids, atol=1e-2)
    assert torch.equal(make_builtin_bank(block_encoder).centroids, first.centroids)
