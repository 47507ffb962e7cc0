"""Before and after: the divider, the zoom, the pager, and the measures in plain words."""

from __future__ import annotations

import json
from typing import Any

import pytest

REPORT: dict[str, Any] = {
    "rehearsal": False,
    "target_style": {"name": "Magenta ink wash", "genre": "Pop Art", "artist": None},
    "settings": {"linf": 6 / 255, "limit": 0.05, "metric": "lpips-alex"},
    "perceptual": {"metric": "lpips-alex", "limit": 0.05, "value": 0.0154},
    "linf": 6 / 255,
    "psnr": 33.21,
    "shift": {"512": 0.543, "native": 0.501},
}
LOSSY = {
    "perceptual": {"metric": "lpips-alex", "limit": 0.05, "value": 0.0201},
    "linf": 19 / 255,
    "psnr": 31.8,
    "shift": {"512": 0.512, "native": 0.466},
}


def saved(count: int = 1, **changes: Any) -> list[dict[str, Any]]:
    return [
        {
            "file": {"filename": f"cloaked_{n}.png", "subfolder": "portfolio", "type": "output"},
            "original": {"filename": f"original_{n}.png", "subfolder": "", "type": "temp"},
            "measures": REPORT,
            "note": "",
        }
        | changes
        for n in range(1, count + 1)
    ]


def mount(widget_page: Any, entries: list[dict[str, Any]], **options: Any) -> Any:
    widget_page.mount(
        f"""import {{ createSaved }} from "/web/saved.mjs";
        window.saved = createSaved((file) => `/pictures/${{file.filename}}`);
        place.append(saved.element);
        saved.show({json.dumps(entries)});""",
        **options,
    )
    return widget_page.page


def divider(page: Any) -> Any:
    return page.get_by_role("slider")


def shown_percent(page: Any) -> int:
    return int(divider(page).get_attribute("aria-valuenow"))


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_it_shows_both_pictures_and_what_was_measured(
    widget_page: Any, colours: Any, theme: str
) -> None:
    page = mount(widget_page, saved(), theme=theme)
    table = page.get_by_role("table").inner_text()
    assert "0.54" in table
    assert "0.50 in close-up tiles" in table
    assert "0.015" in table
    assert "of 0.05 allowed" in table
    assert "of 6 levels allowed" in table
    assert "33.2 dB" in table
    assert "Magenta ink wash" in page.get_by_text("Led towards").locator("..").inner_text()
    assert page.get_by_text("Rehearsal").count() == 0
    assert colours(widget_page.screenshot(f"saved-{theme}")) > 5000


def test_before_a_run_it_says_what_will_come(widget_page: Any) -> None:
    page = mount(widget_page, [])
    assert page.get_by_text("appear here after a run").is_visible()
    assert not divider(page).is_visible()


def test_the_divider_by_mouse(widget_page: Any) -> None:
    page = mount(widget_page, saved())
    assert shown_percent(page) == 50
    stage = page.locator(".glaze-stage").bounding_box()
    picture = page.locator(".glaze-frame").bounding_box()
    y = stage["y"] + stage["height"] / 2
    page.mouse.move(picture["x"] + picture["width"] * 0.5, y)
    page.mouse.down()
    page.mouse.move(picture["x"] + picture["width"] * 0.25, y, steps=3)
    assert shown_percent(page) == 25
    page.mouse.move(0, y)  # beyond the picture
    page.mouse.up()
    assert shown_percent(page) == 0
    page.mouse.click(picture["x"] + picture["width"] * 0.75, y)
    assert shown_percent(page) == 75


def test_the_divider_cuts_the_cloaked_picture(widget_page: Any) -> None:
    page = mount(widget_page, saved())
    divider(page).focus()
    page.keyboard.press("Home")
    whole = page.locator(".glaze-stage").screenshot()
    page.keyboard.press("End")
    assert page.locator(".glaze-stage").screenshot() != whole
    clip = page.locator(".glaze-after").evaluate("image => image.style.clipPath")
    width = page.locator(".glaze-frame").evaluate("frame => frame.clientWidth")
    assert float(clip.split()[-1].rstrip("px)")) == pytest.approx(width, abs=1)


def test_the_divider_by_keyboard(widget_page: Any) -> None:
    page = mount(widget_page, saved())
    divider(page).focus()
    for key, percent in [
        ("ArrowRight", 52),
        ("ArrowLeft", 50),
        ("ArrowUp", 52),
        ("ArrowDown", 50),
        ("PageUp", 60),
        ("PageDown", 50),
        ("Home", 0),
        ("End", 100),
    ]:
        page.keyboard.press(key)
        assert shown_percent(page) == percent, key
    assert divider(page).get_attribute("aria-valuetext") == "100% original"


