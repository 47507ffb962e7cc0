"""Other systems' cloaks and the genre shift through their nodes, under inference mode."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from comfy_glaze.judges.features import load_features
from comfy_glaze.judges.genres import GENRES, from_towers
from comfy_glaze.judges.probe import fit_probe, save_probe

from .conftest import Pack, host_picture
from .stand_ins import Interrupt, host_vae


def cloak(pack: Pack, system: str, **inputs: Any) -> Any:
    given = {
        "image": host_picture(),
        "encoder": host_vae(),
        "budget": pack.run("GlazeLPIPSBudget", metric="st-lpips-alex").args[0],
        "system": system,
        "steps": 3,
    }
    return pack.run("GlazeBaselineCloak", **(given | inputs)).args


GOALS = {
    "glaze": {"styled": 1 - host_picture()},
    "fawkes": {"stranger": host_picture(40, 90, seed=1)},
    "lowkey": {},
    "photoguard": {},
    "sign-linf": {"styled": 1 - host_picture()},
}


@pytest.mark.parametrize("system", GOALS)
def test_each_system_cloaks_inside_the_budget_and_says_which_it_was(
    pack: Pack, system: str
) -> None:
    image, batch = cloak(pack, system, **GOALS[system])
    (made,) = (picture.cloak for picture in batch.pictures)
    assert made.measures[0].shift_512 > 0
    assert 0 < made.measures[0].linf <= made.budget.linf + 1e-6
    if system != "sign-linf":
        assert made.measures[0].perceptual <= made.budget.limit
    saved = pack.run("GlazeSaveCloaked", images=image, cloak=batch, filename_prefix="lab/x")
    (row,) = saved.ui["glaze"]
    folder = pack.base / "output/lab-reports"
    report = json.loads(next(folder.glob("*.glaze.json")).read_text("utf-8"))
    assert report.get("system") == (None if system == "glaze" else system)
    assert report["shift"]["512"] == pytest.approx(made.measures[0].shift_512)
    ending = {"glaze": "styled", "fawkes": "goal", "sign-linf": "goal"}.get(system)
    kept = {path.name.split(".")[-2] for path in folder.glob("*.png")}
    assert kept == {"sheet", *filter(None, [ending])}
    assert row["note"] is None


@pytest.mark.parametrize("system", ["lowkey", "photoguard"])
def test_a_jpeg_is_measured_on_the_systems_own_objective(pack: Pack, system: str) -> None:
    image, batch = cloak(pack, system)
    saved = pack.run(
        "GlazeSaveCloaked", images=image, cloak=batch, filename_prefix="lab/x", format="jpeg"
    )
    (row,) = saved.ui["glaze"]
    before, after = row["measures"]["shift"]["512"], row["measures"]["encoded"]["shift"]["512"]
    assert before == pytest.approx(batch.pictures[0].cloak.measures[0].shift_512)
    assert after == pytest.approx(before, abs=0.5 * abs(before) + 0.02)


def test_a_changed_picture_is_measured_anew_on_the_systems_own_objective(pack: Pack) -> None:
    _, batch = cloak(pack, "photoguard")
    original = batch.pictures[0].original.movedim(1, -1)
    saved = pack.run("GlazeSaveCloaked", images=original, cloak=batch, filename_prefix="lab/x")
    (row,) = saved.ui["glaze"]
    assert row["note"]
    assert row["measures"]["shift"]["512"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("system", "socket"), [("glaze", "styled"), ("sign-linf", "styled"), ("fawkes", "stranger")]
)
def test_what_a_system_needs_is_named(pack: Pack, system: str, socket: str) -> None:
    with pytest.raises(ValueError, match=f"{system} leads towards .* socket '{socket}'"):
        cloak(pack, system)


def test_masks_are_left_alone_and_the_strangers_style_is_not_the_target(pack: Pack) -> None:
    mask, before = torch.zeros(1, 64, 64), host_picture()
    mask[:, :, :32] = 1
    after, batch = cloak(
        pack,
        "fawkes",
        image=before,
        stranger=host_picture(seed=1),
        keep_clear=mask,
        target_style="T",
    )
    assert torch.equal(after[:, :, :32], (before[:, :, :32] * 255).round() / 255)
    assert not torch.equal(after[:, :, 32:], (before[:, :, 32:] * 255).round() / 255)
    assert batch.pictures[0].target is None


def test_stop_ends_it_within_a_step(pack: Pack) -> None:
    pack.memory.stop_after = 1
    with pytest.raises(Interrupt):
        cloak(pack, "photoguard", steps=50)


# --- genre shift ---------------------------------------------------------------------------------

COLOURS = {
    "black": (0, 0, 0),
    "white": (1, 1, 1),
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "yellow": (1, 1, 0),
    "purple": (1, 0, 1),
    "orange": (1, 0.5, 0),
}


def _place(colour: Tensor) -> Tensor:
    """A colour (B, 3) as a direction whose cosine is largest for itself, (B, 4)."""
    centred = colour - 0.5
    return torch.cat([2 * centred, 0.75 - centred.square().sum(1, keepdim=True)], dim=1)


class Vision:
    """A CLIP vision model that sees nothing but the mean colour."""

    def encode_image(self, image: Tensor) -> dict[str, Tensor]:
        return {"image_embeds": _place(image.mean(dim=(1, 2)))}


class Text:
    """A CLIP's text half: colours are themselves, Fauvism is red and Ukiyo-e is blue.

    As the host's, it stops before the projection, here a permutation that may be another's.
    """

    def __init__(self, turns: int = 1, width: int = 4) -> None:
        self.projection = torch.eye(width)[:, :4].roll(turns, dims=1)

    def get_sd(self) -> dict[str, Tensor]:
        other = {"clip_l.transformer.text_projection.weight": torch.ones(2, 2)}
        return other | {"clip_g.transformer.text_projection.weight": self.projection}

    def tokenize(self, sentence: str) -> str:
        return sentence

    def encode_from_tokens(self, tokens: str, return_pooled: str) -> tuple[None, Tensor]:
        assert return_pooled == "unprojected"
        known = COLOURS | {"Fauvism": (1, 0, 0), "Ukiyo-e": (0, 0, 1)}
        found = [colour for name, colour in known.items() if name in tokens] or [(0.5, 0.5, 0.5)]
        return None, _place(torch.tensor(found[:1], dtype=torch.float32)).roll(1, dims=1)


def plain(*colours: tuple[float, float, float]) -> Tensor:
    return torch.tensor(colours, dtype=torch.float32)[:, None, None].expand(-1, 40, 30, -1)


RED, BLUE = (1.0, 0.1, 0.1), (0.1, 0.1, 1.0)


def shift(pack: Pack, **inputs: Any) -> tuple[dict[str, Any], float]:
    given = {"images": plain(RED, BLUE, BLUE), "clip_vision": Vision(), "clip": Text()}
    output = pack.run("GlazeGenreShift", **(given | inputs))
    text, share = output.args
    report = json.loads(text)
    assert output.ui == {"glaze_genres": [report]}
    return report, share


def test_the_wired_clip_tells_who_left(pack: Pack) -> None:
    report, share = shift(pack, genre="Ukiyo-e")
    assert report["pictures"][0]["genres"][0] == "Fauvism"
    assert [picture["left"] for picture in report["pictures"]] == [True, False, False]
    assert share == report["share"]["value"] == pytest.approx(1 / 3)
    assert report["share"]["low"] < share < report["share"]["high"]
    assert (report["genre"], report["chosen_by"], report["works"]) == ("Ukiyo-e", "artist", None)
    assert report["colours"] == {"named": 8, "of": 8, "enough": True}


def test_auto_asks_the_works(pack: Pack) -> None:
    report, _ = shift(pack, works=plain(RED, RED, BLUE))
    assert (report["genre"], report["chosen_by"]) == ("Fauvism", "works")
    assert report["works"]["value"] == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="socket 'works'"):
        shift(pack)


def test_a_list_of_pictures_of_all_sizes_is_one_share(pack: Pack) -> None:
    pictures = [plain(RED), host_picture(20, 64), plain(BLUE, BLUE)]
    output = pack.run(
        "GlazeGenreShift",
        images=pictures,
        clip_vision=[Vision()],
        clip=[Text()],
        genre=["Ukiyo-e"],
        judge=["the wired CLIP"],
    )
    report = json.loads(output.args[0])
    assert report["share"]["count"] == 4


def test_half_a_clip_is_named(pack: Pack) -> None:
    for socket in ("clip", "clip_vision"):
        with pytest.raises(ValueError, match=f"socket '{socket}'"):
            shift(pack, genre="Ukiyo-e", **{socket: None})


def test_halves_of_two_clips_are_refused_or_found_out(pack: Pack) -> None:
    with pytest.raises(ValueError, match="have 4 and 6 numbers"):
        shift(pack, genre="Ukiyo-e", clip=Text(width=6))
    report, _ = shift(pack, genre="Ukiyo-e", clip=Text(turns=2))
    assert report["colours"]["named"] < 4
    assert report["colours"]["enough"] is False
    lost = Text()
    lost.projection.fill_(1e-5)  # what stood in memory
    with pytest.raises(ValueError, match=r"text_projection, but .* 'clip' has none"):
        shift(pack, genre="Ukiyo-e", clip=lost)
    with pytest.raises(ValueError, match="NaN"):
        from_towers("x", lambda images: images.new_full((len(images), 2), torch.nan), _two)


def _two(sentences: Any) -> Tensor:
    return torch.ones(len(sentences), 2)


def test_a_style_probe_of_models_glaze_judges_is_a_judge(pack: Pack) -> None:
    folder = pack.base / "models/glaze_judges"
    folder.mkdir()
    works = plain(RED, BLUE).movedim(-1, 1)
    features = load_features("st-lpips-alex").of([works[:1], works[1:]])
    probe = fit_probe(features.clone(), ["Fauvism", "Ukiyo-e"], "st-lpips-alex")
    save_probe(probe, folder / "mine.safetensors")
    (folder / "notes.txt").write_text("no judge")
    (judges,) = (
        one.options["options"]
        for one in pack.nodes["GlazeGenreShift"].define_schema().inputs
        if one.id == "judge"
    )
    assert judges == ["the wired CLIP", "mine.safetensors"]
    report, _ = shift(pack, judge="mine.safetensors", works=plain(RED), clip=None)
    assert report["judge"] == "style probe on st-lpips-alex"
    assert report["genre"] == "Fauvism"
    assert report["accuracy"] is None
    with pytest.raises(ValueError, match="Rococo"):
        shift(pack, judge="mine.safetensors", genre="Rococo")


def test_a_judge_from_elsewhere_is_refused(pack: Pack, tmp_path: Path) -> None:
    (tmp_path / "other.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="models/glaze_judges"):
        shift(pack, judge="../../../other.safetensors", genre="Rococo")


def test_all_genres_can_be_chosen(pack: Pack) -> None:
    inputs = {one.id: one for one in pack.nodes["GlazeGenreShift"].define_schema().inputs}
    assert inputs["genre"].options["options"] == ["auto", *GENRES]
