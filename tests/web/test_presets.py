"""The presets as pictures, the verdict with its button, and a place to drop pictures on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from .test_words import words_of

ADVICE = "Try the preset strong with uniform (--preset strong --uniform): it goes farther."


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_a_preset_is_chosen_by_its_picture(
    widget_page: Any, colours: Callable[[bytes], int], theme: str
) -> None:
    widget_page.mount(
        """import { createPresets } from "/web/presets.mjs";
        window.chosen = [];
        window.presets = createPresets((name) => chosen.push(name));
        presets.setValue("default");
        place.append(presets.element);""",
        theme=theme,
        size=(380, 124),
    )
    page = widget_page.page
    assert page.get_by_role("radio", checked=True).get_attribute("value") == "default"
    pictures = page.evaluate("[...document.images].map((image) => image.naturalWidth)")
    assert len(pictures) == 3
    assert min(pictures) > 0, "each has a picture"
    assert colours(widget_page.screenshot(f"presets-{theme}")) > 500
    page.get_by_text("Strong", exact=True).click()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("chosen") == ["strong", "default"]
    page.evaluate("presets.setValue('custom')")
    assert page.get_by_role("radio", checked=True).count() == 0


def verdict(
    widget_page: Any, report: dict[str, Any], setter: str = "() => null", before: str = ""
) -> Any:
    widget_page.mount(
        f"""import {{ createVerdict }} from "/web/verdict.mjs";
        {before}
        window.done = [];
        const shown = createVerdict({json.dumps(report)}, {setter});
        window.shown = Boolean(shown);
        if (shown) place.append(shown);""",
        size=(380, 160),
    )
    return widget_page.page


@pytest.mark.parametrize("level", ["none", "weak", "fair", "good"])
def test_a_verdict_is_a_sentence_and_what_to_try(widget_page: Any, level: str) -> None:
    report = {"verdict": {"level": level, "sentence": "The shift is 0.12.", "try": ADVICE}}
    page = verdict(widget_page, report)
    text = page.get_by_role("note").inner_text()
    assert "The shift is 0.12." in text
    assert "Try the preset strong with uniform: it goes farther." in text
    assert "--" not in text, "an artist in the page has no command line"
    assert page.get_by_role("button").count() == 0, "this graph has no place for it"


def test_a_button_sets_what_the_verdict_proposes(widget_page: Any) -> None:
    report = {"verdict": {"level": "weak", "sentence": "The shift is 0.4.", "try": ADVICE}}
    page = verdict(widget_page, report, "(options) => () => window.done.push(options)")
    page.get_by_role("button", name="Set this").click()
    assert page.evaluate("done") == [{"preset": "strong", "uniform": True}]
    assert page.get_by_role("button").is_disabled()
    assert "Press Run" in page.get_by_role("status").inner_text()


def test_another_language_says_what_a_verdict_means_beside_the_english(widget_page: Any) -> None:
    french = words_of("fr")
    spoken = f"import {{ speak }} from '/web/words.mjs'; speak({json.dumps(french)});"
    report = {"verdict": {"level": "weak", "sentence": "The shift is 0.4.", "try": ADVICE}}
    text = verdict(widget_page, report, before=spoken).get_by_role("note").inner_text()
    assert f"{french['words']['verdict.weak.means']} The shift is 0.4." in text
    assert "Essayez Fort + Fond uni aussi (uniforme) : cela mène plus loin" in text
    assert "Try the preset strong with uniform: it goes farther." in text
    text = verdict(widget_page, report).get_by_role("note").inner_text()
    assert text.startswith("Weak. The shift is 0.4.")
    poison = report | {"poison": {"concept": "dog"}}
    text = verdict(widget_page, poison, before=spoken).get_by_role("note").inner_text()
    assert french["words"]["verdict.weak.means"] not in text, "it is about a style"


def test_options_of_every_kind_are_read_from_an_advice(widget_page: Any) -> None:
    widget_page.mount('import * as verdict from "/web/verdict.mjs"; window.verdict = verdict;')

    def options(advice: str) -> Any:
        return widget_page.page.evaluate("(advice) => verdict.optionsIn(advice)", advice)

    assert options("Try a cap (--linf 16/255 --limit 0.1 --uniform): it") == {
        "linf": "16/255",
        "limit": "0.1",
        "uniform": True,
    }
    assert options("Try --format png: it keeps") == {"format": "png"}
    assert options("Cloak your other works like this one.") == {}
    lossy = widget_page.page.evaluate("verdict.inWords('Try --format png: it keeps the shift.')")
    assert lossy == "Try PNG: it keeps the shift."


def test_a_report_without_a_verdict_shows_none(widget_page: Any) -> None:
    assert verdict(widget_page, {}).evaluate("shown") is False


def drop(widget_page: Any, answer: str = "async (files) => taken.push(...files)") -> Any:
    widget_page.mount(
        f"""import {{ createDrop, distinctNames }} from "/web/drop.mjs";
        window.taken = [];
        window.distinctNames = distinctNames;
        window.drop = createDrop({answer}, (name) => `/pictures/${{name}}`);
        place.append(drop.element);
        window.dropFiles = (names) => {{
          const data = new DataTransfer();
          for (const name of names) data.items.add(new File(["x"], name));
          const zone = place.querySelector("button");
          zone.dispatchEvent(
            new DragEvent("drop", {{ dataTransfer: data, bubbles: true, cancelable: true }}));
        }};""",
        size=(380, 64),
    )
    return widget_page.page


def test_pictures_are_taken_and_other_files_are_not(widget_page: Any) -> None:
    page = drop(widget_page)
    page.evaluate("dropFiles(['a.png', 'notes.txt', 'B.JPG'])")
    page.wait_for_function("taken.length === 2")
    assert page.evaluate("taken.map((file) => file.name)") == ["a.png", "B.JPG"]
    page.evaluate("dropFiles(['notes.txt'])")
    page.get_by_text("There is no picture").wait_for()


def test_a_failed_upload_is_told(widget_page: Any) -> None:
    page = drop(widget_page, "async () => { throw new Error('a.png: 413 Too Large'); }")
    page.evaluate("dropFiles(['a.png'])")
    page.get_by_text("413 Too Large").wait_for()


def test_pictures_of_one_name_get_names_of_their_own(widget_page: Any) -> None:
    page = drop(widget_page)
    names = ["a.png", "A.png", "a.png", "b"]
    assert page.evaluate("(n) => distinctNames(n.map((name) => ({ name })))", names) == [
        "a.png",
        "A (2).png",
        "a (3).png",
        "b",
    ]
