"""Wheel, sdist and registry pack, built from the last commit; twice, to the same bytes."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).parents[2]
DIST = ROOT / "dist"
SUMS = "SHA256SUMS"


class ReleaseError(ValueError):
    """Something that keeps a release back, in one sentence."""


def run(*words: object, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """A command's standard output.

    Raises:
        ReleaseError: it fails; with the end of what it said.
    """
    command = [str(word) for word in words]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise ReleaseError(f"{' '.join(command)} failed:\n{said}")
    return done.stdout


def committed() -> list[str]:
    """The files of the last commit, by their names from the root."""
    return sorted(filter(None, run("git", "ls-tree", "-rz", "--name-only", "HEAD").split("\0")))


def in_pack() -> list[str]:
    """Those that the registry pack has: all that ``.comfyignore`` does not leave out."""
    lines = (ROOT / ".comfyignore").read_text("utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    return [name for name in committed() if not any(_matches(name, one) for one in patterns)]


def _matches(name: str, pattern: str) -> bool:
    if pattern.endswith("/"):
        return name.startswith(pattern)
    return fnmatch.fnmatchcase(name, pattern) and name.count("/") == pattern.count("/")


def build() -> list[Path]:
    """Build everything twice and keep it in ``dist``, with ``SHA256SUMS``.

    The last commit counts, and not what lies beside it.

    Raises:
        ReleaseError: a tool fails, or the two builds differ.
    """
    DIST.mkdir(exist_ok=True)
    for old in DIST.iterdir():
        old.unlink()
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        made, again = _build_in(Path(first)), _build_in(Path(second))
        different = [
            path.name for path in made if _sha256(path) != _sha256(again[0].parent / path.name)
        ]
        if different:
            raise ReleaseError(f"Two builds of one commit differ in {', '.join(different)}.")
        kept = []
        for path in made:
            kept.append(DIST / path.name)
            kept[-1].write_bytes(path.read_bytes())
    sums = "".join(f"{_sha256(path)}  {path.name}\n" for path in kept)
    (DIST / SUMS).write_text(sums, encoding="utf-8")
    return kept


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _build_in(folder: Path) -> list[Path]:
    source, out = folder / "source", folder / "out"
    archive = subprocess.run(
        ["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True
    ).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(source, filter="data")
    stamp = run("git", "log", "-1", "--format=%ct").strip()
    environment = os.environ | {"SOURCE_DATE_EPOCH": stamp}
    run(sys.executable, "-m", "build", "--outdir", out, source, env=environment)
    wheel = next(out.glob("*.whl"))
    pack = out / f"{wheel.name.split('-')[0]}-{wheel.name.split('-')[1]}-registry.zip"
    write_pack(source, pack)
    return sorted(out.iterdir())


def write_pack(source: Path, pack: Path) -> None:
    """The zip that the registry unpacks into ``custom_nodes``, the same for the same files."""
    with zipfile.ZipFile(pack, "w", zipfile.ZIP_DEFLATED) as file:
        for name in in_pack():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            file.writestr(entry, (source / name).read_bytes())


def built() -> tuple[Path, Path, Path]:
    """Wheel, sdist and registry pack as ``build`` left them.

    Raises:
        ReleaseError: one is missing, or is not as it was built.
    """
    try:
        lines = (DIST / SUMS).read_text("utf-8").splitlines()
    except OSError:
        raise ReleaseError(f"Expected {DIST / SUMS}, but there is none: build first.") from None
    for line in lines:
        digest, _, name = line.partition("  ")
        if not (DIST / name).is_file() or _sha256(DIST / name) != digest:
            raise ReleaseError(f"{name} is not as it was built: build again.")
    (wheel,), (sdist,), (pack,) = (
        list(DIST.glob(pattern)) for pattern in ("*.whl", "*.tar.gz", "*-registry.zip")
    )
    return wheel, sdist, pack
