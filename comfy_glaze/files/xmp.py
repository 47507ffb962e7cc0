"""XMP packets and IPTC records: kept as they are, without what could show the uncloaked original.

Thumbnails, edit histories, embedded pictures and generators' prompts are taken out.  On request an
XMP packet states that the picture may not be used to train models.

Sources: XMP Specification Part 1 (ISO 16684-1); IPTC Photo Metadata and PLUS LDF "Data Mining";
W3C Community Group report "TDM Reservation Protocol".
"""

from __future__ import annotations

import re
import threading
from io import BytesIO
from xml.etree import ElementTree

from .exif import tells_of_generation

MAX_XMP = 1_000_000  # bytes: larger packets hold pictures

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_PLUS = "http://ns.useplus.org/ldf/xmp/1.0/"
_TDM = "http://www.w3.org/ns/tdmrep#"
_PROHIBITED = "http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED-AIMLTRAINING"
_LONG = 8192  # characters: longer texts are pictures in base64

_LEFT_BEHIND = re.compile(
    r"\{http://ns\.adobe\.com/(xap/1\.0/(\}Thumbnails|g/img/|mm/\}(History|Ingredients|Pantry"
    r"|DerivedFrom|ManagedFrom))|photoshop/1\.0/\}(History|DocumentAncestors|TextLayers)"
    r"|xmp/note/\}HasExtendedXMP|camera-raw-|hdr-gain-map/)"
    r"|\{http://ns\.google\.com/photos/|\{http://ns\.apple\.com/HDRGainMap/"
)
_ORIENTATION = "{http://ns.adobe.com/tiff/1.0/}Orientation"
_PIXEL_SIZES = {
    "{http://ns.adobe.com/tiff/1.0/}ImageWidth": 0,
    "{http://ns.adobe.com/exif/1.0/}PixelXDimension": 0,
    "{http://ns.adobe.com/tiff/1.0/}ImageLength": 1,
    "{http://ns.adobe.com/exif/1.0/}PixelYDimension": 1,
}
_PREFIXES = threading.Lock()  # ElementTree keeps them for the whole process


def has_gain_map(packet: object) -> bool:
    """Whether a packet tells of a second picture that makes the first one brighter on a screen of
    high dynamic range, as telephones save it."""
    names = (b"ns.adobe.com/hdr-gain-map/", b"ns.apple.com/HDRGainMap/")
    return isinstance(packet, bytes) and any(name in packet for name in names)


def clean_xmp(packet: bytes | None, width: int, height: int) -> bytes | None:
    """The packet, byte for byte where nothing in it must go; None if it is damaged or enormous.

    The orientation it tells becomes upright, and the size that of the picture.
    """
    if not packet or (tree := parsed(packet)) is None:
        return None
    try:
        changed = _clean_element(tree, (str(width), str(height))) or b"<!--" in packet
        return written(tree, packet) if changed else packet
    except RecursionError:
        return None


def with_training_statement(packet: bytes | None) -> bytes:
    """The packet, or a fresh one, with "no AI training" in the words of PLUS and of TDMRep."""
    tree = parsed(packet) if packet else None
    if packet is None or tree is None:
        packet, tree = b"", ElementTree.Element("{adobe:ns:meta/}xmpmeta")
    rdf = tree if tree.tag == f"{_RDF}RDF" else tree.find(f"{_RDF}RDF")
    if rdf is None:
        rdf = ElementTree.SubElement(tree, f"{_RDF}RDF")
    names = (f"{{{_PLUS}}}DataMining", f"{{{_TDM}}}reservation")
    for description in rdf.findall(f"{_RDF}Description"):
        for name in names:
            description.attrib.pop(name, None)
            for child in description.findall(name):
                description.remove(child)
    statement = ElementTree.SubElement(rdf, f"{_RDF}Description", {f"{_RDF}about": ""})
    for name, value in zip(names, (_PROHIBITED, "1"), strict=True):
        ElementTree.SubElement(statement, name).text = value
    return written(tree, packet)


