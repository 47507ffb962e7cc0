"""Colours of files that are wider than sRGB, or finer than 8 bits, and how a cloak is put on them.

A cloak is made on a picture's *view*: sRGB, 8 bits.  A file may hold more.  There δ, the change of
the view, is carried back onto the file's own levels F, and what was not changed stays bit for bit:

* 16 bits, sRGB: F + 257 · δ, exactly, since one step of 8 bits is 257 steps of 16;
* a profile made of a matrix and curves (Display P3, Adobe RGB, ProPhoto ...), with P from sRGB into
  the file's space: F + P(view + δ) − P(view), rounded once.  Where rounding would change the view
  of a pixel by more than the cloak's largest change, its δ is made smaller.

Profiles made of tables are not applied: such a file's numbers are its view.

Sources: ICC.1:2022 §8.3, §10.6, §10.18; IEC 61966-2-1 (sRGB).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ..images import Levels

Floats = npt.NDArray[np.float64]

_ROWS = 128  # worked on at a time, so that memory does not grow with the picture
_STEPS = 65_536

# Linear sRGB from XYZ under D50, the space in which profiles connect
_SRGB_FROM_XYZ = np.linalg.inv(
    np.array(
        [
            [0.4360747, 0.3850649, 0.1430804],
            [0.2225045, 0.7168786, 0.0606169],
            [0.0139322, 0.0971045, 0.7141733],
        ]
    )
)


@dataclass(frozen=True, eq=False)
class MatrixProfile:
    """An RGB colour space: a curve for each channel, then a matrix.

    Attributes:
        curves: (3, 65536), linear light of every device value k/65535, rising.
        to_srgb: (3, 3), linear sRGB from the linear light of the space.
    """

    curves: Floats
    to_srgb: Floats

    def view(self, values: Floats) -> Floats:
        """sRGB in [0, 1] of device values in [0, 1], both (..., 3), clipped to what sRGB holds."""
        index = np.rint(values * (_STEPS - 1)).astype(np.int64)
        linear = np.stack([self.curves[i][index[..., i]] for i in range(3)], axis=-1)
        return _encode(np.clip(linear @ self.to_srgb.T, 0, 1))

    def device(self, srgb: Floats) -> Floats:
        """Device values in [0, 1] of sRGB in [0, 1], both (..., 3)."""
        linear = np.clip(_decode(srgb) @ np.linalg.inv(self.to_srgb).T, 0, 1)
        grid = np.linspace(0, 1, _STEPS)
        return np.stack(
            [np.interp(linear[..., i], self.curves[i], grid) for i in range(3)], axis=-1
        )


def _decode(srgb: Floats) -> Floats:
    high: Floats = ((srgb + 0.055) / 1.055) ** 2.4
    return np.where(srgb <= 0.04045, srgb / 12.92, high)


def _encode(linear: Floats) -> Floats:
    high: Floats = 1.055 * linear ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, high)


@lru_cache(maxsize=8)
def matrix_profile(icc: bytes) -> MatrixProfile | None:
    """The colour space that a profile describes, if it differs from sRGB and is a matrix one."""
    tags = _tags(icc)
    needed = (b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC")
    if icc[16:20] != b"RGB " or b"A2B0" in tags or any(name not in tags for name in needed):
        return None
    try:
        matrix = np.array([_xyz(tags[name]) for name in needed[:3]]).T
        curves = np.stack([_curve(tags[name]) for name in needed[3:]])
        profile = MatrixProfile(curves, _SRGB_FROM_XYZ @ matrix)
        if not np.isfinite(curves).all() or np.linalg.cond(profile.to_srgb) > 1e3:
            return None
    except (struct.error, ValueError, IndexError, np.linalg.LinAlgError):
        return None
    ramp = np.linspace(0, 1, 18)
    colours = np.stack(np.meshgrid(ramp, ramp, ramp), axis=-1)
    same = np.abs(profile.view(colours) - colours).max() <= 1.5 / 255
    return None if same else profile


def grey_curve(icc: bytes) -> Floats | None:
    """(65536,), sRGB of every grey level k/65535 under a grey profile; None without a good one."""
    tags = _tags(icc)
    if icc[16:20] != b"GRAY" or b"kTRC" not in tags:
        return None
    try:
        return _encode(np.clip(_curve(tags[b"kTRC"]), 0, 1))
    except (struct.error, ValueError, IndexError):
        return None


def _tags(icc: bytes) -> dict[bytes, bytes]:
    tags: dict[bytes, bytes] = {}
    if len(icc) >= 132:
        for index in range(min(int.from_bytes(icc[128:132], "big"), 100)):
            at = 132 + 12 * index
            start, size = (int.from_bytes(icc[at + k : at + k + 4], "big") for k in (4, 8))
            tags[icc[at : at + 4]] = icc[start : start + size]
    return tags


def _xyz(tag: bytes) -> tuple[float, ...]:
    return tuple(value / 65536 for value in struct.unpack_from(">3i", tag, 8))


def _curve(tag: bytes) -> Floats:
    """Linear light of k/65535, from a curve by points, by gamma or by parameters."""
    x = np.linspace(0, 1, _STEPS)
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count == 0:
            return x
        points = np.frombuffer(tag, ">u2", min(count, _STEPS), 12).astype(np.float64)
        if count == 1:
            return np.asarray(x ** (points[0] / 256))
        return np.maximum.accumulate(np.interp(x, np.linspace(0, 1, len(points)), points / 65535))
    if tag[:4] != b"para":
        raise ValueError("neither a curve by points nor by parameters")
    kind = int.from_bytes(tag[8:10], "big")
    given = struct.unpack_from(f">{(1, 3, 4, 5, 7)[kind]}i", tag, 12)
    g, a, b, c, d, e, f = ([v / 65536 for v in given] + [0.0] * 7)[:7]
    if kind == 0:
        return np.asarray(x**g)
    if kind in (1, 2):
        e = f = c if kind == 2 else 0.0
        c, d = 0.0, -b / a
    curve = np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f)
    return np.maximum.accumulate(np.clip(curve, 0, 1))


def _chunks(height: int) -> Iterator[slice]:
    return (slice(top, top + _ROWS) for top in range(0, height, _ROWS))


def view_of(levels: Levels, profile: MatrixProfile | None) -> Levels:
    """The view of a file's levels (H, W, 3) of 8 or 16 bits: sRGB in 8 bits, same shape."""
    most = float(np.iinfo(levels.dtype).max)
    view = np.empty(levels.shape, np.uint8)
    for rows in _chunks(len(levels)):
        values = levels[rows] / most
        view[rows] = np.rint(255 * (profile.view(values) if profile else values))
    return view


