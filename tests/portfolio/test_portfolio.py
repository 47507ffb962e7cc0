"""Portfolios: what is done once stays done, and a killed run costs nothing but time."""

from __future__ import annotations

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import weakref
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from markupsafe import escape
from PIL import Image
from typer.testing import CliRunner

from comfy_glaze.cli import app
from comfy_glaze.cloaking.budget import PRESETS
from comfy_glaze.files.atomic import remove_leftovers, temporary_beside
from comfy_glaze.files.options import SaveOptions
from comfy_glaze.portfolio import picture as picture_module
from comfy_glaze.portfolio import run as portfolio
from comfy_glaze.portfolio.cluster import ClusterError, connect
from comfy_glaze.portfolio.engine import CloakRequest, Engine, StyleChoice, open_engine
from comfy_glaze.portfolio.manifest import Manifest
from comfy_glaze.portfolio.outcome import Outcome
from comfy_glaze.portfolio.outputs import plan_outputs, reports_folder
from comfy_glaze.portfolio.page import write_page
from comfy_glaze.portfolio.run import cloak_portfolio
from comfy_glaze.portfolio.shards import Shard
from comfy_glaze.styles.bank import builtin_styles
from comfy_glaze.styles.target import TargetStyle

from ..conftest import names_of_any_bytes
from .runs import jobs_of, make_kinds, make_pictures, small_engine, tree_of


@pytest.fixture
def works(tmp_path: Path) -> Path:
    make_pictures(tmp_path / "in", 6)
    return tmp_path / "in"


def cloaked(
    works: Path, out: Path, engine: Engine | None = None, **options: Any
) -> tuple[list[Outcome], Manifest]:
    """One run over a folder, with what it said."""
    reports_folder(out).mkdir(parents=True, exist_ok=True)
    manifest = Manifest(reports_folder(out))
    jobs = jobs_of(works, out, manifest)
    return list(cloak_portfolio(jobs, engine or small_engine(), manifest, **options)), manifest


def made(outcomes: list[Outcome]) -> list[str]:
    return [outcome.job.name for outcome in outcomes if outcome.report is not None]


