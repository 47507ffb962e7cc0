"""Concept poison: what is chosen, what it is led to, and what lies in the folder afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from comfy_glaze.cloaking.budget import NIGHTSHADE
from comfy_glaze.cloaking.measures import worst_perceptual
from comfy_glaze.files.artwork import Artwork, load_artwork, save_artwork
from comfy_glaze.files.finding import find_artworks
from comfy_glaze.images import resize
from comfy_glaze.networks.encoders import Encoder
from comfy_glaze.networks.perceptual import load_metric
from comfy_glaze.poison import anchors
from comfy_glaze.poison.anchors import (
    AnchorError,
    Poison,
    anchors_in,
    draw_anchors,
    fitted,
    most_prototypical,
    prompt_of,
)
from comfy_glaze.poison.selection import (
    Sample,
    Selection,
    SelectionError,
    names_concept,
    select_samples,
    with_similarities,
)
from comfy_glaze.portfolio import saving as saving_module
from comfy_glaze.portfolio import sheet as sheet_module
from comfy_glaze.portfolio.engine import Engine
from comfy_glaze.portfolio.manifest import Manifest
from comfy_glaze.portfolio.outputs import Job, plan_outputs, reports_folder
from comfy_glaze.portfolio.page import write_page
from comfy_glaze.portfolio.run import Outcome, cloak_portfolio
from comfy_glaze.styles.target import TargetStyle
from comfy_glaze.styles.transfer import TextToImage

from ..conftest import Run, modules_after, smooth_picture
from ..portfolio.runs import small_engine, tree_of


def saved(path: Path, seed: int, caption: str | None = None, size: int = 64) -> Path:
    picture = smooth_picture(size, size, seed=seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_artwork(picture, Artwork(picture), path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption + "\n", encoding="utf-8")
    return path


PHRASES = [
    *("a boat", "an old boat", "the sea", "two cats", "a castle in ruins", "a bowl of apples"),
    *("a unicorn", "an umbrella", "an hour glass", "a European city", "a UFO", "an FBI agent"),
    *("an X-ray", "a glass", "a bus", "a specimen", "a lens", "an unidentified object"),
]


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_phrase_gets_its_article_and_keeps_the_one_it_has(phrase: str) -> None:
    assert prompt_of(phrase) == f"a photo of {phrase}"
    article, noun = phrase.split(" ", 1)
    if article in ("a", "an"):
        assert prompt_of(noun) == f"a photo of {phrase}"


@pytest.mark.parametrize("many", ["dogs", "people on a beach", "wolves", "firemen", "taxis"])
def test_many_get_no_article(many: str) -> None:
    assert prompt_of(f" {many}") == f"a photo of {many}"
    assert prompt_of("water") == "a photo of water"


@pytest.mark.parametrize("name", ["Mona Lisa", "Paris", "Batman"])
def test_names_get_no_article(name: str) -> None:
    assert prompt_of(name) == f"a photo of {name}"
    assert prompt_of(f"{name} poster") == f"a photo of a {name} poster"


@pytest.mark.parametrize(
    ("concept", "caption"),
    [
        ("a boat", "two boats at dawn"),
        ("boats", "a boat"),
        ("a city", "cities by night"),
        ("wolves", "one wolf"),
        ("an old man", "Old men"),
    ],
)
def test_number_and_article_do_not_hide_a_concept(concept: str, caption: str) -> None:
    assert names_concept(caption, concept)
    assert not names_concept("a boatman in a wolfhound's cityscape", concept)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four captioned pictures, of which three show the concept by their words."""
    words = ["a dog on a lawn", "two Dogs  asleep\n", "a cat", "the old dog-house"]
    for number, caption in enumerate(words):
        saved(tmp_path / f"in/{number}.png", number, caption)
    return tmp_path / "in"


@pytest.fixture
def cats(tmp_path: Path) -> tuple[Path, ...]:
    return tuple(saved(tmp_path / f"cats/{number}.png", 50 + number, size=80) for number in (0, 1))


