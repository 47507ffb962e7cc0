"""What a folder's node shows: how many pictures a run takes, and the first of them."""

from __future__ import annotations

import json
from typing import Any

MOUNT = """
import { createFolder } from "/web/folder.mjs";
window.folder = createFolder((name) => `/pictures/${name}`);
place.append(folder.element);
"""


def test_all_of_a_folder(widget_page: Any) -> None:
    widget_page.mount(MOUNT, size=(340, 72))
    names = [f"thumb-{number}.png" for number in range(6)]
    found = json.dumps({"chosen": 30, "total": 30, "names": names})
    page = widget_page.page
    page.evaluate(f"folder.show({found})")
    assert page.get_by_role("status").inner_text() == "30 pictures"
    assert page.locator(".glaze-warning").count() == 0
    assert page.locator("img").count() == 6
    widget_page.screenshot("folder")


def test_a_part_of_a_folder_is_said_as_a_warning(widget_page: Any) -> None:
    widget_page.mount(MOUNT, size=(340, 72))
    found = json.dumps({"chosen": 4, "total": 30, "names": ["thumb-1.png"]})
    page = widget_page.page
    page.evaluate(f"folder.show({found})")
    assert page.locator(".glaze-warning").inner_text().startswith("4 of 30 pictures")
    page.evaluate("folder.setTrouble('There is none.')")
    assert page.locator(".glaze-warning").inner_text() == "There is none."
    assert page.locator("img").count() == 0


def test_a_picture_that_cannot_be_shown_leaves_its_name(widget_page: Any) -> None:
    widget_page.mount(MOUNT, size=(340, 72))
    found = json.dumps({"chosen": 1, "total": 1, "names": ["gone.png"]})
    page = widget_page.page
    page.evaluate(f"folder.show({found})")
    page.get_by_text("gone.png").wait_for()
    assert page.get_by_role("status").inner_text() == "1 picture"
    assert page.locator("img").count() == 0
    assert "404" in widget_page.complaints.pop()