def test_a_second_run_does_only_what_is_new_or_changed(works: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first, _ = cloaked(works, out, resume=True)
    names = ["year 0/000.png", "year 0/003.png", "year 1/001.jpg", "year 1/004.jpg"]
    names += ["year 2/002.webp", "year 2/005.webp"]
    assert made(first) == names
    before = tree_of(out)
    assert made(cloaked(works, out, resume=True)[0]) == []
    assert tree_of(out) == before

    with Image.open(works / "year 0/003.png") as picture:
        changed = picture.rotate(90)
    changed.save(works / "year 0/003.png")
    (works / "new.png").write_bytes((works / "year 0/000.png").read_bytes())
    (out / "year 1/004.jpg").unlink()
    (out / "year 2/005.webp").write_bytes(b"tampered with")
    report = tmp_path / "out-reports/year 0/000.png.glaze.json"
    report.unlink()
    with pytest.raises(AssertionError, match="no cloak of ours"):
        cloaked(works, out, resume=True)  # a stranger's file is refused ...
    (out / "year 2/005.webp").unlink()
    again, _ = cloaked(works, out, resume=True)
    expected = ["new.png", "year 0/000.png", "year 0/003.png", "year 1/004.jpg", "year 2/005.webp"]
    assert made(again) == expected
    after = tree_of(out)
    assert after["year 2/005.webp"] == before["year 2/005.webp"]
    assert after["year 0/003.png"] != before["year 0/003.png"]


@pytest.mark.parametrize(
    "changes",
    [{"quality": 80}, {"keep_shift": 0.5}, {"no_ai_training": True}, {"format": "tiff"}],
    ids=str,
)
def test_other_settings_make_everything_new(
    works: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    cloaked(works, tmp_path / "out", resume=True)
    engine = replace(small_engine(), saving=SaveOptions(**changes))
    manifest = Manifest(tmp_path / "out-reports")
    jobs = jobs_of(works, tmp_path / "out", manifest)
    assert len(made(list(cloak_portfolio(jobs, engine, manifest, resume=True)))) == 6


def test_the_settings_are_what_was_used_and_not_what_it_was_called() -> None:
    engine = small_engine()
    transfer, target = engine.style_transfer, engine.target
    renamed = replace(transfer, name="other.safetensors")
    assert replace(engine, style_transfer=renamed).fingerprint() == engine.fingerprint()
    elsewhere = replace(target, distance=3.0, percentile=60.0, seed=7)
    assert replace(engine, target=elsewhere).fingerprint() == engine.fingerprint()
    for other in (
        replace(engine, style_transfer=replace(transfer, fingerprint=lambda: "1" * 16)),
        replace(engine, encoder=replace(engine.encoder, fingerprint="1" * 16)),
        replace(engine, target=TargetStyle(builtin_styles()[1])),
        replace(engine, budget=replace(engine.budget, metric="st-lpips-alex")),
        replace(engine, budget=PRESETS["default"]),
        replace(engine, settings=replace(engine.settings, objective="away")),
        replace(engine, saving=SaveOptions(quality=94)),
    ):
        assert other.fingerprint() != engine.fingerprint()


def test_an_opened_engine_says_which_metric_it_uses() -> None:
    request = CloakRequest(PRESETS["default"], style=StyleChoice("Heavy outlines"))
    engine = open_engine(request)
    assert engine.metric is not None
    assert request.budget.metric == "auto"
    assert engine.budget.metric == engine.metric.name == "st-lpips-alex"


def test_a_mask_is_part_of_the_settings(works: Path, tmp_path: Path) -> None:
    for colour in (0, 1):
        mask = Image.new("L", (64, 64))
        mask.paste(255, (0, 0, 32 + 8 * colour, 64))
        mask.save(tmp_path / "mask.png")
        outcomes, _ = cloaked(works, tmp_path / "out", resume=True, mask=tmp_path / "mask.png")
        assert len(made(outcomes)) == 6


def test_without_resume_everything_is_done_again(works: Path, tmp_path: Path) -> None:
    cloaked(works, tmp_path / "out")
    assert len(made(cloaked(works, tmp_path / "out")[0])) == 6


def test_one_that_fails_costs_no_other(works: Path, tmp_path: Path) -> None:
    (works / "year 0/000.png").write_bytes(b"not a picture")
    outcomes, _ = cloaked(works, tmp_path / "out", resume=True)
    assert len(made(outcomes)) == 5
    (failed,) = [outcome for outcome in outcomes if outcome.error]
    assert "000.png: expected a PNG" in str(failed.error)
    assert made(cloaked(works, tmp_path / "out", resume=True)[0]) == []


def small_png() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "PNG")
    return buffer.getvalue()


WRITTEN = {  # a picture's files in the order in which they are written
    "picture": "out/art.png",
    "styled": "out-reports/art.png.styled.png",
    "sheet": "out-reports/art.png.sheet.png",
    "report": "out-reports/art.png.glaze.json",
    "caption": "out/art.txt",
}


def failing_save(tmp_path: Path) -> str:
    """What is said about one picture with a caption, of which something cannot be written."""
    make_pictures(tmp_path / "in", 1)
    (job,) = jobs_of(tmp_path / "in", tmp_path / "out")
    stem = tmp_path / "out-reports/art.png"
    job = replace(job, target=tmp_path / "out/art.png", report_stem=stem, caption="a harbour")
    reports_folder(tmp_path / "out").mkdir()
    manifest = Manifest(reports_folder(tmp_path / "out"))
    (outcome,) = cloak_portfolio([job], small_engine(), manifest)
    assert outcome.report is None
    assert tree_of(tmp_path / "out") == {}
    assert [path for path in tree_of(tmp_path / "out-reports") if path != "manifest.jsonl"] == []
    return outcome.error or ""


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "No space left on device"), (errno.EIO, "Input/output")]
)
def test_a_full_disk_names_the_file_that_was_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int, words: str
) -> None:
    writes, for_real = iter(WRITTEN), os.fsync

    def fsync(file: int) -> None:
        if next(writes) == name:
            raise OSError(number, os.strerror(number))
        for_real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    sentence = failing_save(tmp_path)
    assert f"{tmp_path / WRITTEN[name]} cannot be written: {os.strerror(number)}." in sentence
    assert words in sentence
    assert ".comfy-glaze-" not in sentence


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        (lambda data: data[:-200], "expected a whole PNG file, but it is broken or cut short."),
        (lambda data: b"", "it is empty."),
        (lambda data: small_png(), "must hold the pixels written to it, but others came back."),
    ],
    ids=["cut short", "empty", "other pixels"],
)
def test_a_picture_that_does_not_come_back_is_named_as_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoilt: Any, words: str
) -> None:
    for_real = os.replace

    def replace(source: Path, target: Path) -> None:
        Path(source).write_bytes(spoilt(Path(source).read_bytes()))
        for_real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    sentence = failing_save(tmp_path)
    assert str(tmp_path / "out/art.png") in sentence
    assert words in sentence
    assert ".comfy-glaze-" not in sentence


