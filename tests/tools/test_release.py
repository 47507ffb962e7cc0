"""What keeps a release back, without building one: contents, version, licences, the small texts."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from tools.release import bill, building, contents, version
from tools.release.building import ReleaseError

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    not (ROOT / ".git").exists() or shutil.which("git") is None, reason="needs the git checkout"
)
WHEEL = "comfy_glaze-1.0-py3-none-any.whl"


@pytest.fixture
def dist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Archives of empty files, as a build of the last commit would name them."""
    monkeypatch.setattr(building, "DIST", tmp_path)
    (tmp_path / building.SUMS).write_text("")
    names = {path: "" for path in (WHEEL, "comfy_glaze-1.0.tar.gz", "comfy_glaze-1.0-registry.zip")}
    for name in names:
        (tmp_path / name).write_bytes(b"")
    for kind, wanted in contents.expected().items():
        write(tmp_path, kind, wanted)
    return tmp_path


def write(folder: Path, kind: str, names: list[str]) -> None:
    if kind == "sdist":
        with tarfile.open(folder / "comfy_glaze-1.0.tar.gz", "w:gz") as tar:
            for name in names:
                tar.addfile(tarfile.TarInfo(f"comfy_glaze-1.0/{name}"), BytesIO())
        return
    path = folder / (WHEEL if kind == "wheel" else "comfy_glaze-1.0-registry.zip")
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, b"")


def test_archives_hold_what_they_must_and_nothing_else(dist: Path) -> None:
    told = contents.check()
    assert len([line for line in told if "as it must be" in line]) == 3
    for kind, strange in (("wheel", "notes.txt"), ("sdist", "secret.pem"), ("pack", "tests/x.py")):
        wanted = contents.expected()[kind]
        write(dist, kind, [*wanted, strange])
        with pytest.raises(ReleaseError, match=f"The {kind} lacks nothing.*{re.escape(strange)}"):
            contents.check()
        write(dist, kind, wanted[1:])
        with pytest.raises(ReleaseError, match=f"The {kind} lacks {re.escape(wanted[0])}"):
            contents.check()
        write(dist, kind, wanted)


def test_the_registry_pack_has_all_that_comfyui_loads() -> None:
    pack = building.in_pack()
    for name in ("__init__.py", "nodes/entry.py", "samples/harbour.png", "requirements.txt"):
        assert name in pack
    assert {name for name in pack if name.startswith("workflows/")} == {
        name for name in building.committed() if name.startswith("workflows/")
    }
    assert not [name for name in pack if name.startswith(("tests/", "training/", "tools/", ".ci"))]


def test_a_changed_archive_is_noticed(dist: Path) -> None:
    (dist / building.SUMS).write_text(f"{'0' * 64}  {WHEEL}\n")
    with pytest.raises(ReleaseError, match="build again"):
        building.built()


def test_a_pack_is_the_same_for_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "in_pack", lambda: ["a.txt", "b/c.txt"])
    packs = []
    for copy in range(2):
        source = tmp_path / str(copy)
        (source / "b").mkdir(parents=True)
        (source / "a.txt").write_text("a")
        (source / "b/c.txt").write_text("c")
        (source / "a.txt").chmod(0o600 if copy else 0o644)
        building.write_pack(source, tmp_path / f"{copy}.zip")
        packs.append((tmp_path / f"{copy}.zip").read_bytes())
    assert packs[0] == packs[1]


def test_a_version_is_written_everywhere_and_dated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "comfy_glaze").mkdir()
    for name in (*version.PLACES, "CHANGELOG.md"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    monkeypatch.setattr(version, "ROOT", tmp_path)
    version.begin("9.1.0")
    with pytest.raises(ReleaseError, match=r"already"):
        version.begin("9.1.0")
    for wrong in ("nine", "0.0.1", "9.2.0"):  # none, earlier, not in the changelog
        with pytest.raises(ReleaseError, match=r"Expected"):
            version.set_version(wrong)
    version.set_version("9.1.0")
    assert '__version__ = "9.1.0"' in (tmp_path / "comfy_glaze/__init__.py").read_text()
    assert "\nversion: 9.1.0\n" in (tmp_path / "CITATION.cff").read_text()
    changelog = (tmp_path / "CHANGELOG.md").read_text()
    assert re.search(r"^## 9\.1\.0 \(\d{4}-\d\d-\d\d\)$", changelog, re.MULTILINE)
    assert changelog.index("## 9.1.0") < changelog.index("## 0.1.0")


def test_everything_that_the_wheel_ships_has_its_licence_written_down() -> None:
    page = (ROOT / "docs/licences.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    shipped = [
        Path(name)
        for name in building.committed()
        if name.startswith("comfy_glaze/") and not name.endswith(".py")
    ]
    assert len(shipped) > 10
    missing = [str(path) for path in shipped if not any(f"{path.name}`" in row for row in rows)]
    assert missing == []


def test_a_licence_is_read_as_the_package_states_it() -> None:
    stated = [
        ([{"expression": "Apache-2.0 OR MIT"}], "Apache-2.0 OR MIT"),
        ([{"license": {"id": "MIT"}}, {"license": {"name": "MIT"}}], "MIT"),
        ([{"license": {"name": "License :: OSI Approved :: BSD License"}}], "BSD License"),
        ([{"license": {"name": "License :: A"}}, {"license": {"id": "MIT"}}], "MIT"),
        ([{"license": {"name": "Permission is hereby granted " * 9}}], bill.UNKNOWN),
        ([], bill.UNKNOWN),
    ]
    for licenses, expected in stated:
        assert bill.licence_of({"licenses": licenses}) == expected
    assert bill.licence_of({}, "3-Clause BSD License") == "3-Clause BSD License"


def test_nobody_is_told_to_install_a_name_that_is_not_ours() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "web").rglob("*.md")]
    told = [path.name for path in pages if contents.BY_NAME.search(path.read_text("utf-8"))]
    assert told == []
    assert contents.BY_NAME.search('run pip install -U "comfy-glaze[lab]" first')
    assert not contents.BY_NAME.search('pip install ".[lab]" && comfy-glaze cloak art.png')


def test_the_tools_say_what_went_wrong() -> None:
    with pytest.raises(ReleaseError, match="no-such-command"):
        building.run("git", "no-such-command")
    assert subprocess.run(["git", "rev-parse"], cwd=ROOT).returncode == 0
