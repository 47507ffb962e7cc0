"""Every language says everything, with the same blanks to fill."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from .conftest import WEB

LOCALES = Path(__file__).parents[2] / "locales"
MOUNT = """import { ENGLISH, speak, say } from "/web/words.mjs";
    Object.assign(window, { ENGLISH, speak, say });"""


def blanks(text: str) -> set[str]:
    return set(re.findall(r"\{\w+\}", text))


def words_of(language: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((LOCALES / language / "main.json").read_text("utf-8"))
    return found["comfy_glaze"]


def test_languages_hold_the_same_keys_and_blanks(widget_page: Any) -> None:
    widget_page.mount(MOUNT)
    english = widget_page.page.evaluate("ENGLISH")
    languages = sorted(path.parent.name for path in LOCALES.glob("*/main.json"))
    languages.remove("en")  # its words are in words.mjs
    assert languages == ["es", "fr", "ja", "ko", "ru", "zh"]
    for language in languages:
        words = words_of(language)["words"]
        assert words.keys() == english.keys(), language
        for key, text in words.items():
            assert blanks(text) == blanks(english[key]), (language, key)


def test_a_claim_that_no_native_reader_has_read_keeps_its_english(widget_page: Any) -> None:
    widget_page.mount(MOUNT)
    french = words_of("fr")
    assert french["read"] == [], "who has read a claim lists it here"
    widget_page.page.evaluate("(french) => speak(french)", french)
    english = widget_page.page.evaluate("ENGLISH")
    said = widget_page.page.evaluate("Object.keys(ENGLISH).map((key) => [key, say(key)])")
    both = {key for key, text in said if f"[{english[key]}]" in text}
    assert {"measure.rehearsal", "verdict.none", "verdict.good", "preset.strong.tip"} <= both
    assert "gallery.search" not in both
    widget_page.page.evaluate("(french) => speak({ ...french, read: ['verdict.none'] })", french)
    alone = widget_page.page.evaluate("say('verdict.none')")
    assert alone == french["words"]["verdict.none"]


def test_an_unknown_language_is_english(widget_page: Any) -> None:
    widget_page.mount(MOUNT)
    assert widget_page.page.evaluate("(speak(undefined), say('verdict.weak'))") == "Weak."


def test_durations(widget_page: Any) -> None:
    widget_page.mount(
        'import { sayDuration } from "/web/words.mjs";'
        "window.said = [0.2, 59, 130, 3600, 9000].map(sayDuration);"
    )
    assert widget_page.page.evaluate("said") == ["1 s", "59 s", "2 min", "60 min", "2 h 30 min"]


def test_no_word_is_missing_or_left_over(widget_page: Any) -> None:
    widget_page.mount(MOUNT)
    keys = set(widget_page.page.evaluate("Object.keys(ENGLISH)"))
    sources = [p for p in [*WEB.glob("*.mjs"), *WEB.glob("*.js")] if p.name != "words.mjs"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    text += (WEB / "words.mjs").read_text(encoding="utf-8").partition("let chosen")[2]
    families = {key.partition(".")[0] for key in keys}
    used = set(re.findall(rf'"((?:{"|".join(sorted(families))})\.[a-z.]+)"', text))
    assert used == keys
