"""No function of the library mixes devices, on a pretended CUDA (see :mod:`tests.fake_devices`).

Pictures come as the callers pass them: on the CPU, while the networks are on the device.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderTiny
from torch import Tensor

from comfy_glaze.cloaking.budget import PRESETS
from comfy_glaze.cloaking.cloak import CloakSettings, optimize_cloak
from comfy_glaze.cloaking.comparison import Comparison
from comfy_glaze.cloaking.measures import worst_perceptual
from comfy_glaze.cloaking.methods import METHODS, CloakStep, Progress, _descend
from comfy_glaze.cloaking.problem import Problem
from comfy_glaze.cloaking.room import Room
from comfy_glaze.cloaking.systems import SYSTEMS, cloak_as
from comfy_glaze.cloaking.ties import FREE, Ties
from comfy_glaze.countermeasures import COUNTERMEASURES, Case, apply_countermeasure, available
from comfy_glaze.countermeasures.retention import measure_retention
from comfy_glaze.countermeasures.tools import Tools
from comfy_glaze.files.artwork import Artwork, save_artwork
from comfy_glaze.images import panels_of
from comfy_glaze.judges.features import grams, load_features, noise_level
from comfy_glaze.judges.genres import Classifier, from_towers
from comfy_glaze.judges.probe import StyleProbe
from comfy_glaze.networks.encoder_files import load_encoder, load_round_trip
from comfy_glaze.networks.encoders import Encoder, encoder_from_module
from comfy_glaze.networks.ensemble import combine_encoders
from comfy_glaze.networks.perceptual import load_metric
from comfy_glaze.networks.turns import one_at_a_time
from comfy_glaze.portfolio.measuring import measure_pictures
from comfy_glaze.portfolio.seen import seen_by

from .conftest import Run, needs_matplotlib, smooth_picture
from .fake_devices import CUDA, PretendedDevice, pictures, pretended_device
from .networks.tiny_models import TINY

pytestmark = pytest.mark.filterwarnings(
    "ignore:User provided device_type of 'cuda'",  # torch then leaves autocast out
    "ignore:CUDA is not available or torch_xla is imported",  # the same in other releases
    "ignore:Accessing the data pointer of FakeTensor",  # of a module that is copied
)

ON_PILLOW = {
    *(name for name in COUNTERMEASURES if name.startswith(("jpeg-", "resize-", "platform-"))),
    *("webp", "avif", "repost", "median", "super-resolution"),
}
"""Countermeasures that read pixels on the CPU, because Pillow works on arrays."""

NO_WEIGHTS_IN_PRETENCE = {"purify", "noisy-upscale"}
"""Diffusion pipelines load their weights by ways of their own, which give no fake tensors."""


def test_pretence_raises_where_devices_mix(cuda: PretendedDevice) -> None:
    here, there = pictures(), pictures().to(CUDA)
    encoder, metric = load_encoder("embedded", CUDA), load_metric("st-lpips-alex", CUDA)
    mixed: list[Callable[[], object]] = [
        lambda: here + there,
        lambda: torch.cat([here, there]),
        lambda: torch.equal(here, there),
        lambda: encoder(here),
        lambda: metric.distance(metric.reference(there), here),
        lambda: there.numpy(),
    ]
    for mix in mixed:
        with pytest.raises((RuntimeError, TypeError)):
            mix()


def test_pretence_has_a_backward_pass(cuda: PretendedDevice) -> None:
    encoder = load_encoder("embedded", CUDA)
    point = pictures().to(CUDA).requires_grad_()
    encoder(point).square().mean().backward()
    assert point.grad is not None
    assert (point.grad.shape, point.grad.device.type) == (point.shape, "cuda")
    assert "aten::convolution_backward" in cuda.seen


@pytest.mark.parametrize("size", [(64, 64), (520, 560), (1030, 1040)])
@pytest.mark.parametrize("method", METHODS)
def test_cloaks_of_every_size(cuda: PretendedDevice, method: str, size: tuple[int, int]) -> None:
    """As they are, with native tiles, and optimised on a smaller copy."""
    encoder, metric = load_encoder("embedded", CUDA), load_metric("st-lpips-alex", CUDA)
    steps: list[Tensor] = []
    cloak = optimize_cloak(
        pictures(*size),
        pictures(*size),
        encoder,
        PRESETS["default"],
        CloakSettings(method=method, steps=2),
        lambda step: steps.extend([step.feature_distance, step.perceptual, step.preview()]),
        keep_clear=torch.zeros(1, 1, *size),
        metric=metric,
    )
    assert {tensor.device.type for tensor in (cloak.images, *steps)} == {"cuda"}


def test_pretence_notes_what_waits(cuda: PretendedDevice) -> None:
    there = pictures().to(CUDA)
    for waits in (
        lambda: there.cpu(),
        lambda: float(there.mean()),
        lambda: there.new_tensor([1.0, 2.0]),
        lambda: there.copy_(pictures()),
    ):
        cuda.waits.clear()
        waits()
        assert cuda.waits
    cuda.waits.clear()
    there.clone().add_(there.new_zeros(1)).mul_(0.5)
    assert not cuda.waits


@pytest.mark.parametrize("wraps", [False, True])
@pytest.mark.parametrize("size", [(64, 64), (520, 560), (1030, 1040)])
def test_nothing_waits_in_the_loop(
    cuda: PretendedDevice, size: tuple[int, int], wraps: bool
) -> None:
    assert_nothing_waits(cuda, load_encoder("embedded", CUDA), size, wraps, Ties(grey=True))


def test_nothing_waits_on_pixel_art(cuda: PretendedDevice) -> None:
    ties = Ties(block=(8, 8), first=(3, 5))
    assert_nothing_waits(cuda, load_encoder("embedded", CUDA), (64, 72), ties=ties)


@pytest.mark.parametrize("dtype", [torch.float16, None])
def test_nothing_waits_among_several_encoders(
    cuda: PretendedDevice, dtype: torch.dtype | None
) -> None:
    together = combine_encoders([load_encoder("embedded", CUDA) for _ in range(2)], [1, 2])
    assert_nothing_waits(cuda, together, (64, 72), dtype=dtype)


def assert_nothing_waits(
    cuda: PretendedDevice,
    encoder: Encoder,
    size: tuple[int, int],
    wraps: bool = False,
    ties: Ties = FREE,
    dtype: torch.dtype | None = torch.bfloat16,
) -> None:
    """From the second picture on, when what a size needs has been copied to the device."""
    metric = load_metric("st-lpips-alex", CUDA)
    budget, images, styled = PRESETS["default"], pictures(*size).to(CUDA), pictures(*size).to(CUDA)
    for _ in range(2):
        comparison = Comparison.of(images, styled, encoder, metric, "beyond", wraps)
        room = Room.of(images, budget, None, wraps, ties)
        problem = Problem.of(comparison, room, budget, METHODS["fast"].views)
        told: list[CloakStep] = []
        progress, start = Progress(problem, 6, told.append), problem.random_start(0)
        cuda.waits.clear()
        _descend(problem, progress, start, 0, None, dtype)
    assert len(told) == 6
    assert not cuda.waits


@pytest.mark.parametrize("robustness", ["web", "strong"])
def test_robust_cloaks(cuda: PretendedDevice, robustness: str) -> None:
    """Enough steps that every change of both levels is drawn."""
    encoder = load_encoder("embedded", CUDA)
    first = combine_encoders([encoder, load_encoder("embedded", CUDA)], [1, 2])
    settings = CloakSettings(robustness=robustness, steps=6)
    cloak = optimize_cloak(pictures(), pictures(), first, PRESETS["strong"], settings)
    assert cloak.images.device.type == "cuda"
    assert {"aten::_upsample_bilinear2d_aa", "aten::_upsample_bicubic2d_aa"} & cuda.seen


def test_strips(cuda: PretendedDevice, small_views: None) -> None:
    encoder, size = load_encoder("embedded", CUDA), (64, 420)
    seen: list[CloakStep] = []
    settings = CloakSettings(steps=2, objective="beyond")
    budget = PRESETS["strong"]
    cloak = optimize_cloak(pictures(*size), pictures(*size), encoder, budget, settings, seen.append)
    assert len(seen) == 2 * len(panels_of(*size)) > 2
    assert cloak.images.device.type == "cuda"


def test_what_a_model_sees(cuda: PretendedDevice) -> None:
    tiny = encoder_from_module(AutoencoderTiny(**TINY["AutoencoderTiny"]), "tiny", CUDA)
    original, cloaked = pictures(), pictures().to(CUDA)
    assert tiny.decoded(original).device.type == "cpu"
    assert tiny.decoded(cloaked).device.type == "cuda"
    assert len(seen_by(tiny, original, cloaked)) == 1


@pytest.mark.parametrize("system", SYSTEMS)
def test_other_systems(cuda: PretendedDevice, system: str) -> None:
    cloak = cloak_as(
        system,
        pictures(),
        styled=pictures(),
        stranger=pictures(),
        encoder=load_encoder("embedded", CUDA),
        budget=PRESETS["default"],
        settings=CloakSettings(steps=2),
        metric=load_metric("st-lpips-alex", CUDA),
    )
    assert cloak.images.device.type == "cuda"


def test_measures(cuda: PretendedDevice) -> None:
    """Their callers move the pictures to the encoder's device."""
    encoder, metric = load_encoder("embedded", CUDA), load_metric("st-lpips-alex", CUDA)
    original, cloaked, styled = (pictures(600, 1100).to(CUDA) for _ in range(3))
    comparison = Comparison.of(original, styled, encoder, metric)
    assert comparison.perceptual(cloaked).device.type == "cuda"
    assert worst_perceptual(original, cloaked, metric).device.type == "cuda"
    assert comparison.measure(cloaked)[0].tiles_measured > 0
    for towards in (styled, None):
        assert "perceptual" in measure_pictures(original, cloaked, towards, encoder, metric)