def carry(
    levels: Levels,
    view: Levels,
    cloaked: Levels,
    profile: MatrixProfile | None,
) -> Levels:
    """The levels of a file whose view ``view`` becomes ``cloaked``, (H, W, 3), in their own type.

    With a profile the view may come out a little nearer to the old one than ``cloaked`` is, and
    no pixel of it changes by more than the largest change asked for.
    """
    result = levels.copy()
    most = np.iinfo(levels.dtype).max
    largest = int(np.abs(cloaked.astype(np.int16) - view).max(initial=0))
    for rows in _chunks(len(levels)):
        change = cloaked[rows].astype(np.int64) - view[rows]
        if profile is None:
            moved = levels[rows].astype(np.int64) + change * (most // 255)
            result[rows] = np.clip(moved, 0, most).astype(levels.dtype)
        else:
            result[rows] = _carried(levels[rows], view[rows], change, largest, profile)
    return result


def _carried(
    levels: Levels,
    view: Levels,
    change: npt.NDArray[np.int64],
    largest: int,
    profile: MatrixProfile,
) -> Levels:
    most = np.iinfo(levels.dtype).max
    result = levels.copy()
    pixels = np.nonzero(change.any(axis=-1))
    for share in (1.0, 0.75, 0.5, 0.25):
        old = view[pixels] / 255
        new = np.clip(old + share * change[pixels] / 255, 0, 1)
        moved = levels[pixels] / most + profile.device(new) - profile.device(old)
        tried = np.rint(np.clip(moved, 0, 1) * most).astype(levels.dtype)
        seen = np.rint(255 * profile.view(tried / most))
        fits = np.abs(seen - view[pixels]).max(axis=-1) <= largest
        result[tuple(axis[fits] for axis in pixels)] = tried[fits]
        pixels = tuple(axis[~fits] for axis in pixels)
        if not len(pixels[0]):
            break
    return result
