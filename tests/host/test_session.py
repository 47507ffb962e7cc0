"""One long session in a browser: everything that people do to a picture, a graph and a page.

The tests build on each other's page, and each begins with a graph of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comfy_glaze.files.artwork import load_artwork

from .conftest import PACK_FOLDER, ROOT, copy_pack, free_port
from .page import PATIENCE, HostPage, open_host
from .server import start_server
from .session import (
    CLOAK,
    LOAD,
    REHEARSAL,
    SAVE,
    WORKS,
    Session,
    as_png,
    painting,
    write_pictures,
)
from .test_workflows import saved_rows

pytest.importorskip(
    "playwright.sync_api", reason="browser tests need the Python package playwright"
)


@pytest.fixture(scope="module")
def session(host_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    base = tmp_path_factory.mktemp("session")
    copy_pack(base / "custom_nodes" / PACK_FOLDER)
    for folder in ("output", "user"):
        (base / folder).mkdir()
    write_pictures(base)
    server = start_server(host_path, base, free_port())
    with ExitStack() as stack:
        try:
            page = stack.enter_context(open_host(server.url, Comfy_VueNodes_Enabled=False))
        except RuntimeError as missing:
            server.stop()
            pytest.skip(str(missing))
        made = Session(host_path, server, page)
        yield made
    made.server.stop()


def test_a_picture_dropped_onto_the_node_is_cloaked(session: Session) -> None:
    session.begin()
    session.host.drop_picture(LOAD, "dropped.png", as_png(painting(5)))
    session.wait_for_source("dropped")
    (row,) = session.run()
    assert row["measures"]["source"]["file"].startswith("dropped")


def test_a_pasted_picture_is_cloaked(session: Session) -> None:
    session.begin()
    session.host.page.wait_for_timeout(2000)  # the node's own picture is loaded
    session.host.paste_picture(LOAD, as_png(painting(6)))
    session.wait_for_source("pasted")
    (row,) = session.run()
    before = load_artwork(session.server.base / "input" / session.source().split(" [")[0]).pixels
    assert before.shape[-2:] == (48, 64)
    assert row["measures"]["source"]["file"].startswith("image")


def test_the_upload_button_takes_a_picture(session: Session, tmp_path: Path) -> None:
    session.begin()
    (tmp_path / "uploaded.png").write_bytes(as_png(painting(7)))
    page = session.host.page
    down = page.evaluate(
        """(type) => {
            const node = app.graph.nodes.find((candidate) => candidate.type === type);
            const button = node.widgets.find((widget) => widget.type === "button");
            return (button.last_y ?? button.y) + 10;
        }""",
        LOAD,
    )
    with page.expect_file_chooser() as chosen:
        page.mouse.click(*session.host.place_of(LOAD, 0.5, down))
    chosen.value.set_files(tmp_path / "uploaded.png")
    session.wait_for_source("uploaded")
    (row,) = session.run()
    assert row["measures"]["source"]["file"] == "uploaded.png"


def test_a_folder_shows_what_a_run_takes_and_all_of_it_is_saved(session: Session) -> None:
    session.begin("works/")
    page = session.host.page
    count = page.locator(".glaze-count")
    count.filter(has_text=f"{WORKS} pictures").wait_for()
    assert page.locator(".glaze-strip img").count() == WORKS
    session.host.set_widget(LOAD, "last", 2)
    count.filter(has_text=f"2 of {WORKS} pictures").wait_for()
    rows = session.run()
    assert [row["measures"]["source"]["file"] for row in rows] == ["0.png", "1.png"]
    assert all(f"Only 2 of {WORKS} pictures" in row["note"] for row in rows)
    session.host.set_widget(LOAD, "last", 0)
    assert len(session.run()) == WORKS
    session.host.set_widget(LOAD, "source", "example.png")
    page.locator(".glaze-folder").wait_for(state="detached")


@pytest.mark.parametrize(
    "name", ["Glaze 03 Cloak a whole folder", "Glaze 06 Cloak what your own graph has saved"]
)
def test_a_folder_fits_into_its_node_in_the_workflows(session: Session, name: str) -> None:
    session.host.drop(ROOT / f"workflows/{name}.json")
    session.host.page.locator(".glaze-folder").wait_for()
    node, wanted = session.host.page.evaluate(
        """(type) => {
            const node = app.graph.nodes.find((candidate) => candidate.type === type);
            return [node.size[1], node.computeSize()[1]];
        }""",
        LOAD,
    )
    assert wanted <= node == 400, "as tall as the file says"


def test_transparency_stays_and_what_is_below_it_is_untouched(session: Session) -> None:
    session.begin("holed.png")
    (row,) = session.run()
    back = load_artwork(session.file(row))
    assert back.alpha is not None
    assert back.alpha[..., :20, :20].eq(0).all()
    assert back.alpha[..., 20:, :].eq(1).all()


def test_sixteen_bits_stay(session: Session) -> None:
    session.begin("deep.png")
    (row,) = session.run()
    assert row["measures"]["output"]["bits"] == 16
    assert load_artwork(session.file(row)).levels is not None


MASK, COLOUR = 0, 1  # the mask editor's tools, by their place


def paint(session: Session, tool: int) -> np.ndarray:
    """Paint over the middle of the picture in the mask editor; what it saved, (H, W, 4)."""
    page = session.host.page
    page.wait_for_timeout(2000)  # the node's own picture is loaded
    session.host.select(LOAD)
    session.host.command("Comfy.MaskEditor.OpenMaskEditor")
    page.get_by_role("button", name="Save").last.wait_for()
    page.wait_for_timeout(3000)  # its layers are loaded
    page.locator(".maskEditor_toolPanelContainer").nth(tool).click()
    box = page.locator("canvas:visible").last.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 20, y)
    page.mouse.down()
    for step in range(10):
        page.mouse.move(x - 20 + 4 * step, y)
    page.mouse.up()
    page.wait_for_timeout(500)
    page.get_by_role("button", name="Save").last.click()
    session.wait_for_source("clipspace-")
    path = session.server.base / "input" / session.source().split(" [")[0]
    return np.asarray(Image.open(path).convert("RGBA"))


def test_what_is_painted_in_the_mask_editor_stays_and_makes_no_hole(session: Session) -> None:
    session.begin()
    session.host.page.evaluate(
        """([load, cloak]) => {
            const [from, to] = [load, cloak].map((type) => app.graph.nodes.find(
              (node) => node.type === type));
            from.connect(1, to, "keep_clear");
        }""",
        [LOAD, CLOAK],
    )
    painted = paint(session, MASK)
    (row,) = session.run()
    mask = painted[..., 3] < 128  # its brush is soft: what is painted by more than half
    assert mask.any()
    assert not mask.all()
    back = load_artwork(session.file(row))
    assert back.alpha is None, "what was painted became a hole"
    saved = np.asarray(Image.open(session.file(row)).convert("RGB"))
    assert (saved[mask] == painted[mask][:, :3]).all()
    assert (saved[~mask] != painted[~mask][:, :3]).any()


def test_colour_that_is_painted_in_the_mask_editor_is_a_part_of_the_picture(
    session: Session,
) -> None:
    session.begin()
    painted = paint(session, COLOUR)
    assert (painted[..., 3] == 255).all(), "no mask was painted"
    changed = (painted[..., :3] != np.asarray(painting(0))).any(axis=-1)
    assert changed.any()
    assert not changed.all()
    (row,) = session.run()
    before = session.server.base / "temp" / row["original"]["filename"]
    assert (np.asarray(Image.open(before).convert("RGB")) == painted[..., :3]).all()


def test_a_cloak_inside_a_subgraph_is_charted_and_saved(session: Session) -> None:
    session.begin()
    page = session.host.page
    session.host.select("GlazeStyleTransfer", CLOAK)
    session.host.command("Comfy.Graph.ConvertToSubgraph")
    page.wait_for_function("app.graph.nodes.some((node) => node.subgraph)")
    (row,) = session.run()
    assert session.file(row).is_file()
    page.evaluate(
        """() => {
            const node = app.graph.nodes.find((candidate) => candidate.subgraph);
            app.canvas.openSubgraph(node.subgraph, node);
        }"""
    )
    page.locator(".glaze-chart[data-state=done]").wait_for(state="attached")
    session.host.command("Comfy.Graph.ExitSubgraph")


def widget_values(host: HostPage) -> dict[str, dict[str, Any]]:
    """What the Run button would send, without the wires, by the nodes' types."""
    return {
        node["class_type"]: {
            name: value for name, value in node["inputs"].items() if not isinstance(value, list)
        }
        for node in host.as_api().values()
    }


