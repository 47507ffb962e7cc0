"""The command line, run as a user runs it, on small crops of the bundled artwork."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from comfy_glaze.cli.terminal import verdict_sentences
from comfy_glaze.cloaking.budget import PRESETS
from comfy_glaze.files.artwork import load_artwork
from comfy_glaze.images import views_of
from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.networks.perceptual import load_metric

from ..conftest import ARTWORKS, Run, posix_words


def crop(path: Path, box: tuple[int, int, int, int] = (380, 260, 476, 356)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(ARTWORKS / "harbour.png").convert("RGB").crop(box).save(path)
    return path


def report_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def recomputed(original: Path, cloaked: Path, styled: Path) -> dict[str, Any]:
    """The report's measures, from three files alone and by the formulas."""
    encoder, metric = load_encoder("embedded"), load_metric("st-lpips-alex")
    x, c, s = (load_artwork(path).pixels for path in (original, cloaked, styled))
    distances: list[tuple[float, float]] = []
    values: list[float] = []
    with torch.no_grad():
        for view in views_of(*x.shape[-2:]):
            features = [encoder(view.of(picture)) for picture in (x, c, s)]
            after = (features[1] - features[2]).square().mean()
            before = (features[0] - features[2]).square().mean()
            distances.append((float(after), float(before)))
            values.append(float(metric.distance(metric.reference(view.of(x)), view.of(c))))

    def shift(views: list[tuple[float, float]]) -> float:
        return 1 - sum(after for after, _ in views) / sum(before for _, before in views)

    change = (c - x).abs()
    return {
        "shift": {"512": shift(distances[:1]), "native": shift(distances[1:] or distances)},
        "value": max(values),
        "linf": float(change.max()),
        "psnr": float(-10 * torch.log10(change.double().square().mean())),
    }


def assert_measures(report: dict[str, Any], expected: dict[str, Any]) -> None:
    assert report["shift"] == pytest.approx(expected["shift"], abs=1e-4)
    assert report["perceptual"]["value"] == pytest.approx(expected["value"], abs=1e-5)
    assert report["linf"] == pytest.approx(expected["linf"], abs=1e-6)
    assert report["psnr"] == pytest.approx(expected["psnr"], abs=1e-3)


@pytest.mark.parametrize("views", ["one view", "native tiles"])
def test_lossless_file_keeps_the_budget_that_its_report_states(
    run: Run, tmp_path: Path, views: str, request: pytest.FixtureRequest
) -> None:
    if views == "native tiles":
        request.getfixturevalue("small_views")
    source = crop(tmp_path / "in" / "art.png")
    before = hashlib.sha256(source.read_bytes()).hexdigest()
    plain = ("--steps", 3, "--preset", "gallery", "--objective", "towards")
    result = run("cloak", source, "--out", "out", *plain)
    assert result.exit_code == 0, result.output
    assert "Rehearsal" in result.output
    reports = tmp_path / "out-reports"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["art.png"]
    assert sorted(path.name for path in reports.iterdir()) == [
        "art.png.glaze.json",
        "art.png.sheet.png",
        "art.png.styled.png",
        "index.html",
        "manifest.jsonl",
    ]
    report = report_of(reports / "art.png.glaze.json")
    expected = recomputed(source, tmp_path / "out" / "art.png", reports / "art.png.styled.png")
    assert_measures(report, expected)
    assert expected["value"] <= report["perceptual"]["limit"] == 0.05
    assert expected["linf"] <= PRESETS["gallery"].linf + 1e-6
    assert report["shift"]["512"] > 0
    assert (report["shift"]["512"] != report["shift"]["native"]) == (views == "native tiles")
    assert "encoded" not in report
    assert report["source"] == {"file": "art.png", "sha256": before, "quality": None}
    assert hashlib.sha256(source.read_bytes()).hexdigest() == before


def test_jpeg_is_measured_after_encoding(run: Run, tmp_path: Path) -> None:
    source = crop(tmp_path / "art.png")
    lossy = ("--format", "jpeg", "--objective", "towards")
    result = run("cloak", source, "--out", "out", "--steps", 3, *lossy)
    assert result.exit_code == 0, result.output
    reports = tmp_path / "out-reports"
    report = report_of(reports / "art.jpg.glaze.json")
    expected = recomputed(source, tmp_path / "out" / "art.jpg", reports / "art.jpg.styled.png")
    assert_measures(report["encoded"], expected)
    assert report["linf"] <= PRESETS["default"].linf + 1e-6
    assert report["encoded"]["linf"] != report["linf"]