def test_batches_agree_with_single_pictures(works: Path, tmp_path: Path) -> None:
    Image.effect_noise((80, 64), 50).convert("RGB").save(works / "wide.png")
    alone, _ = cloaked(works, tmp_path / "alone")
    calls: list[int] = []
    together, _ = cloaked(
        works, tmp_path / "together", batch=4, on_begin=lambda job: calls.append(1) or None
    )
    assert len(calls) < 7
    by_name = {outcome.job.name: outcome.report for outcome in together}
    assert len(by_name) == 7
    for outcome in alone:
        other = by_name[outcome.job.name]
        assert outcome.report is not None
        assert other is not None
        assert abs(outcome.report["shift"]["512"] - other["shift"]["512"]) <= 0.005


def test_a_batch_that_outgrows_the_memory_is_done_one_by_one(
    works: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does the failed batch keep its tensors while its pictures are done again."""
    for_real = picture_module.optimize_cloak
    failed: list[weakref.ref[torch.Tensor]] = []
    alive: list[bool] = []

    def small_memory(images: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        if len(images) > 1:
            activations = images.clone()
            failed.append(weakref.ref(activations))
            raise MemoryError
        alive.extend(made() is not None for made in failed)
        return for_real(images, *arguments, **options)

    monkeypatch.setattr(picture_module, "optimize_cloak", small_memory)
    assert len(made(cloaked(works, tmp_path / "out", batch=3)[0])) == 6
    assert failed
    assert not any(alive)


def test_a_worker_keeps_its_engine_for_requests_that_were_sent_apart() -> None:
    request = CloakRequest(PRESETS["default"], saving=SaveOptions("jpeg", 90))
    sent = pickle.dumps(request)
    assert {pickle.loads(sent), pickle.loads(sent)} == {request}


def test_shards_share_the_work_and_nothing_is_left_over(works: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    parts: list[str] = []
    for part in (1, 2, 3):
        manifest = Manifest(reports_folder(out), (part, 3))
        jobs = Shard(part, 3).jobs(jobs_of(works, out, manifest))
        assert len(jobs) == 2
        parts += made(list(cloak_portfolio(jobs, small_engine(), manifest, resume=True)))
    assert sorted(parts) == sorted(job.name for job in jobs_of(works, out))
    whole = Manifest(reports_folder(out))
    assert len(whole.entries) == 6
    assert made(cloaked(works, out, resume=True)[0]) == []


@pytest.mark.parametrize("moment", range(8))
def test_an_end_between_any_two_steps_of_publishing_is_made_good(
    works: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """The second cloak of a picture is cut off before each write that others can see."""

    class Killed(BaseException):
        pass

    out, for_real, count = tmp_path / "out", os.replace, [0]
    for path in sorted(works.rglob("*.*"))[2:]:
        path.unlink()
    cloaked(works, out)
    other = replace(small_engine(), settings=replace(small_engine().settings, seed=5))
    undisturbed = tmp_path / "undisturbed"
    cloaked(works, undisturbed, other)

    def cut_off(source: Path, target: Path) -> None:
        if ".comfy-glaze-" not in Path(target).name:
            count[0] += 1
            if count[0] == moment + 1:
                raise Killed
        for_real(source, target)

    monkeypatch.setattr(os, "replace", cut_off)
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)  # as dead processes do not tidy up
    with pytest.raises(Killed):
        cloaked(works, out, other)
    monkeypatch.undo()
    cloaked(works, out, other, resume=True)
    remove_all_leftovers(tmp_path)
    assert tree_of(out) == tree_of(undisturbed)


def remove_all_leftovers(top: Path) -> None:
    """Those of this very process too, which play a dead one's."""
    for path in top.rglob(".comfy-glaze-*"):
        path.unlink()


def test_an_earlier_versions_reports_still_tell_whose_a_file_is(
    works: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    cloaked(works, out)
    (tmp_path / "out-reports/manifest.jsonl").unlink()
    assert len(made(cloaked(works, out)[0])) == 6


def test_a_torn_line_costs_only_its_own_picture(works: Path, tmp_path: Path) -> None:
    out, path = tmp_path / "out", tmp_path / "out-reports/manifest.jsonl"
    cloaked(works, out)
    path.write_bytes(path.read_bytes()[:-40])
    again = made(cloaked(works, out, resume=True)[0])
    assert again == ["year 2/005.webp"]
    lines = path.read_text().splitlines()
    assert sum(line.startswith('{"schema": 1, "source"') for line in lines) == 7
    assert made(cloaked(works, out, resume=True)[0]) == []


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "null",
        '{"run": 7}',
        '{"output": 1}',
        '{"output": {"file": 3}}',
        "\x00" * 50,
        "{" * 900,
    ],
)
def test_strange_lines_in_a_manifest_are_passed_over(
    works: Path, tmp_path: Path, line: str
) -> None:
    (tmp_path / "out-reports").mkdir()
    (tmp_path / "out-reports/manifest.jsonl").write_text(line)
    assert len(made(cloaked(works, tmp_path / "out", resume=True)[0])) == 6
    assert made(cloaked(works, tmp_path / "out", resume=True)[0]) == []


