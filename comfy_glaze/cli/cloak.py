"""``comfy-glaze cloak``."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .options import (
    BankOption,
    DeviceOption,
    EncoderOption,
    MetricOption,
    SeedOption,
    number,
    one_encoder,
    one_sentence,
)
from .style_tables import warn_of_few_works
from .terminal import choice_sentence, log, progress_bar, results, results_table, say

if TYPE_CHECKING:
    from ..portfolio import Studio

REHEARSAL_HINT = (
    "Rehearsal: the embedded encoder belongs to no image generator, so these cloaks guard nothing "
    "yet. To cloak for use, name a Stable Diffusion checkpoint: --checkpoint PATH_OR_HUB_ID."
)


def cloak(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="FILE_OR_FOLDER...", help="Pictures, or folders of them."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="Where the cloaked pictures go; reports go to DIR-reports."
        ),
    ],
    style: Annotated[
        str,
        typer.Option(
            metavar="NAME|auto", help="Target style; auto draws one at medium distance from yours."
        ),
    ] = "auto",
    style_seed: SeedOption = 0,
    artist: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Whose works these are: their target style is remembered, so that all of them are "
            "led towards the same one. Naming a --style as well changes what is remembered.",
        ),
    ] = "",
    bank: BankOption = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A Stable Diffusion checkpoint (folder, .safetensors or hub id): encoder and "
            "style transfer at once.",
        ),
    ] = None,
    encoder: EncoderOption = None,
    style_transfer: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="embedded, or a Stable Diffusion checkpoint."),
    ] = None,
    preset: Annotated[
        Literal["gallery", "default", "strong"],
        typer.Option(help="gallery changes the picture least, strong moves a model most."),
    ] = "default",
    limit: Annotated[
        float | None,
        typer.Option(help="Largest perceptual value allowed, in place of the preset's."),
    ] = None,
    linf: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            parser=number,
            help="Largest change of any pixel value, where 1 is black to white (6/255 is six grey "
            "levels), in place of the preset's.",
        ),
    ] = None,
    metric: MetricOption = "auto",
    alpha: Annotated[
        float, typer.Option(help="Weight of the perceptual penalty in the paper's method.")
    ] = 20.0,
    keep_clear: Annotated[
        Path | None,
        typer.Option(metavar="MASK", help="A picture that is white where nothing may change."),
    ] = None,
    method: Annotated[
        Literal["fast", "paper"], typer.Option(help="fast, or the paper's 500 steps of Adam.")
    ] = "fast",
    steps: Annotated[int, typer.Option(help="Optimisation steps; 0 for the method's own.")] = 0,
    robustness: Annotated[
        Literal["none", "web", "strong"],
        typer.Option(
            help="What the cloak must survive: nothing, what uploads do (JPEG, smaller sizes), or "
            "harsher changes. A robust cloak reaches less far, shows more, and takes twice as long."
        ),
    ] = "none",
    uniform: Annotated[
        bool,
        typer.Option(
            "--uniform", help="Spend the cap evenly, even where the eye sees every change."
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="The same seed gives the same file.")] = 0,
    format: Annotated[
        Literal["same", "png", "jpeg", "webp"], typer.Option(help="Of the saved pictures.")
    ] = "same",
    quality: Annotated[
        int, typer.Option(help="Of JPEG and WebP, 1 to 100; WebP at 100 is lossless.")
    ] = 95,
    device: DeviceOption = "auto",
) -> None:
    """Cloak pictures. The originals are only read; the cloaked ones go to --out.

    DIR-reports holds, for each picture, the measures (.glaze.json), a sheet to look at
    (.sheet.png) and the redrawn picture that the cloak leads towards (.styled.png). Keep those to
    yourself: they tell a mimic which style was used.
    """
    from ..artwork import ArtworkError, find_artworks, load_artwork
    from ..budget import PRESETS, Budget
    from ..cloak import CloakSettings
    from ..encoders import EMBEDDED_VERSION
    from ..perceptual import trunk_hint
    from ..portfolio import open_studio, plan_outputs
    from ..remembered import remembered_choice

    failures: list[str] = []
    with one_sentence():
        before = remembered_choice(artist) if artist else None
        chosen = PRESETS[preset]
        budget = Budget(
            limit=chosen.limit if limit is None else limit,
            linf=chosen.linf if linf is None else linf,
            metric=metric,
            alpha=alpha,
            sight=None if uniform else chosen.sight,
        )
        settings = CloakSettings(
            method=method,
            steps=steps,
            seed=seed,
            robustness=robustness,
            preset=preset if limit is None and linf is None and not uniform else "custom",
        )
        if keep_clear is not None:
            load_artwork(keep_clear)  # a bad mask is found now and not once per picture
        found: list[tuple[Path, Path]] = []
        for source in sources:
            try:
                found += find_artworks([source])
            except ArtworkError as error:
                _fail(failures, str(error))
        found = list({source.resolve(): (source, name) for source, name in found[::-1]}.values())
        found.reverse()  # a picture named twice is cloaked once, where it was named first
        _tell_passed_over(sources)
        if not found:
            raise typer.Exit(1)
        _check_output_folder(sources, out)
        plan = plan_outputs(found, out, format)
        with progress_bar() as progress:
            task = progress.add_task("Making the style bank", visible=False, note="")
            try:
                studio = open_studio(
                    [source for source, _ in found],
                    budget,
                    settings,
                    encoder=one_encoder(encoder, checkpoint),
                    style_transfer=style_transfer or checkpoint or "embedded",
                    style=style,
                    style_seed=style_seed,
                    artist=artist,
                    bank=bank,
                    format=format,
                    quality=quality,
                    device=device,
                    on_style=lambda done, of: progress.update(
                        task, completed=done, total=of, visible=True
                    ),
                )
            except ArtworkError:
                unreadable = [why for source, _ in found if (why := _trouble_with(source))]
                if not unreadable:
                    raise
                for sentence in unreadable:
                    _fail(failures, sentence)
                raise typer.Exit(1) from None
    if studio.encoder.is_rehearsal:
        say(REHEARSAL_HINT, "yellow")
    if metric == "auto" and studio.metric and studio.metric.name != "lpips-alex":
        say(f"Metric: {studio.metric.name}, because {trunk_hint('alex')}.", "dim")
    say(choice_sentence(studio.target), "none")
    if before is not None and before.target == studio.target:
        say(f"It is the one remembered for {before.artist}.", "dim")
        if before.encoder == EMBEDDED_VERSION and not studio.encoder.is_rehearsal:
            say(
                "It was chosen in a rehearsal; to choose anew with this encoder, first: "
                f'comfy-glaze styles forget "{before.artist}"',
                "yellow",
            )
    elif artist:
        say(f"It is remembered for {artist} from now on.", "dim")
    if style == "auto" and before is None:
        warn_of_few_works(len(found))
    failures += _cloak_all(plan, out, studio, keep_clear)
    if failures:
        say(f"Failed: {len(failures)}. Everything else is saved.", "bold red")
        raise typer.Exit(1)


def _fail(failures: list[str], sentence: str) -> None:
    failures.append(sentence)
    say(f"Failed: {sentence}", "red")


def _trouble_with(source: Path) -> str | None:
    """Why a picture cannot be read, if it cannot."""
    from ..artwork import ArtworkError, load_artwork

    try:
        load_artwork(source)
    except ArtworkError as error:
        return str(error)
    return None


def _tell_passed_over(sources: Sequence[Path]) -> None:
    """Say which pictures of a folder are of kinds not yet worked on."""
    kinds = {".tif", ".tiff", ".avif", ".heic", ".heif", ".gif", ".bmp", ".jxl", ".psd"}
    folders = [source for source in sources if source.is_dir()]
    others = [p for folder in folders for p in folder.rglob("*") if p.suffix.lower() in kinds]
    if others:
        names = ", ".join(path.name for path in others[:5]) + (" ..." if len(others) > 5 else "")
        say(f"Passed over, neither PNG, JPEG nor WebP: {len(others)} ({names}).", "yellow")


def _check_output_folder(sources: Sequence[Path], out: Path) -> None:
    """Refuse an output folder that cannot be written to, or that is part of the input, now."""
    from ..artwork import ArtworkError
    from ..portfolio import reports_folder

    for source in sources:
        if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
            raise ArtworkError(
                f"The output folder must lie outside the folder of the originals, "
                f"but {out} lies in {source}."
            )
    for folder in (out, reports_folder(out)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise ArtworkError(f"{folder} cannot be written to: {error.strerror}.") from error


def _cloak_all(
    plan: Sequence[tuple[Path, Path | ValueError]], out: Path, studio: Studio, mask: Path | None
) -> list[str]:
    """Cloak file after file; a file that fails is named and the rest goes on."""
    from ..cloak import CloakStep
    from ..portfolio import cloak_file, reports_folder

    failures: list[str] = []
    reports: list[dict[str, Any]] = []
    with progress_bar() as progress:
        for number, (source, target) in enumerate(plan, start=1):
            if isinstance(target, ValueError):
                _fail(failures, str(target))
                continue
            task = progress.add_task(f"{number}/{len(plan)} {source.name}", total=None, note="")

            def on_step(step: CloakStep, task: Any = task) -> None:
                shift = 1 - float(step.feature_distance[0])
                progress.update(
                    task,
                    completed=step.step,
                    total=step.steps,
                    note=f"shift {shift:.2f}, perceptual {float(step.perceptual[0]):.3f}",
                )

            try:
                stem = reports_folder(out) / target.relative_to(out)
                reports.append(cloak_file(source, target, stem, studio, mask=mask, on_step=on_step))
            except KeyboardInterrupt:
                progress.stop()
                log.print(
                    f"Stopped. {len(reports)} of {len(plan)} are saved; nothing is half-written."
                )
                raise typer.Exit(130) from None
            except Exception as error:  # one file must not take the others with it
                known = isinstance(error, ValueError)
                sentence = str(error) if known else f"{type(error).__name__}: {error}"
                _fail(failures, sentence if source.name in sentence else f"{source}: {sentence}")
            finally:
                progress.remove_task(task)
    if reports:
        results.print(results_table(reports))
        results.print(f"Cloaked pictures: {out}    Reports: {reports_folder(out)}", soft_wrap=True)
    return failures
