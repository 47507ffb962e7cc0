"""What the wires tell before anything is computed."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from .conftest import ROOT, Pack, host_picture
from .stand_ins import host_vae

WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def graph(target: list[Any], cloak: list[Any], **more: Any) -> dict[str, Any]:
    """Target Style and Cloak on the encoders that these wires bring."""
    return {
        "one": node("CheckpointLoaderSimple", ckpt_name="one.safetensors"),
        "two": node("CheckpointLoaderSimple", ckpt_name="two.safetensors"),
        "again": node("CheckpointLoaderSimple", ckpt_name="one.safetensors"),
        "both": node("GlazeCombineEncoders", encoder_1=["one", 2], encoder_2=["two", 2]),
        "target": node("GlazeSelectTargetStyle", encoder=target),
        "styled": node("GlazeStyleTransfer", target_style=["target", 0]),
        "preview": node("PreviewImage", images=["styled", 0]),
        "cloak": node("GlazeCloakOptimize", styled=["styled", 0], encoder=cloak),
        **more,
    }


@pytest.mark.parametrize("cloak", [["one", 2], ["again", 2], ["both", 0]])
def test_one_vae_for_style_and_cloak_is_fine(pack: Pack, cloak: list[Any]) -> None:
    pack.module("nodes.wiring").check_same_encoder(graph(["one", 2], cloak), "target")


def test_different_vaes_are_refused_before_the_work(pack: Pack, one_cache: None) -> None:
    hidden = SimpleNamespace(unique_id="target", prompt=graph(["one", 2], ["two", 2]))
    given = {
        "style_bank": [pack.run("GlazeLoadStyleBank").args[0]],
        "images": [host_picture()],
        "encoder": [host_vae()],
    }
    with pytest.raises(ValueError, match="are wired to different VAEs"):
        pack.run("GlazeSelectTargetStyle", hidden, **given)
    named = pack.run("GlazeSelectTargetStyle", hidden, **given, style=["Blue woodblock print"])
    assert named.ui["glaze_chosen"] == ["Blue woodblock print"], "it needs no distance"


def test_a_second_cloak_on_another_vae_is_fine(pack: Pack) -> None:
    other = node("GlazeCloakOptimize", styled=["styled", 0], encoder=["two", 2])
    both = graph(["one", 2], ["one", 2], other=other)
    pack.module("nodes.wiring").check_same_encoder(both, "target")


def as_run(workflow: Any) -> dict[str, Any]:
    """A workflow's nodes and wires as the host runs them, widgets aside."""
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    return {
        str(one["id"]): node(
            one["type"],
            **{
                socket["name"]: links[socket["link"]]
                for socket in one.get("inputs", ())
                if socket.get("link") is not None
            },
            widgets=json.dumps(one.get("widgets_values")),
        )
        for one in workflow["nodes"]
    }


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_no_shipped_workflow_mixes_vaes_or_leaves_pictures_out(pack: Pack, workflow: Any) -> None:
    drawn = json.loads(workflow.read_text(encoding="utf-8"))
    run = as_run(drawn)
    for name, one in run.items():
        if one["class_type"] == "GlazeSelectTargetStyle":
            pack.module("nodes.wiring").check_same_encoder(run, name)
    for one in drawn["nodes"]:
        if one["type"] == "GlazeLoadArtwork":
            assert one["widgets_values"][1:3] == [1, 0], "all of a folder"
