"""Which checkpoints can be cloaked against and redraw: told from their files' headers alone."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import folder_paths

_PARTS = (
    ("model.diffusion_model.",),
    ("first_stage_model.", "vae."),
    ("cond_stage_model.", "conditioner.", "text_encoders."),
)
"""What the names of weights begin with: of a generator, its VAE and its text encoder."""

_LARGEST_HEADER = 64 << 20  # bytes


def checkpoint_names() -> list[str]:
    """All checkpoints of the host, in its order."""
    found: list[str] = folder_paths.get_filename_list("checkpoints")
    return found


def fitting_checkpoints() -> list[str]:
    """Those with a generator, a VAE for pictures and a text encoder in one .safetensors file."""
    return [name for name in checkpoint_names() if _fits(name)]


def _fits(name: str) -> bool:
    if not name.endswith(".safetensors"):
        return False
    path = folder_paths.get_full_path("checkpoints", name)
    try:
        status = Path(path or name).stat()
        return _has_all_parts(Path(path or name), status.st_mtime_ns, status.st_size)
    except (OSError, ValueError):  # gone meanwhile, or no .safetensors file after all
        return False


@lru_cache(maxsize=256)
def _has_all_parts(path: Path, modified: int, size: int) -> bool:
    """Whether the file, as it was at this time and size, has all parts.

    Raises:
        ValueError: it is no .safetensors file.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(size, _LARGEST_HEADER):
            raise ValueError(f"{path.name} is no .safetensors file.")
        header = json.loads(file.read(length))
    keys = [key for key in header if key != "__metadata__"]
    of_a_film = any(len(header[key]["shape"]) == 5 for key in keys)
    return not of_a_film and all(any(k.startswith(part) for k in keys) for part in _PARTS)
