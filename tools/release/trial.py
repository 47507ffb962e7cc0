"""The built files alone, in a fresh environment, below a path with a space and an é."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .building import ReleaseError, built, run

FOLDER = "été à la mer"
POWERLESS = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]
"""Before a command of root's: then a file's permissions hold for root, too."""
PICTURE = "samples/harbour.png"


@contextmanager
def place(kept: Path | None) -> Iterator[Path]:
    """A folder whose path has spaces and letters beyond ASCII; removed afterwards unless named."""
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept
        return
    with tempfile.TemporaryDirectory() as top:
        (Path(top) / FOLDER).mkdir()
        yield Path(top) / FOLDER


def python_of(environment: Path) -> Path:
    """The interpreter of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def install(python: str, environment: Path) -> Path:
    """A fresh environment with the wheel and its extra ``embedded``; its interpreter."""
    wheel, _, _ = built()
    if not python_of(environment).exists():
        run(python, "-m", "venv", environment)
    inside = python_of(environment)
    run(inside, "-m", "pip", "install", "-q", f"comfy-glaze[embedded] @ {wheel.as_uri()}")
    return inside


def try_wheel(python: str, folder: Path) -> list[str]:
    """README's first command from the wheel; the program's folder can only be read.

    Raises:
        ReleaseError: something fails, or what is left is not what was asked for.
    """
    environment, work = folder / "venv", folder / "work"
    inside = install(python, environment)
    _, sdist, _ = built()
    (work / "samples").mkdir(parents=True, exist_ok=True)
    with tarfile.open(sdist) as tar:
        member = next(m for m in tar.getmembers() if m.name.endswith(f"/{PICTURE}"))
        found = tar.extractfile(member)
        assert found is not None
        (work / PICTURE).write_bytes(found.read())
    command = inside.with_name("comfy-glaze")
    with read_only(environment):
        as_user([command, "cloak", PICTURE, "--out", "cloaked"], work)
        said = as_user([command, "doctor", "--json"], work)
    report = json.loads((work / "cloaked-reports/harbour.png.glaze.json").read_text("utf-8"))
    if not (work / "cloaked/harbour.png").is_file() or not report["shift"]["512"] > 0.1:
        raise ReleaseError("README's first command left no cloaked picture.")
    version = run(inside, "-c", "import sys; print(sys.version.split()[0])").strip()
    wrong = [one["what"] for one in json.loads(said) if one["state"] == "wrong"]
    return [
        f"Python {version}, {environment.parent}: harbour.png cloaked, shift "
        f"{report['shift']['512']:.3f}; doctor finds wrong: {', '.join(wrong) or 'nothing'}."
    ]


def try_pack(host: Path, python: str, tests: list[str]) -> list[str]:
    """The app and the workflows from the registry pack, in a real ComfyUI.

    Args:
        host: a ComfyUI checkout.
        python: one that has its requirements, the pack's, pytest and playwright.
        tests: which of tests/host.

    Raises:
        ReleaseError: a test fails.
    """
    _, _, pack = built()
    environment = os.environ | {"COMFYUI_PATH": str(host), "COMFY_GLAZE_PACK": str(pack)}
    environment["COLUMNS"] = "300"  # so that pytest's last lines say why a test failed
    with place(None) as folder:
        words = [f"--basetemp={folder / 'hosts'}", *tests]
        said = run(python, "-m", "pytest", *words, env=environment)
    return [f"{host.name}: {said.strip().splitlines()[-1]}"]


@contextmanager
def read_only(program: Path) -> Iterator[None]:
    """Nobody may write into the program's folder."""
    files = [path for path in (program, *program.rglob("*")) if not path.is_symlink()]
    before = {path: path.stat().st_mode for path in files}
    for path, mode in before.items():
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in before.items():
            path.chmod(mode)


def as_user(words: list[Path | str], work: Path) -> str:
    """Run a command in a folder, with a home of its own, and no right to write elsewhere.

    Raises:
        ReleaseError: it fails.
    """
    home = work / "home"
    caches = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "TORCH_HOME", "HF_HOME")
    places = {"HOME": str(home)} | {name: str(home / name.lower()) for name in caches}
    home.mkdir(exist_ok=True)
    before = POWERLESS if os.name == "posix" and os.geteuid() == 0 else []
    command = [*before, *(str(word) for word in words)]
    done = subprocess.run(
        command, cwd=work, env=os.environ | places, capture_output=True, text=True
    )
    if done.returncode:
        raise ReleaseError(f"{words[0]} {words[1]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
