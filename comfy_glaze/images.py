"""Image tensors: the library's convention, the 8-bit grid, resizing, and a mimic's views."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Levels = npt.NDArray[np.integer]
"""Levels of a file, (H, W, C), uint8 or uint16."""

LEVELS = 255
"""Steps of the 8-bit grid that published files hold."""

VIEW_SIZE = 512
"""Pixels: the short side of the view of the whole picture, and the side of a native tile."""

LARGEST_VIEW, PANEL_VIEW = 2.5, 1.5
"""In squares of :data:`VIEW_SIZE`: a picture whose view would be larger than the first is a strip;
it is cut into panels whose views have at most the second."""


def size_words(images: Tensor) -> str:
    """The size of images (B, C, H, W), as errors say it: width × height."""
    return f"{images.shape[-1]} × {images.shape[-2]}"


def check_images(images: Tensor, name: str = "images") -> None:
    """Raise unless ``images`` follows the library's convention.

    Raises:
        ValueError: not a float tensor (B, 3, H, W) in [0, 1]; the sentence says what came.
    """
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ValueError(
            f"{name} must be a float tensor of shape (B, 3, H, W), "
            f"but got {images.dtype} of shape {tuple(images.shape)}."
        )
    low, high = float(images.min()), float(images.max())
    if not (low >= 0.0 and high <= 1.0):  # written so that NaN fails too
        raise ValueError(f"{name} must lie in [0, 1], but got values from {low:.4g} to {high:.4g}.")


def check_held(pictures: Tensor, name: str = "images") -> None:
    """:func:`check_images`, but pictures may also be held as levels (see :func:`floats`)."""
    if pictures.dtype != torch.uint8 or pictures.ndim != 4 or pictures.shape[1] != 3:
        check_images(pictures, name)


def floats(pictures: Tensor) -> Tensor:
    """Images (B, C, H, W) in [0, 1] of pictures that may be held as levels: uint8, 0 to 255.

    A large picture is held so wherever it lies in memory as a whole, in a quarter of the bytes.
    Only windows of it become images; what :func:`to_grid` gives is unchanged by the way there and
    back.
    """
    return pictures.float().div_(LEVELS) if pictures.dtype == torch.uint8 else pictures


def as_held(images: Tensor, held: Tensor) -> Tensor:
    """Images (B, C, H, W) in [0, 1] as ``held`` is: as levels, rounded, or as they are."""
    if held.dtype != torch.uint8:
        return images
    return (images * LEVELS).round_().clamp_(0, LEVELS).to(torch.uint8)


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # what is cached must serve later calls that need gradients
def per_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    """A number for each channel, (1, C, 1, 1), copied to a device once, for with each copy the CPU
    waits until the device has done what it was given."""
    return torch.tensor(values).view(1, -1, 1, 1).to(device)


def to_grid(images: Tensor) -> Tensor:
    """Round to the 8-bit grid k/255 that a file holds, shape (B, 3, H, W) in [0, 1]."""
    return (images * LEVELS).round_().clamp_(0, LEVELS).div_(LEVELS)


def together(images: Sequence[Tensor]) -> Tensor:
    """Images (1, C, H, W) of one size as one batch; a single image is returned without a copy."""
    return images[0] if len(images) == 1 else torch.cat(list(images))


def to_levels(image: Tensor, bits: int = 8) -> Levels:
    """(1, C, H, W) in [0, 1] as (H, W, C) levels of 8 or 16 bits, rounded to the nearest.

    Converted channel by channel, so that a large picture is not in memory several times.  Levels of
    8 bits may come as a picture that is held so (see :func:`floats`).
    """
    if image.dtype == torch.uint8 and bits == 8:
        return np.ascontiguousarray(image[0].permute(1, 2, 0).cpu().numpy())
    image = floats(image)
    dtype = np.uint16 if bits == 16 else np.uint8
    top = float(np.iinfo(dtype).max)
    levels = np.empty((*image.shape[-2:], image.shape[1]), dtype)
    for number, channel in enumerate(image.detach()[0]):
        levels[..., number] = (channel.float() * top).round_().clamp_(0, top).cpu().numpy()
    return levels


def held_levels(levels: Levels) -> Tensor:
    """(H, W, C) levels of 8 bits as (1, C, H, W), still levels (see :func:`floats`)."""
    planes = np.empty((1, levels.shape[-1], *levels.shape[:2]), np.uint8)
    for number in range(levels.shape[-1]):
        planes[0, number] = levels[..., number]
    return torch.from_numpy(planes)


def from_levels(levels: Levels) -> Tensor:
    """(H, W, C) levels as (1, C, H, W) float32 in [0, 1]."""
    planes = np.empty((1, levels.shape[-1], *levels.shape[:2]), np.float32)
    for number in range(levels.shape[-1]):
        planes[0, number] = levels[..., number]
    return torch.from_numpy(planes).div_(np.iinfo(levels.dtype).max)


def _matrix(
    size_in: int, size_out: int, device: torch.device, soft: bool = False, wraps: bool = False
) -> Tensor:
    """The resampling of one axis as a matrix (size_out, size_in), each row summing to 1.

    Where it ``wraps``, the axis goes on at its other end.

    Between calls only the non-zero entries are kept, because a large picture's matrices are 50 MB
    each.
    """
    places, weights = _taps(size_in, size_out, device, soft, wraps)
    return weights.new_zeros(size_out, size_in).scatter_add_(1, places, weights)


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # what is cached must serve later calls that need gradients
def _taps(
    size_in: int, size_out: int, device: torch.device, soft: bool, wraps: bool
) -> tuple[Tensor, Tensor]:
    """Which pixels of an axis make up each new one, and their weights, (size_out, taps) each."""
    scale = size_in / size_out
    width = max(scale, 1.0)  # when shrinking, the kernel widens: this is the antialiasing
    reach = math.ceil((1 if soft else 3) * width)
    centre = (torch.arange(size_out, dtype=torch.float64) + 0.5) * scale
    taps = 2 * reach + 1 if wraps else min(2 * reach + 1, size_in)
    first = centre.long() - reach
    if not wraps:
        first = first.clamp(0, size_in - taps)
    places = first[:, None] + torch.arange(taps)
    offset = (places + 0.5 - centre[:, None]) / width
    if soft:
        kernel = (1 - offset.abs()).clamp_min(0)
    else:
        kernel = torch.where(offset.abs() < 3, torch.sinc(offset) * torch.sinc(offset / 3), 0.0)
    weights = (kernel / kernel.sum(dim=1, keepdim=True)).float()
    return (places % size_in).to(device), weights.to(device)


_BLOCK = 64
"""New pixels of an axis that are computed together."""


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _blocks(
    size_in: int, size_out: int, device: torch.device, soft: bool
) -> list[tuple[int, int, Tensor]]:
    """The resampling of one axis in blocks of new pixels: from which of the old pixels up to which
    they are made, and a matrix (block, old pixels), each row summing to 1.

    A matrix of the whole axis would be zeros nearly everywhere.
    """
    places, weights = _taps(size_in, size_out, torch.device("cpu"), soft, False)
    blocks = []
    for start in range(0, size_out, _BLOCK):
        where, weight = (taps[start : start + _BLOCK] for taps in (places, weights))
        low, high = int(where[0, 0]), int(where[-1, -1]) + 1
        matrix = weight.new_zeros(len(where), high - low).scatter_add_(1, where - low, weight)
        blocks.append((low, high, matrix.to(device)))
    return blocks


def _resampled(
    images: Tensor, side: int, size: int, soft: bool = False, only: slice | None = None
) -> Tensor:
    """One side (-2 or -1) of (B, C, H, W) resampled to ``size`` pixels, or to ``only`` some of
    these."""
    first, last = (0, size) if only is None else (only.start, only.stop)
    parts = []
    for number, (low, high, matrix) in enumerate(
        _blocks(images.shape[side], size, images.device, soft)
    ):
        start = number * _BLOCK
        rows = matrix if only is None else matrix[max(0, first - start) : max(0, last - start)]
        if len(rows):
            all_of_it = high - low == images.shape[side]
            old = images if all_of_it else images.narrow(side, low, high - low)
            parts.append(rows @ old if side == -2 else old @ rows.T)
    return torch.cat(parts, dim=side)


def resize(images: Tensor, height: int, width: int, soft: bool = False) -> Tensor:
    """Lanczos resampling with antialiasing, (B, C, H, W) to (B, C, height, width).

    It agrees with Pillow's ``LANCZOS`` on floats (``BILINEAR`` where ``soft``) and is
    differentiable on every device.  Nothing is clamped, so that it stays linear: values may
    overshoot [0, 1] a little.  Large pictures that are held as levels are resampled band by band.
    """
    if images.dtype == torch.uint8:
        if images.shape[-2] * images.shape[-1] <= WHOLE:
            return resize(floats(images), height, width, soft)
        cuts = (band.cut(images) for band in bands(*images.shape[-2:]))
        narrow = [resize(floats(cut), cut.shape[-2], width, soft) for cut in cuts]
        images = torch.cat(narrow, dim=-2)
    if images.shape[-2] != height:
        images = _resampled(images, -2, height, soft)
    if images.shape[-1] != width:
        images = _resampled(images, -1, width, soft)
    return images


def enlarged(images: Tensor, height: int, width: int, window: View, wraps: bool = False) -> Tensor:
    """A window of (B, C, H, W) resampled to (B, C, height, width), Lanczos.

    The result equals that of :func:`resize` followed by a cut, without the memory for the whole
    picture.  Where it ``wraps``, each edge goes on at the opposite one.
    """
    if images.shape[-2:] == (height, width):
        return window.cut(images)
    rows = slice(window.top, window.top + window.window_height)
    columns = slice(window.left, window.left + window.window_width)
    if not wraps:
        return _resampled(_resampled(images, -2, height, only=rows), -1, width, only=columns)
    down = _matrix(images.shape[-2], height, images.device, wraps=True)[rows]
    across = _matrix(images.shape[-1], width, images.device, wraps=True)[columns]
    return (down @ images) @ across.T


def fill(picture: Tensor, images: Tensor) -> None:
    """Resample images (B, C, h, w) to a picture's size, (B, C, H, W), and write them there.

    They are rounded to the 8-bit grid.  A large picture is filled band by band.
    """
    height, width = picture.shape[-2:]
    if height * width <= WHOLE:
        picture.copy_(as_held(to_grid(resize(images, height, width)), picture))
        return
    for band in bands(height, width):
        part = to_grid(enlarged(images, height, width, band))
        band.cut(picture).copy_(as_held(part, picture))


def as_scaled_back(images: Tensor, height: int, width: int, wraps: bool = False) -> Tensor:
    """Images (B, C, h, w) enlarged to (height, width) by Lanczos and scaled back to (h, w).

    Scaling back uses the softer bilinear kernel.  Where it ``wraps``, each edge goes on at the
    opposite one.  Differentiable.
    """
    down = _enlarged_and_back(images.shape[-2], height, images.device, wraps)
    across = _enlarged_and_back(images.shape[-1], width, images.device, wraps)
    return (down @ images) @ across.T


@lru_cache(maxsize=4)
@torch.inference_mode(False)
def _enlarged_and_back(small: int, large: int, device: torch.device, wraps: bool) -> Tensor:
    back = _matrix(large, small, device, soft=True, wraps=wraps)
    return back @ _matrix(small, large, device, wraps=wraps)


def wrapped(pictures: Tensor, margin: int) -> Tensor:
    """(B, C, H, W) with a margin on all sides, where each edge goes on at the opposite one."""
    for side in (-2, -1):
        size = pictures.shape[side]
        before = pictures.narrow(side, size - margin, margin)
        pictures = torch.cat([before, pictures, pictures.narrow(side, 0, margin)], dim=side)
    return pictures


def size_with_short_side(height: int, width: int, short: int) -> tuple[int, int]:
    """The size (height, width) scaled so that its short side is ``short`` px; never enlarged."""
    scale = min(1.0, short / min(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def same_proportions(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether one size (height, width) is the other, scaled and rounded to whole pixels."""
    (height, width), (high, wide) = size, other
    return (
        abs(width * high / height - wide) <= 1  # at least one side was rounded to fit the other
        or abs(height * wide / width - high) <= 1
    )


