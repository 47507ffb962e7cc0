"""EXIF blocks, field by field: what describes a picture is carried as it was, byte for byte.

What could hold the uncloaked original, or how it was made, is left behind: thumbnails, makers'
notes, opaque binary fields, and texts in which image generators keep their prompts.  The layout is
that of TIFF 6.0, which a TIFF file shares; fields come out in little-endian order.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

HEADER = b"Exif\0\0"

_SIZES = {129: 1, 1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_WORDS = {3: "H", 8: "H", 4: "I", 5: "I", 9: "I", 10: "I", 11: "I", 12: "Q", 13: "I"}
_TEXT_KINDS = (2, 129)  # ASCII, and since EXIF 3.0 UTF-8
_MAX_FIELDS = 500

# Pointers to the blocks of a camera's and of a position's fields
PHOTO, GPS = 0x8769, 0x8825
IPTC = 0x83BB

ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x0112, 0x011A, 0x011B, 0x0128
_WIDTH, _HEIGHT = 0xA002, 0xA003
_MAKER_NOTE, _USER_COMMENT, _INTEROP = 0x927C, 0x9286, 0xA005

# Of the first block, what describes the work; the rest is the source file's own structure,
# thumbnails, or private to a program
_TEXTS = (0x010D, 0x010E, 0x010F, 0x0110, 0x011D, 0x0131, 0x0132, 0x013B, 0x013C, 0x8298)
_PNG_TEXTS = {"Title": 0x010D, "Description": 0x010E, "Author": 0x013B, "Copyright": 0x8298}
_RATINGS = (0x4746, 0x4749)
_WINDOWS_TEXTS = range(0x9C9B, 0x9CA0)  # title, comment, author, keywords, subject; in UTF-16
_OPAQUE_LIMIT = 256  # bytes: what is binary and larger may be a picture

# How the programs that generate pictures begin or fill their texts
_GENERATOR = re.compile(
    r'"class_type"|"last_node_id"|"inputs"\s*:|^\s*(workflow|prompt)\s*:|negative prompt:'
    r"|\bsteps: \d+, |\bcfg scale: |\bsampler: ",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Field:
    """One field: its tag, its type as TIFF numbers them, how many values, and their bytes."""

    tag: int
    kind: int
    count: int
    value: bytes  # little-endian

    @property
    def text(self) -> str:
        """What a reader may see in it, in any of the encodings in use."""
        if self.tag in _WINDOWS_TEXTS or self.value.startswith(b"UNICODE\0"):
            return self.value.removeprefix(b"UNICODE\0").decode("utf-16-le", "replace")
        return self.value.removeprefix(b"ASCII\0\0\0").decode("utf-8", "replace")


Fields = dict[int, list[Field]]
"""Fields by the block they stand in: 0 for the first, ``PHOTO`` and ``GPS``."""


def tells_of_generation(text: str) -> bool:
    """Whether a text holds a prompt, a workflow or the settings of an image generator."""
    return _GENERATOR.search(text) is not None


def read_fields(block: bytes) -> Fields:
    """The fields of an EXIF block (with or without its header) or of a TIFF file.

    Damaged parts count as absent.
    """
    block = block.removeprefix(HEADER)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None or len(block) < 8:
        return {}
    fields: Fields = {0: list(_read_ifd(block, order, *struct.unpack_from(order + "I", block, 4)))}
    for field in fields[0]:
        if field.tag in (PHOTO, GPS) and field.kind in (4, 13) and field.count == 1:
            (at,) = struct.unpack("<I", field.value)
            fields[field.tag] = list(_read_ifd(block, order, at))
    return fields


def _read_ifd(block: bytes, order: str, at: int) -> Iterator[Field]:
    if not 8 <= at <= len(block) - 2:
        return
    (count,) = struct.unpack_from(order + "H", block, at)
    for start in range(at + 2, at + 2 + 12 * min(count, _MAX_FIELDS), 12):
        if start + 12 > len(block):
            return
        tag, kind, length = struct.unpack_from(order + "HHI", block, start)
        size = _SIZES.get(kind, 0) * length
        where = start + 8 if size <= 4 else struct.unpack_from(order + "I", block, start + 8)[0]
        if 0 < size <= len(block) - where:
            value = _little_endian(block[where : where + size], kind, order)
            if tag == IPTC:  # often typed as words, always bytes
                value = block[where : where + size]
            if tag == _USER_COMMENT and order == ">" and value.startswith(b"UNICODE\0"):
                value = value[:8] + _little_endian(value[8:], 3, order)
            yield Field(tag, kind, length, value)


def page_kinds(tiff: bytes) -> Iterator[int]:
    """For each page of a TIFF file its NewSubfileType, 0 where it is not told."""
    order = "<" if tiff[:2] == b"II" else ">"
    seen: set[int] = set()
    (at,) = struct.unpack_from(order + "I", tiff, 4)
    while 8 <= at <= len(tiff) - 2 and at not in seen and len(seen) < _MAX_FIELDS:
        seen.add(at)
        yield int(number(_read_ifd(tiff, order, at), 0x00FE) or 0)
        end = at + 2 + 12 * struct.unpack_from(order + "H", tiff, at)[0]
        at = struct.unpack_from(order + "I", tiff, end)[0] if end + 4 <= len(tiff) else 0


def _little_endian(value: bytes, kind: int, order: str) -> bytes:
    word = _WORDS.get(kind)
    if order == "<" or word is None:
        return value
    count = len(value) // struct.calcsize("<" + word)
    return struct.pack(f"<{count}{word}", *struct.unpack_from(f">{count}{word}", value))


def number(fields: Iterable[Field], tag: int) -> float | None:
    """The first value of a numeric field, None where it is missing or no number."""
    for field in fields:
        if field.tag == tag and field.kind in (3, 4):
            return float(struct.unpack_from("<" + _WORDS[field.kind], field.value)[0])
        if field.tag == tag and field.kind == 5:
            above, below = struct.unpack_from("<II", field.value)
            return above / below if below else None
    return None


def resolution(fields: Fields) -> tuple[float, float] | None:
    """Horizontal and vertical pixels per inch as stored, None where they are not told."""
    first = fields.get(0, [])
    across, down = number(first, X_RESOLUTION), number(first, Y_RESOLUTION)
    unit = number(first, RESOLUTION_UNIT) or 2
    if not across or not down or unit not in (2, 3):
        return None
    scale = 2.54 if unit == 3 else 1.0
    return across * scale, down * scale


def clean(fields: Fields, width: int, height: int) -> Fields:
    """What may travel with a cloaked picture of this size; empty blocks are left out."""
    kept = {
        0: [f for f in fields.get(0, []) if _describes(f) and _is_plain(f)],
        PHOTO: [
            _with_size(f, width, height)
            for f in fields.get(PHOTO, [])
            if f.tag not in (_MAKER_NOTE, _INTEROP) and f.tag < 0xC000 and _is_plain(f)
        ],
        GPS: [f for f in fields.get(GPS, []) if f.tag < 0x40 and _is_plain(f)],
    }
    return {block: found for block, found in kept.items() if found}


def _describes(field: Field) -> bool:
    """Whether a field of the first block tells of the work, in the type that it should have."""
    if field.tag in _TEXTS:
        return field.kind in _TEXT_KINDS
    return field.tag in _WINDOWS_TEXTS or (field.tag in _RATINGS and field.kind == 3)


def _is_plain(field: Field) -> bool:
    """Whether what a field holds can be seen to be harmless."""
    is_text = field.kind in _TEXT_KINDS or field.tag in _WINDOWS_TEXTS
    if is_text or field.tag == _USER_COMMENT:
        return not tells_of_generation(field.text)
    return len(field.value) <= _OPAQUE_LIMIT


def _with_size(field: Field, width: int, height: int) -> Field:
    if field.tag in (_WIDTH, _HEIGHT):
        size = width if field.tag == _WIDTH else height
        return replace(field, kind=4, count=1, value=struct.pack("<I", size))
    return field


def resolution_fields(dpi: tuple[float, float]) -> list[Field]:
    """The fields that tell pixels per inch, horizontal and vertical."""
    fields = []
    for tag, value in ((X_RESOLUTION, dpi[0]), (Y_RESOLUTION, dpi[1])):
        ratio = Fraction(value).limit_denominator(10_000)
        fields.append(Field(tag, 5, 1, struct.pack("<II", ratio.numerator, ratio.denominator)))
    return [*fields, Field(RESOLUTION_UNIT, 3, 1, struct.pack("<H", 2))]


def with_texts(fields: Fields, texts: Mapping[str, str]) -> Fields:
    """The fields, with what a PNG's texts say of the work where no field says it already."""
    first = list(fields.get(0, []))
    known = {field.tag for field in first}
    for keyword, tag in _PNG_TEXTS.items():
        if keyword in texts and tag not in known:
            value = texts[keyword].encode("utf-8") + b"\0"
            first.append(Field(tag, 2, len(value), value))
    return {**fields, 0: first} if first else dict(fields)


