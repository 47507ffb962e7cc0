"""The app as an artist meets it: from the template browser to a file, with nothing typed."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from .checkpoint import write_checkpoint
from .conftest import PACK_FOLDER, ROOT, copy_pack, free_port
from .page import PATIENCE, HostPage, open_host
from .server import Server, start_server
from .test_workflows import check_file, saved_rows

APP = "Glaze 01 Start here.app"
STEPS = "Glaze 02 See every step"
CHECKPOINT = "my-own-mix.safetensors"  # no name that a workflow knows
FILM = "film.safetensors"
COVERED = """(zone) => {
  const { x, y, width, height } = zone.getBoundingClientRect();
  const grid = [0.05, 0.5, 0.95].flatMap((a) => [0.05, 0.5, 0.95].map((b) => [a, b]));
  return grid.filter(([a, b]) =>
    !zone.contains(document.elementFromPoint(x + a * width, y + b * height)));
}"""
"""Where something lies over an element, as shares of its width and height."""


@pytest.fixture(scope="module")
def app_server(host_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A host with nothing in it but the pack, and a small picture in the sample's place."""
    base = tmp_path_factory.mktemp("app")
    copy_pack(base / "custom_nodes" / PACK_FOLDER)
    for folder in ("input", "output", "user", "models/checkpoints"):
        (base / folder).mkdir(parents=True)
    (base / "input/glaze-sample-harbour.png").write_bytes(small("harbour"))
    server = start_server(host_path, base, free_port())
    yield server
    server.stop()


@pytest.fixture(scope="module")
def host(app_server: Server) -> Iterator[HostPage]:
    """The page of a laptop, with everything as it comes."""
    version = app_server.get("/system_stats")["system"]["comfyui_version"]
    if tuple(map(int, version.split(".")[:2])) < (0, 33):
        pytest.skip("this host has no App mode")
    with ExitStack() as stack:
        try:
            page = stack.enter_context(open_host(app_server.url, width=1366, height=768))
        except RuntimeError as missing:
            pytest.skip(str(missing))
        yield page


