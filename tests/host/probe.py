"""A custom node folder of its own, put beside the pack: looks into the host for the tests.

It also counts the steps that any node still reports once a request to stop has reached the host.
"""

from __future__ import annotations

import gc
import hashlib
import threading
from typing import Any

import comfy.model_management as mm
import comfy.utils
import torch
from aiohttp import web
from server import PromptServer


def _tensors() -> int:
    """Bytes of all tensors alive, storages counted once."""
    gc.collect()
    storages = {}
    for thing in gc.get_objects():
        if issubclass(type(thing), torch.Tensor):
            storage = thing.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


_after_stop = 0
_set_interrupt, _update = mm.interrupt_current_processing, comfy.utils.ProgressBar.update_absolute


def _interrupt(value: bool = True) -> None:
    global _after_stop
    _set_interrupt(value)
    if value:
        _after_stop = 0


def _count_and_update(*arguments: Any, **named: Any) -> None:
    global _after_stop
    _after_stop += 1
    _update(*arguments, **named)


mm.interrupt_current_processing = _interrupt
comfy.utils.ProgressBar.update_absolute = _count_and_update


@PromptServer.instance.routes.get("/probe")
async def _probe(request: Any) -> Any:
    return web.json_response(
        {
            "steps_after_stop": _after_stop,
            "loaded": sorted(type(patcher.model).__name__ for patcher in mm.loaded_models()),
            "tensor_bytes": _tensors(),
            "threads": sorted(thread.name for thread in threading.enumerate()),
        }
    )


class ProbeHash:
    """A picture, or what ``vae.encode`` gives for it, as a hash of its bytes."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        fresh = ("INT", {"default": 0})  # another number runs it again
        return {"required": {"image": ("IMAGE",), "fresh": fresh}, "optional": {"vae": ("VAE",)}}

    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "run"

    def run(self, image: Any, fresh: int, vae: Any = None) -> Any:
        values = image if vae is None else vae.encode(image[..., :3])
        values = values.float().cpu().contiguous()
        return {"ui": {"hash": [hashlib.sha256(values.numpy().tobytes()).hexdigest()]}}


class ProbeText:
    """A text for a socket of any type, as many packs have it."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"text": ("STRING", {"default": ""})}}

    RETURN_TYPES = ("*",)
    FUNCTION = "run"

    def run(self, text: str) -> Any:
        return (text,)


NODE_CLASS_MAPPINGS = {"ProbeHash": ProbeHash, "ProbeText": ProbeText}