def test_a_group_node_saves(session: Session) -> None:
    """Hosts before subgraphs have them."""
    name = "Comfy.GroupNode.ConvertSelectedNodesToGroupNode"
    page = session.host.page
    known = page.evaluate("app.extensionManager.command.commands.map(({ id }) => id)")
    if name not in known:
        pytest.skip("this host makes no group nodes any more")
    session.begin()
    values = widget_values(session.host)
    session.host.select("GlazeStyleTransfer", CLOAK)
    page.evaluate("(name) => void app.extensionManager.command.execute(name)", name)  # it asks
    asked = page.get_by_role("dialog").get_by_role("textbox")
    asked.fill("cloak group")
    asked.press("Enter")
    page.wait_for_function("app.graph.nodes.some((node) => node.type.startsWith('workflow'))")
    assert widget_values(session.host) == values
    (row,) = session.run()
    assert session.file(row).is_file()


@pytest.mark.parametrize("switch", ["Bypass", "Mute"])
def test_without_cloak_the_picture_is_shown_and_nothing_saved(
    session: Session, switch: str
) -> None:
    session.begin()
    before = session.files()
    session.host.select(CLOAK)
    session.host.command(f"Comfy.Canvas.ToggleSelectedNodes.{switch}")
    (row,) = session.run()
    assert row["file"] is None
    assert row["original"] is not None
    page = session.host.page
    assert page.get_by_text("Nothing was saved: no cloak came in.").is_visible()
    assert page.locator(".glaze-saved .glaze-after").is_visible()
    assert session.files() == before
    session.host.select(CLOAK)
    session.host.command(f"Comfy.Canvas.ToggleSelectedNodes.{switch}")
    (row,) = session.run()
    assert session.file(row).is_file()
    assert not page.get_by_text("Nothing was saved: no cloak came in.").is_visible()


