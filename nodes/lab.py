"""The lab: other systems under the same budget, and whether what a mimic made left the genre."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..comfy_glaze.cloaking.budget import PRESETS
from ..comfy_glaze.cloaking.systems import SYSTEMS, named_after
from ..comfy_glaze.images import to_grid
from ..comfy_glaze.judges.genres import (
    COLOURS,
    GENRES,
    LOST,
    Classifier,
    from_towers,
    genre_shift,
    has_shifted,
    load_clip,
    usual_genre,
)
from ..comfy_glaze.judges.probe import load_probe
from ..comfy_glaze.poison.anchors import fitted
from ..comfy_glaze.styles.target import TargetStyle
from .cloak import (
    Task,
    clear_input,
    cloak_each,
    how_widgets,
    made_outputs,
    run_lists,
    style_for_report,
)
from .host.clip import towers_of
from .host.files import judge_names, judge_path
from .host.running import LiveRun
from .sockets import CATEGORY, BudgetSocket, CloakedBatch, each, encoder_input, to_images

WIRED = "the wired CLIP"
TOP = 3  # genres of a picture that count, as in the paper


class BaselineCloak(io.ComfyNode):
    """δ as another system would make it."""

    @classmethod
    def define_schema(cls) -> Any:
        return io.Schema(
            node_id="GlazeBaselineCloak",
            display_name="Cloak as Other Systems (Glaze)",
            category=CATEGORY,
            description="The cloak that another system would make inside the same budget, to "
            "compare with your own. Only where the encoder is led differs.",
            inputs=[
                io.Image.Input("image", tooltip="The pictures to cloak."),
                encoder_input(
                    tooltip="The VAE of the model you worry about, straight from its checkpoint."
                ),
                BudgetSocket.Input(
                    "budget", tooltip="How much may change; sign-linf takes only its pixel cap."
                ),
                io.Image.Input(
                    "styled",
                    optional=True,
                    tooltip="For glaze and sign-linf: the same pictures redrawn in the target "
                    "style, same size.",
                ),
                io.Image.Input(
                    "stranger",
                    optional=True,
                    tooltip="For fawkes: a picture by another artist. It is cut to your picture's "
                    "shape.",
                ),
                clear_input(),
                io.Combo.Input(
                    "system",
                    options=list(SYSTEMS),
                    default="photoguard",
                    tooltip="glaze leads to the redrawn picture, fawkes to a stranger's, "
                    "photoguard to nothing, lowkey away from your own. sign-linf is glaze with a "
                    "pixel cap alone, as common tools run it.",
                ),
                *how_widgets("cloak"),
                style_for_report(),
            ],
            outputs=made_outputs("cloaked"),
            is_input_list=True,
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, **lists: list[Any]) -> Any:
        """Takes the host's lists as a whole, as the Cloak node does."""
        return run_lists(cls.hidden, lists, _baseline_batch)


def _baseline_batch(
    live: LiveRun,
    task: Task,
    system: str,
    styled: Tensor | None = None,
    stranger: Tensor | None = None,
    target_style: TargetStyle | None = None,
) -> CloakedBatch:
    """Pictures of one size, cloaked as a system would."""
    chosen, goal = SYSTEMS[system], _goal(system, task.pictures, styled, stranger)
    budget = chosen.within(task.budget or PRESETS["default"])
    task = replace(task, budget=budget, settings=chosen.aimed(task.settings))
    towards = target_style if chosen.goal == "styled" else None
    pictures = cloak_each(live, task, goal, towards)
    named = (replace(one, cloak=named_after(system, one.cloak)) for one in pictures)
    return CloakedBatch(tuple(named), task.encoder)


def _goal(system: str, pictures: Tensor, styled: Tensor | None, stranger: Tensor | None) -> Tensor:
    """The pictures that a system leads to; for one that leads to none, the originals."""
    needed = SYSTEMS[system].goal
    if needed is None:
        return pictures
    wired = {"styled": styled, "stranger": stranger}[needed]
    if wired is None:
        what = {"styled": "the redrawn picture", "stranger": "another artist's picture"}[needed]
        raise ValueError(f"{system} leads towards {what}; wire it to the socket {needed!r}.")
    if needed == "styled":
        return to_grid(to_images(wired))
    others = fitted(to_images(wired).clamp(0, 1), *pictures.shape[-2:])
    return torch.cat([others[n % len(others)][None] for n in range(len(pictures))])


