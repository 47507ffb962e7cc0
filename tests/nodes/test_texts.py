"""What people read about the nodes is about these nodes: languages, help pages, workflows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT, Pack

LANGUAGES = sorted(path.name for path in (ROOT / "locales").iterdir())
CLAIMS = {  # what says what a cloak does or does not do, with the English beside a translation
    ("GlazeCloakOptimize", "description"),
    ("GlazeCloakOptimize", "objective"),
    ("GlazeCloakOptimize", "tile"),
    ("GlazeCloakPicture", "description"),
    ("GlazeCombineEncoders", "description"),
    ("GlazeLPIPSBudget", "description"),
    ("GlazeLPIPSBudget", "preset"),
    ("GlazeLPIPSBudget", "uniform"),
    ("GlazeCloakPicture", "preset"),
    ("GlazeCloakPicture", "uniform"),
    ("GlazeLoadEncoder", "name"),
    ("GlazeNightshadePoison", "description"),
    ("GlazeSaveCloaked", "format"),
    ("GlazeSaveCloaked", "no_ai_training"),
}
PAGES = ROOT / "web/docs"
WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def own_texts(pack: Pack) -> dict[str, Any]:
    """Every node's texts in the host's layout for languages, from the schemas."""
    texts = {}
    for node_id, node in pack.nodes.items():
        schema = node.define_schema()
        outputs = {}
        for index, output in enumerate(schema.outputs):
            outputs[str(index)] = {"name": output.options["display_name"]}
            if tooltip := output.options.get("tooltip"):
                outputs[str(index)]["tooltip"] = tooltip
        texts[node_id] = {
            "display_name": schema.display_name,
            "description": schema.description,
            "inputs": {
                socket.id: {"name": socket.id, "tooltip": socket.options["tooltip"]}
                for socket in schema.inputs
            },
            "outputs": outputs,
        }
    return texts


def keys_of(texts: Any, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    if not isinstance(texts, dict):
        return {path}
    return {path}.union(*(keys_of(value, (*path, key)) for key, value in texts.items()))


def test_english_is_what_the_schemas_say(pack: Pack) -> None:
    """`python -m docs.node_texts` writes the file anew."""
    assert texts_in("en") == own_texts(pack)


def texts_in(language: str) -> Any:
    return read(ROOT / f"locales/{language}/main.json")["nodeDefs"]


def test_the_languages_are_those_of_the_host() -> None:
    assert LANGUAGES == ["en", "es", "fr", "ja", "ko", "ru", "zh"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_everything(pack: Pack, language: str) -> None:
    texts = texts_in(language)
    assert keys_of(texts) == keys_of(own_texts(pack))
    assert all(text.strip() for node in texts.values() for text in (node["description"],))


@pytest.mark.parametrize("language", [one for one in LANGUAGES if one != "en"])
def test_a_claim_keeps_its_english_until_a_native_reader_has_read_it(language: str) -> None:
    found = read(ROOT / f"locales/{language}/main.json")
    english, read_ones = texts_in("en"), found["comfy_glaze"]["read"]

    def text(texts: Any, node: str, part: str) -> str:
        one = texts[node]
        return str(one["description"] if part == "description" else one["inputs"][part]["tooltip"])

    for node, part in CLAIMS:
        translated, own = (text(texts, node, part) for texts in (found["nodeDefs"], english))
        assert translated != own
        assert (f"[{own}]" in translated) == (f"{node}.{part}" not in read_ones)


def test_every_node_has_a_page_that_explains_each_input_and_output(pack: Pack) -> None:
    for node_id, node in pack.nodes.items():
        schema = node.define_schema()
        text = (PAGES / f"{node_id}.md").read_text(encoding="utf-8")
        named = set(re.findall(r"`(\w+)`", text))
        for first, last in re.findall(r"`(\w+_1)` … `(\w+_4)`", text):
            named |= {first[:-1] + str(number) for number in range(1, int(last[-1]) + 1)}
        explained = {part.id for part in schema.inputs}
        explained |= {output.options["display_name"] for output in schema.outputs}
        assert explained <= named, (node_id, explained - named)
        for heading in ("## Inputs", "## Limits"):
            assert heading in text, node_id


def test_every_page_has_a_small_picture(pack: Pack) -> None:
    for node_id in pack.nodes:
        text = (PAGES / f"{node_id}.md").read_text(encoding="utf-8")
        (picture,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
        assert 0 < (PAGES / picture).stat().st_size <= 200_000, picture


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_fits_the_nodes(pack: Pack, workflow: Path) -> None:
    """Every socket and every number of widget values is one that the nodes have."""
    graph, texts = read(workflow), own_texts(pack)
    ours = [node for node in graph["nodes"] if node["type"].startswith("Glaze")]
    assert ours
    for node in ours:
        inputs = texts[node["type"]]["inputs"]
        outputs = texts[node["type"]]["outputs"].values()
        sockets = {socket["name"] for socket in node["inputs"]}
        assert sockets <= inputs.keys(), node["type"]
        assert [out["name"] for out in node["outputs"]] == [out["name"] for out in outputs]
        uploads = node["widgets_values"][-1:] == ["image"]  # the button beside the files' names
        assert len(node["widgets_values"]) - uploads == len(inputs) - len(sockets), node["type"]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_explained_and_has_its_pictures(workflow: Path) -> None:
    graph = read(workflow)
    assert graph["groups"]
    assert any(node["type"] == "MarkdownNote" for node in graph["nodes"])
    assert 0 < workflow.with_suffix(".jpg").stat().st_size <= 200_000
    page = (ROOT / "docs/workflows.md").read_text(encoding="utf-8")
    assert f"## {workflow.stem}" in page
    shot = f"workflows/{workflow.stem}.webp"
    assert f"({shot.replace(' ', '%20')})" in page
    assert 0 < (ROOT / "docs" / shot).stat().st_size <= 300_000


def test_no_other_folder_takes_the_place_of_the_workflows() -> None:
    """ComfyUI serves a pack's templates from the first of these folders that it finds, alone."""
    looked_for = ("example_workflows", "example", "examples", "workflow", "workflows")
    assert [name for name in looked_for if (ROOT / name).exists()] == ["workflows"]
