"""Names of models, looked at before anything is loaded: on disk, on the hub, or mistyped."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from ..errors import first_line

_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".sft", ".gguf")
_SECONDS = 10  # for the hub to answer


def check_model_names(*names: str | None) -> None:
    """Refuse names that lead nowhere, at once.

    Args:
        names: ``embedded``, a folder, a file, or a hub id; None for one that is not given.

    Raises:
        ValueError: there is no such file, or the hub knows no such model or cannot be asked.
    """
    for name in dict.fromkeys(names):
        if name is None or name == "embedded" or os.path.exists(os.path.expanduser(name)):
            continue
        if is_hub_id(name):
            _check_on_hub(name)
        else:
            raise ValueError(f"Expected a model on disk, but there is no {name}{_similar(name)}.")


def is_hub_id(name: str) -> bool:
    """Whether a name that is no file can be an id, ``owner/model``, of the Hugging Face hub."""
    parts = name.split("/")
    paths = "\\" in name or name.startswith((".", "~", "/")) or Path(name).suffix in _SUFFIXES
    return len(parts) == 2 and all(parts) and not paths


def _similar(name: str) -> str:
    """The names nearby that look alike, to be read after a sentence."""
    path = Path(os.path.expanduser(name))
    try:
        beside = [one.name for one in path.parent.iterdir()]
    except OSError:
        return f" (nor a folder {path.parent})"
    near = difflib.get_close_matches(path.name, beside, n=3)
    return f"; in {path.parent} there is {', '.join(near)}" if near else ""


def _check_on_hub(name: str) -> None:
    """Ask once, and for a short time, for a model that is not on this machine yet."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        snapshot_download(name, local_files_only=True)
        return
    except (LocalEntryNotFoundError, OSError, ValueError):
        pass
    try:
        HfApi().model_info(name, timeout=_SECONDS)
    except HfHubHTTPError as error:
        code = getattr(error.response, "status_code", None)
        if code in (401, 403, 404):
            raise ValueError(
                f"Expected a model, but there is no {name} on this computer{_similar(name)}, and "
                "none on the Hugging Face hub that may be read without logging in."
            ) from error
        raise ValueError(_unreachable(name, error)) from error
    except Exception as error:  # whatever a connection trips over
        raise ValueError(_unreachable(name, error)) from error


def _unreachable(name: str, error: Exception) -> str:
    return (
        f"Expected a model, but there is no {name} on this computer{_similar(name)}, and the "
        f"Hugging Face hub cannot be asked for it: {first_line(error)}."
    )
