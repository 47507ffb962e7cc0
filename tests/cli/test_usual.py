"""What an artist's days are made of: usual options, dry runs, patterns, quiet, JSON, resuming."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from comfy_glaze import __version__
from comfy_glaze.cli.config import config_file
from comfy_glaze.cli.resume import asked_for
from comfy_glaze.cli.terminal import counted, duration, megabytes
from comfy_glaze.cloaking.budget import PRESETS

from ..conftest import ARTWORKS, Run, modules_after

ROOT = Path(__file__).parents[2]


def crop(path: Path, left: int = 380) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = Image.open(ARTWORKS / "harbour.png").convert("RGB")
    whole.crop((left, 260, left + 64, 324)).save(path)
    return path


def files_in(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_help_and_a_dry_run_load_no_torch(tmp_path: Path) -> None:
    crop(tmp_path / "in" / "art.png")
    for words in (["--help"], ["cloak", "in", "--out", "out", "--dry-run"]):
        code, modules, said = modules_after(*words, cwd=tmp_path)
        assert code == 0, said
        assert "comfy_glaze.cli.cloak" in modules
        assert not {"torch", "numpy", "diffusers"} & modules
    assert "64 × 64" in said
    assert "To cloak: 1 picture," in said
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out-reports").exists()


def test_resuming_with_nothing_to_do_loads_no_network(run: Run, tmp_path: Path) -> None:
    for name in ("a.png", "more/b.png"):
        crop(tmp_path / "in" / name)
    words = ["cloak", "in", "--out", "out", "--steps", "1"]
    assert run(*words).exit_code == 0
    again = [*words, "--resume"]
    code, modules, said = modules_after(*again, cwd=tmp_path)
    assert code == 0, said
    assert "torch" not in modules
    assert "Unchanged since an earlier run: 2." in said
    assert "Verdicts: " in said
    (tmp_path / "in" / "text.png").write_text("not a picture")
    page = tmp_path / "out-reports" / "index.html"
    assert run(*again).exit_code == 1
    assert "text.png" in page.read_text("utf-8")
    (tmp_path / "in" / "text.png").unlink()
    assert run(*again).exit_code == 0
    assert "text.png" not in page.read_text("utf-8")
    before = files_in(tmp_path)
    assert run(*again, "--strict").exit_code == 3
    assert files_in(tmp_path) == before

    for more in (["--seed", "1"], ["--preset", "strong"], ["--uniform"]):  # other settings
        result = run(*again, *more, "--json")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["counts"]["cloaked"] == 2
    assert run(*again, "--uniform", "--json").stdout.count('"unchanged"') >= 2
    crop(tmp_path / "in" / "c.png", 300)
    found = json.loads(run(*again, "--uniform", "--json").stdout)
    assert {p["file"]: p["status"] for p in found["pictures"]} == {
        "a.png": "unchanged",
        "c.png": "cloaked",
        "more/b.png": "unchanged",
    }


def test_what_was_asked_counts_the_files_that_options_name(tmp_path: Path) -> None:
    mask, folder = tmp_path / "mask.png", tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "vae.safetensors").write_bytes(b"1")
    mask.write_bytes(b"1")
    options: dict[str, Any] = {"keep_clear": mask, "checkpoint": str(folder), "limit": None}
    first = asked_for(options)
    assert asked_for(options | {"out": "elsewhere", "quiet": True, "jobs": 3}) == first
    assert asked_for(options | {"limit": 0.1}) != first
    mask.write_bytes(b"2")
    second = asked_for(options)
    assert second != first
    (folder / "vae.safetensors").write_bytes(b"22")
    assert asked_for(options) != second


def test_json_tells_cloaked_failed_and_weak_apart(run: Run, tmp_path: Path) -> None:
    crop(tmp_path / "in" / "art.png")
    (tmp_path / "in" / "text.png").write_text("not a picture")
    result = run("cloak", "in", "--out", "out", "--steps", 1, "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert (found["schema"], found["version"], found["exit_code"]) == (1, __version__, 1)
    assert found["counts"] == {"cloaked": 1, "failed": 1, "weak": 1}
    art, text = found["pictures"]
    assert (art["file"], art["status"], art["error"]) == ("art.png", "cloaked", None)
    report = json.loads((tmp_path / "out-reports/art.png.glaze.json").read_text())
    assert art["verdict"] == report["verdict"]
    assert (text["file"], text["status"]) == ("text.png", "failed")
    assert found["failures"] == [text["error"]]
    named = ["--style", "Soft crayon", "--out", "other", "--json"]
    none = run("cloak", "in/text.png", *named)
    assert json.loads(none.stdout)["counts"] == {"failed": 1, "weak": 0}
    assert "Nothing was saved." in none.stderr
    missing = run("cloak", "absent.png", "--out", "other", "--json")
    assert missing.exit_code == 1
    assert json.loads(missing.stdout)["pictures"] == []


def test_a_stop_while_models_load_is_said_and_told_as_json(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("comfy_glaze.portfolio.engine.open_engine", stop)
    crop(tmp_path / "art.png")
    result = run("cloak", "art.png", "--out", "out", "--json")
    assert result.exit_code == json.loads(result.stdout)["exit_code"] == 130
    assert "Stopped; nothing is half-written." in result.stderr
    assert files_in(tmp_path / "out") == []


def test_quiet_says_only_what_failed(run: Run, tmp_path: Path) -> None:
    crop(tmp_path / "art.png")
    words = ["cloak", "art.png", "--out", "out", "--steps", 1]
    assert run(*words, "--quiet").output == ""
    (tmp_path / "text.png").write_text("not a picture")
    result = run(*words, "text.png", "-q", "--resume")
    assert [line[:7] for line in result.output.splitlines()] == ["Failed:", "Failed:"]
    assert run("styles", "list").stdout  # and the next command talks again


def test_patterns_choose_and_leave_out(run: Run, tmp_path: Path) -> None:
    for name in ("a.png", "b.webp", "drafts/c.png", "more/d.png", "more/drafts/e.png"):
        crop(tmp_path / "in" / name)
    words = ["--out", "out", "--dry-run", "--json"]

    def planned(*more: str) -> list[str]:
        found = json.loads(run("cloak", *more, *words).stdout)
        return [picture["file"] for picture in found["pictures"]]

    assert planned("in", "--exclude", "drafts", "--exclude", "*.webp") == ["a.png", "more/d.png"]
    assert planned("in", "--exclude", "more/*") == ["a.png", "b.webp", "drafts/c.png"]
    assert planned("in/*.png") == ["a.png"]
    assert planned("in/**/*.png") == ["a.png", "c.png", "d.png", "e.png"]
    none = run("cloak", "in", "--exclude", "*", *words)
    assert none.exit_code == 1
    assert "--exclude leaves none" in none.stderr
    assert run("cloak", "x*.png", *words).exit_code == 1


def test_a_dry_run_knows_what_is_done_and_how_long_the_rest_takes(run: Run, tmp_path: Path) -> None:
    crop(tmp_path / "in" / "a.png")
    words = ["cloak", "in", "--out", "out", "--steps", 1]
    first = run(*words, "--dry-run")
    assert "How long it takes is known once a picture has been cloaked" in first.stderr
    run(*words)
    crop(tmp_path / "in" / "b.png", 300)
    (tmp_path / "in" / "c.png").write_text("not a picture")
    result = run(*words, "--dry-run", "--resume")
    assert result.exit_code == 1
    assert "To cloak: 1 picture, 0.0 megapixels. As before: 1. Cannot be read: 1." in result.stderr
    assert "1 earlier picture of this folder took" in result.stderr
    assert not (tmp_path / "out" / "b.png").exists()


def test_usual_options_come_from_a_file_and_the_command_line_counts_more(
    run: Run, tmp_path: Path
) -> None:
    crop(tmp_path / "art.png")
    file = config_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        '[cloak]\nout = "chosen"\nsteps = 1\npreset = "strong"\nlinf = "9/255"\nuniform = true\n'
        '[styles.list]\ngenre = ["Baroque"]\n'
    )
    result = run("cloak", "art.png", "--preset", "gallery")
    assert result.exit_code == 0, result.output
    assert f"Usual options from {file}: out = chosen, steps = 1" in result.stderr
    assert "uniform = true" in result.stderr
    report = json.loads((tmp_path / "chosen-reports/art.png.glaze.json").read_text())
    assert report["settings"]["limit"] == 0.05
    assert report["settings"]["linf"] == pytest.approx(9 / 255)
    assert "Baroque" in run("styles", "list").stdout
    assert "Fauvism" not in run("styles", "list").stdout
    assert "Fauvism" in run("--no-config", "styles", "list").stdout
    assert run("--no-config", "cloak", "art.png").exit_code == 2  # no --out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[cloak]\npresset = 1\n", "[cloak]: there is no option called presset; preset is meant?"),
        ("[clok]\n", "there is no command called clok; cloak is meant?"),
        ("steps = 1\n", "there is no command called steps"),
        ("[cloak\n", "is not TOML: "),
    ],
)
def test_a_config_with_mistakes_is_bad_usage(
    run: Run, tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "my.toml").write_text(text)
    result = run("--config", "my.toml", "styles", "list")
    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--linf", "6"], "6 grey levels are 6/255"),
        (
            ["--limit", "5"],
            "expected at most 1, since 1 stands for unlike pictures and the presets",
        ),
        (["--max-size", "much"], "Expected a size such as 900kB, 2MB or 1.5x, but got 'much'."),
        (["--checkpoint", "models/sd15.safetensors"], "no models/sd15.safetensors (nor a folder"),
        (["--checkpoint", "sd-turbo"], "there is no sd-turbo; in . there is sd_turbo"),
        (["--encoder", "nobody/nothing"], "the Hugging Face hub cannot be asked for it"),
        (["--jobs", "2", "--batch", "2"], "one of --jobs, --batch and --cluster"),
    ],
)
def test_what_is_mistyped_is_told_at_once(
    run: Run, tmp_path: Path, words: list[str], said: str
) -> None:
    crop(tmp_path / "art.png")
    (tmp_path / "sd_turbo").mkdir()
    result = run("cloak", "art.png", "--out", "out", *words)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_without_a_terminal_there_is_a_line_for_each_picture(run: Run, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        crop(tmp_path / "in" / name)
    told = run("cloak", "in", "--out", "out", "--steps", 1).stderr.splitlines()
    assert told[0] == "Loading the models ..."
    assert [line for line in told if " of 2: " in line] == ["1 of 2: a.png", "2 of 2: b.png"]


def test_the_help_names_the_presets_limits(run: Run) -> None:
    limits = [preset.limit for preset in PRESETS.values()]
    told = " ".join(run("cloak", "--help").stdout.replace("│", " ").split())
    assert f"in place of the preset's {min(limits):g} to {max(limits):g}." in told


def test_version_and_completion(run: Run) -> None:
    assert run("--version").stdout == f"comfy-glaze {__version__}\n"
    assert "--install-completion" in run("--help").stdout


def test_the_shell_completes_the_command_however_it_was_started() -> None:
    script = subprocess.run(
        [sys.executable, "-m", "comfy_glaze", "--show-completion", "bash"],
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert script.splitlines()[-1].endswith(" comfy-glaze")


def test_words_for_numbers() -> None:
    assert [counted(1, "picture"), counted(2, "picture")] == ["1 picture", "2 pictures"]
    times = [duration(seconds) for seconds in (0.2, 40, 100, 3600, 7200)]
    assert times == ["1 second", "40 seconds", "2 minutes", "60 minutes", "2 hours"]
    assert [megabytes(size) for size in (900, 2.5e6, 3.2e9)] == ["1 kB", "2.5 MB", "3.2 GB"]


@pytest.mark.slow
def test_processes_make_the_pictures_that_one_makes(run: Run, tmp_path: Path) -> None:
    for number in range(3):
        crop(tmp_path / "in" / f"{number}.png", 200 + 40 * number)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for jobs in ("1", "2"):
        words = ["cloak", "in", "--out", f"out{jobs}", "--steps", "2", "--jobs", jobs]
        command = [sys.executable, "-m", "comfy_glaze", *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    alone, together = (tmp_path / "out1", tmp_path / "out2")
    assert files_in(alone) == files_in(together) == ["0.png", "1.png", "2.png"]
    for name in files_in(alone):
        assert (alone / name).read_bytes() == (together / name).read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_processes_end_at_once_when_the_user_stops(tmp_path: Path) -> None:
    for number in range(4):
        crop(tmp_path / "in" / f"{number}.png", 200 + 40 * number)
    words = ["cloak", "in", "--out", "out", "--method", "paper", "--steps", "20000", "--jobs", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "comfy_glaze", *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a shell starts what runs in its background with this signal ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "times the memory" in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    assert "Stopped. 0 of 4 are saved" in process.stderr.read()
    assert process.wait() == 130
    assert files_in(tmp_path / "out") == []


def test_a_dry_run_says_of_each_picture_what_a_run_would(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    crop(folder / "good.png")
    grey = Image.new("L", (40, 40))
    grey.save(folder / "moving.gif", save_all=True, append_images=[Image.new("L", (40, 40), 9)])
    grey.resize((20, 60)).save(folder / "narrow.png")
    Image.new("CMYK", (40, 40)).save(folder / "print.jpg")
    (folder / "layers.png").write_bytes(b"8BPS\0\1" + bytes(40))
    (folder / "cut.png").write_bytes((folder / "good.png").read_bytes()[:40])
    (folder / "empty.jpg").touch()
    found = json.loads(run("cloak", "in", "--out", "out", "--dry-run", "--json").stdout)
    said = {Path(one["source"]).name: one["error"] or "" for one in found["pictures"]}
    assert said.pop("good.png") == ""
    assert {name: text.partition(", but it is ")[2] for name, text in said.items()} == {
        "moving.gif": "animated: save its frames as single PNGs.",
        "narrow.png": "20 × 60.",
        "print.jpg": "CMYK: convert to RGB in your editor, where you can judge the colours.",
        "layers.png": "a Photoshop file: export a PNG from your painting program.",
        "cut.png": "not.",
        "empty.jpg": "empty.",
    }
    assert found["exit_code"] == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_with_a_pictures_name_stops_no_run(run: Run, tmp_path: Path) -> None:
    """Opening it would wait for ever."""
    crop(tmp_path / "in" / "art.png")
    words = ["cloak", "in", "--out", "out", "--steps", 1]
    assert run(*words).exit_code == 0
    os.mkfifo(tmp_path / "in" / "pipe.png")
    for more in ("--dry-run", "--resume"):
        result = run(*words, more, "--json")
        assert result.exit_code == 1
        assert "pipe.png: expected a picture file, but it is a folder or a device." in result.stderr