def wait_for_steps(host: HostPage) -> None:
    host.page.locator(".glaze-chart[data-state=running]").wait_for()


def test_after_stop_no_old_picture_is_shown(session: Session) -> None:
    session.begin()
    session.run()
    page = session.host.page
    assert page.locator(".glaze-saved .glaze-after").is_visible()
    session.host.set_widget(CLOAK, "steps", 2000)
    session.host.press_run()
    wait_for_steps(session.host)
    session.host.command("Comfy.Interrupt")
    assert session.host.wait_for_end(60) == "execution_interrupted"
    assert page.get_by_text("The run was stopped before anything was saved here.").is_visible()
    assert not page.locator(".glaze-saved .glaze-after").is_visible()
    session.host.set_widget(CLOAK, "steps", 2)
    session.run()
    assert page.locator(".glaze-saved .glaze-after").is_visible()


def test_an_error_is_said_on_its_node_in_our_words(session: Session) -> None:
    session.begin("holed.png")
    said = session.host.page.locator(".glaze-trouble")
    session.host.set_widget(SAVE, "format", "jpeg")
    session.host.press_run()
    assert session.host.wait_for_end() == "execution_error"
    said.wait_for()
    assert said.inner_text() == "holed.png: expected png or webp for transparency, but got jpeg."
    session.host.page.keyboard.press("Escape")  # older pages show a dialogue as well
    session.host.set_widget(SAVE, "format", "same")
    session.run()
    assert said.count() == 0


