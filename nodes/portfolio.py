"""A folder that resumes: one picture in each run of the graph, and the run again for the next.

The host runs a list node by node, so that all pictures of a folder would be cloaked before the
first is saved, and all be in memory.  So under Save Cloaked's 'resume' Load Artwork gives the
first picture only that is not saved yet with these settings, and Save Cloaked, once it is saved and
noted in the manifest, puts the graph into the queue again.  A run that ends in any way loses
the picture in hand.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from ..comfy_glaze.files.artwork import Artwork, load_artwork
from ..comfy_glaze.files.formats import ArtworkError
from ..comfy_glaze.files.hashing import file_sha256
from ..comfy_glaze.files.options import SaveOptions
from ..comfy_glaze.portfolio.manifest import Manifest
from ..comfy_glaze.portfolio.outputs import (
    Job,
    open_output_folder,
    plan_outputs,
    reports_folder,
    unchanged,
)
from ..comfy_glaze.portfolio.page import write_page
from ..comfy_glaze.styles.memory import remembered_choice
from ..comfy_glaze.styles.target import TargetStyle
from ..comfy_glaze.styles.works import (
    WORKS_FOR_CENTROID,
    evenly,
    read_pictures,
)
from .host.files import input_file, next_output
from .wiring import Graph, is_link, links_to

IMAGE, ARTWORK, WORKS = 0, 2, 3  # Load Artwork's outputs
_LOAD, _SAVE = "GlazeLoadArtwork", "GlazeSaveCloaked"
_TARGET, _GLAZE = "GlazeSelectTargetStyle", "GlazeCloakPicture"
_PLACE_ONLY = {(_SAVE, "filename_prefix"), (_SAVE, "resume")}

_tried: Counter[tuple[Path, str]] = Counter()
"""How often this process has begun a picture: one that fails lets the others go first."""


@dataclass(frozen=True, eq=False)
class FolderArtwork(Artwork):
    """A picture as Load Artwork gives it.

    Attributes:
        jobs: its job for each Save Cloaked that resumes, by that node's id.
        works: the names in the folder of the pictures that the target style is chosen from.
        notes: sentences about the folder, to be read where its pictures are saved.
    """

    jobs: Mapping[str, Job] = field(default_factory=dict)
    works: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, artwork: Artwork, **more: Any) -> FolderArtwork:
        """The artwork, with the attributes of this class in ``more``."""
        return cls(**{part.name: getattr(artwork, part.name) for part in fields(artwork)}, **more)


@dataclass(frozen=True, eq=False)
class SaverState:
    """Where one Save Cloaked saves a folder to, and what it has saved.

    Attributes:
        settings: what names everything that decides a picture but its source.
        jobs: by their sources.
        failures: a sentence about each source that has no state.
    """

    manifest: Manifest
    settings: str
    jobs: Mapping[Path, Job]
    failures: Sequence[str]


def resuming(graph: Graph, loader: str) -> list[str]:
    """The ids of each Save Cloaked that resumes and has this Load Artwork's artwork.

    Raises:
        ArtworkError: each picture would be judged on its own when the target style is chosen.
    """
    savers = [
        name
        for name, key in links_to(graph, loader, ARTWORK)
        if key == "artwork" and resumes(graph[name])
    ]
    shown = [graph[name] for name, _ in links_to(graph, loader, IMAGE)] if savers else []
    if any(node["class_type"] == _TARGET for node in shown):
        raise ArtworkError(
            "With 'resume', pictures are loaded one by one: wire 'works' of Load Artwork, not "
            "'image', to the 'images' of Target Style, so that all of them decide."
        )
    if any(node["class_type"] == _GLAZE and _chooses_anew(node["inputs"]) for node in shown):
        raise ArtworkError(
            "With 'resume', pictures are loaded one by one, and Glaze would choose a style for "
            "each: give it a name under 'artist', or a style."
        )
    return savers


def _chooses_anew(inputs: Mapping[str, Any]) -> bool:
    """Whether a node Glaze chooses a style and does not remember it."""
    return inputs.get("style") in ("", "auto") and inputs.get("artist") == ""


def resumes(node: Mapping[str, Any]) -> bool:
    """Whether a node of a graph is a Save Cloaked that resumes."""
    return saves(node) and node["inputs"].get("resume") is True


def saves(node: Mapping[str, Any]) -> bool:
    """Whether a node of a graph is a Save Cloaked."""
    return bool(node["class_type"] == _SAVE)


def next_artwork(
    source: Path,
    found: Sequence[tuple[Path, Path]],
    works: Sequence[str],
    graph: Graph,
    savers: Sequence[str],
) -> tuple[FolderArtwork | None, int]:
    """The next picture that is not saved yet, and how many are; None once there is none.

    Then the page of the portfolio is written.

    Args:
        source: the folder, or the one picture.
        found: its pictures that are to be cloaked, and their names in it.
        works: names of those that the target style is chosen from, until the manifest tells them.
        savers: from :func:`resuming`.

    Raises:
        ArtworkError: everything else is saved, but some pictures failed; or nothing can be.
    """
    states = {saver: _state_of(source, found, graph, saver) for saver in savers}
    failures = [sentence for state in states.values() for sentence in state.failures]
    waiting: list[tuple[int, Path]] = []
    for path, _ in found:
        todo = [one for one in states.values() if not _is_done(one, path)]
        if todo:
            waiting.append((max(_tried[path, one.settings] for one in todo), path))
    for _, path in sorted(waiting, key=lambda pair: pair[0]):  # stable: by name otherwise
        _tried.update((path, state.settings) for state in states.values())
        try:
            artwork = load_artwork(path)
        except ArtworkError as error:
            failures.append(str(error))
            continue
        jobs = {saver: one.jobs[path] for saver, one in states.items() if path in one.jobs}
        for state in states.values():  # the style stays the same when pictures are added
            works = (state.manifest.run or {}).get("works") or works
        done = len(found) - len(waiting)
        return FolderArtwork.of(artwork, jobs=jobs, works=tuple(works)), done
    for state in states.values():
        write_page(state.manifest.path.parent, state.manifest, failures)
    if failures:
        raise ArtworkError(f"{len(failures)} failed, the others are saved: {' '.join(failures)}")
    return None, len(found)


def _is_done(state: SaverState, source: Path) -> bool:
    job = state.jobs.get(source)
    return job is None or unchanged(job, state.manifest, state.settings)


def _state_of(
    source: Path, found: Sequence[tuple[Path, Path]], graph: Graph, saver: str
) -> SaverState:
    """Read what a Save Cloaked has saved of a folder, and plan where the rest goes.

    Raises:
        ArtworkError: its prefix tells no folder and name, or the folder cannot be written to.
    """
    inputs = graph[saver]["inputs"]
    out, name = _out_of(inputs["filename_prefix"])
    manifest = open_output_folder([source], out)
    renamed = [
        (path, relative.with_name(name.replace("%name%", relative.stem) + relative.suffix))
        for path, relative in found
    ]
    jobs, failures = plan_outputs(renamed, out, inputs["format"], manifest)
    settings = settings_of(graph, saver)
    return SaverState(manifest, settings, {job.source: job for job in jobs}, failures)


def _out_of(prefix: str) -> tuple[Path, str]:
    """The folder that a prefix names, and the pattern of the names in it."""
    folder, _, name = prefix.rpartition("/")
    if not folder.strip("/. ") or "%name%" not in name or "%name%" in folder:
        raise ArtworkError(
            "With 'resume', filename_prefix must be a folder and a name with %name% in it, as in "
            f"cloaked/%name%, but it is {prefix!a:.80}."
        )
    return next_output(f"{folder}/picture", 0, 0)[0], name


def works_in(found: Sequence[tuple[Path, Path]]) -> list[str]:
    """The names of pictures from all of a folder that say what an artist's own style is."""
    return [relative.as_posix() for _, relative in evenly(found, WORKS_FOR_CENTROID)]


