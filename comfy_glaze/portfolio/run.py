"""A portfolio: one picture after another, so that a run may be stopped at any moment and go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from ..cloaking.methods import OnStep
from ..cloaking.ties import Ties
from ..files.artwork import Artwork, check_saving, load_artwork
from ..files.formats import named
from .engine import Engine
from .few_colours import LeftAlone, what_is_few
from .manifest import Manifest
from .outcome import Outcome
from .outputs import Job, unchanged
from .picture import cloak_artworks
from .saving import StagedFiles, stage

OnBegin = Callable[[Job], OnStep | None]
"""Called before a picture, the first of a batch; gives what is told of its steps."""


def remembered_style(manifest: Manifest, encoder: str, style_seed: int) -> str | None:
    """The target style of an earlier run with this encoder and seed, so that it stays the same when
    pictures are added; None where there was none."""
    run = manifest.run or {}
    if (run.get("encoder"), run.get("style_seed")) != (encoder, style_seed):
        return None
    name = run.get("target_style", {}).get("name")
    return name if isinstance(name, str) else None


def remember_target(
    manifest: Manifest, engine: Engine, encoder: str, resumed: bool, asked: Mapping[str, str]
) -> Engine:
    """Note the run's target style; the engine of a resumed run is told where that style lies.

    Args:
        encoder: as it was named.
        asked: what else a later run has to know of this one (see
            :mod:`comfy_glaze.cli.resume`).
    """
    target, earlier = engine.target, (manifest.run or {}).get("target_style", {})
    if resumed and target.distance is None and earlier.get("name") == target.style.name:
        places = {key: earlier.get(key) for key in ("distance", "percentile")}
        engine = replace(engine, target=replace(target, **places))
        target = engine.target
    manifest.begin(
        {
            "encoder": encoder,
            **asked,
            "style_seed": target.seed,
            "target_style": {
                "name": target.style.name,
                "distance": target.distance,
                "percentile": target.percentile,
            },
        }
    )
    return engine


def cloak_portfolio(
    jobs: Sequence[Job],
    engine: Engine,
    manifest: Manifest,
    *,
    mask: Path | None = None,
    resume: bool = False,
    batch: int = 1,
    on_begin: OnBegin | None = None,
) -> Iterator[Outcome]:
    """Cloak pictures, and tell what became of each as soon as it is known.

    While pictures are cloaked, the next ones are read.  One that fails costs no other.

    Args:
        jobs: what to cloak.
        engine: what to do it with.
        manifest: where it is noted.
        mask: as in :func:`comfy_glaze.portfolio.picture.cloak_artworks`.
        resume: leave pictures alone that an earlier run made from the same source and settings.
        batch: how many pictures of one size are cloaked together, at most.
        on_begin: see :data:`OnBegin`.
    """
    settings = engine.fingerprint(mask)
    waiting: list[Job] = []
    for job in jobs:
        if resume and unchanged(job, manifest, settings):
            yield Outcome(job)
        else:
            waiting.append(job)
    groups = [waiting[at : at + batch] for at in range(0, len(waiting), batch)]
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="reader") as reader:
        ahead = [reader.submit(_load, group) for group in groups[:1]]
        for number in range(len(groups)):
            loaded = ahead.pop().result()
            ahead = [reader.submit(_load, group) for group in groups[number + 1 : number + 2]]
            for job, artwork in loaded:
                if isinstance(artwork, Exception):
                    yield Outcome(job, error=sentence_of(artwork, job.source))
            for same_size in _by_size(loaded):
                for staged in _cloak(same_size, engine, mask, settings, on_begin):
                    yield staged if isinstance(staged, Outcome) else _published(staged, manifest)
            del loaded


Loaded = tuple[Job, Artwork]


def _load(group: Sequence[Job]) -> list[tuple[Job, Artwork | Exception]]:
    loaded: list[tuple[Job, Artwork | Exception]] = []
    for job in group:
        try:
            loaded.append((job, load_artwork(job.source, held=True)))
        except Exception as error:  # told when it is this picture's turn
            loaded.append((job, error))
    return loaded


def _by_size(loaded: Sequence[tuple[Job, Artwork | Exception]]) -> list[list[Loaded]]:
    """The pictures that could be read, those together that have one size and the same ties."""
    groups: dict[tuple[object, ...], list[Loaded]] = {}
    for job, artwork in loaded:
        if not isinstance(artwork, Exception):
            key = (*artwork.pixels.shape, Ties.of(artwork.pixels))
            groups.setdefault(key, []).append((job, artwork))
    return list(groups.values())


def _cloak(
    pictures: Sequence[Loaded],
    engine: Engine,
    mask: Path | None,
    settings: str,
    on_begin: OnBegin | None,
) -> Iterator[StagedFiles | Outcome]:
    """Cloak pictures of one size together, and one by one where that fails: one picture must not
    take the others with it, nor must a batch that outgrows the memory."""
    failure: str | None = None
    on_step = on_begin(pictures[0][0]) if on_begin else None
    try:
        staged = cloak_and_stage(pictures, engine, mask, settings, on_step)
    except LeftAlone as left:
        if len(pictures) == 1:
            yield Outcome(pictures[0][0], left_alone=str(left))
            return
        failure = str(left)
    except Exception as error:
        failure = sentence_of(error, pictures[0][0].source)
    # Out here the traceback, which kept the failed batch's tensors alive, is gone.
    if failure is None:
        yield from _one_by_one(staged)
    elif len(pictures) == 1:
        yield Outcome(pictures[0][0], error=failure)
    else:
        for picture in pictures:
            yield from _cloak([picture], engine, mask, settings, on_begin)


def cloak_and_stage(
    pictures: Sequence[Loaded],
    engine: Engine,
    mask: Path | None = None,
    settings: str = "",
    on_step: OnStep | None = None,
) -> list[StagedFiles]:
    """Cloak pictures of one size together, and write everything under temporary names.

    Raises:
        LeftAlone: one of them is not to be cloaked.
        ValueError: one of them cannot be cloaked or written; then nothing is left of the others.
    """
    for job, artwork in pictures:
        if engine.settings.few_colours == "leave" and (few := what_is_few(artwork)) is not None:
            raise LeftAlone(f"{named(job.source)} is {few}: left alone, and not in the output.")
        options = engine.saving.for_file(artwork.format, job.target)
        check_saving(artwork, options.format, job.target)  # before the work, not after it
    cloaked = cloak_artworks([artwork for _, artwork in pictures], engine, mask, on_step)
    done: list[StagedFiles] = []
    try:
        for (job, _), picture in zip(pictures, cloaked, strict=True):
            done.append(stage(picture, job, engine.saving, engine.encoder, engine.metric, settings))
    except BaseException:
        for staged in done:
            staged.discard()
        raise
    return done


def _one_by_one(staged: list[StagedFiles]) -> Iterator[StagedFiles]:
    """Hand out staged files; those that nobody came for are removed."""
    try:
        while staged:
            yield staged.pop(0)
    finally:
        for left in staged:
            left.discard()


def _published(staged: StagedFiles, manifest: Manifest) -> Outcome:
    try:
        return Outcome(staged.job, staged.publish(manifest))
    except Exception as error:
        return Outcome(staged.job, error=sentence_of(error, staged.job.source))


def sentence_of(error: Exception, source: Path) -> str:
    """One sentence that names the source, and for an unknown error its kind."""
    known = isinstance(error, ValueError)
    sentence = str(error) if known else f"{type(error).__name__}: {error}"
    sentence = " ".join(sentence.split())
    return sentence if source.name in sentence else f"{named(source)}: {sentence}"