def size_to_optimise(height: int, width: int, views: int) -> tuple[int, int]:
    """The (height, width) at which δ is optimised.

    If the short side is at most ``views`` times 512 px, that is the picture's own size; otherwise
    the short side becomes 512 px.
    """
    if min(height, width) <= views * VIEW_SIZE:
        return height, width
    return size_with_short_side(height, width, VIEW_SIZE)


def shrink(images: Tensor, short: int) -> Tensor:
    """Scale (B, C, H, W) so that the short side is at most ``short`` px; never enlarge."""
    height, width = images.shape[-2:]
    return resize(images, *size_with_short_side(height, width, short))


@dataclass(frozen=True)
class View:
    """One way a mimic's training sees a picture: a window of it, at ``height`` × ``width`` pixels.

    ``native`` is true if the window is seen at its own resolution, and false for the whole picture
    scaled down.
    """

    top: int
    left: int
    window_height: int
    window_width: int
    height: int
    width: int
    native: bool

    def of(self, images: Tensor, soft: bool = False) -> Tensor:
        """Cut and scale, (B, C, H, W) to (B, C, height, width); differentiable.

        Scaling uses Lanczos, or the softer bilinear kernel if ``soft``.
        """
        return resize(self.cut(images), self.height, self.width, soft)

    def cut(self, images: Tensor) -> Tensor:
        """The window of (B, C, H, W) at its own size, held as the picture is.

        A window that reaches beyond an edge goes on at the opposite one.
        """
        spans = ((-2, self.top, self.window_height), (-1, self.left, self.window_width))
        for side, start, length in spans:
            beyond = start + length - images.shape[side]
            inside = images.narrow(side, start, length - max(0, beyond))
            if beyond > 0:
                inside = torch.cat([inside, images.narrow(side, 0, beyond)], dim=side)
            images = inside
        return images

    def moved(self, down: int, right: int) -> View:
        """The same view of a picture that begins so many pixels higher up and further left."""
        return replace(self, top=self.top + down, left=self.left + right)

    def holds(self, other: View) -> bool:
        """Whether another view's window lies in this one's."""
        return (
            self.top <= other.top
            and self.left <= other.left
            and other.top + other.window_height <= self.top + self.window_height
            and other.left + other.window_width <= self.left + self.window_width
        )

    @property
    def passes(self) -> float:
        """The cost of encoding this view, in units of one 512 × 512 picture."""
        return self.height * self.width / VIEW_SIZE**2


