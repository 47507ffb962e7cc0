"""Building a style bank for the encoder that is wired."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..comfy_glaze.files.bundled import content_pictures
from ..comfy_glaze.networks.encoders import Encoder
from ..comfy_glaze.styles.bank import Style
from ..comfy_glaze.styles.bank_build import PictureSource, build_style_bank
from ..comfy_glaze.styles.bank_sources import by_style_transfer, from_folder, styles_in_folder
from ..comfy_glaze.styles.candidates import STYLE_LISTS, Candidate, filter_candidates
from ..comfy_glaze.styles.transfer import StyleTransfer, load_style_transfer
from .host.encoders import borrowed_encoder
from .host.files import new_style_bank, picture_folders, source_path, told_by_names
from .host.running import progress
from .host.sampling import Sampling, img2img
from .sockets import (
    CATEGORY,
    Ensemble,
    StyleBankSocket,
    each,
    encoder_input,
    listed,
    sampling_widgets,
    short_side_widget,
    style_filters,
    to_images,
)

DRAWN = "none: draw them"


class BuildStyleBank(io.ComfyNode):
    """Where many styles lie for an encoder."""

    @classmethod
    def define_schema(cls) -> Any:
        return io.Schema(
            node_id="GlazeBuildStyleBank",
            display_name="Build Style Bank (Glaze)",
            category=CATEGORY,
            description="Learns where styles lie for your checkpoint, once, and saves it under "
            "models/glaze_style_banks. Stopped, it goes on where it was when you run it again.",
            is_output_node=True,
            inputs=[
                encoder_input(tooltip="The VAE of the checkpoint that you cloak against."),
                io.Combo.Input(
                    "styles",
                    options=list(STYLE_LISTS),
                    default="wikiart",
                    tooltip="wikiart: 1,119 painters, each in the style they painted most. "
                    "wikiart-all: 2,108 pairs of a painter and a style. builtin: 26 looks.",
                ),
                io.Combo.Input(
                    "images",
                    options=[DRAWN, *picture_folders()],
                    default=DRAWN,
                    tooltip="A folder with a folder per style in it, or in WikiArt's layout; or "
                    "none, to draw the styles with model and clip.",
                ),
                io.String.Input(
                    "name",
                    default="my-styles",
                    tooltip="The bank's file under models/glaze_style_banks.",
                ),
                *style_filters(),
                io.Int.Input(
                    "per_style",
                    default=6,
                    min=1,
                    max=1000,
                    tooltip="Pictures of each style, from files.",
                ),
                io.Model.Input("model", optional=True, tooltip="Draws the styles, with clip."),
                io.Clip.Input("clip", optional=True, tooltip="The checkpoint's text encoder."),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="The checkpoint's VAE, where the encoder wired is not one.",
                ),
                io.Image.Input(
                    "contents",
                    optional=True,
                    tooltip="Pictures to redraw in every style, in place of the three built in.",
                ),
                *sampling_widgets(
                    20,
                    0.7,
                    "How strictly the checkpoint follows the style's name.",
                    "How much is redrawn; 1 draws from the style's name alone.",
                ),
                short_side_widget(512, "The short side in pixels at which the checkpoint draws."),
            ],
            outputs=[StyleBankSocket.Output("style_bank", display_name="style_bank")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        encoder: Any,
        styles: str,
        images: str,
        name: str,
        genres: str,
        without_living: bool,
        per_style: int,
        steps: int,
        cfg: float,
        denoise: float,
        short_side: int,
        model: Any = None,
        clip: Any = None,
        vae: Any = None,
        contents: Tensor | None = None,
    ) -> Any:
        candidates = filter_candidates(STYLE_LISTS[styles](), listed(genres), without_living)
        if images == DRAWN:
            sampling = Sampling(steps, cfg, denoise, "euler", "normal", short_side)
            engine = _engine(model, clip, encoder if vae is None else vae, sampling)
            pictures = content_pictures() if contents is None else each(to_images(contents))
            chosen, source = _drawn(candidates, engine, pictures, sampling)
        else:
            with told_by_names():
                found = styles_in_folder(source_path(images), candidates)
            chosen, source = list(found), from_folder(found, per_style)
        node_id = cls.hidden.unique_id if cls.hidden else None
        bank = build_style_bank(
            chosen,
            source,
            borrowed_encoder(encoder),
            new_style_bank(name),
            on_style=progress(node_id),
        )
        return io.NodeOutput(bank)


def _engine(model: Any, clip: Any, vae: Any, sampling: Sampling) -> StyleTransfer:
    if model is None and clip is None:
        return load_style_transfer("embedded")
    return img2img(model, clip, None if isinstance(vae, (Encoder, Ensemble)) else vae, sampling)


def _drawn(
    candidates: tuple[Candidate, ...],
    engine: StyleTransfer,
    contents: list[Tensor],
    sampling: Sampling,
) -> tuple[list[Style], PictureSource]:
    """The styles that an engine can draw, and their pictures."""
    chosen = [one.style for one in candidates if engine.can_render(one.style)]
    if not chosen:
        engine.check(candidates[0].style)
    source = by_style_transfer(engine, contents)
    return chosen, replace(source, name=f"{source.name} with {sampling}")


NODES = [BuildStyleBank]
