"""The style gallery: search, filter, ranking, choosing by mouse and keyboard, a big bank."""

from __future__ import annotations

import json
from typing import Any

import pytest

GENRES = ["Pop Art", "Impressionism", "Ukiyo-e", "Art Nouveau Modern"]
FIRST = ["Soft crayon", "Pale gouache", "Magenta ink wash", "Teal and crimson leaves"]


def styles(count: int, thumbnails: bool = False) -> list[dict[str, Any]]:
    names = (FIRST + [f"Study {n:04d}" for n in range(len(FIRST), count)])[:count]
    return [
        {
            "name": name,
            "genre": GENRES[n % len(GENRES)],
            "artist": "Hélène Roi" if n % 7 == 3 else None,
            "thumbnail": thumbnails,
        }
        for n, name in enumerate(names)
    ]


def ranking(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last style is the nearest; the third quarter is in the band."""
    count = len(entries)
    return [
        {k: v for k, v in entry.items() if k != "thumbnail"}
        | {
            "distance": 3.0 + rank,
            "percentile": 100 * rank / (count - 1),
            "in_band": 0.5 <= rank / (count - 1) <= 0.75,
        }
        for rank, entry in enumerate(reversed(entries))
    ]


def mount(
    widget_page: Any, entries: list[dict[str, Any]] | None, script: str = "", **options: Any
) -> Any:
    options.setdefault("size", (360, 380))
    widget_page.mount(
        f"""import {{ createGallery }} from "/web/gallery.mjs";
        window.chosen = [];
        window.gallery = createGallery(
          (name) => chosen.push(name), (name) => `/pictures/thumb ${{name}}`);
        place.append(gallery.element);
        gallery.setStyles({json.dumps(entries)});
        {script}""",
        **options,
    )
    return widget_page.page


def cells(page: Any) -> Any:
    return page.get_by_role("listbox").get_by_role("option")


def options(page: Any) -> list[str]:
    return cells(page).locator("b").all_inner_texts()


def chosen(page: Any) -> list[str]:
    return page.evaluate("chosen")


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("thumbnails", [True, False], ids=["tiles", "rows"])
def test_it_shows_auto_first_and_then_the_styles(
    widget_page: Any, colours: Any, theme: str, thumbnails: bool
) -> None:
    entries = styles(40, thumbnails)
    page = mount(
        widget_page,
        entries,
        f"gallery.setRanking({json.dumps(ranking(entries))}, ['Study 0012']);",
        theme=theme,
    )
    assert options(page)[0] == "auto"
    assert cells(page).first.get_attribute("aria-selected") == "true"
    assert page.get_by_text("40 of 40 styles").is_visible()
    page.locator(".glaze-list").evaluate("list => list.scrollTop = 780")
    page.wait_for_timeout(100)
    picture = widget_page.screenshot(f"gallery-{'tiles' if thumbnails else 'rows'}-{theme}")
    assert colours(picture) > (2000 if thumbnails else 100)


def test_before_a_run_styles_are_in_order_of_their_names(widget_page: Any) -> None:
    page = mount(widget_page, styles(4))
    assert options(page) == ["auto", *sorted(FIRST)]
    assert page.get_by_label("Order").is_disabled()
    assert page.get_by_label("In band").is_disabled()


def test_after_a_run_the_nearest_come_first_and_the_band_is_marked(widget_page: Any) -> None:
    entries = styles(9)
    page = mount(widget_page, entries, f"gallery.setRanking({json.dumps(ranking(entries))}, []);")
    assert options(page)[1:4] == ["Study 0008", "Study 0007", "Study 0006"]
    marked = cells(page).filter(has_text="in band")
    assert marked.locator("b").all_inner_texts() == [
        entry["name"] for entry in ranking(entries) if entry["in_band"]
    ]
    assert "distance 3.00" in cells(page).nth(1).get_attribute("title")
    page.get_by_label("In band").check()
    assert len(options(page)) == 1 + marked.count()
    page.get_by_label("In band").uncheck()
    page.get_by_label("Order").select_option("By name")
    assert options(page)[1] == "Magenta ink wash"


def test_search_ignores_case_and_accents_and_finds_artists_and_genres(widget_page: Any) -> None:
    page = mount(widget_page, styles(12))
    for text, expected in [
        ("MAGENTA wash", ["Magenta ink wash"]),
        ("helene", ["Study 0010", "Teal and crimson leaves"]),
        ("ukiyo", ["Magenta ink wash", "Study 0006", "Study 0010"]),
    ]:
        page.get_by_role("searchbox").fill(text)
        assert options(page)[1:] == expected
    page.get_by_role("searchbox").fill("nothing like it")
    assert page.get_by_text("No style matches").is_visible()
    page.keyboard.press("Escape")
    assert page.get_by_text("12 of 12 styles").is_visible()


def test_the_genre_filter(widget_page: Any) -> None:
    page = mount(widget_page, styles(12))
    page.get_by_label("Genre", exact=True).select_option("Pop Art")
    assert options(page)[1:] == ["Soft crayon", "Study 0004", "Study 0008"]
    assert page.get_by_text("3 of 12 styles").is_visible()


def test_choosing_by_mouse(widget_page: Any) -> None:
    page = mount(widget_page, styles(12, True))
    cells(page).filter(has_text="Pale gouache").click()
    cells(page).filter(has_text="auto").click()
    assert chosen(page) == ["Pale gouache", "auto"]


def test_choosing_by_keyboard(widget_page: Any) -> None:
    page = mount(widget_page, styles(12, True))  # three columns
    in_order = options(page)
    page.get_by_role("searchbox").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    for key in ("ArrowDown", " ", "ArrowUp", "ArrowUp", "Enter"):
        page.keyboard.press(key)
    assert chosen(page) == [in_order[2], in_order[5], "auto"]
    page.keyboard.press("End")
    active = page.get_by_role("listbox").get_attribute("aria-activedescendant")
    assert in_order[-1] in page.locator(f"#{active}").inner_text()


def test_typing_in_the_list_goes_on_with_the_search(widget_page: Any) -> None:
    page = mount(widget_page, styles(12))
    page.get_by_role("listbox").focus()
    page.keyboard.type("gouache")
    assert page.get_by_role("searchbox").input_value() == "gouache"
    page.keyboard.press("Enter")
    assert chosen(page) == ["Pale gouache"]


def test_keys_stay_in_the_widget_but_for_the_hosts_combinations(widget_page: Any) -> None:
    page = mount(
        widget_page,
        styles(4),
        "window.heard = []; addEventListener('keydown', (e) => heard.push(e.key));",
    )
    page.get_by_role("listbox").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Control+Enter")
    assert page.evaluate("heard") == ["Control", "Enter"]
    assert chosen(page) == []


def test_a_bank_of_2108_styles_has_few_elements(widget_page: Any) -> None:
    page = mount(widget_page, styles(2108, True))
    assert page.get_by_text("2108 of 2108 styles").is_visible()
    assert cells(page).count() < 60
    page.get_by_role("listbox").focus()
    page.keyboard.press("End")
    last = cells(page).last
    assert last.get_attribute("aria-posinset") == "2109"
    assert "Teal and crimson leaves" in last.inner_text()
    assert cells(page).count() < 60
    page.keyboard.press("Enter")
    assert chosen(page) == ["Teal and crimson leaves"]


def test_a_node_that_grows_with_its_content_stays_small(widget_page: Any) -> None:
    page = mount(widget_page, styles(2108))
    page.locator("#place").evaluate("place => place.style.height = 'auto'")
    assert page.locator(".glaze-gallery").bounding_box()["height"] < 400


def test_a_value_from_the_workflow_is_selected_and_in_view(widget_page: Any) -> None:
    page = mount(widget_page, styles(300), "gallery.setValue('Study 0250');")
    selected = page.locator("[aria-selected=true]")
    assert selected.inner_text().startswith("Study 0250")
    box, frame = selected.bounding_box(), page.get_by_role("listbox").bounding_box()
    assert frame["y"] <= box["y"] <= frame["y"] + frame["height"] - box["height"]


def test_what_the_last_run_chose(widget_page: Any) -> None:
    entries = styles(6)
    page = mount(
        widget_page,
        entries,
        f"gallery.setRanking({json.dumps(ranking(entries))}, ['Pale gouache']);",
    )
    assert "The last run chose Pale gouache" in cells(page).first.inner_text()
    assert cells(page).filter(has_text="chosen").count() == 1


def test_notes_about_the_choice_are_shown_until_the_next_run(widget_page: Any) -> None:
    page = mount(widget_page, styles(5), "gallery.setNotes(['Wire five or more works.'])")
    note = page.get_by_role("note")
    assert note.inner_text() == "Wire five or more works."
    page.evaluate("gallery.setNotes([])")
    assert not note.is_visible()


def test_an_unknown_bank_shows_what_was_ranked(widget_page: Any) -> None:
    page = mount(widget_page, None)
    assert page.get_by_text("Wire a Load style bank").is_visible()
    page.evaluate(f"gallery.setRanking({json.dumps(ranking(styles(5)))}, [])")
    assert len(options(page)) == 6


def test_a_style_that_the_bank_lacks_is_said(widget_page: Any) -> None:
    page = mount(widget_page, styles(3), "gallery.setValue('Nobody');")
    assert page.get_by_text("“Nobody” is not in this bank.").is_visible()


def test_a_wired_style_locks_the_gallery(widget_page: Any) -> None:
    page = mount(widget_page, styles(3), "gallery.setLocked(true);")
    assert page.get_by_text("The style comes in through the wire.").is_visible()
    page.get_by_role("listbox").focus()
    page.keyboard.press("Enter")
    assert chosen(page) == []


def test_a_bank_that_cannot_be_read_says_why(widget_page: Any) -> None:
    page = mount(widget_page, None, "gallery.setTrouble('The file is damaged.');")
    assert page.get_by_text("The file is damaged.").is_visible()
