"""``comfy-glaze cloak``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..files.options import KEEP_SHIFT
from .cloaking import Cloaking, Workers, processes_for
from .dry_run import dry_run as tell_dry_run
from .model_names import check_model_names
from .options import (
    BankOption,
    DeviceOption,
    EncoderOption,
    ExcludeOption,
    FormatOption,
    JsonOption,
    LimitOption,
    LinfOption,
    MaxSizeOption,
    MethodOption,
    MetricOption,
    QualityOption,
    QuietOption,
    SourcesArgument,
    StepsOption,
    StrictOption,
    StripLocationOption,
    StyleSeedOption,
    encoders_of,
    one_sentence,
    shard_of,
)
from .outdated import outdated_jobs
from .resume import asked_for, nothing_to_do
from .run import Run, fail, gather, json_at_the_end, open_telling, tell_metric
from .style_tables import warn_of_few_works
from .terminal import choice_sentence, say, speak

if TYPE_CHECKING:
    from ..portfolio.engine import Engine
    from ..styles.memory import RememberedChoice

REHEARSAL_HINT = (
    "Rehearsal: the embedded encoder belongs to no image generator, so these cloaks guard nothing "
    "yet. To cloak for use, name a Stable Diffusion checkpoint: --checkpoint PATH_OR_HUB_ID."
)


def cloak(
    context: typer.Context,
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
    style_seed: StyleSeedOption = 0,
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
    objective: Annotated[
        Literal["auto", "beyond", "towards", "away", "to-zero"],
        typer.Option(
            help="Where the cloak leads a model: beyond goes to the target style's side of the "
            "picture, as far as the budget allows; towards is the paper's; away and to-zero look "
            "at no target style. auto takes beyond, and for --method paper towards."
        ),
    ] = "auto",
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
    tile: Annotated[
        bool,
        typer.Option(
            "--tile", help="The pictures repeat, as wallpapers and textures do: no seam shows."
        ),
    ] = False,
    few_colours: Annotated[
        Literal["keep", "free", "leave"],
        typer.Option(
            help="Pixel art and pictures in few colours: keep changes whole squares and stays "
            "within a palette, free cloaks them like any other picture, leave does not cloak them."
        ),
    ] = "keep",
    seed: Annotated[int, typer.Option(help="The same seed gives the same file.")] = 0,
    format: FormatOption = "same",
    quality: QualityOption = None,
    max_size: MaxSizeOption = None,
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
    strip_location: StripLocationOption = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on where an earlier run stopped: only what is new or changed is cloaked, "
            "towards the same style.",
        ),
    ] = False,
    outdated: Annotated[
        bool,
        typer.Option(
            "--outdated",
            help="Cloak again only what `comfy-glaze outdated` lists with an option that answers "
            "it, towards the same style.",
        ),
    ] = False,
    exclude: ExcludeOption = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Only say what would be cloaked, how large it is, and how long."
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
    jobs: Annotated[
        int,
        typer.Option(
            min=1,
            help="Processes that cloak side by side on a CPU. Each holds the models, so memory "
            "grows with them.",
        ),
    ] = 1,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Share the work among the workers of a dask scheduler (tcp://HOST:PORT), or among "
            "local ones (local, or local:N).",
        ),
    ] = None,
    strict: StrictOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
    device: DeviceOption = "auto",
    dtype: Annotated[
        Literal["auto", "float32", "float16", "bfloat16"],
        typer.Option(help="What the style transfer's checkpoint computes in."),
    ] = "auto",
) -> None:
    """Cloak pictures. The originals are only read; the cloaked ones go to --out.

    DIR-reports holds, for each picture, the measures (.glaze.json), a sheet to look at
    (.sheet.png) and the redrawn picture that the cloak leads towards (.styled.png), and for all of
    them a page to look at (index.html). Keep those to yourself: they tell a mimic which style was
    used.
    """
    from ..portfolio.manifest import Manifest
    from ..portfolio.outcome import Outcome
    from ..portfolio.outputs import (
        check_output_folder,
        open_output_folder,
        plan_outputs,
        reports_folder,
    )

    failures: list[str] = []
    pictures: list[dict[str, Any]] = []
    speak(quiet, as_json)
    with json_at_the_end(as_json, pictures, failures):
        with one_sentence():
            part = shard_of(shard)
            if cluster is not None and batch > 1:
                raise ValueError(
                    "Expected --batch or --cluster, but got both: a worker takes one picture at a "
                    "time."
                )
            if jobs > 1 and (cluster is not None or batch > 1):
                raise ValueError("Expected one of --jobs, --batch and --cluster, but got several.")
            encoders = encoders_of(encoder, checkpoint)
            phi = " + ".join(encoders)
            check_model_names(checkpoint, *encoders, style_transfer)
            found = gather(sources, failures, exclude or ())
            check_output_folder(sources, out)
            if dry_run:
                manifest = Manifest(reports_folder(out))
            else:
                manifest = open_output_folder(sources, out, (part.part, part.of) if part else None)
            planned, refused = plan_outputs(found, out, format, manifest)
        for sentence in refused:
            fail(failures, sentence)
        planned = part.jobs(planned) if part else planned
        if outdated:
            resume = False  # what is as an earlier run made it is what is outdated
            planned = outdated_jobs(planned, manifest)
            if not planned:
                say("None of these pictures is outdated.", "dim")
                raise typer.Exit(1 if failures else 0)
        if dry_run:
            pictures += tell_dry_run(planned, manifest, out, resume, failures)
            broken = any(picture["status"] == "failed" for picture in pictures)
            raise typer.Exit(1 if failures or broken else 0)
        run = Run(planned, manifest, out, strict=strict, pictures=pictures)
        if resume and not failures and nothing_to_do(planned, manifest, asked_for(context.params)):
            run.to_the_end(lambda *_: map(Outcome, planned), failures)
            return
        say("Loading the models ...", "dim")
        from ..cloaking.budget import PRESETS
        from ..cloaking.cloak import CloakSettings
        from ..cloaking.objectives import objective_for
        from ..files.artwork import load_artwork
        from ..files.options import SaveOptions, SizeLimit
        from ..portfolio.cluster import connect
        from ..portfolio.engine import CloakRequest, ModelNames, StyleChoice
        from ..portfolio.run import remember_target, remembered_style
        from ..styles.memory import remembered_choice

        with one_sentence():
            before = remembered_choice(artist) if artist else None
            budget = PRESETS[preset].changed(limit, linf, uniform)
            choice = StyleChoice(style, style_seed, artist, bank)
            request = CloakRequest(
                replace(budget, metric=metric, alpha=alpha),
                CloakSettings(
                    method,
                    steps,
                    seed,
                    robustness,
                    objective_for(objective, method),
                    tile,
                    few_colours,
                ),
                ModelNames(encoders, style_transfer or checkpoint or "embedded", device, dtype),
                choice,
                SaveOptions(
                    format,
                    quality,
                    keep_shift,
                    no_ai_training,
                    credentials,
                    SizeLimit.parse(max_size) if max_size else None,
                    strip_location,
                ),
            )
            if keep_clear is not None:
                load_artwork(keep_clear)  # a bad mask is found now and not once per picture
            earlier = None
            goes_on = resume or outdated
            if goes_on and style == "auto" and not artist:  # an artist's own is remembered
                earlier = remembered_style(manifest, phi, style_seed)
            shares = part if style == "auto" and style_seed == 0 else None
            if shares:
                known = before.target.style.name if before else None
                earlier = shares.shared_style(reports_folder(out), phi, known) or earlier
            if earlier is not None:
                request = replace(request, style=replace(choice, style=earlier))
            engine = open_telling(request, [source for source, _ in found], failures)
            asked = {"asked": asked_for(context.params), "settings": engine.fingerprint(keep_clear)}
            engine = remember_target(manifest, engine, phi, earlier is not None, asked)
            if shares:
                shares.share_style(reports_folder(out), phi, engine.target.style.name)
        if engine.encoder.is_rehearsal:
            say(REHEARSAL_HINT, "yellow")
        elif engine.encoder.family:
            say(f"These cloaks lead {engine.encoder.family} encoder.", "dim")
        tell_metric(metric, engine)
        say(choice_sentence(engine.target), "none")
        if artist:
            _tell_memory(artist, before, engine)
        if style == "auto" and before is None and earlier is None:
            warn_of_few_works(len(found))
        with one_sentence():
            workers = None if cluster is None else Workers(connect(cluster), request)
            processes = processes_for(jobs, request, engine)
        cloaking = Cloaking(engine, keep_clear, resume, batch, workers, processes)
        run.to_the_end(cloaking.outcomes, failures)


def _tell_memory(artist: str, before: RememberedChoice | None, engine: Engine) -> None:
    """Say whether the target style is the one remembered for an artist."""
    from ..networks.encoder_files import EMBEDDED_VERSION

    if before is None or before.target.style != engine.target.style:
        say(f"It is remembered for {artist} from now on.", "dim")
        return
    say(f"It is the one remembered for {before.artist}.", "dim")
    if before.encoder == EMBEDDED_VERSION and not engine.encoder.is_rehearsal:
        say(
            "It was chosen in a rehearsal; to choose anew with this encoder, first: "
            f'comfy-glaze styles forget "{before.artist}"',
            "yellow",
        )
