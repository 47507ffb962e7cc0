"""The command line: ``comfy-glaze``, a file for each command.

Exit codes: 0 all done, 1 some files failed (each named, the rest saved), 2 bad usage,
130 stopped by the user.
"""

from __future__ import annotations

import logging
import warnings

import typer

from .bank import bank_app
from .benchmark import benchmark_app
from .cloak import cloak
from .measure import measure
from .nightshade import nightshade
from .styles import styles_app

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Style cloaks for artworks: nearly invisible changes that lead a model which is "
    "fine-tuned on them towards another style (Glaze, Shan et al., 2023).",
)
app.command()(cloak)
app.command()(nightshade)
app.add_typer(styles_app, name="styles")
app.add_typer(bank_app, name="bank")
app.command()(measure)
app.add_typer(benchmark_app, name="benchmark")


def main() -> None:
    """Entry point of the ``comfy-glaze`` command."""
    warnings.simplefilter("ignore")  # other libraries' chatter; ours speaks in sentences
    for library in ("diffusers", "transformers", "huggingface_hub", "distributed"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    app()