def by_brightness(
    name: str, sentences: Sequence[str], device: torch.device
) -> Callable[[Tensor], Tensor]:
    assert name == "a-clip"
    return lambda images: images.mean(dim=(1, 2, 3))[:, None].expand(-1, len(sentences))


def jobs_for(
    samples: Sequence[Sample], out: Path, format: str, manifest: Manifest | None = None
) -> tuple[list[Job], list[str]]:
    """As the command plans them."""
    found = [(sample.source, sample.relative) for sample in samples]
    captions = {sample.source: sample.caption for sample in samples}
    return plan_outputs(found, out, format, manifest, captions)


def engine_for(poison: Poison) -> Engine:
    return replace(
        small_engine(),
        style_transfer=poison.omega(),
        target=TargetStyle(poison.destination),
        poison=poison,
    )


def poisoned(
    photos: Path, cats: Sequence[Path], out: Path, **options: Any
) -> tuple[list[Outcome], Manifest]:
    selection = select_samples(find_artworks([photos]), "dog")
    reports_folder(out).mkdir(parents=True, exist_ok=True)
    manifest = Manifest(reports_folder(out))
    manifest.begin({"poison": ["dog", "cat"]})
    jobs, refused = jobs_for(selection.samples, out, "same", manifest)
    assert not refused
    poison = with_similarities(Poison("dog", "cat", "object", tuple(cats)), selection.samples)
    return list(cloak_portfolio(jobs, engine_for(poison), manifest, **options)), manifest


# --- selection -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caption", "named"),
    [
        ("a Dog.", True),
        ("hot-dogs", True),
        ("dogma", False),
        ("my bulldog", False),
        ("", False),
    ],
)
def test_a_caption_names_a_concept_by_whole_words(caption: str, named: bool) -> None:
    assert names_concept(caption, "dog") is named


def test_a_concept_may_have_several_words() -> None:
    assert names_concept("in the style of Ukiyo-e, a bridge", "ukiyo e")
    assert not names_concept("a green apple, a tree", "apple tree")


def test_only_pictures_whose_captions_name_the_concept(photos: Path) -> None:
    saved(photos / "without.png", 9)
    selection = select_samples(find_artworks([photos]), "dog")
    captions = [sample.caption for sample in selection.samples]
    assert captions == ["a dog on a lawn", "two Dogs asleep", "the old dog-house"]
    assert (selection.others, selection.left_out) == (1, 0)
    (failure,) = selection.failures
    assert "without.png" in failure


def test_the_best_are_kept_where_a_model_can_tell(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anchors, "load_text_matcher", by_brightness)
    found = find_artworks([photos])
    every = select_samples(found, "dog", clip="a-clip")
    light = {s.source.name: float(load_artwork(s.source).pixels.mean()) for s in every.samples}
    assert {s.source.name: s.similarity for s in every.samples} == pytest.approx(light)
    best = select_samples(found, "dog", clip="a-clip", keep=2)
    expected = sorted(sorted(light, key=lambda name: -light[name])[:2])
    assert [sample.source.name for sample in best.samples] == expected
    assert best.left_out == 1


def test_without_a_model_the_kept_ones_are_spread_and_always_the_same(photos: Path) -> None:
    found = find_artworks([photos])
    kept = [select_samples(found, "dog", keep=2).samples for _ in range(2)]
    assert [s.source.name for s in kept[0]] == ["0.png", "1.png"]
    assert kept[0] == kept[1]


def test_a_template_names_the_concept_itself(photos: Path) -> None:
    chosen = select_samples(find_artworks([photos]), "fauvism", "template", kind="style").samples
    assert {s.caption for s in chosen} == {"a painting in the style of fauvism"}
    assert len(chosen) == 4


def test_no_such_concept_is_one_sentence(photos: Path) -> None:
    with pytest.raises(SelectionError, match="the word 'horse', but none of 4 has it"):
        select_samples(find_artworks([photos]), "horse")