def _tile_starts(size: int, wraps: bool) -> list[int]:
    """Start positions of the fewest 512 px tiles that cover an axis, evenly spread."""
    count = math.ceil(size / VIEW_SIZE)
    if count == 1:
        return [0]
    if wraps:
        return [round(i * size / count) for i in range(count)]
    return [round(i * (size - VIEW_SIZE) / (count - 1)) for i in range(count)]


def views_of(height: int, width: int, wraps: bool = False) -> list[View]:
    """The views on which a cloak is optimised and measured.

    The first is the whole picture with its short side at 512 px (smaller pictures as they are).
    Larger pictures also have native 512 px tiles that cover them.

    Args:
        wraps: whether the picture repeats, so that its edges meet.  Then the whole is seen a second
            time, with its edges in the middle, and the tiles cover them as well.
    """
    small_height, small_width = size_with_short_side(height, width, VIEW_SIZE)
    shrunk = (small_height, small_width) != (height, width)
    views = [View(0, 0, height, width, small_height, small_width, native=not shrunk)]
    if wraps:
        middle = View(height // 2, width // 2, height, width, small_height, small_width, False)
        views.append(middle)
    if shrunk:
        views += [
            View(top, left, VIEW_SIZE, VIEW_SIZE, VIEW_SIZE, VIEW_SIZE, native=True)
            for top in _tile_starts(height, wraps)
            for left in _tile_starts(width, wraps)
        ]
    return views


def panels_of(height: int, width: int) -> list[View]:
    """The panels that a picture is cut into along its long side, each a window at its own size.

    Strips, banners and panoramas have several: a mimic slices them into pictures of ordinary
    proportions, and the view of the whole would need memory that grows with its length.  Any other
    picture is one panel.

    In the view the cuts lie on multiples of an eighth of its short side, and so on one grid for all
    encoders: their features change with a shift of few pixels, and slices of usual lengths, counted
    from the picture's beginning, lie on that grid as well.
    """
    small_height, small_width = size_with_short_side(height, width, VIEW_SIZE)
    squares = small_height * small_width / VIEW_SIZE**2
    count = math.ceil(squares / PANEL_VIEW) if squares > LARGEST_VIEW else 1
    long = max(height, width)
    unit = min(height, width) / min(small_height, small_width) * VIEW_SIZE / 8
    inner = [round(round(i * long / count / unit) * unit) for i in range(1, count)]
    spans = list(pairwise([0, *inner, long]))
    if height >= width:
        return [View(a, 0, b - a, width, b - a, width, native=True) for a, b in spans]
    return [View(0, a, height, b - a, height, b - a, native=True) for a, b in spans]


WHOLE = 2**22
"""Pixels: pictures up to this size are worked on in one piece."""

_BAND = 256 * 4096
"""Pixels: bands of wide pictures have fewer rows, so that they hold no more than this."""


def bands(height: int, width: int, rows: int = 256) -> list[View]:
    """Windows of full width that together cover a picture, for work that must save memory; whole
    blocks of a JPEG, but for the last."""
    rows = max(16, min(rows, _BAND // width) // 16 * 16)
    return [
        View(top, 0, min(rows, height - top), width, min(rows, height - top), width, native=True)
        for top in range(0, height, rows)
    ]
