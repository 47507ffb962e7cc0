"""What is measured: each check gives rows for a table, most telling first."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import torch
from device_check.counting import Counting
from device_check.models import Scale, encoder, generator, sdxl, tiny_encoder
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from comfy_glaze.cloaking.budget import PRESETS
from comfy_glaze.cloaking.cloak import Cloak, CloakSettings, optimize_cloak
from comfy_glaze.cloaking.comparison import Comparison
from comfy_glaze.cloaking.methods import METHODS, Progress
from comfy_glaze.cloaking.problem import Problem
from comfy_glaze.cloaking.room import Room
from comfy_glaze.devices import (
    METRIC_BYTES,
    SPARE,
    TWICE,
    computing_in,
    fast_dtype,
    kept_for_backward,
)
from comfy_glaze.errors import first_line
from comfy_glaze.evaluation.speed import FULL_SIZE, MIB, peak_of, seconds_of
from comfy_glaze.files.artwork import Artwork, save_artwork
from comfy_glaze.images import floats, to_grid, views_of
from comfy_glaze.networks.encoder_files import load_encoder
from comfy_glaze.networks.encoders import Encoder
from comfy_glaze.networks.ensemble import combine_encoders
from comfy_glaze.networks.perceptual import PerceptualMetric, load_metric
from comfy_glaze.portfolio.engine import Engine
from comfy_glaze.portfolio.manifest import Manifest
from comfy_glaze.portfolio.outputs import plan_outputs, reports_folder
from comfy_glaze.portfolio.run import cloak_portfolio
from comfy_glaze.styles.bank import builtin_styles
from comfy_glaze.styles.target import TargetStyle
from comfy_glaze.styles.transfer import IMG2IMG_STEPS, IMG2IMG_STRENGTH, StyleTransfer

Row = dict[str, Any]
CPU = torch.device("cpu")
CARDS = (4, 6, 8)  # GB
TESTS_LIMIT = 240  # seconds: what hangs must not cost the other checks
_BESIDE = "comfy_glaze.portfolio.run._beside"

_ROOT = Path(__file__).parents[2]


def pictures(height: int, width: int) -> tuple[Tensor, Tensor]:
    """An original and a styled picture, soft blobs with grain, (1, 3, H, W) on the 8-bit grid."""
    random = torch.Generator().manual_seed(0)
    made = []
    for _ in range(2):
        coarse = torch.rand(1, 3, 9, 9, generator=random)
        soft = nn.functional.interpolate(coarse, (height, width), mode="bicubic")
        grain = 0.04 * torch.randn(1, 3, height, width, generator=random)
        made.append(to_grid((soft + grain).clamp(0, 1)))
    return made[0], made[1]


@contextmanager
def precision(name: str) -> Iterator[torch.dtype | None]:
    """Φ's number format while a cloak is optimised: float32, TF32, bfloat16 or float16.

    Gives the type for autocast; the library's own choice is set to it.
    """
    dtype = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(name)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if name == "TF32" else "highest")
    chosen = mock.patch("comfy_glaze.cloaking.methods.fast_dtype", return_value=dtype)
    try:
        with torch.backends.cudnn.flags(allow_tf32=name == "TF32"), chosen:
            yield dtype
    finally:
        torch.set_float32_matmul_precision(before)


def formats(device: torch.device) -> tuple[str, ...]:
    """The number formats worth trying on a device."""
    return ("float32", "TF32", "bfloat16", "float16") if device.type == "cuda" else ("float32",)


def own_format(device: torch.device) -> str:
    """The number format that cloaks take on a device."""
    return str(fast_dtype(device) or torch.float32).removeprefix("torch.")


def cloak(
    phi: Encoder, size: tuple[int, int], scale: Scale, method: str = "fast", **options: Any
) -> Cloak:
    """One picture of a size within the default preset."""
    original, styled = pictures(*size)
    settings = CloakSettings(method=method, steps=scale.steps, objective="beyond", **options)
    return optimize_cloak(original, styled, phi, PRESETS["default"], settings)


def tests(device: torch.device, scale: Scale) -> Iterator[Row]:
    """The tests that need a device."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_gpu.py"]
    ran = subprocess.run(
        command, cwd=_ROOT, capture_output=True, text=True, check=False, timeout=TESTS_LIMIT
    )
    lines = ran.stdout.strip().splitlines()
    yield {"tests/test_gpu.py": lines[-1] if lines else ran.stderr.strip()[-200:]}
    for line in lines:
        if line.startswith(("FAILED", "ERROR")):
            yield {"tests/test_gpu.py": line}


