"""Concept poison through its node and Save Cloaked, under inference mode."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from comfy_glaze.cloaking.budget import NIGHTSHADE

from .conftest import Pack, host_picture
from .stand_ins import Interrupt, host_vae


def poison(pack: Pack, hidden: Any = None, **inputs: Any) -> Any:
    given = {
        "image": host_picture(),
        "anchor": host_picture(40, 90, seed=1),
        "encoder": host_vae(),
        "steps": 3,
    }
    return pack.run("GlazeNightshadePoison", hidden, **(given | inputs))


def test_a_picture_is_led_to_an_anchor_of_any_shape_in_nightshades_budget(pack: Pack) -> None:
    image, batch = poison(pack).args
    (cloak,) = (picture.cloak for picture in batch.pictures)
    assert image.shape == (1, 64, 64, 3)
    assert batch.pictures[0].styled.shape == (1, 3, 64, 64)
    assert cloak.measures[0].shift_512 > 0
    assert 0 < cloak.measures[0].linf <= NIGHTSHADE.linf + 1e-6
    assert cloak.measures[0].perceptual <= NIGHTSHADE.limit
    assert cloak.budget.preset == "nightshade"


def test_a_wired_budget_counts(pack: Pack) -> None:
    budget = pack.run("GlazeLPIPSBudget", preset="custom", linf=2.0, limit=0.05).args[0]
    _, batch = poison(pack, budget=budget).args
    assert batch.pictures[0].cloak.measures[0].linf <= 2 / 255 + 1e-6
    assert batch.pictures[0].cloak.budget.preset == "custom"


def test_each_picture_gets_its_own_of_as_many_anchors(pack: Pack) -> None:
    anchors = host_picture(64, 64, seed=7, batch=2)
    _, batch = poison(pack, image=host_picture(batch=2), anchor=anchors).args
    styled = torch.cat([picture.styled for picture in batch.pictures])
    assert torch.equal(styled, (anchors.movedim(-1, 1) * 255).round() / 255)


def test_of_other_numbers_of_anchors_one_is_drawn_and_stays(pack: Pack) -> None:
    image, anchors = host_picture(batch=2), host_picture(seed=7, batch=3)
    _, two = poison(pack, image=image, anchor=anchors).args
    _, one = poison(pack, image=image[1:], anchor=anchors).args
    second, alone = two.pictures[1], one.pictures[0]
    assert torch.equal(second.styled, alone.styled)
    assert second.poison == alone.poison


def test_masks_are_left_alone(pack: Pack) -> None:
    mask = torch.zeros(1, 64, 64)
    mask[:, :, :32] = 1
    before = host_picture()
    after, _ = poison(pack, image=before, keep_clear=mask).args
    assert torch.equal(after[:, :, :32], (before[:, :, :32] * 255).round() / 255)
    assert not torch.equal(after[:, :, 32:], (before[:, :, 32:] * 255).round() / 255)


@pytest.mark.parametrize(
    ("caption", "written"), [("", "a photo of a dog\n"), ("my  dog\nRex", "my dog Rex\n")]
)
def test_save_cloaked_writes_the_caption_beside_the_picture(
    pack: Pack, caption: str, written: str
) -> None:
    image, batch = poison(pack, caption=caption).args
    saved = pack.run("GlazeSaveCloaked", images=image, cloak=batch, filename_prefix="poisoned/dog")
    (row,) = saved.ui["glaze"]
    folder = pack.base / "output/poisoned"
    names = {path.name for path in folder.iterdir()}
    picture = row["file"]["filename"]
    assert names == {picture, picture.replace(".png", ".txt")}
    assert (folder / picture.replace(".png", ".txt")).read_bytes().decode() == written
    stem = pack.base / "output/poisoned-reports" / picture
    report = json.loads(stem.with_name(f"{picture}.glaze.json").read_text("utf-8"))
    assert report["output"] == row["measures"]["output"]
    assert report["poison"] == {
        "concept": "dog",
        "towards": "cat",
        "anchor": "picture 1",
        "similarity": None,
    }
    assert report["target_style"]["name"] is None
    assert stem.with_name(f"{picture}.anchor.png").is_file()


def test_a_text_that_is_not_ours_stays(pack: Pack) -> None:
    image, batch = poison(pack).args
    inputs = {"images": image, "cloak": batch, "filename_prefix": "poisoned/dog"}
    folder = pack.base / "output/poisoned"
    folder.mkdir(parents=True)
    (folder / "dog_00002_.txt").write_text("my diary", encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"dog_00002_\.txt is there already and no caption of ours"
    ):
        pack.run("GlazeSaveCloaked", **inputs)
    assert [path.name for path in folder.iterdir()] == ["dog_00002_.txt"]


def test_the_same_concept_twice_is_refused(pack: Pack) -> None:
    with pytest.raises(ValueError, match="both are 'Cat'"):
        poison(pack, concept="Cat")


def test_stop_ends_it_within_a_step(pack: Pack) -> None:
    pack.memory.stop_after = 1
    with pytest.raises(Interrupt):
        poison(pack, steps=50)