def test_same_seeds_give_the_same_bytes(run: Run, tmp_path: Path) -> None:
    source = crop(tmp_path / "art.png")
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run("cloak", source, "--out", out, "--steps", 2, "--seed", seed).exit_code == 0
    first, second, other = ((tmp_path / out / "art.png").read_bytes() for out in "abc")
    assert first == second
    assert first != other


def test_style_seed_changes_the_target_style(run: Run, tmp_path: Path) -> None:
    source = crop(tmp_path / "art.png")
    chosen = set()
    for seed in range(4):
        out = f"out{seed}"
        run("cloak", source, "--out", out, "--steps", 1, "--style-seed", seed)
        report = report_of(tmp_path / f"{out}-reports" / "art.png.glaze.json")
        assert report["settings"]["style_seed"] == seed
        assert 50 <= report["target_style"]["percentile"] <= 75
        chosen.add(report["target_style"]["name"])
    assert len(chosen) > 1


def test_folder_keeps_its_tree_and_alpha_is_untouched(run: Run, tmp_path: Path) -> None:
    crop(tmp_path / "in" / "a.webp")
    inner = crop(tmp_path / "in" / "sub" / "b.png")
    picture = Image.open(inner).convert("RGBA")
    picture.putalpha(
        Image.linear_gradient("L").resize(picture.size).point(lambda v: max(v - 99, 0))
    )
    picture.save(inner)
    result = run("cloak", "in", "--out", "out", "--steps", 2, "--quality", 100)
    assert result.exit_code == 0, result.output
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("out*/**/*.*")}
    assert {"out/a.webp", "out/sub/b.png", "out-reports/sub/b.png.sheet.png"} <= files
    before, after = load_artwork(inner), load_artwork(tmp_path / "out" / "sub" / "b.png")
    assert before.alpha is not None
    assert after.alpha is not None
    assert torch.equal(before.alpha, after.alpha)
    clear = (before.alpha == 0).expand_as(before.pixels)
    assert clear.any()
    assert torch.equal(before.pixels[clear], after.pixels[clear])
    assert not torch.equal(before.pixels, after.pixels)


def test_mask_keeps_pixels_clear(run: Run, tmp_path: Path) -> None:
    source = crop(tmp_path / "art.png")
    mask = Image.new("L", (48, 48))
    mask.paste(255, (0, 0, 24, 48))
    mask.save(tmp_path / "mask.png")
    run("cloak", source, "--out", "out", "--steps", 2, "--keep-clear", "mask.png")
    before, after = (load_artwork(path).pixels for path in (source, tmp_path / "out" / "art.png"))
    assert torch.equal(before[..., :46], after[..., :46])
    assert (before[..., 50:] != after[..., 50:]).any()


def test_bad_files_are_named_and_the_others_are_cloaked(run: Run, tmp_path: Path) -> None:
    crop(tmp_path / "good.png")
    (tmp_path / "text.png").write_text("not a picture")
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:900])
    crop(tmp_path / "cmyk.jpg")
    Image.open(tmp_path / "cmyk.jpg").convert("CMYK").save(tmp_path / "cmyk.jpg")
    names = ["text.png", "dot.png", "cut.png", "good.png", "cmyk.jpg", "absent.png"]
    result = run("cloak", *names, "--out", "out", "--steps", 1)
    assert result.exit_code == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.png"]
    for name in set(names) - {"good.png"}:
        (line,) = [line for line in result.output.splitlines() if name in line]
        assert line.startswith("Failed: ")
        assert line.rstrip().endswith(".")
    assert "Traceback" not in result.output


def test_second_source_with_a_taken_name_is_refused(run: Run, tmp_path: Path) -> None:
    crop(tmp_path / "art.png")
    crop(tmp_path / "art.webp")
    result = run("cloak", "art.png", "art.webp", "--out", "out", "--steps", 1, "--format", "jpeg")
    assert result.exit_code == 1
    assert "Failed: art.webp would be saved as out/art.jpg, which is already taken" in result.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["art.jpg"]


def test_full_disk_loses_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = crop(tmp_path / "art.png")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = run("cloak", source, "--out", "out", "--steps", 1, "--style-seed", 1)
    assert result.exit_code == 1
    assert "art.png cannot be written: No space left on device." in result.output
    assert [path for path in tmp_path.glob("out*/**/*") if path.is_file()] == []


