"""The list of nodes that the host is given."""

from __future__ import annotations

import importlib
import logging
from contextlib import suppress
from typing import Any

from comfy_api.latest import ComfyExtension

NODE_MODULES = ("artwork", "style", "bank", "cloak", "nightshade", "measure", "lab")
"""Modules of this folder, each with a list NODES of node classes."""


class GlazeExtension(ComfyExtension):
    """All nodes whose dependencies are installed."""

    async def get_node_list(self) -> list[Any]:
        """The node classes, module by module; a missing package costs only what needs it."""
        nodes: list[Any] = []
        for name in NODE_MODULES:
            try:
                nodes += importlib.import_module(f".{name}", __package__).NODES
            except ModuleNotFoundError as error:
                logging.warning(
                    "Glaze: the nodes of %s are off, because the package %s is not installed; "
                    "install it with: pip install -r requirements.txt",
                    name,
                    error.name,
                )
        self._serve_gallery()
        return nodes

    def _serve_gallery(self) -> None:
        """The style gallery's list and thumbnails.  Not in on_load, which 0.3.64 never calls."""
        with suppress(ModuleNotFoundError):  # the nodes of style are off as well, and said so
            importlib.import_module(".host.routes", __package__).register()
