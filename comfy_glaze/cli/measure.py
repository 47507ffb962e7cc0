"""``comfy-glaze measure``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .options import DeviceOption, EncoderOption, MetricOption, one_encoder, one_sentence
from .terminal import results


def measure(
    original: Annotated[Path, typer.Argument(help="The picture before cloaking.")],
    cloaked: Annotated[Path, typer.Argument(help="The picture after cloaking.")],
    styled: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The redrawn picture, for the shift towards it."),
    ] = None,
    encoder: EncoderOption = None,
    metric: MetricOption = "auto",
    device: DeviceOption = "auto",
) -> None:
    """Measure a cloaked file against its original, and print the measures as JSON."""
    from ..portfolio import measure_files

    with one_sentence():
        measures = measure_files(
            original,
            cloaked,
            styled,
            encoder=one_encoder(encoder),
            metric=metric,
            device=device,
        )
    results.print_json(json.dumps(measures))
