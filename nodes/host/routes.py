"""What the page asks for by itself: the styles of a bank, a picture of each, and checkpoints.

Files are read in threads of their own, so that the host's event loop goes on.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web
from server import PromptServer

from ..style import bank_of
from .checkpoints import checkpoint_names, fitting_checkpoints


def register() -> None:
    """Add the routes to the host's server, if there is one."""
    server = getattr(PromptServer, "instance", None)
    if server is None:
        return
    server.routes.get("/comfy_glaze/styles")(_styles)
    server.routes.get("/comfy_glaze/thumbnail")(_thumbnail)
    server.routes.get("/comfy_glaze/checkpoints")(_checkpoints)


async def _styles(request: Any) -> Any:
    """The styles of the bank named by ``bank``, as the combo of Load Style Bank names it."""
    try:
        bank = await asyncio.to_thread(bank_of, request.query.get("bank", ""))
    except ValueError as error:
        return web.json_response({"error": str(error)}, status=404)
    return web.json_response(bank.listing())


async def _thumbnail(request: Any) -> Any:
    """The picture of one style, as WebP."""
    bank, style = request.query.get("bank", ""), request.query.get("style", "")
    try:
        picture = await asyncio.to_thread(lambda: bank_of(bank).thumbnail(style))
    except ValueError:
        picture = None
    if picture is None:
        return web.Response(status=404)
    return web.Response(
        body=picture, content_type="image/webp", headers={"Cache-Control": "max-age=86400"}
    )


async def _checkpoints(request: Any) -> Any:
    """All checkpoints, and those that can be cloaked against and redraw."""
    fitting = await asyncio.to_thread(fitting_checkpoints)
    return web.json_response({"present": checkpoint_names(), "fitting": fitting})