@pytest.mark.parametrize("place", ["cpu", "cuda"])
@pytest.mark.parametrize("name", sorted(set(COUNTERMEASURES) - NO_WEIGHTS_IN_PRETENCE))
def test_countermeasures_return_to_the_device(cuda: PretendedDevice, name: str, place: str) -> None:
    """In a graph pictures are on the CPU while the autoencoder is on the device."""
    tools = Tools(load_round_trip("embedded", CUDA))
    if not available(name, tools):
        pytest.skip(f"{name} needs {COUNTERMEASURES[name].needs}, which is not installed")
    images, before = pictures(batch=2).to(place), cuda.arrays
    amount = {"impress": 2, "adverse-cleaner": 2}.get(name)
    changed = apply_countermeasure(name, images, amount, tools=tools)
    assert changed.device == images.device
    assert (cuda.arrays > before) == (name in ON_PILLOW)


@pytest.mark.parametrize("place", ["cpu", "cuda"])
def test_retention_takes_pictures_of_any_device(cuda: PretendedDevice, place: str) -> None:
    """A cloak that was just made is on the device, and its original still on the CPU."""
    cases = [Case("jpeg-420", 75), Case("noise", 0.05), Case("crop", 0.1), Case("vae", 1)]
    rows = measure_retention(
        pictures(),
        pictures(batch=2).to(place),
        pictures(),
        load_encoder("embedded", CUDA),
        [*cases, Case("impress", 2)],
        seeds=(0,),
        tools=Tools(load_round_trip("embedded", CUDA)),
    )
    assert [len(row) for row in rows] == [5, 5]


