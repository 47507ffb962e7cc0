"""Countermeasures and what they leave, through the nodes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from comfy_glaze.countermeasures import COUNTERMEASURES, SETS, apply_countermeasure
from comfy_glaze.countermeasures.units import UNITS
from comfy_glaze.images import LEVELS

from .conftest import ROOT, Pack, host_picture
from .stand_ins import Interrupt, host_vae

SLOW = {"super-resolution", "adverse-cleaner"}  # a large network; minutes of passes

LABELS = {name: one.words for name, one in COUNTERMEASURES.items()}


def changed(pack: Pack, **inputs: Any) -> Tensor:
    given = {"image": host_picture(44, 60)}
    result: Tensor = pack.run("GlazeApplyCountermeasure", **(given | inputs)).args[0]
    return result


def cloak(original: Tensor, styled: Tensor) -> Tensor:
    """A tenth of the way to the styled pictures: a cloak, if a plain one."""
    with torch.inference_mode():
        return ((0.9 * original + 0.1 * styled) * LEVELS).round() / LEVELS


def measure(pack: Pack, encoder: Any, hidden: Any = None, batch: int = 1, **inputs: Any) -> Any:
    original, styled = host_picture(batch=batch), host_picture(seed=1, batch=batch)
    given = {
        "original": original,
        "cloaked": cloak(original, styled),
        "styled": styled,
        "countermeasures": "custom",
        "metric": "st-lpips-alex",
    }
    return pack.run("GlazeMeasureCloak", hidden, encoder=encoder, **(given | inputs))


def test_every_countermeasure_has_words_and_every_unit() -> None:
    assert all(LABELS.values())
    assert len(set(LABELS.values())) == len(LABELS)
    assert {one.unit for one in COUNTERMEASURES.values()} == UNITS.keys()


@pytest.mark.parametrize("name", [name for name in LABELS if name not in SLOW])
def test_what_is_chosen_by_its_words_is_what_the_library_does(pack: Pack, name: str) -> None:
    node = pack.nodes["GlazeApplyCountermeasure"].define_schema()
    options = node.inputs[1].options["options"]
    if COUNTERMEASURES[name].needs in ("pipeline", "upscaler"):
        assert LABELS[name] not in options
        return
    if not pack.module("comfy_glaze.countermeasures").available(
        name, pack.module("nodes.host.encoders").tools_of(pack.run("GlazeLoadEncoder").args[0])
    ):
        pytest.skip(f"{COUNTERMEASURES[name].needs} is not installed")
    encoder = pack.run("GlazeLoadEncoder").args[0]
    amount = 1.0 if name == "impress" else 0.0
    result = changed(pack, countermeasure=LABELS[name], amount=amount, seed=3, encoder=encoder)
    assert result.shape == (1, 44, 60, 3)
    assert not torch.equal(result, host_picture(44, 60))
    if COUNTERMEASURES[name].needs != "round_trip":
        pixels = host_picture(44, 60).movedim(-1, 1)
        expected = apply_countermeasure(name, pixels, amount or None, seed=3)
        assert torch.equal(result.movedim(-1, 1), expected)


def test_each_picture_of_a_batch_is_changed_alone_and_keeps_its_transparency(pack: Pack) -> None:
    pictures = host_picture(44, 60, batch=2)
    with_alpha = torch.cat([pictures, torch.rand(2, 44, 60, 1)], dim=-1)
    together = changed(pack, image=with_alpha, countermeasure="add noise", amount=0.1)
    assert torch.equal(together[..., 3], with_alpha[..., 3])
    alone = changed(pack, image=pictures[1:], countermeasure="add noise", amount=0.1)
    assert torch.equal(together[1:, ..., :3], alone)
    other = changed(pack, image=pictures[1:], countermeasure="add noise", amount=0.1, seed=1)
    assert not torch.equal(other, alone)


def test_an_amount_out_of_range_is_refused_and_so_is_a_missing_encoder(pack: Pack) -> None:
    with pytest.raises(ValueError, match="from 1 to 100, but got 400"):
        changed(pack, amount=400.0)
    with pytest.raises(ValueError, match="needs an autoencoder"):
        changed(pack, countermeasure="through an image model's VAE")


def test_stop_ends_a_batch_between_pictures(pack: Pack) -> None:
    pack.memory.stop_after = 1
    with pytest.raises(Interrupt):
        changed(pack, image=host_picture(batch=3))


def test_stop_ends_one_picture_between_two_passes_through_a_model(pack: Pack) -> None:
    vae = host_vae()
    pack.memory.stop_after = 3
    with pytest.raises(Interrupt):
        changed(pack, countermeasure="through an image model's VAE", amount=90.0, encoder=vae)


def test_pictures_go_through_the_hosts_vae_at_any_size(pack: Pack) -> None:
    vae = host_vae()
    whole = changed(
        pack,
        image=host_picture(48, 64),
        countermeasure="through an image model's VAE",
        encoder=vae,
    )
    with torch.inference_mode():
        expected = vae.decode(vae.encode(host_picture(48, 64)))
    assert (whole - expected).abs().max() <= 0.5 / LEVELS + 1e-6
    odd = changed(pack, countermeasure="through an image model's VAE", encoder=vae)
    assert odd.shape == (1, 44, 60, 3)
    with pytest.raises(ValueError, match="gives gradients"):
        changed(pack, countermeasure="IMPRESS", encoder=vae)


def test_a_cloak_is_measured_worst_first(pack: Pack) -> None:
    run = measure(pack, host_vae(), custom="jpeg-420:95,noise:0.2,blur:2", draws=2)
    text, sheet = run.args
    (report,) = json.loads(text)["pictures"]
    assert json.loads(json.dumps(run.ui["glaze_measured"])) == [report]
    rows = report["countermeasures"]
    assert {row["words"] for row in rows} == {
        "save as JPEG, quality 95",
        "add noise, 0.2",
        "blur, 2 px",
    }
    shifts = [row["shift"] for row in rows]
    assert shifts == sorted(shifts)
    assert report["shift"]["512"] > 0
    for row in rows:
        assert row["retention"] == pytest.approx(row["shift"] / report["shift"]["512"], rel=1e-4)
    assert not report["rehearsal"]
    assert report["quality"]["worst"] == [0, 0, 64, 64]
    assert sheet.shape[0] == 1
    assert sheet.shape[-1] == 3
    assert 0 <= float(sheet.min()) < float(sheet.max()) <= 1
    assert pack.memory.current_loaded_models == []


def test_the_sheet_shows_what_the_vae_makes_of_the_pictures(pack: Pack) -> None:
    vae = host_vae()
    shown = measure(pack, vae, countermeasures="none").args[1]
    vae.decode = None  # not callable: as a kind that decodes nothing
    plain = measure(pack, vae, countermeasures="none").args[1]
    assert shown.shape[1] >= plain.shape[1] + 64


def test_the_measures_are_those_of_saving(pack: Pack) -> None:
    vae, original, styled = host_vae(), host_picture(), host_picture(seed=1)
    (budget,) = pack.run("GlazeLPIPSBudget", metric="st-lpips-alex").args
    image, batch = pack.run(
        "GlazeCloakOptimize", image=original, styled=styled, encoder=vae, budget=budget, steps=3
    ).args
    run = pack.run(
        "GlazeMeasureCloak",
        original=original,
        cloaked=image,
        styled=styled,
        encoder=vae,
        countermeasures="none",
        metric="st-lpips-alex",
    )
    (report,) = run.ui["glaze_measured"]
    measures = batch.pictures[0].cloak.measures[0]
    assert report["shift"]["512"] == pytest.approx(measures.shift_512, abs=1e-6)
    assert report["perceptual"]["value"] == pytest.approx(measures.perceptual, abs=1e-6)
    assert report["linf"] == measures.linf
    assert report["countermeasures"] == []


def test_pictures_of_a_batch_have_a_report_and_a_sheet_each(pack: Pack) -> None:
    run = measure(pack, host_vae(), batch=2, custom="jpeg-420:75")
    assert len(run.ui["glaze_measured"]) == 2
    assert run.args[1].shape[0] == 2


def test_all_of_them_leave_out_what_this_encoder_cannot_do(pack: Pack) -> None:
    measuring = pack.module("nodes.measure")
    embedded = pack.run("GlazeLoadEncoder").args[0]
    names = {}
    for kind, encoder in (("embedded", embedded), ("host", host_vae())):
        cases = measuring.parse_cases("all", measuring.tools_of(encoder))
        names[kind] = {case.countermeasure for case in cases}
    assert {"vae", "impress"} <= names["embedded"]
    assert "vae" in names["host"]
    assert names["embedded"] - names["host"] == {"impress"}


def test_combined_encoders_are_measured_together(pack: Pack) -> None:
    (both,) = pack.run(
        "GlazeCombineEncoders", encoder_1=host_vae(), encoder_2=host_vae(seed=1)
    ).args
    (report,) = measure(pack, both, custom="webp").ui["glaze_measured"]
    assert report["countermeasures"][0]["words"] == "save as WebP, quality 80"


@pytest.mark.parametrize("looks", [1, 3])
def test_stop_ends_the_measuring_between_countermeasures(pack: Pack, looks: int) -> None:
    pack.memory.stop_after = looks
    with pytest.raises(Interrupt):
        measure(pack, host_vae(), custom="jpeg-420,blur")
    assert pack.memory.current_loaded_models == []


@pytest.mark.parametrize("name", ["cloaked", "styled"])
def test_another_size_is_named(pack: Pack, name: str) -> None:
    pictures = {"cloaked": host_picture(), "styled": host_picture(seed=1)}
    pictures[name] = host_picture(72, 64)
    with pytest.raises(ValueError, match=f"'{name}' must have the number and size of 'original'"):
        measure(pack, host_vae(), **pictures)


def test_the_sets_can_run_everywhere_and_everyday_holds_what_editors_do(pack: Pack) -> None:
    library = pack.module("comfy_glaze.countermeasures")
    names = {
        name: {case.countermeasure for case in library.parse_cases(name, library.Tools())}
        for name in SETS
    }
    assert all(COUNTERMEASURES[one].needs == "" for found in names.values() for one in found)
    assert {"platform-instagram", "jpeg-420", "noise", "crop", "blur"} <= names["everyday"]
    assert not {"noise", "blur", "crop"} & names["web"]


def test_the_help_page_lists_every_countermeasure_with_its_amount(pack: Pack) -> None:
    page = (ROOT / "web/docs/GlazeApplyCountermeasure.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| \*([^*|]+)\* \| (.+) \|$", page, flags=re.MULTILINE))
    options = pack.nodes["GlazeApplyCountermeasure"].define_schema().inputs[1].options["options"]
    assert set(rows) == set(options)
    names = {label: name for name, label in LABELS.items()}
    for label, row in rows.items():
        chosen = COUNTERMEASURES[names[label]]
        assert f"{chosen.amounts[0]:g}" in row
        assert f"{chosen.low:g} to {chosen.high:g}" in row, label
