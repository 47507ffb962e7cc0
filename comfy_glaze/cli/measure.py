"""``comfy-glaze measure``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .model_names import check_model_names
from .options import (
    DeviceOption,
    EncoderOption,
    MetricOption,
    PipelineOption,
    SeedsOption,
    UpscalerOption,
    encoders_of,
    one_sentence,
)
from .terminal import log, progress_bar, results, retention_table

if TYPE_CHECKING:
    from ..countermeasures.retention import Retention


def measure(
    original: Annotated[Path, typer.Argument(help="The picture before cloaking.")],
    cloaked: Annotated[Path, typer.Argument(help="The picture after cloaking.")],
    styled: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The redrawn picture, for the shift towards it."),
    ] = None,
    objective: Annotated[
        Literal["auto", "beyond", "towards", "away", "to-zero"],
        typer.Option(help="What the cloak was led by, as for cloak; the shift is measured so."),
    ] = "auto",
    encoder: EncoderOption = None,
    metric: MetricOption = "auto",
    countermeasures: Annotated[
        str | None,
        typer.Option(
            metavar="all|everyday|web|NAMES",
            help="What the cloak keeps after countermeasures, worst first: all; everyday, what "
            "editors and websites do; web; or names with commas, each alone or with an amount, "
            "such as jpeg-420:75,noise. Needs --styled.",
        ),
    ] = None,
    seeds: SeedsOption = 3,
    pipeline: PipelineOption = None,
    upscaler: UpscalerOption = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw what is left as a PNG.")
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Measure a cloaked file against its original, and print the measures as JSON.

    With --countermeasures a table goes to standard error and its rows into the JSON.
    """
    from ..cloaking.objectives import objective_for
    from ..portfolio.measuring import measure_files

    with one_sentence():
        check_model_names(*(encoder or ()))
        if plot is not None:
            from ..evaluation.drawing import require_matplotlib

            require_matplotlib()
        led_by = objective_for(objective, "fast")
        measures = measure_files(
            original,
            cloaked,
            styled,
            encoders=encoders_of(encoder),
            metric=metric,
            objective=led_by,
            device=device,
        )
        if countermeasures is not None:
            rows = _retention(
                countermeasures, (original, cloaked, styled), led_by, encoder, seeds,
                pipeline, upscaler, device,
            )  # fmt: skip
            log.print(retention_table(rows))
            measures["countermeasures"] = [row.as_json() for row in rows]
            if plot is not None:
                from ..evaluation.retention_plot import write_bars

                bars = [(row.case.label, {"shift left": row.shift}) for row in rows]
                write_bars("Shift that is left after each countermeasure", bars, plot)
    results.print_json(json.dumps(measures))


def _retention(
    named: str,
    files: tuple[Path, Path, Path | None],
    objective: str,
    encoder: list[str] | None,
    seeds: int,
    pipeline: str | None,
    upscaler: str | None,
    device: str,
) -> list[Retention]:
    """What countermeasures leave of the cloak, worst first."""
    from ..countermeasures import Case, parse_cases
    from ..countermeasures.retention import measure_retention, worst_first
    from ..countermeasures.tools import Tools
    from ..devices import choose_device
    from ..files.artwork import load_artwork
    from ..networks.encoder_files import load_round_trip
    from ..networks.ensemble import load_encoders

    original, cloaked, styled = files
    if styled is None:
        raise ValueError("--countermeasures measures a shift, which needs --styled FILE.")
    on_device, names = choose_device(device), encoders_of(encoder)
    round_trip = load_round_trip(names[0], on_device) if len(names) == 1 else None
    tools = Tools(round_trip, pipeline, upscaler)
    cases = parse_cases(named, tools)
    before, after, towards = (
        load_artwork(path).pixels.to(on_device) for path in (original, cloaked, styled)
    )
    with progress_bar() as progress:
        task = progress.add_task("Countermeasures", note="")

        def on_case(number: int, of: int, case: Case) -> None:
            progress.update(task, completed=number - 1, total=of, note=case.label)

        (rows,) = measure_retention(
            before,
            after,
            towards,
            load_encoders(names, on_device),
            cases,
            objective=objective,
            seeds=range(seeds),
            tools=tools,
            on_case=on_case,
        )
    return worst_first(rows)