def test_interrupt_leaves_nothing_half_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crop(tmp_path / "in" / "a.png")
    crop(tmp_path / "in" / "b.png")
    from comfy_glaze.portfolio import picture as picture_module

    cloak_for_real, calls = picture_module.optimize_cloak, []

    def stop_at_the_second(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return cloak_for_real(*args, **options)

    monkeypatch.setattr(picture_module, "optimize_cloak", stop_at_the_second)
    result = run("cloak", "in", "--out", "out", "--steps", 1)
    assert result.exit_code == 130
    assert "1 of 2 are saved" in result.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--style", "Monnet"], "There is no style called 'Monnet'"),
        (["--limit", "0"], "The perceptual limit must be above 0, but got 0."),
        (["--linf", "0"], "The L∞ cap must lie between 1/255 (one grey level) and 1"),
        (["--metric", "ssim"], "Expected a metric among auto"),
        (["--metric", "lpips-vgg"], "or use st-lpips-alex, which needs no download."),
        (["--encoder", "absent.safetensors"], "there is no absent.safetensors"),
        (["--quality", "0"], "quality must lie between 1 and 100"),
        (["--device", "abacus"], "Expected a device of this machine, but abacus is none."),
        (["--steps", "-1"], "steps must be 0 (the method's own) or more, but got -1."),
        (["--out", "in/cloaked"], "must lie outside the folder of the originals"),
        pytest.param(
            ["--out", "file/sub"], "cannot be written to: Not a directory.", marks=posix_words
        ),
        (["--keep-clear", "absent.png"], "absent.png"),
    ],
)
def test_bad_usage_is_one_sentence_and_exit_code_2(
    run: Run, tmp_path: Path, options: list[str], words: str
) -> None:
    crop(tmp_path / "in" / "art.png")
    (tmp_path / "file").touch()
    result = run("cloak", "in", "--out", "out", "--steps", 1, *options)
    assert result.exit_code == 2
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert words in line
    assert line.rstrip().endswith(".")
    assert not list(tmp_path.glob("out/*"))


def test_read_only_folder_is_named_before_any_work(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    crop(tmp_path / "art.png")
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    result = run("cloak", "art.png", "--out", "out", "--steps", 1)
    assert result.exit_code == 2
    assert "Error: out cannot be written to: Permission denied." in result.output


def test_styles_are_listed(run: Run) -> None:
    result = run("styles", "list")
    assert result.exit_code == 0
    assert "Blue and yellow swirls" in result.output
    assert result.output.count("yes") == 26


def test_styles_are_ranked_from_the_artists_works(run: Run, tmp_path: Path) -> None:
    crop(tmp_path / "art.png")
    result = run("styles", "rank", "art.png")
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stdout.splitlines()[1:] if line.strip()]
    rows = [line.split() for line in lines[:26]]
    assert [line.split()[0] for line in lines[26:]] == ["styles", "band", "distance"]
    assert "percentiles 50 to 75" in lines[28]
    assert "Only one work: your own style is better placed from 5" in result.stderr
    distances = [float(next(word for word in row if "." in word)) for row in rows]
    assert distances == sorted(distances)
    assert 6 <= result.output.count("●") <= 8
    assert run("styles", "rank", "absent.png").exit_code == 2


def test_every_picture_has_a_verdict_and_strict_counts_the_weak_ones(
    run: Run, tmp_path: Path
) -> None:
    crop(tmp_path / "in" / "art.png")
    crop(tmp_path / "in" / "more" / "art.png", (0, 0, 64, 64))
    words = ["cloak", "in", "--out", "out", "--preset", "gallery", "--steps", 1]
    result = run(*words)
    assert result.exit_code == 0, result.output
    told = " ".join(result.stderr.split())
    reports = [
        report_of(tmp_path / "out-reports" / name)
        for name in ("art.png.glaze.json", "more/art.png.glaze.json")
    ]
    assert all(report["verdict"]["level"] in ("none", "weak") for report in reports)
    for name, report in zip(("art.png", "more/art.png"), reports, strict=True):
        assert f"{name}. {report['verdict']['sentence']}" in told
        assert report["verdict"]["try"] in told
        assert any(
            line.split()[:2] == [name, report["verdict"]["level"]]
            for line in result.stdout.splitlines()
        )
    assert told.count("--preset default") == 1  # said once for both
    assert run(*words, "--resume", "--strict").exit_code == 3
    crop(tmp_path / "bad.png").write_text("not a picture")
    assert run(*words, "bad.png", "--resume", "--strict").exit_code == 1


