"""The target style: candidates, the choice, and the picture redrawn in it."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..comfy_glaze.files.bundled import STYLES_FOLDER
from ..comfy_glaze.networks.encoder_files import EMBEDDED_VERSION
from ..comfy_glaze.networks.encoders import Encoder
from ..comfy_glaze.networks.perceptual import PerceptualMetric
from ..comfy_glaze.styles.bank import StyleBank, centroid_of
from ..comfy_glaze.styles.bank_file import load_style_bank
from ..comfy_glaze.styles.builtin_bank import builtin_bank
from ..comfy_glaze.styles.candidates import filter_bank, find_known_style
from ..comfy_glaze.styles.memory import choice_state, target_for
from ..comfy_glaze.styles.secret import seed_of
from ..comfy_glaze.styles.target import (
    WORKS_FOR_A_STYLE,
    TargetStyle,
    in_band,
    rank_styles,
    select_target_style,
)
from ..comfy_glaze.styles.transfer import load_style_transfer
from ..comfy_glaze.styles.works import WORKS_FOR_CENTROID, evenly
from .host.encoders import with_encoder
from .host.files import style_bank_names, style_bank_path, told_by_names
from .host.running import progress
from .host.sampling import SAMPLERS, SCHEDULERS, Sampling, img2img
from .sockets import (
    BUILT_IN,
    CATEGORY,
    StyleBankSocket,
    TargetStyleSocket,
    advanced,
    check_sides,
    each,
    encoder_input,
    from_images,
    listed,
    percent_widget,
    sampling_widgets,
    seed_widget,
    short_side_widget,
    style_filters,
    to_images,
)
from .wiring import check_same_encoder

AUTO = "auto"


class LoadStyleBank(io.ComfyNode):
    """Candidates for T."""

    @classmethod
    def define_schema(cls) -> Any:
        return io.Schema(
            node_id="GlazeLoadStyleBank",
            display_name="Load Style Bank (Glaze)",
            category=CATEGORY,
            description="The styles among which your target style is chosen.",
            inputs=[
                io.Combo.Input(
                    "bank",
                    options=[BUILT_IN, *style_bank_names()],
                    default=BUILT_IN,
                    tooltip="The built-in list suits every model. Files under "
                    "models/glaze_style_banks suit the model that they were made with.",
                ),
                *style_filters(),
            ],
            outputs=[StyleBankSocket.Output("style_bank", display_name="style_bank")],
        )

    @classmethod
    def execute(cls, bank: str, genres: str, without_living: bool) -> Any:
        wanted = listed(genres)
        if bank != BUILT_IN:
            with told_by_names():
                found = load_style_bank(style_bank_path(bank))
            return io.NodeOutput(filter_bank(found, wanted, without_living))
        if wanted:
            raise ValueError(
                "The widget 'genres' filters the banks under models/glaze_style_banks; "
                "leave it empty for the built-in list."
            )
        return io.NodeOutput(BUILT_IN)


class SelectTargetStyle(io.ComfyNode):
    """T: one style for all of an artist's work."""

    @classmethod
    def define_schema(cls) -> Any:
        return io.Schema(
            node_id="GlazeSelectTargetStyle",
            display_name="Target Style (Glaze)",
            category=CATEGORY,
            description="Chooses the style that a model shall learn in place of yours: far enough "
            "from your own, but not the farthest. Use the same one for all of your work.",
            is_input_list=True,
            is_output_node=True,
            inputs=[
                StyleBankSocket.Input("style_bank", tooltip="From Load Style Bank."),
                io.Image.Input(
                    "images",
                    tooltip="Your works, as many as you like; together they say what "
                    "your own style is.",
                ),
                encoder_input(tooltip="The same VAE that the cloak is made for."),
                *style_inputs(),
                percent_widget(
                    "low", 50.0, "For auto: styles nearer than this share of all are left out."
                ),
                percent_widget(
                    "high", 75.0, "For auto: styles farther than this share of all are left out."
                ),
                advanced(
                    seed_widget(
                        "style_seed",
                        "For auto: draws one of the styles in between. 0 draws from a secret of "
                        "your own, which stays on this computer.",
                    )
                ),
            ],
            outputs=[TargetStyleSocket.Output("target_style", display_name="target_style")],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def fingerprint_inputs(cls, artist: list[str], **_: Any) -> str:
        return choice_state(artist[0])

    @classmethod
    def execute(
        cls,
        style_bank: list[Any],
        images: list[Tensor],
        encoder: list[Any],
        style: list[str],
        artist: list[str],
        low: list[float],
        high: list[float],
        style_seed: list[int],
    ) -> Any:
        works = [work for batch in images for work in each(to_images(batch))]
        node_id = cls.hidden.unique_id if cls.hidden else None
        if cls.hidden and style[0].strip() in ("", AUTO):
            check_same_encoder(cls.hidden.prompt, cls.hidden.unique_id)
        ranked, encoder_name = _rank(style_bank[0], works, encoder[0], node_id)
        band = in_band(ranked, low[0], high[0])
        target = target_for(
            artist[0],
            _named(style[0].strip(), ranked),
            lambda: select_target_style(ranked, low[0], high[0], seed_of(artist[0], style_seed[0])),
            encoder_name,
        )
        ui = {
            "glaze_ranking": [_row(candidate, candidate in band) for candidate in ranked],
            "glaze_chosen": [target.style.name],
            "glaze_notes": _notes(len(works)),
        }
        return io.NodeOutput(replace(target, seed=style_seed[0]), ui=ui)


def style_inputs() -> list[Any]:
    """Which style, and whose choice it is."""
    return [
        io.String.Input(
            "style",
            default=AUTO,
            tooltip="auto draws one at medium distance from your own; or the name of a style, "
            "clicked in the gallery.",
        ),
        io.String.Input(
            "artist",
            default="",
            tooltip="Your name, or a name for this body of work: with it, the choice is remembered "
            "on this computer, so that later works get the same style.",
        ),
    ]


def _rank(
    bank: StyleBank | str, works: list[Tensor], encoder: Any, node_id: str | None
) -> tuple[list[TargetStyle], str]:
    """All candidates as seen from an artist's works, nearest first; and the encoder's name."""

    def rank(phi: Encoder, metric: PerceptualMetric | None) -> tuple[list[TargetStyle], str]:
        candidates = builtin_bank(phi, progress(node_id)) if isinstance(bank, str) else bank
        candidates.check(phi)
        own = centroid_of(evenly(works, WORKS_FOR_CENTROID), phi, candidates.statistic)
        return rank_styles(candidates, own), phi.name

    return with_encoder(encoder, "none", (256, 256), rank)


def _named(name: str, ranked: list[TargetStyle]) -> TargetStyle | None:
    """The style of that name, which need not be in the bank; None for auto."""
    if name in ("", AUTO):
        return None
    style = find_known_style(name, [candidate.style for candidate in ranked])
    placed = (candidate for candidate in ranked if candidate.style == style)
    return next(placed, TargetStyle(style))


def _notes(works: int) -> list[str]:
    """What an artist should know about the choice."""
    if works >= WORKS_FOR_A_STYLE:
        return []
    return [
        f"Your own style was judged by {works} of your works; the choice is better founded on "
        f"{WORKS_FOR_A_STYLE} or more."
    ]


def _row(candidate: TargetStyle, in_band: bool) -> dict[str, Any]:
    """A candidate for the page."""
    return {
        "name": candidate.style.name,
        "genre": candidate.style.genre,
        "artist": candidate.style.artist,
        "distance": candidate.distance,
        "percentile": candidate.percentile,
        "in_band": in_band,
    }


class StyleTransfer(io.ComfyNode):
    """Ω: the picture redrawn in T."""

    @classmethod
    def define_schema(cls) -> Any:
        return io.Schema(
            node_id="GlazeStyleTransfer",
            display_name="Style Transfer (Glaze)",
            category=CATEGORY,
            description="Redraws your picture in the target style, for the cloak to lead towards. "
            "Nobody but you ever sees the redrawn picture.",
            inputs=[
                io.Image.Input("image", tooltip="The pictures to redraw."),
                TargetStyleSocket.Input("target_style", tooltip="From Target Style."),
                io.Model.Input(
                    "model",
                    optional=True,
                    tooltip="The checkpoint's model. Wire model, clip and vae, or none of them: "
                    "then a small built-in engine redraws, good enough for a rehearsal.",
                ),
                io.Clip.Input("clip", optional=True, tooltip="The checkpoint's text encoder."),
                io.Vae.Input("vae", optional=True, tooltip="The checkpoint's VAE."),
                *sampling_widgets(
                    30,
                    0.5,
                    "How strictly the checkpoint follows the style's name. Flux and other "
                    "distilled models want 1.",
                    "How much is redrawn: low keeps your picture, high keeps only its "
                    "layout. The style should show while the picture stays recognisable.",
                ),
                io.Combo.Input(
                    "sampler",
                    options=SAMPLERS,
                    default="euler",
                    tooltip="Sampling method of the checkpoint.",
                ),
                io.Combo.Input(
                    "scheduler",
                    options=SCHEDULERS,
                    default="normal",
                    tooltip="Noise schedule of the checkpoint.",
                ),
                seed_widget("seed", "The same seed redraws the same picture.", 2**64 - 1),
                short_side_widget(
                    768,
                    "The picture's short side in pixels while it is redrawn; larger "
                    "pictures are scaled down and back. SDXL, SD 3 and Flux like 1024.",
                ),
            ],
            outputs=[io.Image.Output("styled", display_name="styled")],
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        target_style: TargetStyle,
        steps: int,
        cfg: float,
        denoise: float,
        sampler: str,
        scheduler: str,
        seed: int,
        short_side: int,
        model: Any = None,
        clip: Any = None,
        vae: Any = None,
    ) -> Any:
        if model is None and clip is None and vae is None:
            engine = load_style_transfer("embedded")
        else:
            sampling = Sampling(steps, cfg, denoise, sampler, scheduler, short_side)
            engine = img2img(model, clip, vae, sampling)
        pictures = check_sides(to_images(image)).clamp(0, 1)
        styled = engine(pictures, target_style.style, seed)
        return io.NodeOutput(from_images(styled))


BUILT_IN_FILE = STYLES_FOLDER / f"{EMBEDDED_VERSION}.safetensors"


def bank_of(name: str) -> StyleBank:
    """A bank by its name in the combo, to be listed and looked at.

    Raises:
        ValueError: there is no such bank.
    """
    if name != BUILT_IN and name not in style_bank_names():
        raise ValueError(f"There is no style bank called {name!r}.")
    try:
        path = BUILT_IN_FILE if name == BUILT_IN else style_bank_path(name)
        status = path.stat()
    except OSError as error:
        raise ValueError(f"The style bank {name!r} is no longer there.") from error
    with _LOADING:
        return _loaded(path, status.st_mtime_ns, status.st_size)


_LOADING = Lock()  # a page asks for many thumbnails at once, and they need the bank but once


@lru_cache(maxsize=4)
def _loaded(path: Path, modified: int, size: int) -> StyleBank:
    """A bank as it was when the file had this time and size; its thumbnails stay on the disk."""
    return load_style_bank(path)


NODES = [LoadStyleBank, SelectTargetStyle, StyleTransfer]
