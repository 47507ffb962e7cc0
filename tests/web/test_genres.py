"""The table of genres: the share first, then what tempers it, then each picture."""

from __future__ import annotations

import json
from typing import Any

REPORT: dict[str, Any] = {
    "judge": "clip",
    "genre": "Cubism",
    "share": {"value": 0.5, "low": 0.09, "high": 0.91, "count": 2, "groups": 2},
    "works": {"value": 0.25, "low": 0.0, "high": 0.75, "count": 4, "groups": 4},
    "pictures": [
        {"genres": ["Cubism", "Fauvism", "Comics"], "left": False},
        {"genres": ["Anime", "Cartoon", "Comics"], "left": True},
    ],
}


def mount(widget_page: Any, reports: list[dict[str, Any]]) -> Any:
    widget_page.mount(
        f"""import {{ createGenres }} from "/web/genres.mjs";
            const genres = createGenres();
            place.append(genres.element);
            genres.show({json.dumps(reports)});"""
    )
    return widget_page.page


def test_it_gives_the_share_and_each_pictures_genres(widget_page: Any) -> None:
    page = mount(widget_page, [REPORT])
    said = page.locator(".glaze-measured").inner_text()
    assert "50% left Cubism" in said
    assert "of 2; 95% interval 9 to 91%" in said
    assert "misses 25%" in said
    assert "plain colours" not in said
    table = page.get_by_role("table", name="Genres of the pictures")
    rows = [row.inner_text().split("\t") for row in table.get_by_role("row").all()]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["Picture", "Taken for", "Left"],
        ["1", "Cubism, Fauvism, Comics", "no"],
        ["2", "Anime, Cartoon, Comics", "yes"],
    ]


def test_two_halves_that_do_not_fit_are_not_to_be_believed(widget_page: Any) -> None:
    page = mount(widget_page, [REPORT | {"colours": {"named": 1, "of": 8, "enough": False}}])
    assert page.get_by_text("1 of 8 plain colours").is_visible()
    page = mount(widget_page, [REPORT | {"colours": {"named": 8, "of": 8, "enough": True}}])
    assert page.get_by_text("plain colours").count() == 0


def test_before_a_run_it_says_what_will_come(widget_page: Any) -> None:
    page = mount(widget_page, [])
    assert page.get_by_text("appear here after a run").is_visible()
    assert page.get_by_role("table").count() == 0
