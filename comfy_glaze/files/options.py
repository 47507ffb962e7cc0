"""How a cloaked picture is saved, as the artist asks for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from .formats import ArtworkError, is_lossless, output_format

KEEP_SHIFT = 0.9
"""The share of a cloak's shift that a lossy file must keep, unless told otherwise."""


@dataclass(frozen=True)
class SaveOptions:
    """How a cloaked picture is saved.

    Attributes:
        format: a key of :data:`comfy_glaze.files.formats.FORMATS`, or ``same`` for the source's
            own.
        quality: of JPEG, AVIF and lossy WebP files, 1 to 100.
        keep_shift: the share of the cloak's shift that a lossy file must keep, 0 to 1; the quality
            is raised up to 100 for it.
        no_ai_training: whether the file states that it may not be used to train models (see
            :func:`comfy_glaze.files.xmp.with_training_statement`).
        credentials: the folder of what signs the file (see
            :func:`comfy_glaze.files.credentials.load_credentials`); None for no signature.

    Raises:
        ArtworkError: an unknown format, or a number out of its range.
    """

    format: str = "same"
    quality: int = 95
    keep_shift: float = KEEP_SHIFT
    no_ai_training: bool = False
    credentials: Path | None = None

    def __post_init__(self) -> None:
        is_lossless("png" if self.format == "same" else self.format, self.quality)
        if not 0 <= self.keep_shift <= 1:
            raise ArtworkError(
                f"The share of the shift to keep must lie in [0, 1], not {self.keep_shift:g}."
            )

    def for_file(self, source_format: str, path: Path) -> SaveOptions:
        """The same with the format that a source's format and the file's name come to."""
        return replace(self, format=output_format(self.format, source_format, path))

    @property
    def is_lossless(self) -> bool:
        """Whether the file holds exactly its pixels; the format must be known."""
        return is_lossless(self.format, self.quality)
