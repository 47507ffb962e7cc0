"""``comfy-glaze nightshade``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .cloaking import Cloaking
from .model_names import check_model_names
from .options import (
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
    encoders_of,
    one_sentence,
)
from .resume import asked_of_poison, poisoned_before
from .run import Run, fail, gather, json_at_the_end, tell_metric
from .terminal import counted, say, speak

REHEARSAL_HINT = (
    "Rehearsal: the embedded encoder belongs to no image generator, so this poison reaches none. "
    "For the real one name the checkpoint whose training you mean: --checkpoint PATH_OR_HUB_ID."
)


def nightshade(
    context: typer.Context,
    sources: SourcesArgument,
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Where the poisoned pictures go, each with its caption; reports go to "
            "DIR-reports.",
        ),
    ],
    concept: Annotated[
        str, typer.Option(metavar="WORDS", help="What the pictures show and the captions say.")
    ],
    towards: Annotated[
        str, typer.Option(metavar="WORDS", help="What a model shall draw in its place.")
    ],
    kind: Annotated[
        Literal["object", "style"],
        typer.Option(help='What both are: "a photo of ...", or "a painting in the style of ...".'),
    ] = "object",
    anchors: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Pictures of --towards; without it --checkpoint draws them."
        ),
    ] = None,
    draw: Annotated[
        int, typer.Option(min=1, help="How many anchors --checkpoint draws, at 512 px each.")
    ] = 16,
    captions: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="sidecar (a .txt file beside each picture), filename, template (the same words "
            "for all), or an image captioner for transformers (a folder or hub id).",
        ),
    ] = "sidecar",
    clip: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A CLIP or SigLIP (folder or hub id): it finds the pictures and the anchors that "
            "show their concept best.",
        ),
    ] = None,
    keep: Annotated[
        int, typer.Option(min=0, help="How many pictures to poison at most; 0 for all.")
    ] = 0,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A Stable Diffusion checkpoint (folder, .safetensors or hub id): its encoder, and "
            "what draws the anchors.",
        ),
    ] = None,
    encoder: EncoderOption = None,
    limit: LimitOption = None,
    linf: LinfOption = None,
    metric: MetricOption = "auto",
    method: MethodOption = "fast",
    steps: StepsOption = 0,
    robustness: Annotated[
        Literal["none", "web", "strong"],
        typer.Option(help="What the poison must survive: nothing, uploads, or harsher changes."),
    ] = "none",
    seed: Annotated[
        int, typer.Option(help="Draws the anchors and picks one a picture; same seed, same files.")
    ] = 0,
    format: FormatOption = "same",
    quality: QualityOption = None,
    max_size: MaxSizeOption = None,
    strip_location: StripLocationOption = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Do only what is new or changed since an earlier run of this command."
        ),
    ] = False,
    exclude: ExcludeOption = None,
    strict: StrictOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
    device: DeviceOption = "auto",
) -> None:
    """Poison pictures of a concept: a model trained on them learns another one (Nightshade).

    A cloak guards your own work: it acts on whoever imitates you. Poison is another matter. It
    aims at models that other people train, and changes what these draw for all their users. So:
    poison only pictures that are yours, or that you have the right to change and publish. Publish
    them only where you decide what is published, with the site's terms in mind. Never put them into
    a data set that you were asked or paid to deliver, that others share in good faith, or that
    serves medicine, safety or science. Whether and where this is lawful depends on your country and
    on what you do with it; this program cannot tell you, ask someone who can. It is meant as the
    paper means it: a price on training that takes no notice of "no".

    DIR holds the pictures and their captions and nothing else. DIR-reports holds the measures, the
    anchors and the originals' sheets: keep it to yourself.
    """
    from ..portfolio.outcome import Outcome
    from ..portfolio.outputs import open_output_folder, plan_outputs, reports_folder

    failures: list[str] = []
    done: list[dict[str, Any]] = []
    speak(quiet, as_json)
    with json_at_the_end(as_json, done, failures):
        with one_sentence():
            if anchors is None and checkpoint is None:
                raise ValueError(
                    "Expected pictures of the destination: --anchors FOLDER, or --checkpoint to "
                    "draw them with."
                )
            check_model_names(checkpoint, *(encoder or ()))
            found = gather(sources, failures, exclude or ())
            manifest = open_output_folder(sources, out)
            asked = asked_of_poison(context.params, found)
        same = poisoned_before(found, out, manifest, asked) if resume and not failures else None
        if same is not None:
            run = Run(same, manifest, out, poison=True, strict=strict, pictures=done)
            run.to_the_end(lambda jobs, *_: map(Outcome, jobs), failures)
            return
        say("Loading the models ...", "dim")
        from ..cloaking.budget import NIGHTSHADE
        from ..cloaking.cloak import CloakSettings
        from ..devices import choose_device
        from ..files.options import SaveOptions, SizeLimit
        from ..poison.anchors import (
            Poison,
            anchors_in,
            draw_anchors,
            most_prototypical,
            prompt_of,
            similarities,
        )
        from ..poison.selection import select_samples, with_similarities
        from ..portfolio.engine import CloakRequest, ModelNames, open_engine
        from ..styles.transfer import load_text_to_image

        with one_sentence():
            on_device = choose_device(device)
            selection = select_samples(
                found, concept, captions, kind=kind, keep=keep, clip=clip, device=on_device
            )
            for sentence in selection.failures:
                fail(failures, sentence)
            wanted = prompt_of(towards, kind)
            if anchors is not None:
                pictures = anchors_in(anchors)
            else:
                model = load_text_to_image(str(checkpoint), on_device)
                pictures = draw_anchors(model, wanted, draw, reports_folder(out) / "anchors", seed)
                del model
            if clip is not None:
                scores = similarities(pictures, wanted, clip, on_device)
                pictures = most_prototypical(pictures, scores)
            poison = Poison(concept, towards, kind, tuple(pictures), seed)
            engine = open_engine(
                CloakRequest(
                    replace(NIGHTSHADE.changed(limit, linf), metric=metric),
                    CloakSettings(method, steps, seed, robustness),
                    ModelNames(encoders_of(encoder, checkpoint), device=device),
                    saving=SaveOptions(
                        format,
                        quality,
                        max_size=SizeLimit.parse(max_size) if max_size else None,
                        strip_location=strip_location,
                    ),
                    poison=with_similarities(poison, selection.samples),
                )
            )
        if engine.encoder.is_rehearsal:
            say(REHEARSAL_HINT, "yellow")
        tell_metric(metric, engine)
        say(
            f"Concept: {concept}, towards {towards}: "
            f"{counted(len(selection.samples), 'picture')}, "
            f"{counted(len(pictures), 'anchor')}. Captions without the word: {selection.others}; "
            f"not among the best: {selection.left_out}.",
            "none",
        )
        pairs = [(sample.source, sample.relative) for sample in selection.samples]
        said = {sample.source: sample.caption for sample in selection.samples}
        jobs, refused = plan_outputs(pairs, out, format, manifest, said)
        for sentence in refused:
            fail(failures, sentence)
        manifest.begin(
            {
                "encoder": engine.encoder.name,
                "poison": [concept, towards],
                "asked": None if failures else asked,  # what failed is told each time
                "settings": engine.fingerprint(),
                "pictures": [job.name for job in jobs],
            }
        )
        run = Run(jobs, manifest, out, poison=True, strict=strict, pictures=done)
        run.to_the_end(Cloaking(engine, resume=resume).outcomes, failures)
