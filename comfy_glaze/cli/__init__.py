"""The command line: ``comfy-glaze``, a file for each command.

Exit codes: 0 all done, 1 some files failed (each named, the rest saved), 2 bad usage,
3 all done but some cloaks too weak (only under ``--strict``), 130 stopped by the user.
"""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from .bank import bank_app
from .benchmark import benchmark_app
from .cloak import cloak
from .config import usual_options
from .doctor import doctor
from .measure import measure
from .nightshade import nightshade
from .options import one_sentence
from .outdated import outdated
from .styles import styles_app
from .terminal import say, speak

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
app.command()(cloak)
app.command()(nightshade)
app.command()(outdated)
app.add_typer(styles_app, name="styles")
app.add_typer(bank_app, name="bank")
app.command()(measure)
app.add_typer(benchmark_app, name="benchmark")
app.command()(doctor)


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"comfy-glaze {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Your usual options, in place of the config.toml that doctor names.",
        ),
    ] = None,
    no_config: Annotated[
        bool, typer.Option("--no-config", help="Leave your usual options out.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_tell_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Style cloaks for artworks: nearly invisible changes that lead a model which is fine-tuned on
    them towards another style (Glaze, Shan et al., 2023)."""
    speak()
    with one_sentence():
        told = None if no_config else usual_options(context, config)
    if told:
        say(told, "dim")


def main() -> None:
    """Entry point of the ``comfy-glaze`` command."""
    warnings.simplefilter("ignore")  # other libraries' chatter; ours speaks in sentences
    for library in ("diffusers", "transformers", "huggingface_hub", "distributed"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    completion = {"--install-completion", "--show-completion"}.intersection(sys.argv)
    # shells complete a command's name, and ``python -m comfy_glaze`` is none
    app(prog_name="comfy-glaze" if completion else None)