def parsed(packet: bytes) -> ElementTree.Element | None:
    """A packet's elements; None if it is damaged, enormous or has a document type."""
    if len(packet) > MAX_XMP or b"<!DOCTYPE" in packet or b"<!ENTITY" in packet:
        return None
    try:
        return ElementTree.fromstring(packet.strip(b"\0 \n\r\t"))
    except (ElementTree.ParseError, ValueError, LookupError):
        return None


def _clean_element(element: ElementTree.Element, size: tuple[str, str]) -> bool:
    """Take out, set right, and tell whether anything changed."""
    changed = False
    for name, value in list(element.attrib.items()):
        if _must_go(name, value):
            del element.attrib[name]
            changed = True
        elif (right := _right_value(name, value, size)) != value:
            element.attrib[name] = right
            changed = True
    for child in list(element):
        if _must_go(child.tag, (child.text or "") + (child.tail or "")):
            element.remove(child)
            changed = True
            continue
        if child.text and (right := _right_value(child.tag, child.text, size)) != child.text:
            child.text = right
            changed = True
        changed |= _clean_element(child, size)
    return changed


def _must_go(name: str, text: str) -> bool:
    return bool(_LEFT_BEHIND.match(name)) or len(text) > _LONG or tells_of_generation(text)


def _right_value(name: str, value: str, size: tuple[str, str]) -> str:
    if name == _ORIENTATION:
        return "1"
    return size[_PIXEL_SIZES[name]] if name in _PIXEL_SIZES else value


def written(tree: ElementTree.Element, original: bytes) -> bytes:
    """The packet with the original's own prefixes, in the wrapper that readers look for."""
    prefixes = [("x", "adobe:ns:meta/"), ("rdf", _RDF[1:-1]), ("plus", _PLUS), ("tdm", _TDM)]
    if original:
        events = ElementTree.iterparse(BytesIO(original.strip(b"\0 \n\r\t")), events=["start-ns"])
        prefixes += [found for _, found in events]
    with _PREFIXES:
        for prefix, uri in prefixes:
            if prefix and not re.fullmatch(r"ns\d+", prefix):
                ElementTree.register_namespace(prefix, uri)
        body: bytes = ElementTree.tostring(tree, encoding="utf-8")
    begin = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'.encode()
    return begin + body + b'\n<?xpacket end="w"?>'


# --- IPTC-IIM ------------------------------------------------------------------------------------


def clean_iptc(records: bytes | None) -> bytes | None:
    """IPTC-IIM data sets without previews and generators' texts; None if none are left.

    Source: IPTC Information Interchange Model 4.2; data sets 2:200 to 2:202 are the preview,
    records 7 and above the object itself.
    """
    kept, at = b"", 0
    data = records or b""
    while at + 5 <= len(data) and data[at] == 0x1C:
        record, length = data[at + 1], int.from_bytes(data[at + 3 : at + 5], "big")
        end = at + 5 + length
        if length & 0x8000 or end > len(data):
            break
        preview = record > 6 or (record == 2 and data[at + 2] >= 200)
        if not preview and not tells_of_generation(data[at + 5 : end].decode("utf-8", "replace")):
            kept += data[at:end]
        at = end
    return kept or None


def iptc_of_resources(resources: bytes) -> bytes | None:
    """The IPTC records among Photoshop's image resources, which also hold a thumbnail."""
    at = 0
    while resources[at : at + 4] == b"8BIM" and at + 12 <= len(resources):
        name = resources[at + 6] + 1
        start = at + 6 + name + name % 2
        length = int.from_bytes(resources[start : start + 4], "big")
        if resources[at + 4 : at + 6] == b"\x04\x04":
            return resources[start + 4 : start + 4 + length]
        at = start + 4 + length + length % 2
    return None


def as_resource(records: bytes) -> bytes:
    """IPTC records as one of Photoshop's image resources."""
    head = b"8BIM\x04\x04\0\0" + len(records).to_bytes(4, "big")
    return head + records + b"\0" * (len(records) % 2)
