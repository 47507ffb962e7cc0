"""Our templates take a checkpoint that is there, and rehearse without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

WORKFLOWS = sorted((Path(__file__).parents[2] / "workflows").glob("*.json"))
DRAW = ("Glaze 05", "Glaze 11", "Glaze 12")  # these draw with the checkpoint


@pytest.fixture
def settle(widget_page: Any) -> Any:
    widget_page.mount(
        'import { settleCheckpoints } from "/web/checkpoints.mjs";'
        "window.settle = (graph, present, fitting) =>"
        " [settleCheckpoints(graph, present, fitting), graph];"
    )
    return lambda *values: widget_page.page.evaluate("(values) => settle(...values)", list(values))


def loaders(graph: Any) -> list[Any]:
    return [node for node in graph["nodes"] if node["type"] == "CheckpointLoaderSimple"]


def wires_fit(graph: Any) -> bool:
    """Both ends of every wire say the same."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    for number, source, out, target, slot, kind in graph["links"]:
        output = nodes[source]["outputs"][out]
        assert number in output["links"]
        assert output["type"] == kind
        assert nodes[target]["inputs"][slot]["link"] == number
    numbers = {link[0] for link in graph["links"]}
    used = {n for node in graph["nodes"] for o in node["outputs"] for n in o["links"] or ()}
    used |= {i["link"] for node in graph["nodes"] for i in node["inputs"]} - {None}
    return used == numbers


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_every_template_takes_what_is_there(settle: Any, workflow: Path) -> None:
    graph = json.loads(workflow.read_text("utf-8"))
    assert graph["extra"]["comfy_glaze"]["template"]
    named = [node["widgets_values"][0] for node in loaders(graph)]
    done, as_it_is = settle(graph, named, named)
    assert (done, as_it_is) == ({}, graph), "what the user has stays"
    done, changed = settle(graph, ["film.safetensors", "mine.safetensors"], ["mine.safetensors"])
    assert done == ({"chosen": "mine.safetensors"} if named else {})
    assert {node["widgets_values"][0] for node in loaders(changed)} <= {"mine.safetensors"}
    done, rehearsal = settle(graph, ["film.safetensors"], [])
    if not named:
        assert done == {}
    elif workflow.stem.startswith(DRAW):
        assert (done, rehearsal) == ({"missing": True}, graph)
    else:
        assert done == {"rehearsal": True}
        assert loaders(rehearsal) == []
    assert wires_fit(rehearsal)
    needed = {"image", "encoder", "styled", "images", "cloak", "budget", "target_style"}
    for node in rehearsal["nodes"]:
        if node["type"] in ("GlazeCloakPicture", "GlazeSelectTargetStyle", "GlazeStyleTransfer"):
            empty = {one["name"] for one in node["inputs"] if one["link"] is None}
            assert not empty & needed, node["type"]