# --- anchors -------------------------------------------------------------------------------------


def test_what_a_model_is_asked_for() -> None:
    assert prompt_of("cat") == "a photo of a cat"
    assert prompt_of("apple") == "a photo of an apple"
    assert prompt_of("fauvism", "style") == "a painting in the style of fauvism"
    assert prompt_of("the Fauves", "style") == "a painting in the style of the Fauves"
    with pytest.raises(ValueError, match="object, style, but got smell"):
        prompt_of("rose", "smell")


def test_an_anchor_covers_the_picture_and_keeps_its_proportions() -> None:
    wide = smooth_picture(40, 90, seed=3)
    cut = fitted(wide, 60, 60)
    assert cut.shape == (1, 3, 60, 60)
    middle = resize(wide, 60, 135).clamp(0, 1)[..., 37:97]
    assert float((cut - middle).abs().max()) <= 0.5 / 255 + 1e-6
    assert torch.equal(cut, (cut * 255).round() / 255)


def test_a_picture_keeps_its_anchor_whatever_else_is_there(cats: tuple[Path, ...]) -> None:
    poison = Poison("dog", "cat", "object", cats)
    pictures = [smooth_picture(64, 64, seed=seed) for seed in range(12)]
    chosen = [poison.anchor_for(picture) for picture in pictures]
    assert set(chosen) == set(cats)
    assert [poison.anchor_for(picture) for picture in reversed(pictures)] == chosen[::-1]
    other = [replace(poison, seed=1).anchor_for(picture) for picture in pictures]
    assert other != chosen


def test_omega_is_named_after_all_that_decides_it(cats: tuple[Path, ...]) -> None:
    poison = Poison("dog", "cat", "object", cats)
    others = [replace(poison, seed=1), replace(poison, concept="wolf")]
    others.append(replace(poison, anchors=cats[:1]))
    omegas = [one.omega() for one in (poison, *others)]
    assert len({omega.name for omega in omegas}) == 4
    assert len({omega.fingerprint() for omega in omegas}) == 4
    assert poison.omega().fingerprint() == omegas[0].fingerprint()
    picture = smooth_picture(48, 72, seed=2)
    expected = fitted(load_artwork(poison.anchor_for(picture)).pixels, 48, 72)
    assert torch.equal(poison.omega()(picture, poison.destination), expected)


def test_anchors_are_drawn_once_with_seeds_of_their_own(tmp_path: Path) -> None:
    asked: list[int] = []

    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        assert list(prompts) == ["a photo of a cat"]
        asked.extend(seeds)
        return smooth_picture(32, 32, seed=seeds[0])

    model = TextToImage("a model", draw)
    first = draw_anchors(model, "a photo of a cat", 3, tmp_path / "anchors", seed=2)
    assert len(set(asked)) == len(asked) == 3
    first[1].unlink()
    assert draw_anchors(model, "a photo of a cat", 3, tmp_path / "anchors", seed=2) == first
    assert asked[3:] == asked[1:2]
    assert not set(first) & set(draw_anchors(model, "a photo of a cat", 3, tmp_path / "anchors"))


def test_the_better_half_of_the_anchors() -> None:
    paths = [Path(str(number)) for number in range(5)]
    kept = most_prototypical(paths, [0.1, 0.5, None, 0.3, 0.4])
    assert kept == [paths[1], paths[3], paths[4]]


def test_anchors_that_cannot_be_had(tmp_path: Path, cats: tuple[Path, ...]) -> None:
    with pytest.raises(AnchorError, match="but nowhere is none"):
        anchors_in(Path("nowhere"))
    (cats[0].parent / "torn.png").write_bytes(cats[0].read_bytes()[:200])
    with pytest.raises(ValueError, match=r"torn\.png: expected a whole PNG"):
        anchors_in(cats[0].parent)
    with pytest.raises(ValueError, match="but both are 'Dog'"):
        Poison("Dog", "dog", "object", cats)
    with pytest.raises(ValueError, match="at least one anchor of cat"):
        Poison("dog", "cat", "object", ())