@pytest.mark.parametrize("host_zoom", [1, 0.5])
def test_a_hundred_percent_is_the_screens_pixels(widget_page: Any, host_zoom: float) -> None:
    page = mount(widget_page, saved())
    page.locator("#place").evaluate(f"e => e.style.transform = 'scale({host_zoom})'")
    page.get_by_role("button", name="100%").click()
    frame = page.locator(".glaze-frame")
    assert frame.bounding_box()["width"] == pytest.approx(640, abs=1)
    before = frame.bounding_box()["x"]
    stage = page.locator(".glaze-stage").bounding_box()
    page.mouse.move(stage["x"] + 20, stage["y"] + 20)
    page.mouse.down()
    page.mouse.move(stage["x"] - 20, stage["y"] + 20)
    page.mouse.up()
    assert frame.bounding_box()["x"] == pytest.approx(before - 40, abs=1)
    assert shown_percent(page) == 50
    divider(page).focus()
    page.keyboard.press("Shift+ArrowLeft")
    assert frame.bounding_box()["x"] == pytest.approx(before - 40 + 40 * host_zoom, abs=1)
    page.get_by_role("button", name="Fit").click()
    assert frame.bounding_box()["width"] <= stage["width"]


def test_several_files_have_a_pager(widget_page: Any) -> None:
    page = mount(widget_page, saved(3))
    assert page.get_by_text("1 of 3").is_visible()
    page.get_by_role("button", name="Next picture").click()
    assert page.get_by_text("2 of 3").is_visible()
    link = page.get_by_role("link", name="Download")
    assert link.get_attribute("download") == "cloaked_2.png"
    assert link.get_attribute("href").endswith("cloaked_2.png")
    assert "original_2.png" in page.locator(".glaze-before").get_attribute("src")
    page.get_by_role("button", name="Previous picture").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert page.get_by_text("3 of 3").is_visible()


def test_one_file_has_no_pager(widget_page: Any) -> None:
    page = mount(widget_page, saved())
    assert page.get_by_role("button", name="Next picture").count() == 0


def test_the_large_view_opens_and_closes_by_keyboard(widget_page: Any) -> None:
    page = mount(widget_page, saved())
    page.get_by_role("button", name="Large").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    assert dialog.is_visible()
    page.keyboard.press("PageUp")
    assert int(dialog.get_by_role("slider").get_attribute("aria-valuenow")) == 60
    widget_page.screenshot("saved-large")
    page.keyboard.press("Escape")
    page.locator("dialog").wait_for(state="detached")


def decoded(*names: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "original": {"filename": f"original_seen_{n}.png", "subfolder": "", "type": "temp"},
            "cloaked": {"filename": f"cloaked_seen_{n}.png", "subfolder": "", "type": "temp"},
        }
        for n, name in enumerate(names, 1)
    ]


def test_what_a_model_sees_is_one_press_away_and_back(widget_page: Any) -> None:
    page = mount(widget_page, saved(2, seen=decoded("FLUX.2's")))
    switch = page.get_by_role("button", name="What a model sees")
    before, after = page.locator(".glaze-before"), page.locator(".glaze-after")
    assert switch.get_attribute("aria-pressed") == "false"
    switch.focus()
    page.keyboard.press("Enter")
    assert "original_seen_1.png" in before.get_attribute("src")
    assert "cloaked_seen_1.png" in after.get_attribute("src")
    assert page.get_by_text("(FLUX.2's) makes of the two pictures").is_visible()
    assert page.get_by_role("link", name="Download").get_attribute("download") == "cloaked_1.png"
    page.wait_for_function("[...document.images].every((image) => image.complete)")
    widget_page.screenshot("saved-seen")
    page.get_by_role("button", name="Large").click()
    dialog = page.get_by_role("dialog")
    assert "cloaked_seen_1.png" in dialog.locator(".glaze-after").get_attribute("src")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Next picture").click()
    assert switch.get_attribute("aria-pressed") == "true"
    switch.click()
    assert "original_2.png" in before.get_attribute("src")
    assert page.get_by_text("makes of the two pictures").count() == 0


def test_several_autoencoders_have_a_switch_each_and_none_has_none(widget_page: Any) -> None:
    page = mount(widget_page, saved(seen=decoded("FLUX.2's", "SD 1, 2 or XL's")))
    switches = page.get_by_role("button", name="What a model sees:")
    assert switches.count() == 2
    switches.nth(1).click()
    assert "cloaked_seen_2.png" in page.locator(".glaze-after").get_attribute("src")
    switches.nth(0).click()
    assert "cloaked_seen_1.png" in page.locator(".glaze-after").get_attribute("src")
    assert page.locator("[aria-pressed=true]").count() == 1
    page = mount(widget_page, saved(seen=[]))
    assert page.get_by_role("button", name="What a model sees").count() == 0


def test_a_lossy_file_shows_both_measures(widget_page: Any) -> None:
    page = mount(widget_page, saved(measures=REPORT | {"encoded": LOSSY}))
    assert page.get_by_role("columnheader").all_inner_texts() == ["Before saving", "In the file"]
    row = page.get_by_role("row").filter(has_text="Largest change")
    assert [cell.split()[0] for cell in row.get_by_role("cell").all_inner_texts()] == ["6", "19"]
    widget_page.screenshot("saved-lossy")


