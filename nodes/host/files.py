"""The host's folders: pictures to load, places to save to, style banks and VAE files."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import folder_paths

from ...comfy_glaze.files.finding import find_artworks
from ...comfy_glaze.files.formats import SUFFIXES, ArtworkError

STYLE_BANKS = "glaze_style_banks"
folder_paths.add_model_folder_path(
    STYLE_BANKS, os.path.join(folder_paths.models_dir, STYLE_BANKS), is_default=True
)

JUDGES = "glaze_judges"

IN_OUTPUT = " (output)"
"""Marks folders of the output folder.  Not the host's own ``[output]``: the newest pages look for
such a value among the pictures that they have seen, find no folder, and paint the node red."""


SAMPLES = {"glaze-sample-harbour.png": "harbour.png", "glaze-sample-ink.png": "ink.png"}
"""Pictures that come along, under their names in the input folder: a painting is the first."""


def offer_samples() -> None:
    """Put the pictures that come along into the input folder, where they are not there."""
    top = Path(folder_paths.get_input_directory())
    for name, sample in SAMPLES.items():
        staged = top / f".{name}.{os.getpid()}"
        try:
            if not (top / name).exists():
                shutil.copyfile(Path(__file__).parents[2] / "samples" / sample, staged)
                staged.replace(top / name)
        except OSError as error:  # a folder that cannot be written to, a pack without its samples
            logging.warning("Glaze: the sample %s could not be put into input: %s", name, error)


def picture_sources() -> list[str]:
    """What can be loaded: pictures in the input folder, and folders in input and output.

    What comes along is first.  Folders end with a slash; those of the output folder carry
    :data:`IN_OUTPUT`.
    """
    top = Path(folder_paths.get_input_directory())
    names = (
        path.name
        for path in _entries(top)
        if path.suffix.lower() in SUFFIXES and not is_painted(path)
    )
    pictures = sorted(names, key=lambda name: (name not in SAMPLES, name))
    folders = [f"{name}/" for name in _folders(top)]
    made = [f"{name}/{IN_OUTPUT}" for name in _folders(Path(folder_paths.get_output_directory()))]
    return [*pictures, *folders, *made]


def _entries(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def _folders(top: Path, depth: int = 2) -> Iterator[str]:
    """The folder itself as a dot, then those inside it, as relative names."""
    yield "."
    within = [top]
    for _ in range(depth):
        inside = (path for one in within for path in _entries(one) if path.is_dir())
        within = sorted(path for path in inside if not _is_none_of_the_artists(path))
        yield from (path.relative_to(top).as_posix() for path in within)


def _is_none_of_the_artists(folder: Path) -> bool:
    """Whether a folder holds no artworks but what the page's mask editor or our reports left."""
    if folder == _clipspace():
        return True
    if not folder.name.endswith("-reports"):
        return False
    return any(path.name.endswith((".glaze.json", "manifest.jsonl")) for path in _entries(folder))


def _clipspace() -> Path:
    return Path(folder_paths.get_input_directory(), "clipspace")


_PAINTED = re.compile(r"clipspace-(mask|paint|painted|painted-masked)-\d+( \(\d+\))?\.png")


def is_painted(path: Path) -> bool:
    """Whether a file comes from the page's mask editor: its alpha is what was painted, and the
    picture below has no transparency of its own.

    Older pages save into a folder, clipspace; newer ones beside the artist's own pictures."""
    found, clipspace = path.resolve(), _clipspace().resolve()
    beside = found.parent == clipspace.parent and _PAINTED.fullmatch(found.name) is not None
    return beside or found.is_relative_to(clipspace)


def artworks_in(source: str) -> list[tuple[Path, Path]]:
    """The pictures of a source, with their names in it; what is none of the artist's is left out.

    Raises:
        ArtworkError: there are none.
    """
    top = source_path(source)
    found = find_artworks([top])
    strange = {
        folder: _is_none_of_the_artists(folder)
        for folder in {top / parent for _, name in found for parent in name.parents}
        if folder != top
    }
    kept = [
        (path, name)
        for path, name in found
        if not any(strange.get(top / parent, False) for parent in name.parents)
        and (path == top or not is_painted(path))
    ]
    if not kept:
        raise ArtworkError(f"{source}: expected pictures in it, but there are only reports.")
    return kept


@contextmanager
def told_by_names() -> Iterator[None]:
    """Let errors about files name them below the host's folders, and not from the disk's root."""
    try:
        yield
    except ValueError as error:
        text = str(error)
        kept = (folder_paths.get_input_directory(), output_folder(), folder_paths.models_dir)
        for folder in kept:
            for top in {Path(folder), Path(folder).resolve()}:
                text = text.replace(f"{top}{os.sep}", "").replace(str(top), top.name)
        raise ValueError(text) from error


def source_path(source: str) -> Path:
    """The file or folder that a source means.

    Raises:
        ArtworkError: there is none, or it lies outside the host's folders.
    """
    if source.endswith(IN_OUTPUT):
        name, folder = source.removesuffix(IN_OUTPUT), folder_paths.get_output_directory()
    else:
        name, folder = folder_paths.annotated_filepath(source)
    top = Path(folder or folder_paths.get_input_directory()).resolve()
    path = Path(top, name.strip()).resolve()
    if not path.is_relative_to(top):
        raise ArtworkError(f"{source}: expected a picture or folder inside {top.name}.")
    if not path.exists():
        raise ArtworkError(f"{source}: expected a picture or folder in {top.name}, but got none.")
    return path


