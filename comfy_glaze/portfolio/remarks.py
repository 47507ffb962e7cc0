"""What an artist should know about a saved file: its size, and what it does not hold."""

from __future__ import annotations

from typing import Any

from ..files.artwork import Artwork
from ..files.formats import FORMATS
from ..images import panels_of
from .cloaked import CloakedPicture
from .few_colours import count_of_colours, what_is_few
from .picture_file import PictureFile

LARGER = 1.5
"""Times the original's size from which a report says why."""

_USUAL_GROWTH = {"grey": 3, "few": 4, "other": 2}  # of lossless files, what an artist may accept
_ON_SCREEN = {"jpeg": "JPEG", "webp": "WebP", "avif": "AVIF"}


def bytes_as_json(picture: CloakedPicture, saved: PictureFile) -> dict[str, Any]:
    """A report's ``bytes``: size before and after, and why the file grew or lost something."""
    before = picture.artwork.size
    reason = _made_smaller(picture, saved) if saved.made_smaller else None
    if reason is None and before and saved.size > LARGER * before:
        reason = _larger(picture.artwork, saved)
    return {"before": before, "after": saved.size, "reason": reason}


def _made_smaller(picture: CloakedPicture, saved: PictureFile) -> str:
    whole, options = picture.cloak.measures[0].shift_512, saved.options
    left = (saved.encoded or saved.cloak.measures[0]).shift_512
    share = left / whole if whole > 0 else 0.0
    kept = "both were kept" if share >= options.keep_shift else "the size was kept, not the cloak"
    return (
        f"To fit the size allowed, {saved.made_smaller}. {share:.0%} of the cloak's shift is left: "
        f"{kept}."
    )


def _larger(artwork: Artwork, saved: PictureFile) -> str:
    options, own = saved.options, artwork.coding.quality
    if saved.encoded is not None:
        quality, kind = options.real_quality, _ON_SCREEN[options.format]
        why = f"{kind} at quality {quality} holds"
        if artwork.format == options.format and own is not None and quality > own:
            why = f"The quality was raised from {own} to {quality}, so that the {kind} file holds"
        share = f"{options.keep_shift:.0%} of the cloak, which is fine grain"
        if not saved.survived or not options.keep_shift:
            share = "more of the cloak, which is fine grain"
        return f"{why} {share}; --max-size {LARGER}x keeps the size and loses more of the cloak."
    if artwork.format not in FORMATS:
        return (
            f"{artwork.format.upper()} is read and not written, and the PNG that it becomes is "
            "lossless; --format jpeg, webp or avif makes a smaller file, --max-size sets a limit."
        )
    few = what_is_few(artwork)
    kind = "grey" if artwork.is_grey else "few" if few else "other"
    leave = "" if few is None else ", and --few-colours leave does not cloak such pictures"
    return (
        "A cloak is fine grain, which a lossless file stores in full; "
        f"--max-size {_USUAL_GROWTH[kind]}x keeps it to the places where it adds least{leave}."
    )


def remarks(picture: CloakedPicture, saved: PictureFile) -> list[str]:
    """Sentences about what a file holds, or no longer does, that an artist may not expect."""
    artwork, found = picture.artwork, []
    if artwork.has_others:
        found.append(
            "The original holds a further picture (a gain map, a depth map or a preview), which is "
            "left behind: it would show the uncloaked original."
        )
    if artwork.tells_location and not saved.options.strip_location:
        found.append("It says where it was made; --strip-location leaves that out.")
    if (parts := len(panels_of(*picture.original.shape[-2:]))) > 1:
        found.append(
            f"It is a strip, cloaked in {parts} parts. Where a website or a mimic cuts it "
            "elsewhere, little of the cloak may be left: cut it yourself as your website does, and "
            "cloak the pieces."
        )
    if artwork.source is not None and (few := what_is_few(artwork)) is not None:
        found.append(_few_words(picture, saved, few))
    return found


def _few_words(picture: CloakedPicture, saved: PictureFile, few: str) -> str:
    after, by_squares = count_of_colours(saved.cloak.images), "squares" in few
    seen = "as squares" if by_squares else "as fine grain"
    advice = "--few-colours leave does not cloak such pictures."
    if picture.cloak.settings.few_colours == "free":
        seen = "as fine grain"
        advice = f"--few-colours keep stays within squares and palette where it can. {advice}"
    elif by_squares or saved.in_palette:
        advice = f"--few-colours free leads farther and shows more. {advice}"
    palette = ", in a palette" if saved.in_palette else ""
    has = f"It is {few}, and with its cloak has {after} colours{palette}, {seen} on even ground."
    return f"{has} {advice}"