class GenreShift(io.ComfyNode):
    """Whether pictures still belong to the artist's genre."""

    @classmethod
    def define_schema(cls) -> Any:
        return io.Schema(
            node_id="GlazeGenreShift",
            display_name="Genre Shift (Glaze)",
            category=CATEGORY,
            description="Asks a model for the genres of pictures, such as those that a mimic's "
            "model drew, and tells how many of them left the artist's genre.",
            is_output_node=True,
            inputs=[
                io.Image.Input(
                    "images", tooltip="What the mimic's model drew: the more, the surer the share."
                ),
                io.Image.Input(
                    "works",
                    optional=True,
                    tooltip="The artist's own works, uncloaked: they tell the genre for 'auto', "
                    "and how often the judge misses it.",
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="From Load CLIP Vision, with a CLIP of the same model at 'clip'.",
                ),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="The text half of the same CLIP, with its projection. The CLIP of an "
                    "SD 1.5 checkpoint has none.",
                ),
                io.Combo.Input(
                    "genre",
                    options=["auto", *GENRES],
                    default="auto",
                    tooltip="The artist's genre. auto: what most of the works are taken for.",
                ),
                io.Combo.Input(
                    "judge",
                    options=[WIRED, *judge_names()],
                    default=WIRED,
                    tooltip="What names the genres: the CLIP wired to this node, or one from "
                    "models/glaze_judges.",
                ),
            ],
            outputs=[
                io.String.Output(
                    "report", display_name="report", tooltip="All that was found, as JSON."
                ),
                io.Float.Output(
                    "share",
                    display_name="share",
                    tooltip="The share of pictures that left the genre, from 0 to 1.",
                ),
            ],
            is_input_list=True,
        )

    @classmethod
    def execute(cls, **lists: list[Any]) -> Any:
        """Takes the host's lists as a whole, since a share is one of all pictures."""
        one = {name: values[0] for name, values in lists.items()}
        judge, known = _judge(one["judge"], one.get("clip_vision"), one.get("clip"))
        made, own = (_ranked(judge, lists.get(name, ())) for name in ("images", "works"))
        report = known | _shift(judge, made, own, one["genre"])
        text = json.dumps(report, indent=2, ensure_ascii=False)
        return io.NodeOutput(text, report["share"]["value"], ui={"glaze_genres": [report]})


Ranked = list[tuple[str, ...]]


def _ranked(judge: Classifier, batches: Sequence[Tensor | None]) -> Ranked:
    """All genres of each picture, best first."""
    found = [each(to_images(batch).clamp(0, 1)) for batch in batches if batch is not None]
    return judge.rank(picture for pictures in found for picture in pictures)


def _shift(judge: Classifier, made: Ranked, own: Ranked, asked: str) -> dict[str, Any]:
    """The share of pictures that left the genre, and the genres of each."""
    if asked == "auto" and not own:
        raise ValueError(
            "To find the artist's genre, wire some of the artist's own works to the socket "
            "'works', or choose it in 'genre'."
        )
    genre = usual_genre(own) if asked == "auto" else judge.label(asked)
    return {
        "judge": judge.name,
        "genre": genre,
        "chosen_by": "works" if asked == "auto" else "artist",
        "top": TOP,
        "share": genre_shift(made, genre, top=TOP).as_json(),
        "works": genre_shift(own, genre, top=TOP).as_json() if own else None,
        "pictures": [
            {"genres": list(row[:TOP]), "left": has_shifted(row, genre, TOP)} for row in made
        ],
    }


def _judge(name: str, clip_vision: Any, clip: Any) -> tuple[Classifier, dict[str, Any]]:
    """What names genres, and what is known of how well it does."""
    if name != WIRED:
        path = judge_path(name)
        if path.is_dir():
            return load_clip(str(path)), {}
        probe, classifier = load_probe(path)
        return classifier, {"accuracy": probe.accuracy}
    missing = {"clip_vision": clip_vision, "clip": clip}
    for socket, wired in missing.items():
        if wired is None:
            raise ValueError(
                f"'judge' is {WIRED}, so wire one to the socket {socket!r} as well, or choose a "
                "judge from models/glaze_judges."
            )
    classifier, named = from_towers(WIRED, *towers_of(clip_vision, clip))
    return classifier, {"colours": {"named": named, "of": len(COLOURS), "enough": named >= LOST}}


NODES = [BaselineCloak, GenreShift]