def input_file(name: str) -> Path | None:
    """The file of the input folder that a widget's text names, if it names one."""
    top = Path(folder_paths.get_input_directory()).resolve()
    try:
        path = Path(top, folder_paths.annotated_filepath(name)[0]).resolve()
        return path if path.is_relative_to(top) and path.is_file() else None
    except (OSError, ValueError):  # a long text, or one with a null in it
        return None


def style_bank_names() -> list[str]:
    """Style bank files under models/glaze_style_banks."""
    names = folder_paths.get_filename_list(STYLE_BANKS)
    return sorted(name for name in names if name.endswith(".safetensors"))


def style_bank_path(name: str) -> Path:
    """The file of a bank from :func:`style_bank_names`."""
    return Path(folder_paths.get_full_path_or_raise(STYLE_BANKS, name))


def judge_names() -> list[str]:
    """What can name genres under models/glaze_judges: folders of a CLIP, and style probe files."""
    found = _entries(Path(folder_paths.models_dir, JUDGES))
    folders = [path.name for path in found if (path / "config.json").is_file()]
    return sorted(folders) + sorted(p.name for p in found if p.suffix == ".safetensors")


def judge_path(name: str) -> Path:
    """The folder or file of a judge.

    Raises:
        ArtworkError: none of :func:`judge_names`.
    """
    if name not in judge_names():
        raise ArtworkError(f"Expected a judge in models/{JUDGES}, but {name!a:.60} is none.")
    return Path(folder_paths.models_dir, JUDGES, name)


def picture_folders() -> list[str]:
    """Those of :func:`picture_sources` that are folders."""
    return [source for source in picture_sources() if source.removesuffix(IN_OUTPUT)[-1] == "/"]


def new_style_bank(name: str) -> Path:
    """Where a bank of this name goes, under models/glaze_style_banks.

    Raises:
        ArtworkError: the name would lead elsewhere.
    """
    if not name.isprintable() or name != Path(name).name or name in ("", ".", ".."):
        raise ArtworkError(f"Expected a plain name for the style bank, but got {name!a:.60}.")
    return Path(folder_paths.models_dir, STYLE_BANKS, f"{name}.safetensors")


_VAE_FOLDERS = ("vae", "vae_approx")


def vae_names() -> list[str]:
    """VAE files of the host, and small encoders from models/vae_approx; others than .safetensors
    can run code when they are read."""
    names = {name for folder in _VAE_FOLDERS for name in folder_paths.get_filename_list(folder)}
    return sorted(name for name in names if name.endswith(".safetensors") and "decoder" not in name)


def vae_path(name: str) -> str:
    """The file of a VAE from :func:`vae_names`."""
    paths = (folder_paths.get_full_path(folder, name) for folder in _VAE_FOLDERS)
    found: str | None = next(filter(None, paths), None)
    return found or folder_paths.get_full_path_or_raise("vae", name)


def next_output(prefix: str, height: int, width: int) -> tuple[Path, str, int, str]:
    """Where the host would save next: the folder, the name, its number, and the folder's name below
    the output folder."""
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
        prefix, folder_paths.get_output_directory(), width, height
    )
    return Path(folder), name, counter, subfolder


def check_output(prefix: str) -> None:
    """Whether files can be saved under a prefix, as far as that can be told before the work.

    Raises:
        ArtworkError: it leads out of the output folder, a file stands where a folder should be, or
            that folder cannot be written to.
    """
    top = output_folder().resolve()
    folder = Path(os.path.normpath(top / os.path.dirname(os.path.normpath(prefix))))
    if not folder.is_relative_to(top):
        raise ArtworkError(
            f"filename_prefix must lead into ComfyUI's output folder, but {prefix!a:.80} leads out "
            "of it."
        )
    for place in (folder, reports_beside(folder)):
        while "%" in place.name or not os.path.lexists(place):  # is made when a file is saved
            if place == top:
                break
            place = place.parent
        shown = place.relative_to(top).as_posix() if place.is_relative_to(top) else place.name
        if place.exists() and not place.is_dir():
            raise ArtworkError(
                f"filename_prefix needs a folder called {shown} in ComfyUI's output folder, but a "
                "file has that name."
            )
        if place.exists() and not os.access(place, os.W_OK):
            raise ArtworkError(
                f"filename_prefix leads to the folder {shown}, which cannot be written to."
            )


def reports_beside(folder: Path) -> Path:
    """The sibling of a folder of pictures, so that the latter can be published as it is; inside the
    output folder itself where the pictures go there directly."""
    if folder.resolve() == output_folder().resolve():
        return folder / "glaze-reports"
    return folder.with_name(f"{folder.name}-reports")


def output_folder() -> Path:
    """The host's folder for results."""
    return Path(folder_paths.get_output_directory())


def temp_folder() -> Path:
    """The host's folder for what only the page needs, emptied at each start."""
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    return folder
