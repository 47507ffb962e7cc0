"""``comfy-glaze cloak``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..files.formats import KEEP_SHIFT
from .options import (
    BankOption,
    DeviceOption,
    EncoderOption,
    FormatOption,
    LimitOption,
    LinfOption,
    MethodOption,
    MetricOption,
    QualityOption,
    SeedOption,
    SourcesArgument,
    StepsOption,
    one_encoder,
    one_sentence,
    shard_of,
)
from .run import Run, Shared, fail, gather, tell_metric, trouble_with
from .style_tables import warn_of_few_works
from .terminal import choice_sentence, progress_bar, say

REHEARSAL_HINT = (
    "Rehearsal: the embedded encoder belongs to no image generator, so these cloaks guard nothing "
    "yet. To cloak for use, name a Stable Diffusion checkpoint: --checkpoint PATH_OR_HUB_ID."
)


def cloak(
    sources: SourcesArgument,
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
    limit: LimitOption = None,
    linf: LinfOption = None,
    metric: MetricOption = "auto",
    alpha: Annotated[
        float, typer.Option(help="Weight of the perceptual penalty in the paper's method.")
    ] = 20.0,
    keep_clear: Annotated[
        Path | None,
        typer.Option(metavar="MASK", help="A picture that is white where nothing may change."),
    ] = None,
    method: MethodOption = "fast",
    steps: StepsOption = 0,
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
    format: FormatOption = "same",
    quality: QualityOption = 95,
    keep_shift: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="How much of the cloak's shift a lossy file must keep; the quality is raised for "
            "it. 0 leaves the quality alone.",
        ),
    ] = KEEP_SHIFT,
    no_ai_training: Annotated[
        bool,
        typer.Option(
            "--no-ai-training", help="State in each file that it may not be used to train AI."
        ),
    ] = False,
    credentials: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Sign each file (C2PA) with the certificate.pem and key.pem in this folder.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on where an earlier run stopped: only what is new or changed is cloaked, "
            "towards the same style.",
        ),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Do the I-th of N parts, for machines sharing a disk."),
    ] = None,
    batch: Annotated[
        int,
        typer.Option(min=1, help="Pictures of one size to cloak together; for large GPUs."),
    ] = 1,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Share the work among the workers of a dask scheduler (tcp://HOST:PORT), or among "
            "local ones (local, or local:N).",
        ),
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Cloak pictures. The originals are only read; the cloaked ones go to --out.

    DIR-reports holds, for each picture, the measures (.glaze.json), a sheet to look at
    (.sheet.png) and the redrawn picture that the cloak leads towards (.styled.png), and for all of
    them a page to look at (index.html). Keep those to yourself: they tell a mimic which style was
    used.
    """
    import torch

    from ..cloaking.budget import PRESETS, Budget
    from ..cloaking.cloak import CloakSettings
    from ..files.artwork import load_artwork
    from ..files.formats import ArtworkError
    from ..networks.encoder_files import EMBEDDED_VERSION
    from ..portfolio.cluster import Recipe, connect
    from ..portfolio.engine import open_studio
    from ..portfolio.manifest import Manifest
    from ..portfolio.outputs import job_of, plan_outputs, prepare_output_folder, reports_folder
    from ..portfolio.run import in_shard, remember_target, remembered_style
    from ..styles.memory import remembered_choice

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
        part = shard_of(shard)
        if keep_clear is not None:
            load_artwork(keep_clear)  # a bad mask is found now and not once per picture
        found = gather(sources, failures)
        prepare_output_folder(sources, out)
        manifest = Manifest(reports_folder(out), part)
        phi = one_encoder(encoder, checkpoint)
        how: dict[str, Any] = {
            "encoder": phi,
            "style_transfer": style_transfer or checkpoint or "embedded",
            "style_seed": style_seed,
            "bank": bank,
            "format": format,
            "quality": quality,
            "keep_shift": keep_shift,
            "no_ai_training": no_ai_training,
            "credentials": credentials,
            "device": device,
        }
        earlier = None
        if resume and style == "auto" and not artist:  # an artist's own choice is remembered
            earlier = remembered_style(manifest, phi, style_seed)
        with progress_bar() as progress:
            task = progress.add_task("Making the style bank", visible=False, note="")
            try:
                studio = open_studio(
                    [source for source, _ in found],
                    budget,
                    settings,
                    style=earlier or style,
                    artist=artist,
                    **how,
                    on_style=lambda done, of: progress.update(
                        task, completed=done, total=of, visible=True
                    ),
                )
            except ArtworkError:
                unreadable = [why for source, _ in found if (why := trouble_with(source))]
                if not unreadable:
                    raise
                for sentence in unreadable:
                    fail(failures, sentence)
                raise typer.Exit(1) from None
        studio = remember_target(manifest, studio, phi, resumed=earlier is not None)
    if studio.encoder.is_rehearsal:
        say(REHEARSAL_HINT, "yellow")
    tell_metric(metric, studio)
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
    if style == "auto" and before is None and earlier is None:
        warn_of_few_works(len(found))
    jobs = []
    for source, target in plan_outputs(found, out, format, manifest):
        if isinstance(target, ArtworkError):
            fail(failures, str(target))
        elif in_shard(job := job_of(source, target, out), part):
            jobs.append(job)
    with one_sentence():
        shared = None
        if cluster is not None:
            shared = Shared(
                connect(cluster),
                Recipe(
                    budget=budget,
                    settings=settings,
                    style=studio.target.style.name,
                    distance=studio.target.distance,
                    percentile=studio.target.percentile,
                    **how,
                    threads=torch.get_num_threads(),
                ),
            )
    run = Run(jobs, studio, manifest, out, keep_clear, resume, batch, shared)
    run.to_the_end(failures)
