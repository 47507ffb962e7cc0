"""A portfolio: one picture after another, so that a run may be stopped at any moment and go on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
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
from .saving import StagedFiles, WrittenPicture, write

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

    While pictures are cloaked, the next ones are read, and the last one is saved where
    :func:`_beside` says so.  One that fails costs no other.

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
    saving: deque[Outcome | Future[Outcome]] = deque()
    with (
        ThreadPoolExecutor(1, "reader") as reader,
        ThreadPoolExecutor(1, "saver") as saver,
        closing(_written(groups, reader, engine, mask, settings, on_begin)) as written,
    ):
        try:
            for made in written:
                if isinstance(made, Outcome):
                    saving.append(made)
                elif _beside(made):
                    saving.append(saver.submit(_saved, made, manifest))
                else:
                    yield from _told(saving)
                    saving.append(_saved(made, manifest))
                del made  # a large picture fills the memory
                yield from _told(saving, but=1)
        except KeyboardInterrupt:  # what is being saved will be there, so it is told
            yield from _told(saving)
            raise
        yield from _told(saving)


BESIDE = 16_000_000
"""Pixels: larger pictures are saved before the next one is begun, to spare the memory."""


def _beside(made: WrittenPicture) -> bool:
    """Whether a picture is saved while the next is cloaked: on a GPU, which the work of saving does
    not slow down, and unless it is large."""
    height, width = made.picture.original.shape[-2:]
    return made.encoder.device.type != "cpu" and height * width <= BESIDE


def _told(saving: deque[Outcome | Future[Outcome]], but: int = 0) -> Iterator[Outcome]:
    """What became of pictures, in their order: all that is known, and waiting for the rest but so
    many."""
    while saving and (len(saving) > but or isinstance(saving[0], Outcome)):
        first = saving[0]
        outcome = first if isinstance(first, Outcome) else first.result()
        saving.popleft()
        yield outcome


def _saved(made: WrittenPicture, manifest: Manifest) -> Outcome:
    """Save what is left to save of a picture, and let its files take their places."""
    job = made.staged.job
    try:
        return Outcome(job, made.complete().publish(manifest))
    except Exception as error:
        return Outcome(job, error=sentence_of(error, job.source))


def _written(
    groups: Sequence[Sequence[Job]],
    reader: Executor,
    engine: Engine,
    mask: Path | None,
    settings: str,
    on_begin: OnBegin | None,
) -> Generator[WrittenPicture | Outcome, None, None]:
    """Cloak and write group after group, while the next one is read."""
    ahead = [reader.submit(_load, group) for group in groups[:1]]
    for number in range(len(groups)):
        loaded = ahead.pop().result()
        ahead = [reader.submit(_load, group) for group in groups[number + 1 : number + 2]]
        for job, artwork in loaded:
            if isinstance(artwork, Exception):
                yield Outcome(job, error=sentence_of(artwork, job.source))
        for same_size in _by_size(loaded):
            yield from _cloak(same_size, engine, mask, settings, on_begin)
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
) -> Iterator[WrittenPicture | Outcome]:
    """Cloak pictures of one size together, and one by one where that fails: one picture must not
    take the others with it, nor must a batch that outgrows the memory."""
    failure: str | None = None
    on_step = on_begin(pictures[0][0]) if on_begin else None
    try:
        written = cloak_and_write(pictures, engine, mask, settings, on_step)
    except LeftAlone as left:
        if len(pictures) == 1:
            yield Outcome(pictures[0][0], left_alone=str(left))
            return
        failure = str(left)
    except Exception as error:
        failure = sentence_of(error, pictures[0][0].source)
    # Out here the traceback, which kept the failed batch's tensors alive, is gone.
    if failure is None:
        yield from _one_by_one(written)
    elif len(pictures) == 1:
        yield Outcome(pictures[0][0], error=failure)
    else:
        for picture in pictures:
            yield from _cloak([picture], engine, mask, settings, on_begin)


def cloak_and_stage(
    job: Job, artwork: Artwork, engine: Engine, mask: Path | None = None
) -> StagedFiles:
    """Cloak a picture, and write everything under temporary names.

    Raises:
        LeftAlone: it is not to be cloaked.
        ValueError: it cannot be cloaked or written.
    """
    (made,) = cloak_and_write([(job, artwork)], engine, mask, engine.fingerprint(mask))
    return made.complete()


def cloak_and_write(
    pictures: Sequence[Loaded],
    engine: Engine,
    mask: Path | None = None,
    settings: str = "",
    on_step: OnStep | None = None,
) -> list[WrittenPicture]:
    """Cloak pictures of one size together, and write and measure their files.

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
    done: list[WrittenPicture] = []
    try:
        for (job, _), picture in zip(pictures, cloaked, strict=True):
            done.append(write(picture, job, engine.saving, engine.encoder, engine.metric, settings))
    except BaseException:
        for made in done:
            made.staged.discard()
        raise
    return done


def _one_by_one(written: list[WrittenPicture]) -> Iterator[WrittenPicture]:
    """Hand out written pictures; those that nobody came for are removed."""
    try:
        while written:
            yield written.pop(0)
    finally:
        for left in written:
            left.staged.discard()


def sentence_of(error: Exception, source: Path) -> str:
    """One sentence that names the source, and for an unknown error its kind."""
    known = isinstance(error, ValueError)
    sentence = str(error) if known else f"{type(error).__name__}: {error}"
    sentence = " ".join(sentence.split())
    return sentence if source.name in sentence else f"{named(source)}: {sentence}"
