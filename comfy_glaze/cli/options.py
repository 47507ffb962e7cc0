"""What several commands take, and how each of them refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .terminal import say

if TYPE_CHECKING:
    from ..portfolio.shards import Shard

EncoderOption = Annotated[
    list[str] | None,
    typer.Option(
        "--encoder",
        metavar="NAME",
        help="Image encoder: embedded, a VAE or checkpoint on disk (folder or .safetensors), "
        "or a hub id. Name several, each with --encoder, to work on all of them at once.",
    ),
]
MetricOption = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Perceptual metric: auto, lpips-alex, lpips-vgg, lpips-squeeze, st-lpips-alex, "
        "st-lpips-vgg.",
    ),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps ...")]
StyleSeedOption = Annotated[
    int,
    typer.Option(
        "--style-seed",
        help="Draws the target style; the same seed, the same style. 0 draws it from a secret of "
        "your own, which stays on this computer.",
    ),
]
SourcesArgument = Annotated[
    list[Path],
    typer.Argument(metavar="FILE_OR_FOLDER...", help="Pictures, or folders of them."),
]


def _limit(value: float | None) -> float | None:
    if value is not None and value > 1:
        raise typer.BadParameter(
            f"expected at most 1, since 1 stands for unlike pictures and the presets have 0.05 to "
            f"0.2, but got {value:g}"
        )
    return value


LimitOption = Annotated[
    float | None,
    typer.Option(
        "--limit",
        callback=_limit,
        help="Largest perceptual value allowed, in place of the preset's 0.05 to 0.2.",
    ),
]
MethodOption = Annotated[
    Literal["fast", "brief", "paper"],
    typer.Option(
        "--method",
        help="fast; brief, with a few larger steps, for a real checkpoint without a GPU; or the "
        "paper's 500 steps of Adam.",
    ),
]
StepsOption = Annotated[
    int, typer.Option("--steps", help="Optimisation steps; 0 for the method's own.")
]
FormatOption = Annotated[
    Literal["same", "png", "jpeg", "webp", "tiff", "avif"],
    typer.Option("--format", help="Of the saved pictures; same makes PNG of HEIF, GIF and BMP."),
]
QualityOption = Annotated[
    int | None,
    typer.Option(
        "--quality",
        help="Of JPEG, WebP and AVIF, 1 to 100; WebP at 100 is lossless. Without it, that of the "
        "original where it is known, else 95.",
    ),
]


def _size(text: str | None) -> str | None:
    from ..files.options import SizeLimit

    try:
        if text is not None:
            SizeLimit.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return text


MaxSizeOption = Annotated[
    str | None,
    typer.Option(
        "--max-size",
        callback=_size,
        metavar="SIZE",
        help="How large a file may be: 900kB, 2MB, or 1.5x for one and a half times the original. "
        "What does not fit loses quality, or parts of the cloak, and the report says how much.",
    ),
]
StripLocationOption = Annotated[
    bool,
    typer.Option(
        "--strip-location", help="Leave out where a picture was made: GPS and names of places."
    ),
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="PATTERN",
        help="Leave out pictures or folders by name or path, such as '*.jpg' or drafts; may be "
        "repeated.",
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say only what failed.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print what became of each picture as JSON.")
]
StrictOption = Annotated[
    bool,
    typer.Option("--strict", help="End with exit code 3 where a verdict is none or weak."),
]
SeedsOption = Annotated[
    int, typer.Option("--seeds", min=1, help="How many seeds random countermeasures take.")
]
PipelineOption = Annotated[
    str | None, typer.Option("--pipeline", metavar="NAME", help="A Stable Diffusion, for purify.")
]
UpscalerOption = Annotated[
    str | None, typer.Option("--upscaler", metavar="NAME", help="A ×4 upscaler, for noisy-upscale.")
]
BankOption = Annotated[
    Path | None,
    typer.Option(
        "--bank",
        metavar="FILE",
        help="A style bank for the encoder in use, made by comfy-glaze bank build.",
    ),
]


def number(text: str | float) -> float:
    """A number, or a fraction such as 6/255."""
    try:
        value = float(Fraction(str(text).replace(" ", "")))
    except (ValueError, ZeroDivisionError) as error:
        raise typer.BadParameter(f"expected a number or a fraction, but got {text}") from error
    if 1 < value <= 255:
        raise typer.BadParameter(
            f"expected at most 1, which is black to white, but got {text}; {value:g} grey levels "
            f"are {value:g}/255"
        )
    return value


LinfOption = Annotated[
    float | None,
    typer.Option(
        "--linf",
        metavar="NUMBER",
        parser=number,
        help="Largest change of any pixel value, where 1 is black to white (6/255 is six grey "
        "levels), in place of the preset's.",
    ),
]


@contextmanager
def one_sentence() -> Iterator[None]:
    """Bad usage ends with the library's own sentence and exit code 2."""
    try:
        yield
    except ValueError as error:
        say(f"Error: {error}", "bold red")
        raise typer.Exit(2) from error


def shard_of(text: str | None) -> Shard | None:
    """``3/8`` as the third shard of eight.

    Raises:
        ValueError: it is no part of a whole.
    """
    from ..portfolio.shards import Shard

    if text is None:
        return None
    part, slash, whole = text.partition("/")
    if not (slash and part.isdecimal() and whole.isdecimal() and 1 <= int(part) <= int(whole)):
        raise ValueError(f"Expected a shard such as 3/8, the third of eight, but got {text}.")
    return Shard(int(part), int(whole))


def encoders_of(named: list[str] | None, otherwise: str | None = None) -> tuple[str, ...]:
    return tuple(named or [otherwise or "embedded"])


def one_encoder(named: list[str] | None) -> str:
    if named and len(named) > 1:
        raise ValueError(f"Expected one --encoder for this command, but got {len(named)}.")
    return named[0] if named else "embedded"
