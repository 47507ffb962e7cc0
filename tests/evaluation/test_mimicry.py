"""Fine-tuning and drawing, on tiny random pipelines of the real classes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from comfy_glaze.evaluation.generation import Generation, generate
from comfy_glaze.evaluation.generators import Prompts, load_generator
from comfy_glaze.evaluation.mimicry import FineTuning, fine_tune, load_mimic
from comfy_glaze.evaluation.training_data import Shelf, training_pixels
from comfy_glaze.files.artwork import Artwork, load_artwork, save_artwork
from comfy_glaze.networks.captions import Work

from ..conftest import smooth_picture

QUICK = FineTuning(
    steps=4, batch=3, at_once=2, learning_rate=1e-3, resolution=32, rank=2, prior_pictures=2
)
DRAWING = Generation(steps=2, images_per_caption=2, resolution=32)


def weights(pipeline: Any) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in pipeline.unet.parameters()])


@pytest.fixture
def works(tmp_path: Path) -> list[Work]:
    found = []
    for i in range(4):
        path = tmp_path / f"piece-{i}.png"
        picture = smooth_picture(40 + 8 * i, 48, seed=i)
        save_artwork(picture, Artwork(picture), path)
        found.append(Work(path, f"a lake {i % 2} by ada"))
    return found


@pytest.mark.parametrize(
    ("generator", "method"),
    [
        ("tiny_pipeline", "full"),
        ("tiny_pipeline", "lora"),
        ("tiny_pipeline", "dreambooth"),
        ("tiny_sd2", "full"),
        ("tiny_sdxl", "full"),
        ("tiny_sdxl", "lora"),
        ("tiny_flux", "lora"),
    ],
)
def test_fine_tuning_changes_what_is_drawn_and_survives_the_disk(
    generator: str,
    method: str,
    works: list[Work],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    if method == "lora":
        pytest.importorskip("peft", reason="needs peft (extra lab)")
    tiny_generator = request.getfixturevalue(generator)
    untouched = load_generator(tiny_generator)
    plain = generate(untouched, ["a lake by ada"], DRAWING, tmp_path / "plain")
    tuned = load_generator(tiny_generator)
    settings = replace(QUICK, method=method, learning_rate=1e-2)
    assert fine_tune(tuned, works, settings, tmp_path / "mimic")
    drawn = generate(tuned, ["a lake by ada"], DRAWING, tmp_path / "drawn")

    again = load_generator(tiny_generator)
    load_mimic(again, tmp_path / "mimic")
    reloaded = generate(again, ["a lake by ada"], DRAWING, tmp_path / "reloaded")
    for (before, _), (after, _), (same, _) in zip(plain, drawn, reloaded, strict=True):
        pictures = [load_artwork(path).pixels for path in (before, after, same)]
        assert (pictures[0] - pictures[1]).abs().max() > 2 / 255
        assert (pictures[1] - pictures[2]).abs().max() <= 1 / 255

    record = json.loads((tmp_path / "mimic" / "mimic.json").read_text())
    assert record["settings"]["method"] == method
    lines = (tmp_path / "mimic" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]


def test_text_encoders_and_vae_stay_as_they_are(
    tiny_sdxl: str, works: list[Work], tmp_path: Path
) -> None:
    pipeline = load_generator(tiny_sdxl)
    parts = (pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2)
    before = [p.clone() for part in parts for p in part.parameters()]
    fine_tune(pipeline, works, QUICK, tmp_path / "mimic")
    after = [p for part in parts for p in part.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_an_interrupted_run_is_the_same_run(
    tiny_pipeline: str, works: list[Work], tmp_path: Path
) -> None:
    settings = replace(QUICK, average=0.9, caption_dropout=0.5, warm_up=3)
    whole = load_generator(tiny_pipeline)
    fine_tune(whole, works, settings, tmp_path / "whole")

    halted = load_generator(tiny_pipeline)
    assert not fine_tune(halted, works, settings, tmp_path / "halved", until=0.0)
    assert not (tmp_path / "halved" / "mimic.json").exists()
    resumed = load_generator(tiny_pipeline)
    assert fine_tune(resumed, works, settings, tmp_path / "halved")
    assert torch.equal(weights(whole), weights(resumed))
    logs = [(tmp_path / name / "log.jsonl").read_text() for name in ("whole", "halved")]
    losses = [[json.loads(line)["loss"] for line in log.splitlines()] for log in logs]
    assert losses[0] == losses[1]


def test_a_finished_run_is_loaded_and_another_one_refused(
    tiny_pipeline: str, works: list[Work], tmp_path: Path
) -> None:
    first = load_generator(tiny_pipeline)
    fine_tune(first, works, QUICK, tmp_path / "mimic")
    second = load_generator(tiny_pipeline)
    steps: list[Any] = []
    assert fine_tune(second, works, QUICK, tmp_path / "mimic", steps.append)
    assert not steps
    assert torch.equal(weights(first), weights(second))
    shutil.rmtree(tmp_path / "mimic" / "unet")
    third = load_generator(tiny_pipeline)
    assert fine_tune(third, works, QUICK, tmp_path / "mimic")
    assert torch.equal(weights(first), weights(third))
    with pytest.raises(ValueError, match="other settings or works"):
        fine_tune(second, works, replace(QUICK, seed=1), tmp_path / "mimic")


def test_pictures_at_once_change_nothing(
    tiny_pipeline: str, works: list[Work], tmp_path: Path
) -> None:
    losses: dict[int, list[float]] = {1: [], 3: []}
    for at_once, seen in losses.items():
        settings = replace(QUICK, at_once=at_once)
        folder = tmp_path / str(at_once)
        fine_tune(
            load_generator(tiny_pipeline),
            works,
            settings,
            folder,
            lambda step, seen=seen: seen.append(step.loss),
        )
    assert losses[1] == pytest.approx(losses[3], rel=1e-3)
    assert losses[1][0] != pytest.approx(losses[1][1], rel=1e-3)


def test_training_lowers_the_loss(tiny_pipeline: str, works: list[Work], tmp_path: Path) -> None:
    losses = []
    fine_tune(
        load_generator(tiny_pipeline),
        works,
        replace(QUICK, steps=30, batch=4, at_once=4, learning_rate=3e-3),
        tmp_path / "mimic",
        lambda step: losses.append(step.loss),
    )
    assert sum(losses[-10:]) < 0.95 * sum(losses[:10])


def test_drawing_is_seeded_one_picture_at_a_time(tiny_pipeline: str, tmp_path: Path) -> None:
    pipeline = load_generator(tiny_pipeline)
    scheduler = pipeline.scheduler
    one = generate(pipeline, ["a", "b"], replace(DRAWING, at_once=1), tmp_path / "one")
    all_at_once = generate(pipeline, ["a", "b"], DRAWING, tmp_path / "all")
    assert pipeline.scheduler is scheduler
    assert [caption for _, caption in one] == [0, 0, 1, 1]
    pictures = [load_artwork(path).pixels for path, _ in one]
    for (path, _), picture in zip(all_at_once, pictures, strict=True):
        assert (load_artwork(path).pixels - picture).abs().max() <= 1 / 255
    assert (pictures[0] - pictures[1]).abs().max() > 2 / 255

    one[2][0].unlink()
    generate(pipeline, ["a", "b"], DRAWING, tmp_path / "one")
    assert (load_artwork(one[2][0]).pixels - pictures[2]).abs().max() <= 1 / 255


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # between diffusers and numpy
@pytest.mark.parametrize("sampler", ["pndm", "dpm++", "ddim"])
def test_samplers_differ(sampler: str, tiny_pipeline: str, tmp_path: Path) -> None:
    pipeline = load_generator(tiny_pipeline)
    drawing = Generation(sampler=sampler, steps=3, images_per_caption=1, resolution=32)
    ((path, _),) = generate(pipeline, ["a"], drawing, tmp_path)
    assert load_artwork(path).pixels.std() > 0.005


def test_training_pixels_are_the_middle_square(tmp_path: Path) -> None:
    picture = torch.zeros(1, 3, 64, 128)
    picture[..., 32:96] = 1.0
    save_artwork(picture, Artwork(picture), tmp_path / "wide.png")
    square = training_pixels(tmp_path / "wide.png", 32)
    assert square.shape == (1, 3, 32, 32)
    assert square.min() > 0.9
    assert training_pixels(tmp_path / "wide.png", 96).shape == (1, 3, 96, 96)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="full, lora, dreambooth"):
        FineTuning(method="textual inversion")
    with pytest.raises(ValueError, match="of 1 or more"):
        FineTuning(batch=0)
    with pytest.raises(ValueError, match="pndm, dpm"):
        Generation(sampler="euler")


def test_every_picture_is_drawn_once_before_any_comes_twice() -> None:
    numbers = torch.arange(5.0).view(5, 1, 1, 1)
    shelf = Shelf(numbers, torch.zeros(5, 1, 1, 1), Prompts(numbers[:, 0], None), torch.arange(5))
    drawn = []
    for step in range(1, 6):
        latents, prompts = shelf.draw(step, 3, 7, 0.0, torch.Generator())
        assert torch.equal(latents.flatten(), prompts.hidden.flatten())
        drawn += latents.flatten().tolist()
    epochs = [drawn[first : first + 5] for first in (0, 5, 10)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert epochs[0] != epochs[1]
    _, none = shelf.draw(1, 3, 7, 1.0, torch.Generator())
    assert none.hidden.flatten().tolist() == [4, 4, 4]  # the last prompt is the empty one