def test_the_summary_counts_levels_and_names_no_more_than_ten() -> None:
    good = {"level": "good", "sentence": "Far.", "try": ""}
    weak = {"level": "weak", "sentence": "Short.", "try": "Try more."}
    told = list(verdict_sentences({"a.png": good, "b.png": None}))
    assert told == ["Verdicts: 1 good."]
    pictures = {f"{number}.png": weak for number in range(12)}
    told = list(verdict_sentences(pictures | {"a.png": good}))
    assert told[0] == "Verdicts: 1 good, 12 weak."
    assert sum("Short." in sentence for sentence in told) == 10
    assert told[-2:] == [
        "2 more are too weak; the reports' index.html shows them first.",
        "Try more.",
    ]
    none = {"level": "none", "sentence": "Nothing.", "try": "Cloak it anew."}
    told = list(verdict_sentences({"a.png": weak, "b.png": weak, "c.png": none}))
    assert told[-2:] == ["For 2 of them: Try more.", "For 1 of them: Cloak it anew."]


def test_measure_repeats_the_report(run: Run, tmp_path: Path) -> None:
    source = crop(tmp_path / "art.png")
    run("cloak", source, "--out", "out", "--steps", 2)
    report = report_of(tmp_path / "out-reports" / "art.png.glaze.json")
    styled = "out-reports/art.png.styled.png"
    result = run("measure", source, "out/art.png", "--styled", styled)
    assert result.exit_code == 0, result.output
    measured = json.loads(result.output)
    assert measured["encoder"] == report["encoder"]
    for key in ("shift", "feature_distance"):
        assert measured[key] == pytest.approx(report[key], abs=1e-6)
    assert measured["perceptual"]["value"] == pytest.approx(report["perceptual"]["value"], abs=1e-7)
    without = json.loads(run("measure", source, "out/art.png").output)
    assert without["linf"] == pytest.approx(report["linf"])
    assert "shift" not in without
    crop(tmp_path / "small.png", (0, 0, 64, 64))
    refused = run("measure", source, "small.png")
    assert refused.exit_code == 2
    assert "small.png must have the size of" in refused.output


def test_no_usage_is_left_without_help(run: Run) -> None:
    for words in ([], ["--help"], ["cloak", "--help"], ["styles", "--help"], ["measure", "--help"]):
        result = run(*words)
        assert result.exit_code in (0, 2)
        assert "Usage" in result.output


def test_binding_limit_holds_in_the_file(run: Run, tmp_path: Path) -> None:
    source = crop(tmp_path / "art.png")
    run("cloak", source, "--out", "out", "--steps", 12, "--limit", "0.001", "--linf", "16/255")
    report = report_of(tmp_path / "out-reports" / "art.png.glaze.json")
    expected = recomputed(
        source, tmp_path / "out" / "art.png", tmp_path / "out-reports" / "art.png.styled.png"
    )
    assert 0.0005 < expected["value"] <= 0.001
    assert report["settings"]["preset"] == "custom"
    assert report["settings"]["linf"] == pytest.approx(16 / 255)


def test_originals_and_strangers_are_never_overwritten(run: Run, tmp_path: Path) -> None:
    for name in ("x/a.png", "y/a.png"):
        crop(tmp_path / name)
    crop(tmp_path / "y" / "stranger.png", (0, 0, 64, 64))
    crop(tmp_path / "z" / "stranger.png")
    before = {path: path.read_bytes() for path in tmp_path.glob("*/*.png")}
    same = run("cloak", "x/a.png", "y/a.png", "--out", "y", "--steps", 1)
    assert same.exit_code == 1
    assert "Failed: x/a.png would be saved as y/a.png, which is an original." in same.output
    stranger = run("cloak", "z/stranger.png", "--out", "y", "--steps", 1)
    assert stranger.exit_code == 1
    assert "which is there already and no cloak of ours." in stranger.output
    assert {path: path.read_bytes() for path in before} == before
    for _ in range(2):  # what an earlier run saved may be replaced
        assert run("cloak", "x/a.png", "--out", "new", "--steps", 1).exit_code == 0


@pytest.mark.parametrize("ending", ["styled.png", "sheet.png", "glaze.json"])
def test_picture_is_published_only_with_all_its_reports(
    run: Run, tmp_path: Path, ending: str
) -> None:
    source = crop(tmp_path / "art.png")
    (tmp_path / "out-reports" / f"art.png.{ending}").mkdir(parents=True)
    result = run("cloak", source, "--out", "out", "--steps", 1)
    assert result.exit_code == 1
    assert f"art.png.{ending} cannot be written" in result.output
    assert list((tmp_path / "out").iterdir()) == []


def test_picture_named_twice_is_cloaked_once(run: Run, tmp_path: Path) -> None:
    crop(tmp_path / "in" / "art.png")
    result = run("cloak", "in", "in/art.png", "./in/art.png", "--out", "out", "--steps", 1)
    assert result.exit_code == 0, result.output


