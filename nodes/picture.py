"""One node for the whole way from a picture to a cloaked one."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..comfy_glaze.cloaking.budget import PRESETS
from ..comfy_glaze.images import to_grid
from ..comfy_glaze.networks.encoders import Encoder
from ..comfy_glaze.styles.memory import choice_state
from ..comfy_glaze.styles.pipelines import StyleTransferError
from ..comfy_glaze.styles.target import TargetStyle
from .cloak import Task, clear_input, cloak_each, made_outputs, method_widget, run_lists
from .host.running import LiveRun
from .host.sampling import is_distilled
from .sockets import (
    BUILT_IN,
    CATEGORY,
    CloakedBatch,
    Ensemble,
    StyleBankSocket,
    advanced,
    encoder_input,
    to_images,
)
from .style import SelectTargetStyle, StyleTransfer, style_inputs

BAND: dict[str, list[Any]] = {"low": [50.0], "high": [75.0], "style_seed": [0]}
USUAL_CFG = 7.5
REDRAW: dict[str, Any] = {
    "steps": 30,
    "cfg": USUAL_CFG,
    "denoise": 0.5,
    "sampler": "euler",
    "scheduler": "normal",
    "seed": 0,
    "short_side": 768,
}
CLOAK: dict[str, list[Any]] = {
    "method": ["fast"],
    "steps": [0],
    "robustness": ["none"],
    "objective": ["auto"],
    "seed": [0],
}
"""The defaults of Target Style, Style Transfer and Cloak; a test holds them to those nodes'."""


class CloakPicture(io.ComfyNode):
    """T, Ω, the budget and δ in one box: what the four nodes do when their defaults are left."""

    @classmethod
    def define_schema(cls) -> Any:
        return io.Schema(
            node_id="GlazeCloakPicture",
            display_name="Glaze",
            category=CATEGORY,
            description="Cloaks your pictures: chooses the style to lead a model towards, redraws "
            "them in it, and changes them within the preset. One box for the whole way. Publish "
            "what Save Cloaked saves: other savers write the target style into the file.",
            is_input_list=True,
            inputs=[
                io.Image.Input("image", tooltip="Your pictures; all get the same target style."),
                encoder_input(
                    tooltip="The VAE of the model you worry about, straight from its checkpoint."
                ),
                io.Combo.Input(
                    "preset",
                    options=list(PRESETS),
                    default="default",
                    tooltip="How much may change: gallery shows least and does least, strong leads "
                    "a model furthest and can be seen.",
                ),
                io.Boolean.Input(
                    "uniform",
                    default=False,
                    tooltip="Lets every pixel change by as much, even on plain ground, where "
                    "the eye sees it. It leads a model further, and shows more.",
                ),
                *style_inputs(),
                io.Model.Input(
                    "model",
                    optional=True,
                    tooltip="The checkpoint's model. Wire model and clip, or neither: then a small "
                    "built-in engine redraws.",
                ),
                io.Clip.Input("clip", optional=True, tooltip="The checkpoint's text encoder."),
                StyleBankSocket.Input(
                    "style_bank",
                    optional=True,
                    tooltip="From Load Style Bank; the built-in list where nothing is wired.",
                ),
                clear_input(),
                advanced(method_widget(optional=True)),
            ],
            outputs=made_outputs("cloaked"),
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, artist: list[str], **_: Any) -> str:
        return choice_state(artist[0])

    @classmethod
    def execute(
        cls,
        image: list[Tensor],
        encoder: list[Any],
        preset: list[str],
        uniform: list[bool],
        style: list[str],
        artist: list[str],
        **optional: list[Any],
    ) -> Any:
        choice = SelectTargetStyle.execute(
            [_first(optional, "style_bank") or BUILT_IN], image, encoder, style, artist, **BAND
        )
        target = choice.args[0]
        engine = _checkpoint(_first(optional, "model"), _first(optional, "clip"), encoder[0])
        lists: dict[str, list[Any]] = {
            "image": image,
            "encoder": encoder,
            "styled": [
                StyleTransfer.execute(one, target, **(REDRAW | engine)).args[0] for one in image
            ],
            "budget": [PRESETS[preset[0]].changed(uniform=uniform[0])],
            "target_style": [target],
            **CLOAK,
            **{name: optional[name] for name in optional.keys() & {"keep_clear", "method"}},
        }
        made = run_lists(cls.hidden, lists, _cloak)
        return io.NodeOutput(*made.args, ui=choice.ui)


def _first(optional: dict[str, list[Any]], name: str) -> Any:
    """What is wired to an optional socket; None where nothing is."""
    return optional.get(name, [None])[0]


def _checkpoint(model: Any, clip: Any, encoder: Any) -> dict[str, Any]:
    """What redraws: the checkpoint whose VAE is wired as the encoder, or the built-in engine.

    Raises:
        StyleTransferError: a part of the checkpoint is missing; its sentence names it.
    """
    if model is None and clip is None:
        return {}
    if isinstance(encoder, (Encoder, Ensemble)):
        raise StyleTransferError(
            "To redraw with your checkpoint, wire its VAE to 'encoder'; or leave model and clip "
            "empty to use the small built-in engine."
        )
    cfg = 1.0 if model is not None and is_distilled(model) else USUAL_CFG
    return {"model": model, "clip": clip, "vae": encoder, "cfg": cfg}


def _cloak(live: LiveRun, task: Task, styled: Tensor, target_style: TargetStyle) -> CloakedBatch:
    """Pictures of one size, cloaked towards the redrawn ones (B, H, W, 3)."""
    redrawn = to_grid(to_images(styled))
    return CloakedBatch(cloak_each(live, task, redrawn, target_style), task.encoder)


NODES = [CloakPicture]
