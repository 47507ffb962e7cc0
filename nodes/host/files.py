"""The host's folders: pictures to load, places to save to, style banks and VAE files."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import folder_paths

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
    names = (path.name for path in _entries(top) if path.suffix.lower() in SUFFIXES)
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
        within = sorted(path for one in within for path in _entries(one) if path.is_dir())
        yield from (path.relative_to(top).as_posix() for path in within)


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


def vae_names() -> list[str]:
    """VAE files of the host; others than .safetensors can run code when they are read."""
    names = folder_paths.get_filename_list("vae")
    return sorted(name for name in names if name.endswith(".safetensors"))


def vae_path(name: str) -> str:
    """The file of a VAE from :func:`vae_names`."""
    found: str = folder_paths.get_full_path_or_raise("vae", name)
    return found


def next_output(prefix: str, height: int, width: int) -> tuple[Path, str, int, str]:
    """Where the host would save next: the folder, the name, its number, and the folder's name below
    the output folder."""
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
        prefix, folder_paths.get_output_directory(), width, height
    )
    return Path(folder), name, counter, subfolder


def output_folder() -> Path:
    """The host's folder for results."""
    return Path(folder_paths.get_output_directory())


def temp_folder() -> Path:
    """The host's folder for what only the page needs, emptied at each start."""
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    return folder
