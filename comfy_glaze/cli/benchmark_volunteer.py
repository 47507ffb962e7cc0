"""``comfy-glaze benchmark volunteer``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .benchmark_mimicry import shown
from .options import DeviceOption, one_sentence
from .terminal import duration, megabytes, progress_bar, results, say

if TYPE_CHECKING:
    from ..evaluation.volunteer import Forecast, VolunteerRequest


def volunteer(
    works: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="Works in the public domain: a folder for each artist, of eight works or more.",
        ),
    ],
    checkpoint: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Stable Diffusion 1, 2 or XL, or FLUX.1: folder, file or hub id."
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Everything goes here; run again to go on.")
    ] = Path("contribution"),
    artists: Annotated[
        int, typer.Option(min=1, help="How many artists are mimicked; the judge knows all.")
    ] = 2,
    seeds: Annotated[int, typer.Option(min=1, help="How many models for each row and artist.")] = 1,
    name: Annotated[
        str,
        typer.Option(metavar="NAME", help="What to call you in the table, if anything."),
    ] = "",
    captions: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="filename, template, sidecar (.txt beside each), or a captioner."
        ),
    ] = "filename",
    clip: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="CLIP or SigLIP as the judge, in place of one that is trained."
        ),
    ] = None,
    style: Annotated[
        str, typer.Option(metavar="NAME|auto", help="The cloaks' target style.")
    ] = "auto",
    steps: Annotated[
        int | None, typer.Option(min=1, help="Training steps of each LoRA, if not the usual ones.")
    ] = None,
    resolution: Annotated[
        int | None, typer.Option(min=32, help="Pixels, if not the family's usual ones.")
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="Pictures for each caption, if not five.")
    ] = None,
    draw_steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of the sampler, if not 25.")
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only say how long it takes and how much disk.")
    ] = False,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after so many; the next call goes on.")
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Find out on your own checkpoint what a model learns from cloaked works, and send it back.

    It takes the works without a cloak, with the preset default, and with strong, each as published
    and as an upload would save it. It trains a LoRA on each of these sets, draws, and has a judge
    look. DIR gets contribution.json and contribution.html, which hold no names and no paths. Stop
    it whenever you like: the same command goes on.
    """
    from ..evaluation.generators import family_of
    from ..evaluation.volunteer import VolunteerRequest, usual_settings

    with one_sentence():
        tuning, drawing = usual_settings(family_of(checkpoint))
        request = VolunteerRequest(
            works=works,
            folder=out,
            checkpoint=checkpoint,
            artists=artists,
            captions=captions,
            clip=clip,
            style=style,
            tuning=replace(
                tuning,
                steps=steps or tuning.steps,
                resolution=resolution or tuning.resolution,
            ),
            generation=replace(
                drawing,
                steps=draw_steps or drawing.steps,
                images_per_caption=images or drawing.images_per_caption,
                resolution=resolution or drawing.resolution,
            ),
            device=device,
        )
        left = _run(request, seeds, name, estimate, minutes)
    if left:
        say(f"{left} models are left; run the same command again to go on.", "yellow")


def _run(
    request: VolunteerRequest, seeds: int, name: str, estimate: bool, minutes: float | None
) -> int:
    """The experiment as far as the time goes; how many models are left."""
    from ..evaluation.benchmark import run_grid
    from ..evaluation.contribution import contribution_of, device_words, write_contribution
    from ..evaluation.volunteer import GRID, forecast, open_experiment

    say("Loading the models ...", "dim")
    experiment = open_experiment(request)
    if estimate or not (request.folder / "cells").is_dir():
        say("Trying a few steps of each kind ...", "dim")
        _tell(forecast(experiment, seeds), device_words(experiment.lab.device))
    if estimate:
        return 0
    with progress_bar() as progress:
        task = progress.add_task("", total=None, note="")
        cells, left = run_grid(
            experiment.lab,
            experiment.artists,
            GRID,
            seeds,
            {},
            lambda at: progress.update(task, **shown(at)),
            minutes=minutes,
        )
    found = contribution_of(experiment, cells, seeds, request.checkpoint, name)
    data, page = write_contribution(experiment, cells, found, request.folder)
    results.print(f"To look at: {page}", soft_wrap=True, markup=False)
    results.print(f"To send back: {data}", soft_wrap=True, markup=False)
    return left


def _tell(costs: Forecast, device: str) -> None:
    say(
        f"{costs.models} models on {device}: about {duration(costs.seconds)} and "
        f"{megabytes(costs.disk)} of disk, by a few steps of each kind. Stop it whenever you "
        "like; the same command goes on.",
        "none",
    )