def agreement(device: torch.device, scale: Scale) -> Iterator[Row]:
    """The whole of a cloak here against the CPU's, which computes in float32."""
    size = scale.sizes[0]
    makers: tuple[Callable[[torch.device], Encoder], ...] = (
        partial(load_encoder, "embedded"),
        partial(tiny_encoder, scale=scale),
    )
    for make in makers:
        with precision("float32"):
            wanted = cloak(make(CPU), size, scale)
        for kind in formats(device):
            phi = make(device)
            with precision(kind):
                made = cloak(phi, size, scale)
            ours, theirs = made.measures[0], wanted.measures[0]
            equal = (made.images.cpu() == wanted.images).float().mean()
            yield {
                "encoder": phi.name,
                "format": kind,
                "shift, of the CPU's": ours.shift_512 / theirs.shift_512,
                "changed": ours.changed,
                "changed on the CPU": theirs.changed,
                "perceptual": ours.perceptual,
                "the CPU's": theirs.perceptual,
                "equal values": float(equal),
            }


def steps(device: torch.device, scale: Scale) -> Iterator[Row]:
    """One gradient of a KL encoder of full size, and of the metric."""
    metric = load_metric("auto", device)
    for size in scale.sizes[:2]:
        point = torch.rand(1, 3, *size, device=device, requires_grad=True)
        reference = metric.reference(point.detach())

        def of_metric(point: Tensor = point, reference: Any = reference) -> None:
            torch.autograd.grad(metric.distance(reference, point).sum(), point)

        took = 1e3 * seconds_of(of_metric, device, scale.repeats)
        yield {
            "network": metric.name,
            "size": f"{size[1]} x {size[0]}",
            "format": "float32",
            "how": "",
            "ms": took,
        }
    own = own_format(device)
    for family in FULL_SIZE:
        phi = encoder(family, device, scale)
        for size in scale.sizes[:2]:
            for kind in formats(device):
                yield _step(phi, size, kind, "", scale)
        assert phi.net is not None
        nn.Module.to(phi.net, memory_format=torch.channels_last)
        for size in scale.sizes[:2]:
            for kind in formats(device):
                yield _step(phi, size, kind, "channels last", scale)
            if device.type == "cuda":
                yield _step(phi, size, own, "channels last, as a graph", scale, graphed)
        if scale.compiles:
            phi.net.encoder.compile()  # type: ignore[union-attr]
            yield _step(phi, scale.sizes[0], own, "channels last, compiled", scale)


def _gradient(phi: Encoder, point: Tensor, dtype: torch.dtype | None) -> Tensor:
    with computing_in(phi.device, dtype):
        features = phi(point)
    return torch.autograd.grad(features.square().mean(), point)[0]


def _step(
    phi: Encoder,
    size: tuple[int, int],
    kind: str,
    how: str,
    scale: Scale,
    prepared: Callable[[Callable[[], object], torch.device], Callable[[], object]] | None = None,
) -> Row:
    """How long one gradient takes; a way that fails costs no other."""
    row = {"network": phi.name, "size": f"{size[1]} x {size[0]}", "format": kind, "how": how}
    point = torch.rand(1, 3, *size, device=phi.device)
    if how:
        point = point.contiguous(memory_format=torch.channels_last)
    point.requires_grad_()
    try:
        with precision(kind) as dtype:
            work: Callable[[], object] = partial(_gradient, phi, point, dtype)
            if prepared is not None:
                work = prepared(work, phi.device)
            return row | {"ms": 1e3 * seconds_of(work, phi.device, scale.repeats)}
    except Exception as error:
        return row | {"ms": f"failed: {first_line(error)}"}