def test_leftovers_are_removed_when_their_run_has_ended(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True
    )
    mine = temporary_beside(tmp_path / "sub/art.png")
    mine.parent.mkdir()
    host, _, run, number = mine.name.removeprefix(".comfy-glaze-").split("-")
    dead = mine.with_name(f".comfy-glaze-{host}-{int(ended.stdout)}-{run}-{number}")
    alive = mine.with_name(f".comfy-glaze-{host}-{os.getppid()}-{run}-{number}")
    elsewhere = mine.with_name(f".comfy-glaze-other{host[:4]}-1-{run}-{number}")
    old = mine.with_name(f".comfy-glaze-other{host[:4]}-2-{run}-{number}")
    stranger = mine.with_name(".comfy-glaze-notes.txt")
    for path in (mine, dead, alive, elsewhere, old, stranger):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert remove_leftovers(tmp_path) == 2
    assert sorted(mine.parent.iterdir()) == sorted((mine, alive, elsewhere, stranger))


def test_the_next_picture_is_read_while_one_is_cloaked(
    works: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    load, cloak = portfolio.load_artwork, portfolio.cloak_and_write

    def reading(path: Path, **how: Any) -> Any:
        events.append(f"read {path.name}")
        return load(path, **how)

    def cloaking(pictures: Any, *arguments: Any) -> Any:
        done = cloak(pictures, *arguments)
        events.append(f"cloaked {pictures[0][0].source.name}")
        return done

    monkeypatch.setattr(portfolio, "load_artwork", reading)
    monkeypatch.setattr(portfolio, "cloak_and_write", cloaking)
    cloaked(works, tmp_path / "out")
    names = [job.source.name for job in jobs_of(works, tmp_path / "other")]
    for now, following, afterwards in zip(names, names[1:], names[2:], strict=False):
        assert events.index(f"read {following}") < events.index(f"cloaked {now}")
        assert events.index(f"read {afterwards}") > events.index(f"cloaked {now}")


def test_the_page_shows_everything_the_worst_first_and_escapes_names(
    works: Path, tmp_path: Path
) -> None:
    evil = works / '<img src=x onerror="alert(1)">.png'
    (works / "year 0/000.png").rename(evil)
    outcomes, manifest = cloaked(works, tmp_path / "out")
    page = write_page(tmp_path / "out-reports", manifest, ["<b>bold</b> failed."])
    text = page.read_text()
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=&#34;alert(1)&#34;&gt;.png" in text
    assert "&lt;b&gt;bold&lt;/b&gt; failed." in text
    assert text.count("data:image/webp;base64,") == 6
    assert 'src="http' not in text
    assert "<script" not in text
    reports = [outcome.report for outcome in outcomes if outcome.report]
    expected = sorted(
        (
            report["effect"]["value"],
            report.get("encoded", report)["shift"]["512"],  # of what a lossy file holds
            report["output"]["file"],
        )
        for report in reports
    )
    places = [text.index(f"{escape(name)}</a>") for *_, name in expected]
    assert places == sorted(places)


@names_of_any_bytes
def test_a_name_that_is_not_utf8_goes_all_the_way(works: Path, tmp_path: Path) -> None:
    odd = works / os.fsdecode(b"caf\xe9.png")
    (works / "year 0/000.png").rename(odd)
    outcomes, manifest = cloaked(works, tmp_path / "out", resume=True)
    assert len(made(outcomes)) == 6
    report = json.loads((tmp_path / "out-reports" / f"{odd.name}.glaze.json").read_bytes())
    assert report["source"]["file"] == odd.name
    assert made(cloaked(works, tmp_path / "out", resume=True)[0]) == []
    page = write_page(tmp_path / "out-reports", manifest, []).read_bytes()
    assert b"caf\\udce9.png" in page
    assert b"caf%E9.png.sheet.png" in page


def test_a_folder_in_the_output_that_leads_outside_is_refused(works: Path, tmp_path: Path) -> None:
    out, outside = tmp_path / "out", tmp_path / "outside"
    out.mkdir()
    outside.mkdir()
    (out / "year 0").symlink_to(outside)
    found = [(p, p.relative_to(works)) for p in sorted(works.rglob("*.png"))]
    jobs, refused = plan_outputs(found, out, "same")
    assert not jobs
    assert len(refused) == len(found) > 0
    assert "outside the output folder." in refused[0]


@pytest.mark.parametrize(
    ("name", "format", "target"),
    [
        ("a.heic", "same", "a.png"),
        ("a.HIF", "same", "a.png"),
        ("a.heic", "jpeg", "a.jpg"),
        ("a.jpeg", "jpeg", "a.jpeg"),
        ("still life no. 4", "png", "still life no. 4.png"),
        ("a.tar.png", "webp", "a.tar.webp"),
        ("a.TIFF", "tiff", "a.TIFF"),
        ("a.b", "same", "a.b"),
    ],
)
def test_names_of_outputs(tmp_path: Path, name: str, format: str, target: str) -> None:
    (job,), _ = plan_outputs([(Path("/in") / name, Path(name))], tmp_path / "out", format)
    assert job.target == tmp_path / "out" / target


def test_lossy_quality_is_raised_until_the_shift_survives(works: Path, tmp_path: Path) -> None:
    def kept(out: str, share: float) -> list[Outcome]:
        engine = replace(small_engine(steps=8), saving=SaveOptions("jpeg", 20, share))
        return cloaked(works, tmp_path / out, engine)[0]

    loose, tight, beyond = kept("loose", 0.0), kept("tight", 0.9), kept("beyond", 1.0)
    for one, other, most in zip(loose, tight, beyond, strict=True):
        assert one.report is not None
        assert other.report is not None
        assert most.report is not None
        assert one.report["output"]["quality"] == 20
        shift, asked = other.report["shift"]["512"], other.report["encoded"]
        if asked["survived"]:
            assert asked["shift"]["512"] >= 0.9 * shift
        else:
            assert other.report["output"]["quality"] == 100
        if not most.report["encoded"]["survived"]:
            assert most.report["output"]["quality"] == 100
    raised = [o.report["output"]["quality"] for o in tight if o.report]
    assert max(raised) > 20


def test_a_resumed_command_keeps_the_style_and_says_what_is_unchanged(
    works: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked: list[str] = []

    def opened(request: CloakRequest, *_: object) -> Engine:
        style, seed = request.style.style, request.style.seed
        asked.append(style)
        drawn = TargetStyle(builtin_styles()[3], 1.5, 60.0, seed)
        named = TargetStyle(builtin_styles()[3], seed=seed)
        return replace(small_engine(), target=drawn if style == "auto" else named)

    monkeypatch.setattr("comfy_glaze.portfolio.engine.open_engine", opened)

    def run(*words: str) -> str:
        result = CliRunner().invoke(app, ["cloak", "in", "--out", "out", "--resume", *words])
        assert result.exit_code == 0, result.output
        return result.output

    assert "Unchanged" not in run()
    (works / "new.png").write_bytes((works / "year 0/000.png").read_bytes())
    again = run()
    assert "Unchanged since an earlier run: 6." in again
    assert "percentile 60" in again
    report = json.loads((tmp_path / "out-reports/new.png.glaze.json").read_text())
    assert report["target_style"]["percentile"] == 60.0
    run("--style-seed", "7")
    assert asked == ["auto", builtin_styles()[3].name, "auto"]
    lines = (tmp_path / "out-reports/manifest.jsonl").read_text().splitlines()
    assert sum('"run"' in line for line in lines) == 1  # nothing to do wrote no new one
    assert "7 pictures" in (tmp_path / "out-reports/index.html").read_text()


def run_and_kill(folder: Path, pictures: int, kills: object, *more: str) -> dict[str, Any]:
    words = [sys.executable, "-m", "tests.portfolio.runs", str(folder), str(pictures), str(kills)]
    words += more
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    root = Path(__file__).parents[2]
    done = subprocess.run(words, capture_output=True, text=True, cwd=root, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check_killed(found: dict[str, Any], pictures: int) -> None:
    assert len(found["whole"]) == pictures
    assert found["killed"] == found["whole"]
    assert found["reports"] == found["whole reports"]
    assert found["half"] == []
    assert found["done"] == sorted(found["done"])  # nothing is ever lost again


forks = pytest.mark.skipif(
    sys.platform != "linux", reason="forks, and reads the memory of processes from /proc"
)


@forks
def test_a_killed_run_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    check_killed(run_and_kill(tmp_path, pictures=12, kills=3), 12)


@forks
@pytest.mark.slow
def test_three_hundred_pictures_killed_ten_times(tmp_path: Path) -> None:
    found = run_and_kill(tmp_path, pictures=300, kills=10)
    check_killed(found, 300)
    assert 0 < found["done"][0] < 300
    memory = found["memory"]
    second, last = max(memory[75:150]), max(memory[225:])
    assert last <= 1.05 * second


@forks
@pytest.mark.slow
def test_sixty_pictures_of_many_kinds_killed_ten_times(tmp_path: Path) -> None:
    check_killed(run_and_kill(tmp_path, 60, 10, "kinds"), 60)
    reports = [
        json.loads(path.read_text()) for path in (tmp_path / "killed-reports").rglob("*.glaze.json")
    ]
    levels = [report["verdict"]["level"] for report in reports]
    assert len(levels) == 60
    assert set(levels) <= {"none", "weak", "fair", "good"}


@pytest.mark.slow
def test_a_portfolio_of_many_kinds_tells_weak_failed_and_done_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("comfy_glaze.portfolio.engine.open_engine", lambda *_: small_engine())
    make_kinds(tmp_path / "in", 60)

    def run(*words: str) -> tuple[int, dict[str, Any]]:
        result = CliRunner().invoke(app, ["cloak", "in", "--out", "out", "--json", *words])
        found: dict[str, Any] = json.loads(result.stdout)
        assert found["exit_code"] == result.exit_code
        return result.exit_code, found

    code, found = run("--strict")
    assert code == 3
    assert found["counts"]["cloaked"] == len(found["pictures"]) == 60
    weak = [p for p in found["pictures"] if p["verdict"]["level"] in ("none", "weak")]
    assert 0 < len(weak) == found["counts"]["weak"]
    assert all(p["verdict"]["sentence"] and p["verdict"]["try"] for p in weak)
    (tmp_path / "in" / "text.png").write_text("not a picture")
    code, found = run("--strict", "--resume")
    assert code == 1
    assert found["counts"] == {"failed": 1, "unchanged": 60, "weak": len(weak)}
    assert [p["file"] for p in found["pictures"] if p["status"] == "failed"] == ["text.png"]
    assert "60 pictures" in (tmp_path / "out-reports/index.html").read_text("utf-8")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs workers that can be killed")
def test_a_clusters_worker_that_dies_costs_no_picture(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="needs the extra cluster")
    found = run_and_kill(tmp_path, 12, "cluster")
    assert len(found["alone"]) == 12
    assert found["shared"] == found["alone"]
    assert found["reports"] == found["alone reports"]
    assert found["manifest"] == found["done"] == sorted(found["alone"])


def test_a_cluster_gets_the_request_that_the_engine_was_opened_for(
    works: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    requests: list[CloakRequest] = []

    def shared(jobs: Any, request: Any, engine: Any, manifest: Any, client: str, **how: Any) -> Any:
        requests.append(request)
        assert client == "the client of tcp://here:1"
        return cloak_portfolio(jobs, engine, manifest, **how)

    monkeypatch.setattr("comfy_glaze.portfolio.engine.open_engine", lambda *_: small_engine())
    monkeypatch.setattr(
        "comfy_glaze.portfolio.cluster.connect", lambda address: f"the client of {address}"
    )
    monkeypatch.setattr("comfy_glaze.portfolio.cluster.cloak_on_cluster", shared)
    words = "cloak in --out out --cluster tcp://here:1 --quality 91 --no-ai-training --seed 4"
    result = CliRunner().invoke(app, words.split())
    assert result.exit_code == 0, result.output
    (request,) = requests
    assert (request.saving.quality, request.saving.no_ai_training) == (91, True)
    assert request.settings.seed == 4
    assert len(tree_of(tmp_path / "out")) == 6


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("local:0", "after local: stands a number of workers."),
        ("local:many", "after local: stands a number of workers."),
        ("nonsense://here:1", "No cluster at nonsense://here:1: "),
    ],
)
def test_a_cluster_that_cannot_be_had_is_one_sentence(address: str, words: str) -> None:
    pytest.importorskip("distributed", reason="needs the extra cluster")
    with pytest.raises(ClusterError) as caught:
        connect(address)
    sentence = str(caught.value)
    assert words in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match=r"pip install .*\[cluster\]\"\.$"):
        connect("local")
