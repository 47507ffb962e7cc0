"""``comfy-glaze benchmark``: what this project claims, measured by anyone."""

from __future__ import annotations

import typer

from .benchmark_mimicry import baselines, mimicry
from .benchmark_rating import rating_kit, ratings
from .benchmark_robustness import countermeasures, robustness
from .benchmark_speed import speed
from .benchmark_volunteer import volunteer

benchmark_app = typer.Typer(no_args_is_help=True, help="Measure what cloaks achieve and cost.")
benchmark_app.command("speed")(speed)
benchmark_app.command("robustness")(robustness)
benchmark_app.command("countermeasures")(countermeasures)
benchmark_app.command("mimicry")(mimicry)
benchmark_app.command("baselines")(baselines)
benchmark_app.command("rating-kit")(rating_kit)
benchmark_app.command("ratings")(ratings)
benchmark_app.command("volunteer")(volunteer)
