"""Where a work was made: a position (GPS), or a place by its name; and metadata without it.

Sources: EXIF 3.0 §4.6.6; IPTC Information Interchange Model 4.2, record 2; IPTC Photo Metadata
Standard 2023 and XMP Specification Part 2 for the names in XMP.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from .exif import GPS, Fields
from .xmp import parsed, written

_IPTC_PLACES = (26, 27, 90, 92, 95, 100, 101)  # of record 2: content location, city, country ...
_XMP_PLACES = re.compile(
    r"\{http://ns\.adobe\.com/exif/1\.0/\}GPS"
    r"|\{http://ns\.adobe\.com/photoshop/1\.0/\}(City|State|Country)$"
    r"|\{http://iptc\.org/std/Iptc4xmpCore/1\.0/xmlns/\}(Location|CountryCode)$"
    r"|\{http://iptc\.org/std/Iptc4xmpExt/2008-02-29/\}Location(Shown|Created)$"
)


def tells_location(xmp: bytes | None, iptc: bytes | None) -> bool:
    """Whether an XMP packet or IPTC records hold a position or the name of a place."""
    tree = parsed(xmp) if xmp else None
    if tree is not None and any(_is_place(name) for name in _names(tree)):
        return True
    return any(place for _, place in _records(iptc or b""))


def without_location(
    fields: Fields, xmp: bytes | None, iptc: bytes | None
) -> tuple[Fields, bytes | None, bytes | None]:
    """EXIF fields, an XMP packet and IPTC records without positions and places."""
    left = {block: found for block, found in fields.items() if block != GPS}
    tree = parsed(xmp) if xmp else None
    if xmp and tree is not None and _take_out(tree):
        xmp = written(tree, xmp)
    records = b"".join(record for record, place in _records(iptc or b"") if not place)
    return left, xmp, records or None


def _is_place(name: str) -> bool:
    return _XMP_PLACES.match(name) is not None


def _names(tree: ElementTree.Element) -> list[str]:
    return [name for element in tree.iter() for name in (element.tag, *element.attrib)]


def _take_out(element: ElementTree.Element) -> bool:
    """Remove places from an element, and tell whether there were any."""
    changed = False
    for name in [name for name in element.attrib if _is_place(name)]:
        del element.attrib[name]
        changed = True
    for child in list(element):
        if _is_place(child.tag):
            element.remove(child)
            changed = True
        else:
            changed |= _take_out(child)
    return changed


def _records(iptc: bytes) -> list[tuple[bytes, bool]]:
    """Each data set, and whether it names a place."""
    found, at = [], 0
    while at + 5 <= len(iptc) and iptc[at] == 0x1C:
        end = at + 5 + int.from_bytes(iptc[at + 3 : at + 5], "big")
        found.append((iptc[at:end], iptc[at + 1] == 2 and iptc[at + 2] in _IPTC_PLACES))
        at = end
    return found
