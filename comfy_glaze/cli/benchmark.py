"""``comfy-glaze benchmark``: what this project claims, measured by anyone."""

from __future__ import annotations

import typer

from .benchmark_robustness import countermeasures, robustness
from .benchmark_speed import speed

benchmark_app = typer.Typer(no_args_is_help=True, help="Measure what cloaks achieve and cost.")
benchmark_app.callback()(lambda: None)
benchmark_app.command("speed")(speed)
benchmark_app.command("robustness")(robustness)
benchmark_app.command("countermeasures")(countermeasures)