def write_block(fields: Fields) -> bytes:
    """An EXIF block with its header."""
    body, first = write_ifds(fields, 8)
    return HEADER + b"II*\0" + struct.pack("<I", first) + body


def write_ifds(fields: Fields, start: int) -> tuple[bytes, int]:
    """Little-endian blocks of fields to stand at byte ``start`` (even) of a file.

    Returns their bytes, and where in the file the first block begins.
    """
    body = b""
    first = [f for f in fields.get(0, []) if f.tag not in (PHOTO, GPS)]
    for block in (PHOTO, GPS):
        if fields.get(block):
            data, at = _write_ifd(fields[block], start + len(body))
            first.append(Field(block, 4, 1, struct.pack("<I", at)))
            body += data
    data, at = _write_ifd(first, start + len(body))
    return body + data, at


def _write_ifd(fields: list[Field], start: int) -> tuple[bytes, int]:
    """One block: the values that do not fit into its entries, then the entries."""
    values, entries = b"", b""
    unique = {field.tag: field for field in fields}
    for tag in sorted(unique):
        field = unique[tag]
        inline = field.value.ljust(4, b"\0")
        if len(field.value) > 4:
            inline = struct.pack("<I", start + len(values))
            values += field.value + b"\0" * (len(field.value) % 2)
        entries += struct.pack("<HHI", tag, field.kind, field.count) + inline
    return values + struct.pack("<H", len(unique)) + entries + bytes(4), start + len(values)
