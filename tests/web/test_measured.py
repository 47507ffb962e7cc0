"""The table of what was measured: plain words, worst first, one block a picture."""

from __future__ import annotations

import json
from typing import Any

import pytest

REPORT: dict[str, Any] = {
    "rehearsal": False,
    "perceptual": {"metric": "lpips-alex", "limit": None, "value": 0.0312},
    "linf": 6 / 255,
    "psnr": 33.2,
    "shift": {"512": 0.62, "native": 0.6},
    "quality": {"ssimulacra2": 83.4, "flip": 0.0361, "flat_delta_e": None},
    "countermeasures": [
        {"words": "blur, 1 px", "shift": -0.02, "retention": -0.0323},
        {"words": "save as JPEG, quality 75", "shift": 0.31, "retention": 0.5},
    ],
}


def mount(widget_page: Any, reports: list[dict[str, Any]], **options: Any) -> Any:
    widget_page.mount(
        f"""import {{ createMeasured }} from "/web/measured.mjs";
            const measured = createMeasured();
            place.append(measured.element);
            measured.show({json.dumps(reports)});""",
        **options,
    )
    return widget_page.page


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_it_says_what_was_measured_and_what_is_left(
    widget_page: Any, colours: Any, theme: str
) -> None:
    page = mount(widget_page, [REPORT], theme=theme)
    left = page.get_by_role("table", name="What is left")
    rows = [row.inner_text().split("\t") for row in left.get_by_role("row").all()]
    assert rows[0] == ["After", "Left", "Kept"]
    assert [[cell.strip() for cell in row] for row in rows[1:]] == [
        ["blur, 1 px", "-0.02", "-3%"],
        ["save as JPEG, quality 75", "0.31", "50%"],
    ]
    bars = left.locator(".glaze-bar i").evaluate_all("all => all.map((one) => one.style.width)")
    assert bars == ["0%", "31%"]
    assert "0.62" in page.get_by_role("table", name="What was measured").inner_text()
    seen = page.get_by_role("table", name="What an eye sees").inner_text()
    assert "83" in seen
    assert "0.036" in seen
    assert "even ground" not in seen, "nothing there is even"
    assert colours(widget_page.screenshot(f"measured-{theme}")) > 50


def test_before_a_run_it_says_what_will_come(widget_page: Any) -> None:
    page = mount(widget_page, [])
    assert page.get_by_text("appears here after a run").is_visible()
    assert page.get_by_role("table").count() == 0


def test_pictures_stand_below_each_other_and_scroll_inside(widget_page: Any) -> None:
    page = mount(widget_page, [REPORT] * 4, size=(380, 200))
    assert page.get_by_text("Picture 4 of 4").count() == 1
    assert page.locator(".glaze-measured").bounding_box()["height"] == 200
    listed = page.locator(".glaze-measured-list")
    assert listed.evaluate("list => list.scrollHeight > list.clientHeight")


def test_without_the_packages_it_says_so_and_none_shows_no_table(widget_page: Any) -> None:
    bare = {"ssimulacra2": None, "flip": None, "flat_delta_e": None}
    page = mount(widget_page, [REPORT | {"quality": bare, "countermeasures": []}])
    assert page.get_by_text("packages are missing").is_visible()
    assert page.get_by_role("table").count() == 1