WORK = ("a.png", "--device", "cuda", "--size", "64")

COMMANDS = {
    "cloak": ("cloak", "a.png", "--style", "Pink and black cut-outs", "--steps", "2", "--device",
              "cuda", "--format", "jpeg", "--out", "out"),
    "cloak to a size": ("cloak", "a.png", "--style", "Pink and black cut-outs", "--steps", "2",
                        "--device", "cuda", "--max-size", "1.5x", "--out", "out"),
    "nightshade": ("nightshade", "a.png", "--anchors", "cats", "--concept", "dog", "--towards",
                   "cat", "--steps", "2", "--device", "cuda", "--out", "out"),
    "measure": ("measure", "a.png", "b.png", "--styled", "c.png", "--device", "cuda", "--seeds",
                "1", "--countermeasures", "jpeg-420:75,noise:0.1,crop:0.1,vae:1,impress:2"),
    "measure without styled": ("measure", "a.png", "b.png", "--device", "cuda"),
    "speed": ("benchmark", "speed", *WORK, "--steps", "2", "--paper-steps", "2", "--raw-size",
              "32"),
    "robustness": ("benchmark", "robustness", *WORK),
    "countermeasures": ("benchmark", "countermeasures", *WORK, "--cloaks", "none,web",
                        "--countermeasures", "jpeg-420:75,crop:0.1,impress:2", "--seeds", "1"),
}  # fmt: skip


