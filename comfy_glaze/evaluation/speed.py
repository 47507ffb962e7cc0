"""How fast a cloak is made: both methods on the same pictures, and the device's raw speed.

Wall time means little on a busy machine; backward passes through Φ and the ratio of two times in
one run do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ..cloaking.budget import Budget
from ..cloaking.cloak import CloakSettings, optimize_cloak
from ..cloaking.measures import Measures
from ..cloaking.methods import CloakStep, OnStep
from ..devices import computing_in, fast_dtype, give_back_memory
from ..networks.encoders import Encoder, encoder_from_module
from ..networks.perceptual import PerceptualMetric

T = TypeVar("T")

MIB = 2**20


@dataclass(frozen=True, eq=False)
class TimedCloak:
    """One cloak of one picture by one method.

    Attributes:
        picture, method: what was cloaked, and how.
        size: height and width in pixels.
        passes: backward passes through Φ, one for each view that a step looks at.
        gradients: the same in units of one 512 × 512 picture.
        seconds: wall time of the whole optimisation, measures included.
        measures: of the result.
        peak_mib: most memory held so far, in MiB: on CUDA by torch during this cloak, elsewhere by
            the process since it began; None where the system does not tell.
        curve: before each step, gradients so far and shift of the unrounded picture.
    """

    picture: str
    method: str
    size: tuple[int, int]
    passes: int
    gradients: float
    seconds: float
    measures: Measures
    peak_mib: float | None
    curve: list[tuple[float, float]]

    def as_json(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return asdict(self)


def timed_cloak(
    picture: str,
    images: Tensor,
    styled: Tensor,
    encoder: Encoder,
    metric: PerceptualMetric | None,
    budget: Budget,
    settings: CloakSettings,
    on_step: OnStep | None = None,
) -> TimedCloak:
    """Cloak one picture (1, 3, H, W) and note what it took."""
    distances: list[Tensor] = []

    def note(step: CloakStep) -> None:
        distances.append(step.feature_distance[0])
        if on_step is not None:
            on_step(step)

    if encoder.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(encoder.device)
    cloak = optimize_cloak(images, styled, encoder, budget, settings, note, metric=metric)
    height, width = images.shape[-2:]
    each = cloak.gradients / len(distances)
    return TimedCloak(
        picture,
        settings.method,
        (height, width),
        cloak.passes,
        cloak.gradients,
        cloak.seconds,
        cloak.measures[0],
        peak_memory(encoder.device),
        [(i * each, 1 - float(distance)) for i, distance in enumerate(distances)],
    )


def peak_memory(device: torch.device) -> float | None:
    """The most memory held so far, in MiB; see :class:`TimedCloak`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MIB
    with suppress(OSError, StopIteration):
        with open("/proc/self/status", encoding="ascii") as status:
            line = next(line for line in status if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return None


def peak_of(work: Callable[[], T], device: torch.device) -> tuple[T, float]:
    """What some work gives, and how many MiB more than before are held at most while it runs: on
    CUDA by torch, on Linux's CPUs by the process.

    Raises:
        OSError: this system does not tell.
    """
    give_back_memory()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device) / MIB
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as peak:
            peak.write("5")  # what was held most so far is what is held now
        before = peak_memory(device) or 0.0
    result = work()
    return result, (peak_memory(device) or 0.0) - before


def compare_methods(
    pictures: dict[str, tuple[Tensor, Tensor]],
    encoder: Encoder,
    metric: PerceptualMetric | None,
    budget: Budget,
    settings: CloakSettings,
    paper_steps: int,
    on_step: Callable[[str, CloakStep], None] | None = None,
) -> Iterator[tuple[TimedCloak, TimedCloak]]:
    """Cloak each picture by ``fast`` and by ``paper``, and give the pair.

    Args:
        pictures: the original and its styled picture, (1, 3, H, W) in [0, 1] each, by name.
        settings: of ``fast``.
        paper_steps: 0 for the method's own number.
        on_step: called with a picture's name and method after each step.
    """
    for name, (images, styled) in pictures.items():
        pair = []
        for method in (settings, replace(settings, method="paper", steps=paper_steps)):

            def note(step: CloakStep, title: str = f"{name}, {method.method}") -> None:
                if on_step is not None:
                    on_step(title, step)

            pair.append(timed_cloak(name, images, styled, encoder, metric, budget, method, note))
        yield pair[0], pair[1]


def ratios(fast: TimedCloak, paper: TimedCloak) -> dict[str, float | None]:
    """What ``fast`` reaches and costs in terms of ``paper``."""
    before, after = paper.measures.psnr, fast.measures.psnr
    return {
        "shift": fast.measures.shift_512 / paper.measures.shift_512,
        "passes": paper.passes / fast.passes,
        "seconds": paper.seconds / fast.seconds,
        "psnr_difference": None if before is None or after is None else after - before,
    }


FULL_SIZE = {
    "SD": {"latent_channels": 4},
    "FLUX": {"latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False},
}
"""What the VAEs of Stable Diffusion 1 to XL and of FLUX.1 do not have in common, by family."""


def random_kl(family: str, device: torch.device, width: int = 128) -> Encoder:
    """The encoder of a family of :data:`FULL_SIZE` with random weights: they take as long as real
    ones.

    Args:
        width: channels of its first level; real ones have 128.
    """
    from diffusers import AutoencoderKL

    model = AutoencoderKL(
        block_out_channels=(width, 2 * width, 4 * width, 4 * width),
        layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        **FULL_SIZE[family],
    )
    return encoder_from_module(model, f"{family}'s shape, random weights", device)


def raw_speed(device: torch.device, size: int = 512, repeats: int = 3) -> dict[str, Any]:
    """A Stable Diffusion 1.x encoder, forward and backward to the picture, against the ceiling.

    Its weights are random.  The ceiling is the device's own matrix product in the same number
    format.
    """
    dtype = fast_dtype(device)
    encoder = random_kl("SD", device)
    point = torch.rand(1, 3, size, size, device=device, requires_grad=True)

    def gradient() -> None:
        with computing_in(device, dtype):
            features = encoder(point)
        torch.autograd.grad(features.square().mean(), point)

    with FlopCounterMode(display=False) as counter:
        gradient()
    seconds = seconds_of(gradient, device, repeats)
    side = 8192 if device.type == "cuda" else 2048
    matrix = torch.rand(side, side, device=device, dtype=dtype or torch.float32)
    product = seconds_of(lambda: matrix @ matrix, device, repeats)
    speed, ceiling = counter.get_total_flops() / seconds, 2 * side**3 / product
    return {
        "encoder": "AutoencoderKL, Stable Diffusion 1.x shape, random weights",
        "size": size,
        "dtype": str(matrix.dtype).removeprefix("torch."),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "tflop_per_gradient": counter.get_total_flops() / 1e12,
        "seconds_per_gradient": seconds,
        "tflops": speed / 1e12,
        "matrix_product_tflops": ceiling / 1e12,
        "share_of_ceiling": speed / ceiling,
        "peak_mib": peak_memory(device),
    }


def seconds_of(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """The shortest of some runs, after one that does not count: wall time."""
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return min(times[1:])