def test_nothing_readable_is_exit_code_1_with_every_name(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("not a picture")
    (tmp_path / "b.png").write_bytes(b"")
    result = run("cloak", "a.png", "b.png", "--out", "out")
    assert result.exit_code == 1
    assert "Failed: a.png" in result.output
    assert "Failed: b.png" in result.output


def test_other_kinds_in_a_folder_are_mentioned(run: Run, tmp_path: Path) -> None:
    crop(tmp_path / "in" / "art.png")
    (tmp_path / "in" / "scan.PSD").touch()
    result = run("cloak", "in", "--out", "out", "--steps", 1)
    assert result.exit_code == 0
    assert "Passed over: 1 Photoshop file (scan.PSD): export a PNG" in result.output


@pytest.mark.parametrize(
    ("size", "colour", "words"),
    [
        ((48, 48), 255, "keep_clear covers it all"),
        ((96, 48), 0, "must have the proportions of the artwork, 96 × 96, but it is 96 × 48"),
    ],
)
def test_masks_that_cannot_work_are_named(
    run: Run, tmp_path: Path, size: tuple[int, int], colour: int, words: str
) -> None:
    source = crop(tmp_path / "art.png")
    Image.new("L", size, colour).save(tmp_path / "mask.png")
    result = run("cloak", source, "--out", "out", "--steps", 1, "--keep-clear", "mask.png")
    assert result.exit_code == 1
    assert words in result.output


def test_metric_in_use_is_said_with_the_way_to_the_other(run: Run, tmp_path: Path) -> None:
    result = run("cloak", crop(tmp_path / "art.png"), "--out", "out", "--steps", 1)
    assert "Metric: st-lpips-alex, because lpips-alex needs alexnet-owt-" in result.output


@pytest.mark.parametrize("words", [["--linf", "abc"], ["--linf", "1/0"], ["--format", "gif"]])
def test_options_that_are_no_numbers_are_bad_usage(
    run: Run, tmp_path: Path, words: list[str]
) -> None:
    result = run("cloak", crop(tmp_path / "art.png"), "--out", "out", *words)
    assert result.exit_code == 2
    assert words[1] in result.output


def test_several_encoders_have_a_result_each(run: Run, tmp_path: Path, tiny_pipeline: str) -> None:
    source, both = crop(tmp_path / "art.png"), ["--encoder", "embedded", "--encoder", tiny_pipeline]
    words = ["--style", "Soft crayon", "--steps", 4, *both]
    result = run("cloak", source, "--out", "out", *words)
    assert result.exit_code == 0, result.output
    assert "Rehearsal" not in result.output
    reports = tmp_path / "out-reports"
    report = report_of(reports / "art.png.glaze.json")
    assert report["encoder"]["name"] == "embedded-1 + tiny-sd"
    assert {one["name"] for one in report["encoders"]} == {"embedded-1", "tiny-sd"}
    shifts = [one["shift"]["512"] for one in report["encoders"]]
    assert shifts == sorted(shifts)
    assert report["shift"] == report["encoders"][0]["shift"]
    measured = run(
        "measure", source, "out/art.png", "--styled", reports / "art.png.styled.png", *both
    )
    assert json.loads(measured.stdout)["encoders"] == report["encoders"]


def test_one_encoder_named_twice_is_refused(run: Run, tmp_path: Path) -> None:
    source = crop(tmp_path / "art.png")
    result = run("cloak", source, "--out", "out", "--encoder", "embedded", "--encoder", "embedded")
    assert result.exit_code == 2
    assert "Expected different encoders, but embedded-1 and embedded-1" in result.output
    speed = run("benchmark", "speed", source, "--encoder", "a", "--encoder", "b")
    assert speed.exit_code == 2
    assert "Expected one --encoder for this command, but got 2" in speed.output


def test_checkpoint_is_encoder_and_style_transfer_at_once(
    run: Run, tmp_path: Path, tiny_pipeline: str
) -> None:
    source = crop(tmp_path / "art.png")
    words = ["--checkpoint", tiny_pipeline, "--style", "Soft crayon", "--steps", 2]
    result = run("cloak", source, "--out", "out", *words)
    assert result.exit_code == 0, result.output
    assert "Rehearsal" not in result.output
    report = report_of(tmp_path / "out-reports" / "art.png.glaze.json")
    assert report["encoder"]["name"] == "tiny-sd"
    assert not report["rehearsal"]
    assert report["target_style"]["percentile"] is None
    assert report["shift"]["512"] > 0
