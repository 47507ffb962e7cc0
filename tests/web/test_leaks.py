"""Which savers behind a cloak are warned of, and the sentence on a node that failed."""

from __future__ import annotations

import json
from typing import Any

import pytest

GRAPH = """
import { leakingSavers } from "/web/leaks.mjs";
// [id, type, whether it is an output node, ids of the nodes behind, mode]
window.leaks = (nodes) => {
  const links = [];
  const made = nodes.map(([id, type, output, behind, mode = 0]) => {
    class Node {}
    Node.nodeData = { output_node: output };
    const wires = behind.map((target) => links.push({ target_id: target }) - 1);
    return Object.assign(new Node(), { id, type, comfyClass: type, title: `the ${type}`, mode,
      outputs: [{ links: wires }] });
  });
  const graph = { links, getNodeById: (id) => made.find((node) => node.id === id) };
  for (const node of made) node.graph = graph;
  return leakingSavers(made[0]);
};
"""
CLOAK: list[Any] = [1, "GlazeCloakOptimize", False]


@pytest.mark.parametrize(
    ("nodes", "warned"),
    [
        ([[*CLOAK, [2]], [2, "SaveImage", True, []]], ["the SaveImage"]),
        ([[*CLOAK, [2]], [2, "SaveImage", True, [], 2]], []),
        ([[*CLOAK, [2]], [2, "GlazeSaveCloaked", True, []]], []),
        ([[*CLOAK, [2]], [2, "PreviewImage", True, []]], []),
        (
            [
                [*CLOAK, [2, 4]],
                [2, "ImageScale", False, [3]],
                [3, "SaveB", True, [4]],
                [4, "SaveA", True, []],
            ],
            ["the SaveA", "the SaveB"],
        ),
        ([[*CLOAK, []], [2, "SaveImage", True, []]], []),
    ],
)
def test_other_savers_behind_a_cloak_are_found(
    widget_page: Any, nodes: list[Any], warned: list[str]
) -> None:
    widget_page.mount(GRAPH)
    assert widget_page.page.evaluate(f"leaks({json.dumps(nodes)})") == warned


def test_what_went_wrong_can_be_read_and_copied(widget_page: Any) -> None:
    text = "Expected pictures of at least 32 × 32 pixels, but got 17 × 9. " * 3
    widget_page.mount(
        'import { createTrouble, heightOfTrouble } from "/web/trouble.mjs";'
        f"place.append(createTrouble({json.dumps(text)}));"
        f"place.style.height = `${{heightOfTrouble({json.dumps(text)}, 340)}}px`;",
        size=(340, 72),
    )
    shown = widget_page.page.get_by_role("alert")
    assert shown.inner_text() == text.strip()
    assert shown.evaluate("e => e.scrollHeight <= e.clientHeight"), "all of it is seen"
    assert shown.evaluate("e => getComputedStyle(e).userSelect") == "text"
    widget_page.screenshot("trouble")