def works_named(found: Sequence[tuple[Path, Path]], names: Sequence[str]) -> list[Tensor]:
    """The named pictures of a folder, as small as the choice of a style looks at them."""
    chosen = [path for path, relative in found if relative.as_posix() in names]
    return _small(tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in chosen))


@lru_cache(maxsize=1)  # the same for every picture of a folder
def _small(files: tuple[tuple[Path, int, int], ...]) -> list[Tensor]:
    return read_pictures([path for path, *_ in files])


def settings_of(graph: Graph, saver: str) -> str:
    """Sixteen hex digits that name everything that decides a saved picture but its source.

    That is the graph behind a Save Cloaked: nodes and widgets, the bytes of files that they name
    in the input folder, and the style that is remembered for an artist.  Models count by name.
    """
    loader = graph[saver]["inputs"]["artwork"][0]
    known: dict[str, str] = {loader: _LOAD}

    def describe(name: str) -> str:
        if name not in known:
            node = graph[name]
            kind, inputs = node["class_type"], node["inputs"]
            parts: dict[str, Any] = {"": kind}
            for key, value in inputs.items():
                if is_link(value):
                    parts[key] = [describe(value[0]), value[1]]
                elif isinstance(value, str) and (path := input_file(value)):
                    parts[key] = [value, file_sha256(path)]
                elif (kind, key) not in _PLACE_ONLY:
                    parts[key] = value
            if kind in (_TARGET, _GLAZE) and isinstance(inputs.get("artist"), str):
                choice = remembered_choice(inputs["artist"]) if inputs["artist"].strip() else None
                parts["remembered"] = choice.target.style.name if choice else None
            text = json.dumps(parts, sort_keys=True, default=str)
            known[name] = hashlib.sha256(text.encode()).hexdigest()[:16]
        return known[name]

    return describe(saver)


@dataclass(frozen=True, eq=False)
class Destination:
    """Where a picture is saved, how, and what the manifest says of it."""

    job: Job
    options: SaveOptions
    manifest: Manifest | None = None
    settings: str = ""


def reserved(
    artwork: FolderArtwork,
    options: SaveOptions,
    saver: str,
    graph: Graph,
    target: TargetStyle | None,
) -> Destination:
    """The place that a picture has in its folder.

    Raises:
        ArtworkError: the pictures that are saved already lead to another style.
    """
    job, settings = artwork.jobs[saver], settings_of(graph, saver)
    manifest, style = manifest_of(job), target.style.name if target else None
    before = manifest.run or {}
    if before.get("settings") == settings and (other := before["target_style"]["name"]) != style:
        raise ArtworkError(
            f"The pictures that are saved already lead to {other}, this one to {style}: write one "
            "of these names into 'style' of Target Style."
        )
    manifest.begin(
        {
            "settings": settings,
            "style_seed": target.seed if target else None,
            "target_style": {
                "name": style,
                "distance": target.distance if target else None,
                "percentile": target.percentile if target else None,
            },
            "works": list(artwork.works),
        }
    )
    return Destination(job, options.for_file(artwork.format, job.target), manifest, settings)


def is_saved(artwork: FolderArtwork, graph: Graph) -> bool:
    """Whether every Save Cloaked that resumes has saved a picture."""
    return all(
        unchanged(job, manifest_of(job), settings_of(graph, saver))
        for saver, job in artwork.jobs.items()
    )


def manifest_of(job: Job) -> Manifest:
    """The manifest of the folder that a job saves to."""
    up = len(Path(job.name).parts)
    return Manifest(reports_folder(job.target.parents[up - 1]))
