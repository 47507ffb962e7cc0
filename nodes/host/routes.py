"""What the page asks for by itself: styles of a bank, pictures of a folder, and checkpoints.

Files are read in threads of their own, so that the host's event loop goes on.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web
from server import PromptServer

from ..artwork import listing, small_picture
from ..style import bank_of
from .checkpoints import checkpoint_names, fitting_checkpoints


def register() -> None:
    """Add the routes to the host's server, if there is one."""
    server = getattr(PromptServer, "instance", None)
    if server is None:
        return
    server.routes.get("/comfy_glaze/styles")(_styles)
    server.routes.get("/comfy_glaze/thumbnail")(_thumbnail)
    server.routes.get("/comfy_glaze/folder")(_folder)
    server.routes.get("/comfy_glaze/folder_picture")(_folder_picture)
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


async def _folder(request: Any) -> Any:
    """What a run takes of ``source``, with the values of Load Artwork's ``first`` and ``last``."""
    query = request.query
    try:
        first, last = int(query.get("first", 1)), int(query.get("last", 0))
        found = await asyncio.to_thread(listing, query.get("source", ""), first, last)
    except ValueError as error:
        return web.json_response({"error": str(error)}, status=404)
    return web.json_response(found)


async def _folder_picture(request: Any) -> Any:
    """A small copy of the picture ``name`` of the folder ``source``, as WebP."""
    source, name = request.query.get("source", ""), request.query.get("name", "")
    try:
        picture = await asyncio.to_thread(small_picture, source, name)
    except ValueError:
        return web.Response(status=404)
    return web.Response(
        body=picture, content_type="image/webp", headers={"Cache-Control": "no-cache"}
    )


async def _checkpoints(request: Any) -> Any:
    """All checkpoints, and those that can be cloaked against and redraw."""
    fitting = await asyncio.to_thread(fitting_checkpoints)
    return web.json_response({"present": checkpoint_names(), "fitting": fitting})
