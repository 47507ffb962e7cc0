"""What the wires of a graph tell before anything is computed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Graph = Mapping[str, Any]
"""A graph as the host runs it: nodes by their ids, each with its class_type and inputs."""

_CLOAKS = ("GlazeCloakOptimize", "GlazeBaselineCloak")
_COMBINED = "GlazeCombineEncoders"


def is_link(value: Any) -> bool:
    """Whether an input's value is a wire: a node's id, and the number of its output."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def links_to(graph: Graph, node: str, output: int | None = None) -> list[tuple[str, str]]:
    """The inputs that an output, or any output, is wired to: ids of nodes, and names."""
    return [
        (name, key)
        for name, other in graph.items()
        for key, value in other["inputs"].items()
        if is_link(value) and value[0] == node and output in (None, value[1])
    ]


def nodes_behind(graph: Graph, node: str) -> set[str]:
    """The ids of all nodes that something of a node goes into, itself left out."""
    found: set[str] = set()
    waiting = [node]
    while waiting:
        new = {name for name, _ in links_to(graph, waiting.pop())} - found
        found |= new
        waiting += new
    return found


def check_same_encoder(graph: Graph, target: str) -> None:
    """Whether the style is chosen with the encoder that a cloak is made on.

    Args:
        target: the id of a Target Style.

    Raises:
        ValueError: no cloak behind it has its encoder.
    """
    own = _origins(graph, graph.get(target, {"inputs": {}})["inputs"].get("encoder"))
    cloaks = [graph[name] for name in nodes_behind(graph, target)]
    led = [
        _origins(graph, node["inputs"].get("encoder"))
        for node in cloaks
        if node["class_type"] in _CLOAKS
    ]
    if own and led and not any(own & origins for origins in led):
        raise ValueError(
            "Target Style and Cloak are wired to different VAEs: the style is chosen by how far it "
            "lies for the one, and the cloak is made on the other. Wire the same VAE to both."
        )


def _origins(graph: Graph, wire: Any) -> set[str]:
    """Where an encoder comes from, as texts that are the same for two loaders of one file; of
    several encoders at once, all of them."""
    if not is_link(wire) or wire[0] not in graph:
        return set()
    node = graph[wire[0]]
    if node["class_type"] == _COMBINED:
        return {origin for value in node["inputs"].values() for origin in _origins(graph, value)}
    return {json.dumps([_described(graph, wire[0]), wire[1]], sort_keys=True, default=str)}


def _described(graph: Graph, name: str) -> list[Any]:
    """A node with all that goes into it."""
    node = graph[name]
    inputs = {
        key: [_described(graph, value[0]), value[1]] if is_link(value) else value
        for key, value in node["inputs"].items()
    }
    return [node["class_type"], inputs]
