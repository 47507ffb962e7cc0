"""What ComfyUI loads; everything behind it is imported when the host asks for the nodes."""

from __future__ import annotations

from typing import Any

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> Any:
    """The pack's nodes, for ComfyUI 0.3.64 and newer."""
    from .nodes.entry import GlazeExtension

    return GlazeExtension()