def small(artwork: str) -> bytes:
    """A bundled artwork at the size of a thumbnail, as PNG."""
    picture = Image.open(ROOT / f"samples/{artwork}.png").convert("RGB")
    picture.thumbnail((128, 128))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def search_templates(host: HostPage) -> Any:
    """Open the template browser and search it for glaze; the dialogue."""
    host.page.evaluate("app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    dialogue = host.page.get_by_role("dialog")
    dialogue.get_by_role("textbox").first.fill("glaze")
    dialogue.get_by_text("Glaze 01").first.wait_for()
    host.page.wait_for_timeout(1500)  # the thumbnails
    return dialogue


def templates_of(page: Any, folder: str) -> Any:
    """In the template browser, choose a pack by its folder, without a search; the dialogue."""
    dialogue = page.get_by_role("dialog")
    dialogue.get_by_text(folder, exact=True).first.click()  # below Extensions
    dialogue.get_by_text("Glaze 01").first.wait_for()
    page.wait_for_timeout(1500)  # the thumbnails
    return dialogue


def open_app(host: HostPage) -> None:
    """From the template browser: one click."""
    dialogue = search_templates(host)
    dialogue.get_by_text(APP, exact=True).first.click()
    dialogue.get_by_role("textbox").first.wait_for(state="hidden")
    host.page.get_by_test_id("linear-run-button").first.wait_for()
    host.page.wait_for_timeout(2500)
    skip = host.page.get_by_role("button", name="Skip")  # of the host's own tour, once
    if skip.count():
        skip.first.click()
        host.page.wait_for_timeout(500)


def open_anew(host: HostPage) -> None:
    """In a page that is loaded anew, and so knows the checkpoints that are there now."""
    host.page.reload()
    host.page.wait_for_function("window.app?.graph && app.extensionManager")
    host.page.wait_for_timeout(2500)
    open_app(host)


def run(host: HostPage, seconds: float = 600) -> list[dict[str, Any]]:
    host.page.evaluate("window.seen.length = 0")
    host.page.get_by_test_id("linear-run-button").get_by_role("button", name="Run").last.click()
    assert host.wait_for_end(seconds) == "execution_success"
    host.page.wait_for_timeout(1500)
    return saved_rows(host)


def test_a_new_user_comes_to_a_saved_picture_in_four_clicks_and_a_drop(
    app_server: Server, host: HostPage
) -> None:
    """From the templates, which the first start opens by itself (as empty)."""
    new = host.page.context.browser.new_context(viewport={"width": 1366, "height": 768})
    new.set_default_timeout(PATIENCE)
    page = new.new_page()
    settings = app_server.base / "user/default/comfy.settings.json"
    kept = settings.read_bytes()
    settings.write_text("{}")
    try:
        page.goto(app_server.url)
        titles = templates_of(page, PACK_FOLDER).get_by_text(re.compile(r"^Glaze \d\d "))
        assert titles.first.inner_text() == APP, "not in the order to try them"
        titles.first.click()
        page.get_by_role("button", name="Skip").click()  # the host's tour of its apps
        HostPage(page).drop_on_field({"mine.png": small("ink")})
        page.locator(".glaze-drop").get_by_text("mine.png").wait_for()
        button = page.get_by_test_id("linear-run-button").get_by_role("button", name="Run").last
        button.click()
        page.get_by_role("link", name="Download").wait_for()
        assert list((app_server.base / "output/cloaked").glob("mine*.png"))
    finally:
        new.close()
        settings.write_bytes(kept)


def test_without_a_checkpoint_it_rehearses_and_says_so(host: HostPage, app_server: Server) -> None:
    open_app(host)
    host.page.get_by_text("No checkpoint was found").first.wait_for()
    assert host.page.locator(".glaze-drop:visible").evaluate(COVERED) == [], "for a drop"
    (row,) = run(host)
    check_file(row, app_server.base)
    assert row["measures"]["rehearsal"] is True
    assert row["measures"]["source"]["file"] == "glaze-sample-harbour.png"
    panel = host.page.get_by_test_id("linear-widgets")
    assert row["measures"]["verdict"]["sentence"] in panel.inner_text()
    assert panel.get_by_role("slider").is_visible()
    assert panel.get_by_role("link", name="Download").get_attribute("download")
    assert host.complaints == []


def test_two_dropped_pictures_are_cloaked_with_a_clicked_preset(
    host: HostPage, app_server: Server
) -> None:
    open_app(host)  # a second tab of it
    panel = host.page.get_by_test_id("linear-widgets")
    host.drop_on_field({f"{name}.png": small(name) for name in ("ink", "poster")})
    panel.get_by_text(re.compile(r"^glaze \d{4}-")).wait_for()
    panel.get_by_text("Strong", exact=True).click()
    rows = run(host)
    assert [row["measures"]["source"]["file"] for row in rows] == ["ink.png", "poster.png"]
    assert {row["measures"]["settings"]["preset"] for row in rows} == {"strong"}
    assert len({row["measures"]["target_style"]["name"] for row in rows}) == 1
    for row in rows:
        check_file(row, app_server.base)
    assert panel.get_by_text(rows[0]["file"]["filename"]).is_visible(), "the first tab's result"
    assert panel.get_by_text("1 of 2", exact=True).is_visible()
    assert host.complaints == []


def test_the_first_checkpoint_that_fits_is_taken(host: HostPage, app_server: Server) -> None:
    folder = app_server.base / "models/checkpoints"
    write_checkpoint(folder / CHECKPOINT)
    (folder / FILM).write_bytes(b"")
    open_anew(host)
    host.page.get_by_text(f"{CHECKPOINT} was chosen").first.wait_for()
    assert host.widget("CheckpointLoaderSimple", "ckpt_name") == CHECKPOINT
    saved = host.page.evaluate("JSON.stringify(app.graph.serialize())")
    assert '"comfy_glaze"' not in saved, "what a person saves is left alone"


def test_a_template_opened_from_the_app_begins_where_it_says(host: HostPage) -> None:
    """The host would show all of it, too small to read."""
    open_app(host)
    search_templates(host).get_by_text(STEPS, exact=True).first.click()
    workflow = json.loads((ROOT / f"workflows/{STEPS}.json").read_text(encoding="utf-8"))
    template = workflow["extra"]["comfy_glaze"]["template"]
    host.page.wait_for_function(f"app.graph.nodes.length === {len(workflow['nodes'])}")
    host.page.wait_for_timeout(4000)  # the host fits the view once the canvas is there
    scale, x, y = host.page.evaluate("[app.canvas.ds.scale, ...app.canvas.ds.offset]")
    assert scale == template["scale"]
    left, top = template["start"]
    assert 0 < (x + left) * scale < 200, "not beside the host's bar"
    assert 0 < (y + top) * scale < 200, "not below the tabs"