def test_a_refusal_before_the_run_is_said_on_its_node(session: Session) -> None:
    session.begin()
    said = session.host.page.locator(".glaze-trouble")
    (session.server.base / "output" / "taken").write_bytes(b"")
    session.host.set_widget(SAVE, "filename_prefix", "taken/%name%")
    session.host.press_run()  # the other nodes run
    session.host.wait_for_end()
    said.wait_for()
    assert "needs a folder called taken in ComfyUI's output folder" in said.inner_text()
    session.host.page.keyboard.press("Escape")
    session.host.set_widget(SAVE, "filename_prefix", "cloaked/%name%")
    session.run()
    assert said.count() == 0


def test_a_saver_that_tells_the_style_is_warned_of(session: Session) -> None:
    session.begin()
    page = session.host.page
    assert page.locator(".glaze-chart .glaze-warning:visible").count() == 0
    page.evaluate(
        """(type) => {
            const saver = LiteGraph.createNode("SaveImage");
            app.graph.add(saver);
            app.graph.nodes.find((node) => node.type === type).connect(0, saver, 0);
        }""",
        CLOAK,
    )
    warning = page.locator(".glaze-chart .glaze-warning")
    warning.wait_for()
    assert "Save Image writes this workflow" in warning.inner_text()


def test_a_refresh_in_the_middle_loses_nothing(session: Session) -> None:
    session.begin()
    session.host.set_widget(CLOAK, "steps", 2000)
    page = session.host.page
    session.host.press_run()
    wait_for_steps(session.host)
    page.wait_for_timeout(2000)  # the page keeps its graph
    session.host.load(session.server.url, {})
    wait_for_steps(session.host)
    session.host.command("Comfy.Interrupt")
    page.get_by_text("Stopped at step").wait_for()
    assert session.host.widget(CLOAK, "steps") == 2000
    session.host.set_widget(CLOAK, "steps", 2)
    (row,) = session.run()
    assert session.file(row).is_file()


def test_a_second_tab_has_its_own_run(session: Session) -> None:
    session.begin()
    first = session.host
    tab = HostPage(first.page.context.new_page())
    tab.load(session.server.url, {})
    tab.drop(REHEARSAL)
    tab.set_widget(LOAD, "source", "works/")
    tab.set_widget(CLOAK, "steps", 2)
    first.press_run()
    tab.run()
    assert len(saved_rows(tab)) == WORKS
    first.page.wait_for_timeout(1000)
    assert len(saved_rows(first)) == 1, "the first tab sees its own run alone"
    tab.page.close()


def test_a_host_killed_in_the_middle_goes_on_from_the_page(session: Session) -> None:
    session.begin("works/")
    page = session.host.page
    page.evaluate(
        """([load, target]) => {
            const [from, to] = [load, target].map((type) => app.graph.nodes.find(
              (node) => node.type === type));
            from.connect(3, to, "images");
        }""",
        [LOAD, "GlazeSelectTargetStyle"],
    )
    session.host.set_widget(SAVE, "resume", True)
    session.host.set_widget(SAVE, "filename_prefix", "killed/%name%")
    out = session.server.base / "output" / "killed"
    session.host.press_run()
    until = time.monotonic() + PATIENCE / 1000
    while len(list(out.glob("?.png"))) < 1:
        assert time.monotonic() < until
        time.sleep(0.1)
    session.server.process.kill()
    session.server.process.wait()
    done = {path.name: path.stat().st_mtime_ns for path in out.glob("?.png")}
    assert 0 < len(done) < WORKS
    session.restart()
    page.wait_for_function("fetch('/queue').then((answer) => answer.ok, () => false)")
    page.wait_for_timeout(3000)  # it has its socket again
    session.run()
    assert {path.name for path in out.glob("?.png")} == {f"{n}.png" for n in range(WORKS)}
    assert all((out / name).stat().st_mtime_ns == at for name, at in done.items())
