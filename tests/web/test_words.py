"""Every language says everything, with the same blanks to fill."""

from __future__ import annotations

import re
from typing import Any


def test_languages_hold_the_same_keys_and_blanks(widget_page: Any) -> None:
    widget_page.mount('import { LANGUAGES } from "/web/words.mjs"; window.languages = LANGUAGES;')
    languages = widget_page.page.evaluate("languages")
    english = languages.pop("en")
    blanks = {key: set(re.findall(r"\{\w+\}", text)) for key, text in english.items()}
    for language, words in languages.items():
        assert words.keys() == english.keys(), language
        for key, text in words.items():
            assert set(re.findall(r"\{\w+\}", text)) == blanks[key], (language, key)


def test_durations(widget_page: Any) -> None:
    widget_page.mount(
        'import { sayDuration } from "/web/words.mjs";'
        "window.said = [0.2, 59, 130, 3600, 9000].map(sayDuration);"
    )
    assert widget_page.page.evaluate("said") == ["1 s", "59 s", "2 min", "60 min", "2 h 30 min"]


def test_no_word_is_missing_or_left_over(widget_page: Any) -> None:
    from .conftest import WEB

    widget_page.mount('import { LANGUAGES } from "/web/words.mjs"; window.languages = LANGUAGES;')
    keys = set(widget_page.page.evaluate("Object.keys(languages.en)"))
    sources = [p for p in [*WEB.glob("*.mjs"), *WEB.glob("*.js")] if p.name != "words.mjs"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    text += (WEB / "words.mjs").read_text(encoding="utf-8").partition("export const")[2]
    used = set(
        re.findall(r'"((?:chart|compare|folder|measure|genre|gallery|time)\.[a-z.]+)"', text)
    )
    assert used == keys
