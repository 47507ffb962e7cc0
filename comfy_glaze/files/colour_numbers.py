"""Colour spaces that are given by numbers, white, primaries and a curve, as ICC profiles.

Sources: ICC.1:2022 §7, §9.2, §10 (the profile's layout) and its Annex E (adaptation to D50);
ITU-T H.273 (the code points of cICP).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Place = tuple[float, float]
"""CIE 1931 chromaticities x and y."""

_D50 = (0.9642, 1.0, 0.8249)
_D65, _C, _DCI = (0.3127, 0.3290), (0.310, 0.316), (0.314, 0.351)
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_VIDEO_CURVE = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)


class Primaries(NamedTuple):
    """A space's white and its three primaries."""

    white: Place
    red: Place
    green: Place
    blue: Place

    @property
    def is_usable(self) -> bool:
        """Whether they are the corners of a space: damaged files have zeros here."""
        xy = np.array(self)
        if not (self.white[1] > 0.01 and (xy >= 0).all() and (xy <= 1.2).all()):
            return False
        return bool(abs(np.linalg.det(self._columns())) > 1e-3)

    def _columns(self) -> npt.NDArray[np.float64]:
        return np.array([(x, y, 1 - x - y) for x, y in self[1:]]).T

    def to_xyz(self) -> npt.NDArray[np.float64]:
        """(3, 3), XYZ under D50 from linear light in [0, 1]."""
        x, y = self.white
        white = np.array([x / y, 1, (1 - x - y) / y])
        columns = self._columns()
        matrix = columns * np.linalg.solve(columns, white)
        scale = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white))
        adapted: npt.NDArray[np.float64] = np.linalg.inv(_BRADFORD) @ scale @ _BRADFORD @ matrix
        return adapted


SRGB = Primaries(_D65, (0.64, 0.33), (0.30, 0.60), (0.15, 0.06))

_PRIMARIES = {  # code points of H.273, table 2
    1: SRGB,
    4: Primaries(_C, (0.67, 0.33), (0.21, 0.71), (0.14, 0.08)),
    5: Primaries(_D65, (0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),
    6: Primaries(_D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    7: Primaries(_D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    9: Primaries(_D65, (0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    11: Primaries(_DCI, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    12: Primaries(_D65, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    22: Primaries(_D65, (0.630, 0.340), (0.295, 0.605), (0.155, 0.077)),
}
_CURVES: dict[int, tuple[float, ...]] = {  # table 3, as ICC's parameters
    1: _VIDEO_CURVE,
    4: (2.2,),
    5: (2.8,),
    6: _VIDEO_CURVE,
    8: (1.0,),
    13: _SRGB_CURVE,
    14: _VIDEO_CURVE,
    15: _VIDEO_CURVE,
}
_HDR = {16: "PQ", 18: "HLG"}


@dataclass(frozen=True)
class ColourNumbers:
    """A colour space.

    Attributes:
        primaries: white and primaries.
        curve: ICC's parameters g, or g a b c d, from device values to linear light.
    """

    primaries: Primaries
    curve: tuple[float, ...]

    @classmethod
    def of(cls, gamma: float | None, primaries: Primaries | None) -> ColourNumbers:
        """With a pure power as its curve; None for those of sRGB."""
        return cls(primaries or SRGB, _SRGB_CURVE if gamma is None else (gamma,))

    def profile(self, is_grey: bool) -> bytes:
        """The space as an ICC profile, of RGB or, for its curve alone, of grey."""
        curve = _parametric(self.curve)
        tags = {b"desc": _words("Colours as numbers in the file"), b"cprt": _words("No copyright")}
        tags[b"wtpt"] = _xyz(_D50)
        if is_grey:
            tags[b"kTRC"] = curve
        else:
            for name, column in zip((b"r", b"g", b"b"), self.primaries.to_xyz().T, strict=True):
                tags[name + b"XYZ"] = _xyz(column)
                tags[name + b"TRC"] = curve
        return _profile(b"GRAY" if is_grey else b"RGB ", tags)


def from_cicp(primaries: int, transfer: int, matrix: int, full_range: int) -> ColourNumbers | None:
    """The space that cICP's four code points name; None for sRGB.

    Raises:
        ValueError: HDR, or a space that is not known here; the middle of a sentence.
    """
    if transfer in _HDR:
        raise ValueError(
            f"a standard dynamic range, but it is HDR ({_HDR[transfer]}): export an SDR copy"
        )
    if (primaries, transfer) in ((1, 13), (2, 2)):
        return None
    if primaries not in _PRIMARIES or transfer not in _CURVES or matrix or full_range != 1:
        numbers = f"{primaries}, {transfer}, {matrix}, {full_range}"
        raise ValueError(f"a known colour space, but it is that of cICP {numbers}: convert to sRGB")
    return ColourNumbers(_PRIMARIES[primaries], _CURVES[transfer])


def from_box(data: bytes) -> ColourNumbers | None:
    """The wide space that an AVIF or HEIF file's ``colr`` box names in numbers (ISO 23000-22).

    Files are often labelled with a video's curve whatever they hold, so only primaries beside the
    curve of sRGB are believed; None for all others.

    Raises:
        ValueError: HDR; the middle of a sentence.
    """
    at = data.find(b"colrnclx")
    if at < 0 or at + 14 > len(data):
        return None
    primaries, transfer = struct.unpack_from(">HH", data, at + 8)
    if transfer == 13 or transfer in _HDR:
        return from_cicp(primaries, transfer, 0, 1) if primaries in _PRIMARIES else None
    return None


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _xyz(values: Iterable[float]) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*values)


def _parametric(curve: tuple[float, ...]) -> bytes:
    kind = {1: 0, 5: 3}[len(curve)]
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + _fixed(*curve)


def _words(text: str) -> bytes:
    body = text.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(body), 28) + body


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """The header, the table of tags, and each tag at a multiple of four bytes."""
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">II", start + len(body), len(value))
        body += value + b"\0" * (-len(value) % 4)
    size = start + len(body)
    head = struct.pack(">I4xI4s4s4s", size, 0x04300000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp"
    head = head.ljust(68, b"\0") + _fixed(*_D50)
    return head.ljust(128, b"\0") + table + body
