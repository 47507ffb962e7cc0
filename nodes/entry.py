"""The list of nodes that the host is given."""

from __future__ import annotations

import importlib
import logging
from typing import Any

from comfy_api.latest import ComfyExtension

from ..comfy_glaze.optional import broken, package_at_fault

NODE_MODULES = (
    "artwork",
    "saving",
    "style",
    "bank",
    "encoders",
    "cloak",
    "picture",
    "nightshade",
    "measure",
    "lab",
)
"""Modules of this folder, each with a list NODES of node classes."""


class GlazeExtension(ComfyExtension):
    """All nodes whose dependencies are installed."""

    async def get_node_list(self) -> list[Any]:
        """The node classes, module by module; a missing package costs only what needs it."""
        found = {name: _module(name) for name in NODE_MODULES}
        if found["style"] is not None and (routes := _module("host.routes")) is not None:
            routes.register()  # not in on_load, which 0.3.64 never calls
        if found["artwork"] is not None and (files := _module("host.files")) is not None:
            files.offer_samples()
        return [node for module in found.values() if module for node in module.NODES]


def _module(name: str) -> Any | None:
    """A module of this folder, or None where a package that it needs cannot be imported."""
    try:
        return importlib.import_module(f".{name}", __package__)
    except ModuleNotFoundError as error:
        logging.warning(
            "Glaze: the nodes of %s are off, because the package %s is not installed; "
            "install it with: pip install -r requirements.txt",
            name,
            error.name,
        )
    except Exception as error:  # what is built wrongly raises whatever it trips over
        package = package_at_fault(error)
        if package is None:
            raise
        why = broken(error, package)
        logging.warning("Glaze: the nodes of %s are off: %s is %s", name, package, why)
    return None
