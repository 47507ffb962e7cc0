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
from ..comfy_glaze.files.formats import ArtworkError, output_format
from ..comfy_glaze.files.hashing import file_sha256
from ..comfy_glaze.portfolio.manifest import Manifest
from ..comfy_glaze.portfolio.outputs import (
    Job,
    job_of,
    plan_outputs,
    prepare_output_folder,
    reports_folder,
)
from ..comfy_glaze.portfolio.page import write_page
from ..comfy_glaze.portfolio.run import unchanged
from ..comfy_glaze.styles.memory import remembered_choice
from ..comfy_glaze.styles.works import WORKS_FOR_CENTROID, evenly, read_pictures
from .host.files import input_file, next_output
from .sockets import ChosenStyle

Graph = Mapping[str, Any]
"""A graph as the host runs it: nodes by their ids, each with its class_type and inputs."""

IMAGE, ARTWORK, WORKS = 0, 2, 3  # Load Artwork's outputs
_LOAD, _SAVE, _TARGET = "GlazeLoadArtwork", "GlazeSaveCloaked", "GlazeSelectTargetStyle"
_PLACE_ONLY = {(_SAVE, "filename_prefix"), (_SAVE, "resume")}

_tried: Counter[tuple[Path, str]] = Counter()
"""How often this process has begun a picture: one that fails lets the others go first."""


@dataclass(frozen=True, eq=False)
class Piece(Artwork):
    """A picture of a folder that resumes.

    Attributes:
        jobs: its job for each Save Cloaked that resumes, by that node's id.
        works: the names in the folder of the pictures that the target style is chosen from.
    """

    jobs: Mapping[str, Job] = field(default_factory=dict)
    works: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Place:
    """Where one Save Cloaked saves to, and what it has saved.

    Attributes:
        settings: what names everything that decides a picture but its source.
        jobs: by their sources.
        failures: a sentence about each source that has no place.
    """

    manifest: Manifest
    settings: str
    jobs: Mapping[Path, Job]
    failures: Sequence[str]


def links_to(graph: Graph, node: str, output: int) -> list[tuple[str, str]]:
    """The inputs that an output is wired to: ids of nodes, and names."""
    return [
        (name, key)
        for name, other in graph.items()
        for key, value in other["inputs"].items()
        if _is_link(value) and (value[0], value[1]) == (node, output)
    ]


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
    if savers and any(
        graph[name]["class_type"] == _TARGET for name, _ in links_to(graph, loader, IMAGE)
    ):
        raise ArtworkError(
            "With 'resume', pictures are loaded one by one: wire 'works' of Load Artwork, not "
            "'image', to the 'images' of Target Style, so that all of them decide."
        )
    return savers


def resumes(node: Mapping[str, Any]) -> bool:
    """Whether a node of a graph is a Save Cloaked that resumes."""
    return node["class_type"] == _SAVE and node["inputs"].get("resume") is True


def next_piece(
    source: Path,
    found: Sequence[tuple[Path, Path]],
    works: Sequence[str],
    graph: Graph,
    savers: Sequence[str],
) -> tuple[Piece | None, int]:
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
    places = {saver: _place_of(source, found, graph, saver) for saver in savers}
    failures = [sentence for place in places.values() for sentence in place.failures]
    waiting: list[tuple[int, Path]] = []
    for path, _ in found:
        todo = [one for one in places.values() if not _is_done(one, path)]
        if todo:
            waiting.append((max(_tried[path, one.settings] for one in todo), path))
    for _, path in sorted(waiting, key=lambda pair: pair[0]):  # stable: by name otherwise
        _tried.update((path, place.settings) for place in places.values())
        try:
            artwork = load_artwork(path)
        except ArtworkError as error:
            failures.append(str(error))
            continue
        parts = {part.name: getattr(artwork, part.name) for part in fields(artwork)}
        jobs = {saver: one.jobs[path] for saver, one in places.items() if path in one.jobs}
        for place in places.values():  # the style stays the same when pictures are added
            works = (place.manifest.run or {}).get("works") or works
        return Piece(**parts, jobs=jobs, works=tuple(works)), len(found) - len(waiting)
    for place in places.values():
        write_page(place.manifest.path.parent, place.manifest, failures)
    if failures:
        raise ArtworkError(f"{len(failures)} failed, the others are saved: {' '.join(failures)}")
    return None, len(found)


