"""How a cloaked picture is saved, as the artist asks for it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from .formats import ArtworkError, is_lossless, output_format

KEEP_SHIFT = 0.9
"""The share of a cloak's shift that a lossy file must keep, unless told otherwise."""


QUALITY = 95
"""Of a lossy file whose source has no quality of its own, unless told otherwise."""


@dataclass(frozen=True)
class SizeLimit:
    """How large a file may be: so many bytes, or so many times its source.

    Raises:
        ArtworkError: not exactly one of both, above 0.
    """

    bytes: int | None = None
    times: float | None = None

    def __post_init__(self) -> None:
        if (self.bytes is None) == (self.times is None) or not (self.bytes or self.times or 0) > 0:
            raise ArtworkError(
                "A size limit is a number of bytes or of times the original's size, above 0."
            )

    @classmethod
    def parse(cls, text: str) -> SizeLimit:
        """``900kB``, ``2.5MB`` or ``1.5x``, which is one and a half times the original's size.

        Raises:
            ArtworkError: another text.
        """
        units = {"b": 1, "": 1, "kb": 1000, "mb": 10**6, "gb": 10**9}
        match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(x|[kmg]?b|)\s*", text.lower())
        if match is None:
            raise ArtworkError(f"Expected a size such as 900kB, 2MB or 1.5x, but got {text!a}.")
        value, unit = float(match[1]), match[2]
        return cls(times=value) if unit == "x" else cls(bytes=int(value * units[unit]))

    def of(self, source: int | None) -> int | None:
        """The bytes allowed for a source of this size; None where that is not known."""
        if self.times is None:
            return self.bytes
        return None if source is None else int(self.times * source)


@dataclass(frozen=True)
class SaveOptions:
    """How a cloaked picture is saved.

    Attributes:
        format: a key of :data:`comfy_glaze.files.formats.FORMATS`, or ``same`` for the source's
            own.
        quality: of JPEG, AVIF and lossy WebP files, 1 to 100; None for that of the source, where
            it is of the same format and tells it, and else :data:`QUALITY`.
        keep_shift: the share of the cloak's shift that a lossy file must keep, 0 to 1; the quality
            is raised up to 100 for it.
        no_ai_training: whether the file states that it may not be used to train models (see
            :func:`comfy_glaze.files.xmp.with_training_statement`).
        credentials: the folder of what signs the file (see
            :func:`comfy_glaze.files.credentials.load_credentials`); None for no signature.
        max_size: what the file must fit into, if need be with less of the cloak.
        strip_location: whether what says where the work was made is left out.

    Raises:
        ArtworkError: an unknown format, or a number out of its range.
    """

    format: str = "same"
    quality: int | None = None
    keep_shift: float = KEEP_SHIFT
    no_ai_training: bool = False
    credentials: Path | None = None
    max_size: SizeLimit | None = None
    strip_location: bool = False

    def __post_init__(self) -> None:
        is_lossless("png" if self.format == "same" else self.format, self.real_quality)
        if not 0 <= self.keep_shift <= 1:
            raise ArtworkError(
                f"The share of the shift to keep must lie in [0, 1], not {self.keep_shift:g}."
            )

    @property
    def real_quality(self) -> int:
        """The quality, where no source has a say."""
        return QUALITY if self.quality is None else self.quality

    def for_file(
        self, source_format: str, path: Path, source_quality: int | None = None
    ) -> SaveOptions:
        """The same with the format and quality that a source and the file's name come to."""
        format, quality = output_format(self.format, source_format, path), self.quality
        if quality is None:
            quality = (source_quality if format == source_format else None) or QUALITY
        return replace(self, format=format, quality=quality)

    @property
    def is_lossless(self) -> bool:
        """Whether the file holds exactly its pixels; the format must be known."""
        return is_lossless(self.format, self.real_quality)
