"""A workflow that the first version saved, loaded by this one.

``saved/first.json`` is what ComfyUI saved of the first version's workflow "Rehearse without a
checkpoint": widgets by their place, wires by the places of inputs and outputs and by their names.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import Pack

WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
SAVED = json.loads(Path(__file__).with_name("saved").joinpath("first.json").read_text("utf-8"))
NODES = [node for node in SAVED["nodes"] if node["type"].startswith("Glaze")]
TYPES: dict[str, type | tuple[type, ...]] = {
    "INT": int,
    "FLOAT": (int, float),
    "STRING": str,
    "BOOLEAN": bool,
    "COMBO": str,
}


@pytest.mark.parametrize("node", NODES, ids=lambda node: node["type"])
def test_what_the_first_version_saved_still_fits(pack: Pack, node: dict[str, Any]) -> None:
    schema = pack.nodes[node["type"]].define_schema()
    widgets = [one for one in schema.inputs if one.kind in WIDGETS]
    saved = node["widgets_values"]
    if node["type"] == "GlazeLoadArtwork":
        saved = saved[:-1]  # the upload button's, which the page adds
    assert len(saved) <= len(widgets)
    for value, widget in zip(saved, widgets, strict=False):
        assert isinstance(value, TYPES[widget.kind]), widget.id
        options = widget.options.get("options")
        if options and value not in options:
            assert widget.id in ("source", "name", "bank"), f"{value} is a file of the user's own"
    for widget in widgets[len(saved) :]:
        assert "default" in widget.options
    inputs = {one.id for one in schema.inputs}
    assert {one["name"] for one in node.get("inputs", [])} <= inputs
    outputs = [one.id for one in schema.outputs]
    assert [one["name"] for one in node.get("outputs", [])] == outputs[: len(node["outputs"])]