def graphed(work: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """Some work as a CUDA graph."""
    for _ in range(3):
        work()
    torch.cuda.synchronize(device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def cloaks(device: torch.device, scale: Scale) -> Iterator[Row]:
    """Whole cloaks, measures included, and what they keep in memory at most."""
    own = own_format(device)
    ways = [("fast", own), ("brief", own), ("fast", "float32")]
    for family in FULL_SIZE:
        phi = encoder(family, device, scale)
        with precision(own):
            cloak(phi, scale.sizes[0], scale)  # the first one does not count
        for size in scale.sizes:
            for method, kind in dict.fromkeys(ways):
                with precision(kind):
                    made, peak = peak_of(partial(cloak, phi, size, scale, method), device)
                yield {
                    "encoder": phi.name,
                    "size": f"{size[1]} x {size[0]}",
                    "method": method,
                    "format": kind,
                    "passes": made.passes,
                    "s": made.seconds,
                    "peak MiB": peak,
                    "changed": made.measures[0].changed,
                }


def memory(device: torch.device, scale: Scale) -> Iterator[Row]:
    """What a gradient keeps in memory at most, against the estimate that a host is given."""
    for family in FULL_SIZE:
        phi = encoder(family, device, scale)
        per_pixel = _per_pixel(phi)
        for twice in (False, True):
            if twice:
                compute_twice(phi)
            for height, width in scale.views:
                point = torch.rand(1, 3, height, width, device=device, requires_grad=True)
                _, peak = peak_of(partial(_gradient, phi, point, None), device)
                estimate = per_pixel * height * width / MIB * (TWICE if twice else 1)
                yield _estimated(phi, {"view": f"{width} x {height}"}, twice, peak, estimate)


def _estimated(phi: Encoder, of: Row, twice: bool, peak: float, estimate: float) -> Row:
    """A peak beside its estimate, in MiB."""
    return {
        "encoder": phi.name,
        **of,
        "blocks computed twice": "yes" if twice else "no",
        "peak MiB": peak,
        "estimate MiB": estimate,
        "peak, of the estimate": peak / estimate,
    }


def _per_pixel(phi: Encoder) -> float:
    """Bytes that a gradient keeps for each pixel, as the host's estimate finds them."""
    small = torch.rand(1, 3, 64, 72, device=phi.device, requires_grad=True)
    assert phi.net is not None
    _, kept = kept_for_backward(lambda: phi(small), phi.net.state_dict().values())
    return SPARE * kept / (64 * 72)


def compute_twice(phi: Encoder) -> None:
    """Residual blocks that are computed again in the backward pass, as in a host whose memory is
    short."""
    assert phi.net is not None
    for block in phi.net.modules():
        if type(block).__name__ == "ResnetBlock2D":
            block.forward = partial(
                checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False
            )


def counted(device: torch.device, scale: Scale) -> Iterator[Row]:
    """What the loop of a cloak holds at most, weights apart, against all of the estimate that a
    host is given; in float32, counted on no device."""
    metric = load_metric("auto", CPU)
    for family in FULL_SIZE:
        phi = encoder(family, CPU, scale)
        per_pixel = _per_pixel(phi) + METRIC_BYTES
        for twice in (False, True):
            if twice:
                compute_twice(phi)
            for height, width in scale.sizes[:2]:
                pixels = max(view.height * view.width for view in views_of(height, width))
                estimate = per_pixel * pixels / MIB * (TWICE if twice else 1)
                peak = peak_of_loop(phi, metric, height, width) / MIB
                yield _estimated(phi, {"picture": f"{width} x {height}"}, twice, peak, estimate)


def peak_of_loop(phi: Encoder, metric: PerceptualMetric, height: int, width: int) -> int:
    """Bytes that four steps of ``fast`` on a picture hold at most, counted."""
    budget, method = PRESETS["default"], METHODS["fast"]
    with Counting() as counting:
        original, styled = torch.rand(2, 1, 3, height, width)
        comparison = Comparison.of(original, styled, phi, metric, "beyond")
        problem = Problem.of(comparison, Room.of(original, budget, None), budget, method.views)
        counting.peak = counting.held
        method.run(problem, Progress(problem, 4, None), 0, None)
        return counting.peak


def cards(device: torch.device, scale: Scale) -> Iterator[Row]:
    """Whether a picture is cloaked with as much memory as small cards have."""
    if device.type != "cuda":
        yield {"card": "not tried", "cloaks": "only torch's CUDA allocator takes a limit"}
        return
    whole = torch.cuda.get_device_properties(device).total_memory
    height, width = scale.sizes[1]
    for family in FULL_SIZE:
        phi = encoder(family, device, scale)
        for twice in (False, True):
            if twice:
                compute_twice(phi)
            for size in CARDS:
                torch.cuda.empty_cache()
                torch.cuda.set_per_process_memory_fraction(min(1.0, size * 1e9 / whole), device)
                try:
                    cloak(phi, (height, width), scale)
                    told = "yes"
                except torch.OutOfMemoryError:
                    told = "no"
                finally:
                    torch.cuda.set_per_process_memory_fraction(1.0, device)
                yield {
                    "card": f"{size} GB",
                    "encoder": phi.name,
                    "size": f"{width} x {height}",
                    "blocks computed twice": "yes" if twice else "no",
                    "cloaks": told,
                }


def portfolio(device: torch.device, scale: Scale) -> Iterator[Row]:
    """Pictures one after another, saved one by one and while the next is cloaked; the processor's
    work of saving is most of it on a GPU."""
    phi, metric = encoder("SD", device, scale), load_metric("auto", device)
    negative = StyleTransfer(
        "negative", lambda image, style, seed: 1 - floats(image), lambda style: True, lambda: "0"
    )
    engine = Engine(
        phi,
        negative,
        metric,
        TargetStyle(builtin_styles()[0]),
        replace(PRESETS["default"], metric=metric.name),
        CloakSettings(steps=scale.steps, objective="beyond"),
    )
    height, width, count = scale.portfolio
    with TemporaryDirectory() as folder:
        found = []
        for number in range(count):
            path = Path(folder, f"{number}.png")
            picture = pictures(height, width)[number % 2]
            save_artwork(picture, Artwork(picture), path)
            found.append((path, Path(path.name)))
        for beside in (False, True):
            out = Path(folder, f"beside {beside}")
            jobs, _ = plan_outputs(found, out, "same")
            started = time.perf_counter()
            with mock.patch(_BESIDE, return_value=beside):
                outcomes = list(cloak_portfolio(jobs, engine, Manifest(reports_folder(out))))
            took = time.perf_counter() - started
            assert all(outcome.report for outcome in outcomes), outcomes[0].error
            yield {
                "pictures": count,
                "size": f"{width} x {height}",
                "saved while the next is cloaked": "yes" if beside else "no",
                "s a picture": took / count,
            }


def ensemble(device: torch.device, scale: Scale) -> Iterator[Row]:
    """Four encoders at once."""
    members = [
        load_encoder("embedded", device),
        tiny_encoder(device, scale),
        *(encoder(family, device, scale) for family in FULL_SIZE),
    ]
    together = combine_encoders(members, [1] * len(members))
    made, peak = peak_of(partial(cloak, together, scale.sizes[0], scale), device)
    yield {
        "encoders": len(members),
        "passes": made.passes,
        "s": made.seconds,
        "peak MiB": peak,
        "least shift": made.measures[0].shift_512,
    }


def img2img(device: torch.device, scale: Scale) -> Iterator[Row]:
    """A picture redrawn by a network of SDXL's size with random weights."""
    pipeline, told = sdxl(device, scale)
    original, _ = pictures(scale.drawing, scale.drawing)

    def redraw() -> None:
        pipeline(
            image=original.to(device),
            strength=IMG2IMG_STRENGTH,
            num_inference_steps=IMG2IMG_STEPS,
            output_type="pt",
            **told,
        )

    _, peak = peak_of(redraw, device)
    took = seconds_of(redraw, device, 1)
    size = f"{scale.drawing} x {scale.drawing}"
    yield {"network": "SDXL's shape", "size": size, "s": took, "peak MiB": peak}


def style_world(device: torch.device, scale: Scale) -> Iterator[Row]:
    """Training the generator of the world on real art, on latents of noise."""
    batch, seconds = scale.training
    made = generator(device, scale)
    adam = torch.optim.AdamW(made.parameters(), lr=1e-4)
    shape = made.shape
    latents = torch.randn(batch, shape.latents, shape.side, shape.side, device=device)
    times = torch.randint(0, 1000, (batch,), device=device)
    said = torch.randn(batch, made.names.embedding_dim, device=device)
    count, started = 0, time.perf_counter()
    while count < 2 or time.perf_counter() - started < seconds:
        with computing_in(device, fast_dtype(device)):
            loss = made(latents, times, said).float().square().mean()
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        count += 1
        if device.type == "cuda" and count % 50 == 0:
            torch.cuda.synchronize(device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    took = time.perf_counter() - started
    yield {"batch": batch, "steps": count, "s": took, "steps a second": count / took}


CHECKS: dict[str, Callable[[torch.device, Scale], Iterator[Row]]] = {
    "tests": tests,
    "agreement": agreement,
    "cloaks": cloaks,
    "memory": memory,
    "cards": cards,
    "ensemble": ensemble,
    "img2img": img2img,
    "steps": steps,
    "portfolio": portfolio,
    "style world": style_world,
    "counted": counted,
}
"""In the order in which they run; what comes last is left out first where time is short."""
