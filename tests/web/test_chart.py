"""The live chart: what it draws and says for a run's events."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

MOUNT = """
import { createChart } from "/web/chart.mjs";
window.chart = createChart();
place.append(chart.element);
"""


def steps(count: int, of: int, picture: int = 1, pictures: int = 1) -> list[dict[str, Any]]:
    """The first events of a run of `of` steps."""
    return [
        {
            "node": "7",
            "step": step,
            "steps": of,
            "picture": picture,
            "pictures": pictures,
            "shift": 0.7 * step / of,
            "perceptual": 0.04 * step / of,
            "limit": 0.05,
            "seconds_left": 2.0 * (of - step),
        }
        for step in range(1, count + 1)
    ]


def send(widget_page: Any, events: list[dict[str, Any]]) -> None:
    widget_page.page.evaluate(f"for (const e of {json.dumps(events)}) chart.step(e)")


def points(page: Any, which: str) -> list[tuple[float, float]]:
    text = page.locator(f".{which} .glaze-curve").get_attribute("points") or ""
    return [tuple(map(float, pair.split(","))) for pair in text.split()]


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_a_running_chart_says_where_it_is(widget_page: Any, colours: Any, theme: str) -> None:
    widget_page.mount(MOUNT, theme=theme, size=(340, 180))
    page = widget_page.page
    assert "Press Run" in page.get_by_role("status").inner_text()
    send(widget_page, steps(12, 40, picture=2, pictures=3))
    said = page.get_by_role("status").inner_text()
    assert said == "Step 12 of 40 · picture 2 of 3 · about 56 s left"
    assert page.locator(".glaze-warm .glaze-value").inner_text() == "0.21"
    assert page.locator(".glaze-cool .glaze-value").inner_text() == "0.012"
    assert colours(widget_page.screenshot(f"chart-{theme}")) > 50


def test_curves_rise_with_the_values_and_stay_under_the_limit(widget_page: Any) -> None:
    widget_page.mount(MOUNT)
    send(widget_page, steps(10, 20))
    shift = points(widget_page.page, "glaze-warm")
    assert len(shift) == 10
    assert all(b[0] > a[0] and b[1] < a[1] for a, b in pairwise(shift))
    assert shift[-1][0] == pytest.approx(150)  # half of the way across
    limit = float(widget_page.page.locator(".glaze-cool .glaze-limit").get_attribute("y1"))
    assert all(y > limit for _, y in points(widget_page.page, "glaze-cool"))
    assert "0.35" in widget_page.page.locator(".glaze-warm svg").get_attribute("aria-label")


def test_the_next_picture_starts_anew_and_the_bar_goes_on(widget_page: Any) -> None:
    widget_page.mount(MOUNT)
    send(widget_page, steps(20, 20, 1, 2))
    send(widget_page, steps(5, 20, 2, 2))
    assert len(points(widget_page.page, "glaze-warm")) == 5
    widths = widget_page.page.locator(".glaze-pictures b").evaluate_all(
        "bars => bars.map((bar) => bar.style.width)"
    )
    assert widths == ["100%", "25%"]


def test_a_budget_without_a_limit(widget_page: Any) -> None:
    widget_page.mount(MOUNT)
    events = [event | {"perceptual": None, "limit": None} for event in steps(3, 4)]
    send(widget_page, [event | {"seconds_left": None} for event in events])
    page = widget_page.page
    assert page.get_by_role("status").inner_text() == "Step 3 of 4"
    assert not page.locator(".glaze-cool .glaze-limit").is_visible()
    assert page.locator(".glaze-cool .glaze-value").inner_text() == ""


@pytest.mark.parametrize(
    ("end", "said"), [("finish", "Done after 8 steps"), ("stop", "Stopped at step 4 of 8")]
)
def test_the_end_is_said_once(widget_page: Any, end: str, said: str) -> None:
    widget_page.mount(MOUNT)
    send(widget_page, steps(8 if end == "finish" else 4, 8))
    widget_page.page.evaluate(f"chart.{end}(); chart.stop(); chart.finish()")
    assert widget_page.page.get_by_role("status").inner_text() == said


def test_it_ends_at_the_number_that_the_report_has(widget_page: Any) -> None:
    widget_page.mount(MOUNT)
    events = steps(8, 8)
    send(widget_page, events)
    result = events[-1] | {"shift": 0.0413, "perceptual": 0.0312}
    widget_page.page.evaluate(f"chart.measured({json.dumps(result)}); chart.finish()")
    page = widget_page.page
    assert page.locator(".glaze-warm .glaze-value").inner_text() == "0.04"
    assert page.locator(".glaze-cool .glaze-value").inner_text() == "0.031"
    assert len(points(page, "glaze-warm")) == 8, "in the place of the last one"
    late = result | {"picture": 2, "shift": 0.9}
    page.evaluate(f"chart.measured({json.dumps(late)})")
    assert page.locator(".glaze-warm .glaze-value").inner_text() == "0.04"


def test_it_warns_of_savers_that_tell_the_style(widget_page: Any) -> None:
    widget_page.mount(MOUNT, size=(340, 220))
    page = widget_page.page
    page.evaluate("chart.warn('Save Image writes this workflow into its files.')")
    assert page.get_by_text("Save Image writes this workflow").is_visible()
    widget_page.screenshot("chart-leak")
    page.evaluate("chart.warn(null)")
    assert not page.locator(".glaze-chart .glaze-warning").is_visible()


def test_it_speaks_another_language(widget_page: Any) -> None:
    path = Path(__file__).parents[2] / "locales/fr/main.json"
    french = json.dumps(json.loads(path.read_text(encoding="utf-8"))["comfy_glaze"])
    widget_page.mount(f'import {{ speak }} from "/web/words.mjs"; speak({french});' + MOUNT)
    send(widget_page, steps(1, 2))
    assert widget_page.page.get_by_role("status").inner_text() == "Étape 1 sur 2 · encore 2 s env."
