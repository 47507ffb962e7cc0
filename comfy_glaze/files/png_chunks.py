"""What a PNG says in its chunks and nowhere else: texts about the work, and colours by numbers.

Source: PNG Specification, third edition (W3C, 2025), §11.3 and §4.3 on which chunk counts.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from .colour_numbers import ColourNumbers, Primaries, from_cicp
from .exif import tells_of_generation

ABOUT_THE_WORK = ("Title", "Author", "Description", "Copyright")
"""Keywords of the texts that are kept; other texts hold prompts, paths and programs' settings."""

_LONGEST = 8192  # bytes of a text
_WHITE_AND_PRIMARIES = struct.Struct(">8I")
_SRGB_GAMMA = (0.4545, 0.006)  # and how far a gAMA may be from it and still mean sRGB's own curve


def chunks_of(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and body of every whole chunk of a PNG file."""
    at = 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + size > len(data):
            return
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += 12 + size


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk as it stands in a file."""
    checksum = zlib.crc32(name + body)
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


def texts_of(data: bytes) -> dict[str, str]:
    """The texts about the work, :data:`ABOUT_THE_WORK`, by keyword, the first of each.

    One that holds a prompt is left out; so are title and description where the file's texts name
    a program that keeps its prompt in them.
    """
    found: dict[str, str] = {}
    everything = ""
    for name, body in chunks_of(data):
        if name in (b"tEXt", b"zTXt", b"iTXt"):
            keyword, text = _text(name, body)
            everything += f" {text[:200]}" if keyword in ("Software", "Source") else ""
            if keyword in ABOUT_THE_WORK and text and not tells_of_generation(text):
                found.setdefault(keyword, text)
    if "novelai" in everything.lower():
        return {key: text for key, text in found.items() if key in ("Author", "Copyright")}
    return found


def _text(name: bytes, body: bytes) -> tuple[str, str]:
    """Keyword and text of a chunk; an empty text where it is damaged or too long."""
    raw_keyword, _, rest = body.partition(b"\0")
    keyword = raw_keyword.decode("latin-1").strip().title()
    packed, encoding = name == b"zTXt", "latin-1"
    if name == b"zTXt":
        rest = rest[1:]
    elif name == b"iTXt":
        packed, encoding = rest[:1] == b"\1", "utf-8"
        rest = rest[2:].split(b"\0", 2)[-1]
    try:
        if packed:
            rest = zlib.decompressobj().decompress(rest, _LONGEST + 1)
    except zlib.error:
        return keyword, ""
    if len(rest) > _LONGEST:
        return keyword, ""
    return keyword, rest.decode(encoding, "replace").replace("\0", "").strip()


def colour_numbers(data: bytes) -> tuple[ColourNumbers | None, bytes]:
    """The colour space that a PNG gives by numbers, and the chunks that do, to be written again.

    cICP counts before a profile (iCCP), a profile and sRGB before gAMA and cHRM.

    Returns:
        None for sRGB, for a profile, or where nothing is told.  Damaged chunks count as absent.

    Raises:
        ValueError: a space that cannot be worked in; the middle of a sentence.
    """
    found: dict[bytes, bytes] = {}
    for name, body in chunks_of(data):
        if name in (b"IDAT", b"IEND"):
            break
        found.setdefault(name, body)
    if len(cicp := found.get(b"cICP", b"")) == 4:
        return from_cicp(*cicp), chunk(b"cICP", cicp)
    if b"iCCP" in found or b"sRGB" in found:
        return None, b""
    kept, gamma, primaries = b"", None, None
    if len(body := found.get(b"gAMA", b"")) == 4 and (value := int.from_bytes(body, "big")):
        kept += chunk(b"gAMA", body)
        usual, near = _SRGB_GAMMA
        gamma = None if abs(value / 100_000 - usual) < near else 100_000 / value
    if len(body := found.get(b"cHRM", b"")) == 32:
        numbers = [value / 100_000 for value in _WHITE_AND_PRIMARIES.unpack(body)]
        primaries = Primaries(*zip(numbers[::2], numbers[1::2], strict=True))
        if primaries.is_usable:
            kept += chunk(b"cHRM", body)
        else:
            primaries = None
    if gamma is None and primaries is None:
        return None, kept
    return ColourNumbers.of(gamma, primaries), kept