# --- from disk to disk ---------------------------------------------------------------------------


def test_published_are_pictures_and_captions_alone(
    photos: Path, cats: tuple[Path, ...], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    outcomes, _ = poisoned(photos, cats, out)
    assert not [outcome.error for outcome in outcomes if outcome.error]
    names = {path.name for path in out.iterdir()}
    assert names == {f"{number}.{end}" for number in (0, 1, 3) for end in ("png", "txt")}
    assert (out / "1.txt").read_bytes() == b"two Dogs asleep\n"
    kinds = {path.name.split(".", 2)[-1] for path in reports_folder(out).glob("0.*")}
    assert kinds == {"glaze.json", "sheet.png", "anchor.png"}


def test_the_report_names_concepts_and_no_style(
    photos: Path, cats: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    compose = sheet_module._compose

    def listen(rows: Any, lines: Sequence[str]) -> Any:
        shown.extend([*(label for row in rows for label, _ in row), *lines])
        return compose(rows, lines)

    monkeypatch.setattr(sheet_module, "_compose", listen)
    outcomes, manifest = poisoned(photos, cats, tmp_path / "out")
    reports = reports_folder(tmp_path / "out")
    for outcome in outcomes:
        report = json.loads((reports / f"{outcome.job.name}.glaze.json").read_text("utf-8"))
        original = load_artwork(outcome.job.source)
        poison = Poison("dog", "cat", "object", cats)
        assert report["poison"] == {
            "concept": "dog",
            "towards": "cat",
            "anchor": poison.anchor_for(original.pixels).name,
            "similarity": None,
        }
        assert set(report["target_style"].values()) == {None}
        assert report["settings"]["style_seed"] is None
        assert report["shift"]["512"] > 0.02
        kept = load_artwork(reports / f"{outcome.job.name}.anchor.png").pixels
        assert torch.equal(kept, poison.omega()(original.pixels, poison.destination)), (
            "the anchor that the measures compare with"
        )
    assert shown
    assert not [words for words in shown if "cloak" in words.lower() or "style" in words.lower()]
    assert {"anchor: cat", "poisoned"} <= set(shown)
    page = write_page(reports, manifest, []).read_text("utf-8")
    assert "Poisoned pictures" in page
    assert "cloak" not in page.lower()


def test_similarities_reach_the_report(photos: Path, cats: tuple[Path, ...]) -> None:
    samples = [Sample(photos / "0.png", Path("0.png"), "a dog", 0.25)]
    poison = with_similarities(Poison("dog", "cat", "object", cats), samples)
    assert poison.as_json(load_artwork(photos / "0.png"))["similarity"] == 0.25
    assert poison.as_json(load_artwork(photos / "1.png"))["similarity"] is None


def test_a_resumed_run_mends_captions_and_leaves_the_rest(
    photos: Path, cats: tuple[Path, ...], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    poisoned(photos, cats, out)
    whole = tree_of(out)
    (out / "0.txt").unlink()
    (photos / "3.txt").write_text("a dog, old", encoding="utf-8")
    again, _ = poisoned(photos, cats, out, resume=True)
    assert [o.job.name for o in again if o.report] == ["0.png", "3.png"]
    after = tree_of(out)
    assert {name for name in whole if after[name] != whole[name]} == {"3.txt"}
    assert (out / "3.txt").read_text("utf-8") == "a dog, old\n"
    other, _ = poisoned(photos, cats[:1], out, resume=True)
    assert len([o for o in other if o.report]) == 3, "other anchors make other pictures"


def test_a_run_that_dies_between_caption_and_picture_goes_on(
    photos: Path, cats: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    place = saving_module.StagedFiles.place

    def die(staged: Any) -> None:
        staged.files, rest = staged.files[:-1], staged.files[-1:]
        place(staged)
        staged.files += rest
        raise KeyboardInterrupt

    monkeypatch.setattr(saving_module.StagedFiles, "place", die)
    with pytest.raises(KeyboardInterrupt):
        poisoned(photos, cats, out)
    assert [path.name for path in out.iterdir()] == ["0.txt"], "the caption stood before it"
    monkeypatch.setattr(saving_module.StagedFiles, "place", place)
    again, _ = poisoned(photos, cats, out, resume=True)
    assert len([o for o in again if o.report]) == 3
    poisoned(photos, cats, tmp_path / "whole")
    assert tree_of(out) == tree_of(tmp_path / "whole")


def test_a_strangers_text_is_never_overwritten(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "0.txt").write_text("my diary", encoding="utf-8")
    selection = select_samples(find_artworks([photos]), "dog")
    jobs, (refused,) = jobs_for(selection.samples, out, "same")
    assert "0.txt is there already and no caption of ours" in refused
    assert [job.name for job in jobs] == ["1.png", "3.png"]


def test_two_pictures_cannot_share_a_caption(tmp_path: Path) -> None:
    saved(tmp_path / "in/art.jpg", 1)
    saved(tmp_path / "in/art.png", 2, "a dog")
    selection: Selection = select_samples(find_artworks([tmp_path / "in"]), "dog")
    jobs, (refused,) = jobs_for(selection.samples, tmp_path / "out", "same")
    assert [job.name for job in jobs] == ["art.jpg"]
    assert "already taken by art.jpg" in refused.replace(str(tmp_path / "in") + "/", "")


def test_the_budget_holds_on_the_files(
    block_encoder: Encoder, photos: Path, cats: tuple[Path, ...], tmp_path: Path
) -> None:
    assert (NIGHTSHADE.limit, NIGHTSHADE.sight) == (0.07, None)
    selection = select_samples(find_artworks([photos]), "dog")
    poison = Poison("dog", "cat", "object", cats)
    metric = load_metric("st-lpips-alex", torch.device("cpu"))
    engine = replace(engine_for(poison), encoder=block_encoder, budget=NIGHTSHADE, metric=metric)
    jobs, _ = jobs_for(selection.samples[:1], tmp_path / "out", "png")
    reports_folder(tmp_path / "out").mkdir()
    (outcome,) = cloak_portfolio(jobs, engine, Manifest(reports_folder(tmp_path / "out")))
    assert outcome.report is not None, outcome.error
    before, after = (load_artwork(p).pixels for p in (jobs[0].source, jobs[0].target))
    assert NIGHTSHADE.linf is not None
    assert float((after - before).abs().max()) <= NIGHTSHADE.linf + 1e-6
    assert outcome.report["perceptual"]["value"] <= 0.07
    assert float(worst_perceptual(before, after, metric)[0]) <= 0.07


# --- the command ---------------------------------------------------------------------------------


def test_the_command(run: Run, photos: Path, cats: tuple[Path, ...], tmp_path: Path) -> None:
    words = ["nightshade", photos, "--out", "out", "--concept", "dog", "--towards", "cat"]
    words += ["--anchors", cats[0].parent, "--steps", 2, "--device", "cpu"]
    done = run(*words)
    assert done.exit_code == 0, done.output
    assert "this poison reaches none" in done.output
    assert "3 pictures, 2 anchors. Captions without the word: 1" in done.output
    assert "Poisoned pictures: out" in done.output
    report = json.loads((tmp_path / "out-reports/0.png.glaze.json").read_text("utf-8"))
    assert report["settings"]["preset"] == "nightshade"
    assert (report["settings"]["limit"], report["settings"]["steps"]) == (0.07, 2)
    again = run(*words, "--resume")
    assert again.exit_code == 0
    assert "Unchanged since an earlier run: 3." in again.output
    assert "Loading the models" not in again.output


def test_a_resumed_command_with_nothing_to_do_loads_no_network(
    run: Run, photos: Path, cats: tuple[Path, ...], tmp_path: Path
) -> None:
    words = ["nightshade", photos, "--out", "out", "--concept", "dog", "--towards", "cat"]
    words += ["--anchors", cats[0].parent, "--steps", 1, "--device", "cpu"]
    assert run(*words).exit_code == 0
    again = [*words, "--resume"]
    code, modules, said = modules_after(*map(str, again), cwd=tmp_path)
    assert code == 0, said
    assert "torch" not in modules
    assert "Unchanged since an earlier run: 3." in said

    def loads(*more: object) -> bool:
        done = run(*again, *more)
        assert done.exit_code == 0, done.output
        return "Loading the models" in done.output

    assert loads("--seed", 5)
    assert not loads("--seed", 5)
    (tmp_path / "out" / "0.txt").unlink()
    assert loads("--seed", 5)
    assert (tmp_path / "out" / "0.txt").read_text("utf-8") == "a dog on a lawn\n"
    sidecar = photos / "1.txt"
    sidecar.write_text("Two dogs on a beach")
    assert loads("--seed", 5)
    assert (tmp_path / "out" / "1.txt").read_text("utf-8") == "Two dogs on a beach\n"
    assert not loads("--seed", 5)


def test_a_checkpoint_draws_the_anchors(
    run: Run, photos: Path, tiny_pipeline: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comfy_glaze.styles.transfer.TEXT_TO_IMAGE_SIZE", 64)
    monkeypatch.setattr("comfy_glaze.styles.transfer.TEXT_TO_IMAGE_STEPS", 2)
    words = ["nightshade", photos, "--out", "out", "--concept", "dog", "--towards", "cat"]
    words += ["--checkpoint", tiny_pipeline, "--encoder", "embedded", "--draw", 2, "--keep", 1]
    done = run(*words, "--steps", 1, "--device", "cpu")
    assert done.exit_code == 0, done.output
    drawn = sorted(path.name for path in (tmp_path / "out-reports/anchors").iterdir())
    assert len(drawn) == 2
    report = json.loads((tmp_path / "out-reports/0.png.glaze.json").read_text("utf-8"))
    assert report["poison"]["anchor"] in drawn


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ([], "--anchors FOLDER, or --checkpoint"),
        (["--anchors", "nowhere"], "nowhere is none"),
        (["--anchors", "cats", "--concept", "horse"], "the word 'horse'"),
        (["--anchors", "cats", "--towards", "dog"], "both are 'dog'"),
        (["--anchors", "cats", "--limit", "0"], "must be above 0"),
        (["--anchors", "cats", "--captions", "no-such-model"], "No model could be loaded"),
    ],
)
def test_bad_usage_is_one_sentence(
    run: Run, photos: Path, cats: tuple[Path, ...], more: list[str], sentence: str
) -> None:
    words = ["nightshade", photos, "--out", "out", "--concept", "dog", "--towards", "cat"]
    done = run(*words, *more, "--device", "cpu")
    assert done.exit_code == 2, done.output
    assert sentence in done.output
    assert "Traceback" not in done.output


def test_pictures_without_captions_fail_by_name_and_the_rest_is_saved(
    run: Run, photos: Path, cats: tuple[Path, ...], tmp_path: Path
) -> None:
    saved(photos / "wordless.png", 7)
    words = ["nightshade", photos, "--out", "out", "--concept", "dog", "--towards", "cat"]
    done = run(*words, "--anchors", cats[0].parent, "--steps", 1, "--device", "cpu")
    assert done.exit_code == 1
    assert "wordless.png" in done.output
    assert len(list((tmp_path / "out").glob("*.png"))) == 3


def test_help_tells_poison_from_a_cloak(run: Run) -> None:
    said = " ".join(run("nightshade", "--help").output.split())
    assert "A cloak guards your own work" in said
    assert "asked or paid to deliver" in said
