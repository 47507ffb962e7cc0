"""A real ComfyUI, with the pack as a clean copy and a small random checkpoint.

Set COMFYUI_PATH to a checkout whose requirements the running Python has; without it these tests
are skipped.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .checkpoint import write_checkpoint, write_style_bank
from .server import Server, start_server

ROOT = Path(__file__).parent.parent.parent
REGISTRY_PACK = os.environ.get("COMFY_GLAZE_PACK")
"""A zip as the registry delivers it, to be tried in place of the checkout's files."""
PACK_FOLDER = "ComfyUI-Glaze-test"  # unlike any name in the code, with a hyphen
if REGISTRY_PACK:
    PACK_FOLDER = "comfy-glaze"  # as the manager calls it
CHECKPOINT, STYLE_BANK = "small.safetensors", "small-bank.safetensors"


@pytest.fixture(autouse=True)
def _offline() -> None:
    """In place of the refusal that the other tests have: these talk to this computer only."""


@pytest.fixture(scope="session")
def host_path() -> Path:
    """The checkout."""
    named = os.environ.get("COMFYUI_PATH")
    if not named:
        pytest.skip("COMFYUI_PATH names no ComfyUI checkout")
    path = Path(named)
    assert (path / "main.py").is_file(), f"COMFYUI_PATH={path} is not a ComfyUI checkout."
    return path


def copy_pack(target: Path) -> None:
    """The pack's tracked files, and nothing that lies about beside them; or the registry's pack,
    in a folder that can only be read."""
    if REGISTRY_PACK:
        shutil.unpack_archive(REGISTRY_PACK, target)
        for path in (target, *target.rglob("*")):
            path.chmod(path.stat().st_mode & ~0o222)
        return
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)


def copy_probe(base: Path) -> None:
    """What looks into the host, in a custom node folder of its own."""
    look = base / "custom_nodes" / "probe" / "__init__.py"
    look.parent.mkdir()
    shutil.copyfile(Path(__file__).with_name("probe.py"), look)


@pytest.fixture(scope="session")
def host_base(host_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base folder for the host: pack, small checkpoint with a style bank, and the artworks."""
    base = tmp_path_factory.mktemp("host")
    copy_pack(base / "custom_nodes" / PACK_FOLDER)
    copy_probe(base)
    checkpoint = base / "models" / "checkpoints" / CHECKPOINT
    write_checkpoint(checkpoint)
    write_style_bank(base / "models" / "glaze_style_banks" / STYLE_BANK, checkpoint)
    for folder in ("input", "output", "user"):
        (base / folder).mkdir()
    for artwork in (ROOT / "samples").glob("*.png"):
        shutil.copyfile(artwork, base / "input" / artwork.name)
    return base


def free_port() -> int:
    with socket.socket() as probing:
        probing.bind(("127.0.0.1", 0))
        return int(probing.getsockname()[1])


@pytest.fixture(scope="session")
def server(host_path: Path, host_base: Path) -> Iterator[Server]:
    """The host, running."""
    running = start_server(host_path, host_base, free_port())
    yield running
    running.stop()
