"""``comfy-glaze bank`` and what ``styles`` and ``cloak`` make of it, run as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from torch import Tensor

from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.styles import bank_build
from comfy_glaze.styles.bank import builtin_styles
from comfy_glaze.styles.bank_file import load_style_bank
from comfy_glaze.styles.builtin_bank import own_bank_file
from comfy_glaze.styles.memory import remembered_choice

from ..conftest import Run, smooth_picture


def save(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = (smooth_picture(64, 72, seed=seed)[0] * 255).round().byte()
    Image.fromarray(levels.permute(1, 2, 0).numpy()).save(path)


def pictures(folder: Path, count: int = 8) -> None:
    for number in range(count):
        save(folder / f"style {number}" / "a.png", number)


def test_bank_from_folders_is_found_by_its_encoder(run: Run, tmp_path: Path) -> None:
    pictures(tmp_path / "in")
    result = run("bank", "build", "--images", "in", "--per-style", 1)
    assert result.exit_code == 0, result.output
    own = own_bank_file(load_encoder("embedded"))
    assert str(own) in result.stdout
    save(tmp_path / "art.png")
    ranked = run("styles", "rank", "art.png")
    assert ranked.exit_code == 0, ranked.output
    assert ranked.stdout.splitlines()[1].split()[:2] == ["style", "0"]
    shown = run("bank", "show", own)
    assert shown.exit_code == 0
    for words in ("embedded-1", "8", "mean+std", "Other 8"):
        assert words in shown.stdout


def test_stopped_build_says_how_to_go_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures(tmp_path / "in")
    whole = bank_build.thumbnail_of
    left = iter(range(5))

    def stop_at_the_sixth(picture: Tensor) -> bytes:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return whole(picture)

    monkeypatch.setattr(bank_build, "thumbnail_of", stop_at_the_sixth)
    words = ("bank", "build", "--images", "in", "--out", "b.safetensors")
    stopped = run(*words)
    assert stopped.exit_code == 130
    assert "Stopped. The same command goes on from here." in stopped.output
    left = iter(range(4))  # the second batch alone
    assert run(*words).exit_code == 0
    assert len(load_style_bank(tmp_path / "b.safetensors").styles) == 8


def test_rehearsals_choice_is_told_apart(run: Run, tmp_path: Path, tiny_pipeline: str) -> None:
    save(tmp_path / "art.png")
    run("cloak", "art.png", "--out", "out", "--steps", 1, "--artist", "Ana")
    again = run("cloak", "art.png", "--out", "out", "--steps", 1, "--artist", "Ana")
    assert "chosen in a rehearsal" not in again.output
    words = ["--encoder", f"{tiny_pipeline}/vae", "--artist", "Ana"]
    real = run("cloak", "art.png", "--out", "other", "--steps", 1, *words)
    assert real.exit_code == 0, real.output
    assert 'first: comfy-glaze styles forget "Ana"' in real.output


def test_bank_of_some_built_in_styles(run: Run, tmp_path: Path) -> None:
    save(tmp_path / "content" / "a.png")
    result = run(
        "bank", "build", "--genre", "impressionism", "--contents", "content", "--out",
        "b.safetensors", "--statistic", "gram",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    bank = load_style_bank(tmp_path / "b.safetensors")
    assert [style.name for style in bank.styles] == ["Soft crayon", "Lilac impression"]
    assert bank.statistic == "gram"
    save(tmp_path / "art.png")
    ranked = run("styles", "rank", "art.png", "--bank", "b.safetensors")
    assert "Lilac impression" in ranked.stdout


def test_bank_from_prompts_of_the_users_own_list(
    run: Run, tmp_path: Path, tiny_pipeline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comfy_glaze.styles.transfer.TEXT_TO_IMAGE_SIZE", 64)
    monkeypatch.setattr("comfy_glaze.styles.transfer.TEXT_TO_IMAGE_STEPS", 2)
    (tmp_path / "own.csv").write_text("name,genre,prompt\nChalk,Realism,chalk\nInk,Realism,ink\n")
    out = tmp_path / "b.safetensors"
    words = ["--styles", "own.csv", "--prompts", "--per-style", 2, "--out", out]
    result = run("bank", "build", "--checkpoint", tiny_pipeline, *words)
    assert result.exit_code == 0, result.output
    bank = load_style_bank(out)
    assert [style.name for style in bank.styles] == ["Chalk", "Ink"]
    save(tmp_path / "art.png")
    ranked = run("styles", "rank", "art.png", "--bank", out)
    assert ranked.exit_code == 2
    assert "was made with the encoder tiny-sd (" in ranked.output
    assert "in use is embedded-1 (" in ranked.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--images", "in", "--prompts"], "Expected --images alone"),
        (["--prompts", "--contents", "in"], "Expected --prompts or --contents, but got both."),
        (["--prompts"], "Expected a --checkpoint with --prompts"),
        (["--images", "absent"], "Expected a folder of pictures, but absent is none."),
        (["--styles", "wikiart"], "cannot draw 'A. Y. Jackson (Art Nouveau)'"),
        (["--styles", "absent.csv"], "absent.csv cannot be read"),
        (["--genre", "Cubisme"], "There is no genre 'Cubisme'"),
        (["--images", "in", "--statistic", "magic"], "Expected a statistic among"),
        (["--images", "in", "--out", "bank.pt"], "A style bank is a .safetensors file"),
        (["--images", "in", "--out", "file/bank.safetensors"], "cannot be written to: Not a dir"),
    ],
)
def test_bad_usage_is_one_sentence(
    run: Run, tmp_path: Path, words: list[str], sentence: str
) -> None:
    pictures(tmp_path / "in", 1)
    (tmp_path / "file").touch()
    result = run("bank", "build", "--out", "b.safetensors", *words)
    assert result.exit_code == 2, result.output
    assert sentence in result.output
    assert not (tmp_path / "b.safetensors").exists()


def test_show_names_what_is_no_bank(run: Run, tmp_path: Path) -> None:
    (tmp_path / "b.safetensors").write_text("no")
    result = run("bank", "show", "b.safetensors")
    assert result.exit_code == 2
    assert "Expected a style bank, but b.safetensors" in result.output


def test_all_of_an_artists_work_is_led_to_one_style(run: Run, tmp_path: Path) -> None:
    chosen = []
    for number in range(3):  # other works and other seeds would give other styles
        save(tmp_path / f"{number}.png", number)
        result = run(
            "cloak", f"{number}.png", "--out", f"out{number}", "--steps", 1, "--artist", "Ana",
            "--style-seed", number,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        report = json.loads(next(tmp_path.glob(f"out{number}-reports/*.json")).read_text())
        chosen.append(report["target_style"])
    assert chosen[0] == chosen[1] == chosen[2]
    assert "It is the one remembered for Ana." in result.output
    found = remembered_choice("Ana")
    assert found is not None
    assert found.target.style.name == chosen[0]["name"]


def test_choice_is_shown_changed_and_forgotten(run: Run, tmp_path: Path) -> None:
    assert "No target style is remembered" in run("styles", "remembered").output
    changed = run("styles", "remember", "Ana", "sepia chalk")
    assert "The target style of Ana is now Sepia chalk." in changed.output
    changed = run("styles", "remember", "Ana", "Claude Monet")
    assert "It was Sepia chalk." in changed.output
    shown = run("styles", "remembered").output
    assert "Claude Monet (Impressionism)" in shown
    save(tmp_path / "art.png")
    refused = run("cloak", "art.png", "--out", "out", "--steps", 1, "--artist", "Ana")
    assert refused.exit_code == 2
    assert "cannot draw 'Claude Monet (Impressionism)'" in refused.output
    named = run(
        "cloak",
        "art.png",
        "--out",
        "out",
        "--steps",
        1,
        "--artist",
        "Ana",
        "--style",
        "lime and teal",
    )
    assert "It is remembered for Ana from now on." in named.output
    assert "Lime and teal" in run("styles", "remembered").output
    assert "Forgot that the target style of Ana was Lime" in run("styles", "forget", "ana").output
    again = run("styles", "forget", "Ana")
    assert again.exit_code == 1
    assert "Nothing is remembered for Ana." in again.output


def test_style_that_cannot_be_drawn_is_not_remembered(run: Run, tmp_path: Path) -> None:
    save(tmp_path / "art.png")
    words = ["--artist", "Ana", "--style", "Claude Monet"]
    refused = run("cloak", "art.png", "--out", "out", "--steps", 1, *words)
    assert refused.exit_code == 2
    assert remembered_choice("Ana") is None


def test_few_works_are_warned_of(run: Run, tmp_path: Path) -> None:
    for number in range(5):
        save(tmp_path / "works" / f"{number}.png", number)
    assert "Only one work" in run("styles", "rank", "works/0.png").stderr
    assert "Only 2 works" in run("styles", "rank", "works/0.png", "works/1.png").stderr
    assert "Only" not in run("styles", "rank", "works").stderr


def test_long_rankings_are_cut_but_whole_on_request(run: Run, tmp_path: Path) -> None:
    pictures(tmp_path / "in", 70)
    built = run("bank", "build", "--images", "in", "--out", "b.safetensors", "--batch", 16)
    assert built.exit_code == 0, built.output
    save(tmp_path / "art.png", 3)
    short = run("styles", "rank", "art.png", "--bank", "b.safetensors").stdout
    whole = run("styles", "rank", "art.png", "--bank", "b.safetensors", "--all").stdout
    assert short.count("Other") == 10 + 17 + 5
    assert short.count("more") == 2
    assert whole.count("Other") == 70
    assert whole.splitlines()[1].split()[:2] == ["style", "3"]


def test_wikiart_lists_are_shown_filtered(run: Run) -> None:
    listed = run("styles", "list", "--styles", "wikiart", "--genre", "Ukiyo-e", "--genre", "Rococo")
    assert "Katsushika Hokusai (Ukiyo-e)" in listed.stdout
    assert "Claude Monet" not in listed.stdout
    pop = ["styles", "list", "--styles", "wikiart-all", "--genre", "Pop Art"]
    assert "Yayoi Kusama (Pop Art)" in run(*pop).stdout
    assert "Yayoi Kusama" not in run(*pop, "--without-living").stdout
    assert run("styles", "list").stdout.count("yes") == len(builtin_styles())
