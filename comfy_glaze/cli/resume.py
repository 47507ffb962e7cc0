"""``--resume`` with nothing to do: told from hashes alone, so that no network is loaded.

A run notes in its manifest what was asked for.  A later run that asks for the same, and finds every
picture as the manifest says, has nothing to do.  Where anything differs, the models are loaded and
each picture is looked at as usual.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..files.hashing import file_sha256
from ..files.places import config_folder

if TYPE_CHECKING:
    from ..portfolio.manifest import Manifest
    from ..portfolio.outputs import Job

_DECIDE_NO_BYTES = frozenset(
    {
        "sources",
        "out",
        "exclude",
        "resume",
        "outdated",
        "shard",
        "batch",
        "jobs",
        "cluster",
        "device",
        "strict",
        "quiet",
        "as_json",
        "dry_run",
    }
)


def asked_for(parameters: Mapping[str, Any]) -> str:
    """Sixteen hex digits that name what a command was asked for, its files included.

    Model files count by size and time.  A model of the hub counts by the version that is on disk.
    """
    options = {key: value for key, value in parameters.items() if key not in _DECIDE_NO_BYTES}
    words = [str(word) for value in options.values() for word in _each(value)]
    parts = {
        "version": __version__,
        "options": options,
        "files": {word: _state(word) for word in words if word},
        "remembered": _artists() if options.get("artist") else None,
        "trunks": sorted(path.name for path in _torch_hub().glob("*.pth")),
    }
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def nothing_to_do(jobs: Sequence[Job], manifest: Manifest, asked: str) -> bool:
    """Whether an earlier run was asked for the same and all of its pictures are as it made them."""
    from ..portfolio.outputs import unchanged

    run = manifest.run or {}
    if not jobs or run.get("asked") != asked:
        return False
    settings = {manifest.entries.get(job.name, {}).get("settings") for job in jobs}
    if len(settings) != 1 or run.get("settings") not in settings:
        return False
    return all(unchanged(job, manifest, run["settings"]) for job in jobs)


def asked_of_poison(parameters: Mapping[str, Any], found: Sequence[tuple[Path, Path]]) -> str:
    """:func:`asked_for`, with the pictures and the texts beside them, which decide what of them is
    poisoned."""
    inputs = [
        (name.as_posix(), file_sha256(source), file_sha256(source.with_suffix(".txt")))
        for source, name in found
    ]
    return asked_for({**parameters, "inputs": str(inputs)})


def poisoned_before(
    found: Sequence[tuple[Path, Path]], out: Path, manifest: Manifest, asked: str
) -> list[Job] | None:
    """The jobs of an earlier run that was asked for the same, if all of its pictures and captions
    are as it made them; else None."""
    from ..portfolio.outputs import caption_file, job_of

    run = manifest.run or {}
    jobs: list[Job] = []
    if run.get("asked") != asked:
        return None
    sources = {str(source): source for source, _ in found}
    for name in run.get("pictures", ()):
        entry = manifest.entries.get(name, {})
        source = sources.get(entry.get("source", {}).get("file", ""))
        text = caption_file(out / name)
        if source is None or file_sha256(text) != (entry.get("caption") or {}).get("sha256"):
            return None
        caption = text.read_text("utf-8").removesuffix("\n")
        jobs.append(job_of(source, out / name, out, caption))
    return jobs if nothing_to_do(jobs, manifest, asked) else None


def _each(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else (value,)


def _state(word: str) -> Any:
    """What a word of the command stands for on disk; None where it is no name of a file."""
    path = Path(word).expanduser()
    try:
        if path.is_dir():
            return sorted(
                (str(one.relative_to(path)), one.stat().st_size, one.stat().st_mtime_ns)
                for one in path.rglob("*")
                if one.is_file()
            )
        if path.is_file():
            small = path.stat().st_size < 2**26
            return file_sha256(path) if small else [path.stat().st_size, path.stat().st_mtime_ns]
        if word.count("/") == 1:
            folder = _hub() / f"models--{word.replace('/', '--')}" / "refs"
            return {ref.name: ref.read_text("utf-8") for ref in folder.glob("*")}
    except (OSError, ValueError):
        pass
    return None


def _artists() -> str | None:
    return file_sha256(config_folder() / "target-styles.json")


def _hub() -> Path:
    """Where the Hugging Face hub keeps models, as its documentation says."""
    home = os.environ.get("HF_HOME", str(_cache() / "huggingface"))
    return Path(os.environ.get("HF_HUB_CACHE", str(Path(home) / "hub"))).expanduser()


def _torch_hub() -> Path:
    """Where the PyTorch hub keeps weights, as its documentation says."""
    home = os.environ.get("TORCH_HOME", str(_cache() / "torch"))
    return Path(home).expanduser() / "hub" / "checkpoints"


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"))