def test_a_rehearsal_and_a_note_are_said(widget_page: Any) -> None:
    note = "A node in between changed the pixels, so this was measured anew."
    page = mount(widget_page, saved(measures=REPORT | {"rehearsal": True}, note=note))
    assert page.get_by_text("guards nothing yet").is_visible()
    assert page.get_by_text(note).is_visible()
    widget_page.screenshot("saved-rehearsal")


def test_a_rehearsals_verdict_begins_with_what_it_guards(widget_page: Any) -> None:
    report = REPORT | {
        "rehearsal": True,
        "verdict": {"level": "good", "sentence": "If a generator had it.", "try": ""},
        "effect": {"value": 0.2, "low": 0.05, "high": 0.31},
    }
    page = mount(widget_page, saved(measures=report))
    verdict = page.get_by_role("note").inner_text()
    assert verdict.startswith("Rehearsal: ")
    assert verdict.endswith("If a generator had it.")
    assert "Good." not in verdict
    assert page.get_by_text("guards nothing yet").count() == 1, "said twice"
    row = page.get_by_role("row").filter(has_text="Expected effect").inner_text()
    assert "5 to 31%, if a generator had this encoder" in row


def test_without_an_original_only_the_cloaked_picture_is_shown(widget_page: Any) -> None:
    page = mount(widget_page, saved(original=None))
    assert page.get_by_text("The original is not at hand").is_visible()
    assert divider(page).count() == 0


def test_a_file_that_is_gone_is_said(widget_page: Any) -> None:
    gone = {"filename": "gone.png", "subfolder": "", "type": "output"}
    page = mount(widget_page, saved(file=gone))
    assert page.get_by_role("alert").is_visible()
    assert "404" in widget_page.complaints.pop()


def test_measures_without_target_or_limit(widget_page: Any) -> None:
    bare = REPORT | {
        "target_style": None,
        "settings": {"linf": None},
        "perceptual": {"metric": "none", "limit": None, "value": None},
        "psnr": None,
    }
    page = mount(widget_page, saved(measures=bare))
    table = page.get_by_role("table").inner_text()
    assert "of 255 levels" in table
    assert "Visible change" not in table
    assert "PSNR" not in table


def test_poison_is_never_called_a_cloak(widget_page: Any) -> None:
    poison = {"concept": "dog", "towards": "cat", "anchor": "cat-01.png", "similarity": None}
    nobody = {"name": None, "genre": None, "artist": None}
    report = REPORT | {"poison": poison, "target_style": nobody, "rehearsal": True}
    page = mount(widget_page, saved(measures=report))
    shown = page.locator(".glaze-saved").inner_text()
    assert "dog → cat" in shown
    assert "Poisoned" in shown
    assert "this poison reaches none" in shown
    assert "Led towards" not in shown
    assert "cloak" not in shown.replace("cloaked_1.png", "").lower()


def test_another_systems_cloak_is_not_called_glazes(widget_page: Any) -> None:
    page = mount(widget_page, saved(measures=REPORT | {"system": "photoguard"}))
    assert "Cloaked as: photoguard" in page.locator(".glaze-saved").inner_text()
    row = page.locator(".glaze-saved tr").filter(has_text="Shift").first
    assert "this system's own way" in row.get_attribute("title")


NOT_SAVED: dict[str, Any] = {"file": None, "measures": None, "note": "Nothing was saved."}


def test_without_a_cloak_the_picture_is_shown_and_nothing_offered(widget_page: Any) -> None:
    original = {"filename": "original_1.png", "subfolder": "", "type": "temp"}
    page = mount(widget_page, [NOT_SAVED | {"original": original}])
    assert page.get_by_text("Nothing was saved.").is_visible()
    assert "original_1.png" in page.locator(".glaze-after").get_attribute("src")
    shown = page.locator(".glaze-saved").inner_text()
    assert "Original" in shown
    assert "Cloaked" not in shown
    assert page.get_by_role("link", name="Download").count() == 0
    widget_page.screenshot("saved-not-cloaked")


def test_without_a_picture_only_the_sentence_is_shown(widget_page: Any) -> None:
    page = mount(widget_page, [NOT_SAVED | {"original": None}])
    assert page.get_by_text("Nothing was saved.").is_visible()
    assert not page.locator(".glaze-stage").is_visible()


@pytest.mark.parametrize(("stopped", "words"), [("true", "was stopped"), ("false", "an error")])
def test_a_run_that_ended_before_shows_nothing_old(
    widget_page: Any, stopped: str, words: str
) -> None:
    page = mount(widget_page, saved())
    page.evaluate(f"saved.end({stopped})")
    said = page.locator(".glaze-saved").inner_text()
    assert words in said
    assert "before anything was saved here" in said
    assert not page.locator(".glaze-stage").is_visible()
    page.evaluate(f"saved.show({json.dumps(saved())})")
    assert page.locator(".glaze-stage").is_visible()
