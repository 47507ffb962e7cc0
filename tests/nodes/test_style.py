"""Choosing a target style and redrawing in it, through the nodes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from .conftest import Pack, host_picture
from .stand_ins import host_model, host_vae


def choose(pack: Pack, **inputs: Any) -> Any:
    encoder = pack.run("GlazeLoadEncoder").args[0]
    given = {
        "style_bank": [pack.run("GlazeLoadStyleBank").args[0]],
        "images": [host_picture(96, 64), host_picture(48, 80, seed=1, batch=2)],
        "encoder": [encoder],
    }
    return pack.run("GlazeSelectTargetStyle", **(given | inputs))


def test_one_style_is_chosen_for_all_works(pack: Pack) -> None:
    run = choose(pack)
    rows = run.ui["glaze_ranking"]
    distances = [row["distance"] for row in rows]
    assert distances == sorted(distances)
    chosen = run.args[0]
    assert run.ui["glaze_chosen"] == [chosen.style.name]
    (row,) = [row for row in rows if row["name"] == chosen.style.name]
    assert row["in_band"]
    assert 0 < sum(row["in_band"] for row in rows) < len(rows) / 2
    assert choose(pack).ui == run.ui


def test_a_style_can_be_named(pack: Pack) -> None:
    name = choose(pack).ui["glaze_ranking"][0]["name"]
    run = choose(pack, style=[name.upper()])
    assert run.args[0].style.name == name
    assert run.args[0].percentile == 0
    with pytest.raises(ValueError, match="no style called"):
        choose(pack, style=["Nobody"])
    elsewhere = choose(pack, style=["Vincent van Gogh"]).args[0]
    assert elsewhere.style.artist == "Vincent van Gogh"
    assert elsewhere.percentile is None, "it lies in no place of this bank"


def test_the_choice_is_remembered_for_an_artist(pack: Pack) -> None:
    node = pack.nodes["GlazeSelectTargetStyle"]
    names = [row["name"] for row in choose(pack).ui["glaze_ranking"]]
    before = node.fingerprint_inputs(artist=["Ada"], style=["auto"])
    first = choose(pack, artist=["Ada"]).ui["glaze_chosen"]
    other_works = {"images": [host_picture(64, 64, seed=9)], "style_seed": [7]}
    assert choose(pack, artist=["ada "], **other_works).ui["glaze_chosen"] == first
    assert node.fingerprint_inputs(artist=["Ada"], style=["auto"]) == before, "runs for nothing"
    named = next(name for name in names if [name] != first)
    choose(pack, artist=["Ada"], style=[named])
    assert choose(pack, artist=["Ada"]).ui["glaze_chosen"] == [named]
    pack.module("comfy_glaze.styles.memory").remember_choice(
        "Ada", choose(pack, style=first).args[0]
    )
    memory = pack.module("comfy_glaze.styles.memory").memory_file()
    memory.write_text(memory.read_text("utf-8").replace(first[0], named), encoding="utf-8")
    assert node.fingerprint_inputs(artist=["Ada"], style=["auto"]) != before


def test_another_seed_draws_another_style(pack: Pack) -> None:
    drawn = {choose(pack, style_seed=[seed]).args[0].style.name for seed in range(4)}
    assert len(drawn) > 1


def test_without_a_checkpoint_the_built_in_engine_redraws(pack: Pack) -> None:
    target = choose(pack).args[0]
    picture = host_picture(48, 64, batch=2)
    (styled,) = pack.run("GlazeStyleTransfer", image=picture, target_style=target).args
    assert styled.shape == picture.shape
    assert not torch.equal(styled, picture)


def with_checkpoint(pack: Pack, **inputs: Any) -> Any:
    clip = SimpleNamespace(
        tokenize=lambda text: text, encode_from_tokens_scheduled=lambda tokens: tokens
    )
    wired = {"model": host_model(), "clip": clip, "vae": host_vae()}
    target = choose(pack).args[0]
    given = {"image": host_picture(60, 92, batch=2), "target_style": target}
    return pack.run("GlazeStyleTransfer", **(given | wired | inputs)).args[0]


def test_the_checkpoint_redraws_through_the_hosts_sampling(pack: Pack) -> None:
    styled = with_checkpoint(pack)
    assert styled.shape == (2, 60, 92, 3)
    assert torch.equal(with_checkpoint(pack), styled)
    assert not torch.equal(with_checkpoint(pack, seed=1), styled)
    alone = with_checkpoint(pack, image=host_picture(60, 92, batch=2)[1:])
    assert torch.equal(alone[0], styled[1]), "a picture depends on its neighbours"


@pytest.mark.parametrize("missing", ["model", "clip", "vae"])
def test_an_empty_socket_is_named(pack: Pack, missing: str) -> None:
    with pytest.raises(ValueError, match=rf"{missing} brings nothing"):
        with_checkpoint(pack, **{missing: None})


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (host_model(channels=16), "it gives 4 channels, and the model works on 16 channels"),
        (host_model(dimensions=3), "works on 4 channels of a video"),
    ],
)
def test_a_vae_of_another_family_is_told_before_the_work(
    pack: Pack, model: Any, words: str
) -> None:
    with pytest.raises(ValueError, match=f"The VAE at the socket 'vae' is of another .*{words}"):
        with_checkpoint(pack, model=model)


@pytest.mark.parametrize("config", [{"guidance_embed": True}, {"image_model": "flux"}])
def test_a_distilled_model_is_not_drawn_with_the_usual_cfg(
    pack: Pack, config: dict[str, Any]
) -> None:
    model = host_model(**config)
    with pytest.raises(ValueError, match=r"Set 'cfg' to 1; it is 7\.5"):
        with_checkpoint(pack, model=model)
    assert with_checkpoint(pack, model=model, cfg=1.0).shape == (2, 60, 92, 3)