DRAW = ("speed", "countermeasures")


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(words, id=name, marks=[needs_matplotlib] if name in DRAW else [])
        for name, words in COMMANDS.items()
    ],
)
def test_commands(words: tuple[str, ...], run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comfy_glaze.cloaking.methods._fast_steps", lambda problem: 2)
    for seed, name in enumerate("abc"):
        pixels = smooth_picture(64, 64, seed=seed)
        save_artwork(pixels, Artwork(pixels), Path(f"{name}.png"))
    Path("a.txt").write_text("a dog")
    Path("cats").mkdir()
    Path("cats/b.png").write_bytes(Path("b.png").read_bytes())
    with pretended_device():
        result = run(*words)
    assert result.exit_code == 0, result.output


def judged(shown: list[Tensor], judge: Classifier) -> None:
    ranked = judge.rank(shown)
    assert [len(row) for row in ranked] == [len(judge.labels)] * len(shown)


def test_judges() -> None:
    """CLIP and other transformers are left out: their loader gives no fake tensors."""
    with pretended_device():
        shown = [pictures(), pictures(300, 280)]
        extractor = load_features("st-lpips-vgg", CUDA)
        features = extractor.of(shown)
        assert features.device.type == "cpu"
        assert noise_level(shown[0].to(CUDA)).device.type == "cuda"
        metric = load_metric("st-lpips-alex", CUDA)
        assert {layer.device.type for layer in grams(metric, shown, CUDA)} == {"cpu"}
        weight = torch.rand(2, features.shape[1])
        probe = StyleProbe(("ink", "oil"), weight, torch.rand(2), extractor.name, None)
        judged(shown, probe.classifier(extractor))
        towers, _ = from_towers(
            "two towers",
            lambda images: images.to(CUDA).mean(dim=(2, 3)),
            lambda sentences: torch.rand(len(sentences), 3, device=CUDA),
        )
        judged(shown, towers)


ON_MPS = """
import torch
from comfy_glaze.cloaking.robustness import _resized_and_back
from tests.fake_devices import pretended_device

with pretended_device() as pretended, torch.no_grad():
    mps = torch.device("mps:0")  # without a number torch asks its driver for one
    images = torch.rand(1, 3, 64, 48, device=mps)
    for sharp in (True, False):
        changed = _resized_and_back(images, 0.5, sharp)
        assert (changed.shape, changed.device) == (images.shape, mps)
    assert not any("_aa" in name for name in pretended.seen)
    print("done")
"""


def test_forward_on_mps() -> None:
    """Resampling without torch's antialiasing, in a process of its own.

    A backward pass there would abort it.  Whole cloaks are left out, because torch asks the driver
    of MPS for every slice of a tensor.
    """
    ran = subprocess.run(
        [sys.executable, "-c", ON_MPS],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout == "done\n", ran.stderr


def test_several_encoders_of_a_short_memory_are_there_one_at_a_time(cuda: PretendedDevice) -> None:
    members = [load_encoder("embedded") for _ in range(3)]
    there = one_at_a_time(members, CUDA)
    seen: list[list[bool]] = []

    def look(_: object) -> None:
        seen.append(
            [all(w.is_cuda for w in phi.net.parameters()) for phi in members]  # type: ignore[union-attr]
        )

    together = combine_encoders(there, [1, 1, 1])
    settings = CloakSettings(steps=6)
    optimize_cloak(pictures(), pictures(), together, PRESETS["default"], settings, look)
    assert [sum(each) for each in seen] == [1] * 6
    assert [sum(turns) for turns in zip(*seen, strict=True)] == [2] * 3
