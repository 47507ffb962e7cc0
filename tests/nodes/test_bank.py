"""Building a style bank through its node, and choosing from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from ..conftest import smooth_picture
from .conftest import Pack, host_picture
from .stand_ins import host_model, host_vae


def build(pack: Pack, **inputs: Any) -> Any:
    given = {"encoder": host_vae(), "styles": "builtin", "genres": "impressionism, pop art"}
    given["contents"] = host_picture(64, 64)
    return pack.run("GlazeBuildStyleBank", **(given | inputs)).args[0]


def test_the_built_in_engine_draws_its_styles(pack: Pack) -> None:
    bank = build(pack)
    assert {style.genre for style in bank.styles} == {"Impressionism", "Pop Art"}
    assert len(bank.thumbnails) == len(bank.styles) == 4
    file = pack.base / "models" / "glaze_style_banks" / "my-styles.safetensors"
    load = pack.module("comfy_glaze.styles.bank_file").load_style_bank
    assert torch.equal(load(file).centroids, bank.centroids)
    assert list(file.parent.iterdir()) == [file]


def test_a_bank_belongs_to_the_vae_that_was_wired(pack: Pack) -> None:
    bank = build(pack)
    works = {"style_bank": [bank], "images": [host_picture(64, 64)]}
    chosen = pack.run("GlazeSelectTargetStyle", encoder=[host_vae()], **works)
    assert len(chosen.ui["glaze_ranking"]) == 4
    assert "judged by 1 of your works" in chosen.ui["glaze_notes"][0]
    five = [host_picture(64, 64, seed=n) for n in range(5)]
    many = pack.run("GlazeSelectTargetStyle", encoder=[host_vae()], style_bank=[bank], images=five)
    assert many.ui["glaze_notes"] == []
    with pytest.raises(ValueError, match="This style bank was made with the encoder"):
        pack.run("GlazeSelectTargetStyle", encoder=[host_vae(seed=1)], **works)


def test_the_checkpoint_draws_painters(pack: Pack) -> None:
    asked: list[str] = []

    def tokenize(text: str) -> str:
        asked.append(text)
        return text

    clip = SimpleNamespace(
        tokenize=tokenize, encode_from_tokens_scheduled=lambda tokens: tokens, get_sd=dict
    )
    model = host_model()
    wired = {"model": model, "clip": clip, "styles": "wikiart", "short_side": 64}
    bank = build(pack, **wired, genres="Synthetic Cubism")
    assert {style.genre for style in bank.styles} == {"Synthetic Cubism"}
    assert f"Synthetic Cubism painting by {bank.styles[0].artist}" in asked
    encoder = pack.run("GlazeLoadEncoder").args[0]
    with pytest.raises(ValueError, match="vae brings nothing"):
        build(pack, **wired, encoder=encoder, name="other")
    with pytest.raises(ValueError, match="clip brings nothing"):
        build(pack, **(wired | {"clip": None}))


def test_a_wired_checkpoint_is_named_by_its_weights_and_settings(pack: Pack) -> None:
    """So that a build which was interrupted never goes on with another model."""
    sampling = pack.module("nodes.host.sampling")
    settings = sampling.Sampling(30, 7.0, 0.5, "euler", "normal", 64)

    def fingerprint(sign: float = 1.0, settings: Any = settings, seed: int = 0) -> str:
        model = host_model(lambda: {"weight": torch.tensor([1.0, sign])})
        clip = SimpleNamespace(get_sd=lambda: {"weight": torch.ones(2)})
        return sampling.img2img(model, clip, host_vae(seed), settings).fingerprint()

    assert fingerprint() == fingerprint()
    others = [fingerprint(-1.0), fingerprint(settings=replace(settings, steps=3))]
    others.append(fingerprint(seed=1))
    assert len({fingerprint(), *others}) == 4


def test_painters_need_a_checkpoint(pack: Pack) -> None:
    with pytest.raises(ValueError, match="cannot draw"):
        build(pack, styles="wikiart", genres="")


def test_styles_come_from_a_folder(pack: Pack) -> None:
    for number, name in enumerate(["one", "two", "three"]):
        path = pack.base / "input" / "pictures" / name / "a.png"
        path.parent.mkdir(parents=True)
        levels = (smooth_picture(64, 64, seed=number)[0] * 255).round().byte()
        Image.fromarray(levels.permute(1, 2, 0).numpy()).save(path)
    bank = build(pack, images="pictures/", genres="")
    assert [style.name for style in bank.styles] == ["one", "three", "two"]


@pytest.mark.parametrize("name", ["", "..", "../elsewhere", "a/b", "a\n"])
def test_a_bank_stays_in_its_folder(pack: Pack, name: str, tmp_path: Path) -> None:
    before = set(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="Expected a plain name for the style bank"):
        build(pack, name=name)
    assert set(tmp_path.rglob("*")) == before


def test_a_loaded_bank_is_filtered(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    style = pack.module("comfy_glaze.styles.bank").Style
    names = ("Claude Monet", "Yayoi Kusama", None)
    styles = tuple(style(f"S{n}", f"G{n}", artist, "p", None) for n, artist in enumerate(names))
    banks = pack.module("comfy_glaze.styles.bank").StyleBank
    file = pack.base / "models" / "b.safetensors"
    pack.module("comfy_glaze.styles.bank_file").save_style_bank(
        banks(styles, torch.zeros(3, 2), "e", "0" * 16), file
    )
    monkeypatch.setattr(pack.module("nodes.style"), "style_bank_path", lambda name: file)

    def load(**inputs: Any) -> list[str]:
        bank = pack.run("GlazeLoadStyleBank", bank="b.safetensors", **inputs).args[0]
        return [style.name for style in bank.styles]

    assert load() == ["S0", "S1", "S2"]
    assert load(without_living=True) == ["S0", "S2"]
    assert load(genres="g1, G2") == ["S1", "S2"]
    with pytest.raises(ValueError, match="no genre 'G9'"):
        load(genres="G9")
    with pytest.raises(ValueError, match="leave it empty for the built-in list"):
        pack.run("GlazeLoadStyleBank", genres="Rococo")