def _is_done(place: Place, source: Path) -> bool:
    job = place.jobs.get(source)
    return job is None or unchanged(job, place.manifest, place.settings)


def _place_of(source: Path, found: Sequence[tuple[Path, Path]], graph: Graph, saver: str) -> Place:
    """Read what a Save Cloaked has saved of a folder, and plan where the rest goes.

    Raises:
        ArtworkError: its prefix tells no folder and name, or the folder cannot be written to.
    """
    inputs = graph[saver]["inputs"]
    out, name = _out_of(inputs["filename_prefix"])
    prepare_output_folder([source], out)
    manifest = Manifest(reports_folder(out))
    renamed = [
        (path, relative.with_name(name.replace("%name%", relative.stem) + relative.suffix))
        for path, relative in found
    ]
    jobs: dict[Path, Job] = {}
    failures = []
    for path, target in plan_outputs(renamed, out, inputs["format"], manifest):
        if isinstance(target, ArtworkError):
            failures.append(str(target))
        else:
            jobs[path] = job_of(path, target, out)
    return Place(manifest, settings_of(graph, saver), jobs, failures)


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
                if _is_link(value):
                    parts[key] = [describe(value[0]), value[1]]
                elif isinstance(value, str) and (path := input_file(value)):
                    parts[key] = [value, file_sha256(path)]
                elif (kind, key) not in _PLACE_ONLY:
                    parts[key] = value
            if kind == _TARGET and isinstance(inputs.get("artist"), str):
                choice = remembered_choice(inputs["artist"]) if inputs["artist"].strip() else None
                parts["remembered"] = choice.target.style.name if choice else None
            text = json.dumps(parts, sort_keys=True, default=str)
            known[name] = hashlib.sha256(text.encode()).hexdigest()[:16]
        return known[name]

    return describe(saver)


@dataclass(frozen=True, eq=False)
class Spot:
    """Where a picture is saved, in which format, and how that is noted."""

    job: Job
    format: str
    manifest: Manifest | None = None
    settings: str = ""


def reserved(piece: Piece, saver: str, graph: Graph, chosen: ChosenStyle | None) -> Spot:
    """The place that a picture has in its folder.

    Raises:
        ArtworkError: the pictures that are saved already lead to another style.
    """
    job, settings = piece.jobs[saver], settings_of(graph, saver)
    manifest, style = manifest_of(job), chosen.target.style.name if chosen else None
    before = manifest.run or {}
    if before.get("settings") == settings and (other := before["target_style"]["name"]) != style:
        raise ArtworkError(
            f"The pictures that are saved already lead to {other}, this one to {style}: write one "
            "of these names into 'style' of Target Style."
        )
    manifest.begin(
        {
            "settings": settings,
            "style_seed": chosen.style_seed if chosen else None,
            "target_style": {
                "name": style,
                "distance": chosen.target.distance if chosen else None,
                "percentile": chosen.target.percentile if chosen else None,
            },
            "works": list(piece.works),
        }
    )
    format = output_format(graph[saver]["inputs"]["format"], piece.format, job.target)
    return Spot(job, format, manifest, settings)


def is_saved(piece: Piece, graph: Graph) -> bool:
    """Whether every Save Cloaked that resumes has saved a picture."""
    return all(
        unchanged(job, manifest_of(job), settings_of(graph, saver))
        for saver, job in piece.jobs.items()
    )


def manifest_of(job: Job) -> Manifest:
    """The manifest of the folder that a job saves to."""
    up = len(Path(job.name).parts)
    return Manifest(reports_folder(job.target.parents[up - 1]))


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
