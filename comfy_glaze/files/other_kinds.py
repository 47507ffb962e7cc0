"""Files that artists have and that are not worked on: what each is, and what to do with it."""

from __future__ import annotations

import re

_EXPORT = "export a PNG from your painting program"
_DEVELOP = "develop to a TIFF or PNG"
_CONVERT = "convert to PNG"

_BY_CONTENT = {  # how such a file begins
    rb"II\+\0|MM\0\+": ("a BigTIFF file", "save as a usual TIFF or a PNG"),
    rb"\xff\x0a|.{4}JXL ": ("a JPEG XL file", _CONVERT),
    rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51": ("a JPEG 2000 file", _CONVERT),
    rb"8BPS": ("a Photoshop file", _EXPORT),
    rb"PK\x03\x04.{26}mimetypeapplication/x-krita": ("a Krita file", _EXPORT),
    rb"PK\x03\x04.{26}mimetypeimage/openraster": ("an OpenRaster file", _EXPORT),
    rb"PK\x03\x04.{26}(Document\.archive|QuickLook/)": (
        "a Procreate file",
        "share a PNG from Procreate",
    ),
    rb"CSFCHUNK": ("a Clip Studio Paint file", _EXPORT),
    rb"gimp xcf": ("a GIMP file", _EXPORT),
    rb"\0\xffKA": ("an Affinity file", _EXPORT),
    rb"PDN3": ("a Paint.NET file", _EXPORT),
    rb"%PDF-|%!PS": ("a PDF or PostScript file", "export each page as a PNG"),
    rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!DOCTYPE svg[^>]*>\s*)?<svg": (
        "an SVG drawing",
        "export a PNG at the size that you publish",
    ),
    rb"\x76\x2f\x31\x01|#\?RADIANCE|P[Ff]\n": (
        "a floating point picture",
        "save with 16 bits per channel as a PNG or TIFF",
    ),
    rb"P[1-7]\s": ("a Netpbm picture", _CONVERT),
    rb"\0\0\x01\0[^\0]": ("an icon", _CONVERT),
    rb"DDS ": ("a DDS texture", _CONVERT),
    rb"(II\*\0|MM\0\*).{4}CR|FUJIFILMCCD-RAW|II(RO|RS|U\0)|.{4}ftypcrx": (
        "a camera raw file",
        _DEVELOP,
    ),
    rb".{4}ftyp(mp4|iso|qt|M4V|avc)|\x1aE\xdf\xa3": ("a film", "save single frames as PNG"),
}
RAW = (".dng", ".cr2", ".nef", ".nrw", ".arw", ".sr2", ".srw", ".pef", ".erf", ".3fr", ".iiq")
"""Endings of camera raw files that begin as a TIFF does, with a small preview in the front."""

_BY_SUFFIX = {  # where the beginning tells too little
    ".procreate": ("a Procreate file", "share a PNG from Procreate"),
    ".clip": ("a Clip Studio Paint file", _EXPORT),
    ".kra": ("a Krita file", _EXPORT),
    ".psd": ("a Photoshop file", _EXPORT),
    ".psb": ("a Photoshop file", _EXPORT),
    ".sai": ("a PaintTool SAI file", _EXPORT),
    ".sai2": ("a PaintTool SAI file", _EXPORT),
    ".mdp": ("a FireAlpaca file", _EXPORT),
    ".pcx": ("a PCX picture", _CONVERT),
    ".tga": ("a Targa file", _CONVERT),
    **dict.fromkeys(RAW, ("a camera raw file", _DEVELOP)),
}


def other_kind(suffix: str, head: bytes) -> tuple[str, str] | None:
    """What a file is, with its article, and what to do; None for what is no picture.

    Args:
        suffix: of its name, with the dot.
        head: its first bytes.
    """
    for sign, words in _BY_CONTENT.items():
        if re.match(sign, head, re.DOTALL):
            return words
    return _BY_SUFFIX.get(suffix.lower())
