"""ComfyUI's page in a headless Chromium: drop a workflow, press Run, see what ran."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..web.chromium import open_chromium

_LISTEN = """async () => {
  const { api } = window.comfyAPI.api;
  window.seen = [];
  for (const type of ["execution_start", "execution_cached", "executing", "executed",
      "execution_success", "execution_error", "execution_interrupted", "comfy_glaze.step"])
    api.addEventListener(type, ({ detail }) => window.seen.push([type, structuredClone(detail)]));
}"""

_DROP = """([name, text]) => {
  const data = new DataTransfer();
  data.items.add(new File([text], name, { type: "application/json" }));
  const canvas = document.querySelector("#graph-canvas");
  const box = canvas.getBoundingClientRect();
  for (const type of ["dragenter", "dragover", "drop"])
    canvas.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true,
      cancelable: true, clientX: box.x + box.width / 2, clientY: box.y + box.height / 2 }));
}"""

_DROP_PICTURE = """([name, bytes, x, y]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
  const canvas = document.querySelector("#graph-canvas");
  const wait = () => new Promise((done) => setTimeout(done, 300));
  return (async () => {
    for (const type of ["dragenter", "dragover", "drop"]) {
      canvas.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true,
        cancelable: true, clientX: x, clientY: y }));
      await wait();  // the page notes the node below a drag in its next frame
    }
  })();
}"""

_DROP_ON_FIELD = """(zone, files) => {
  const data = new DataTransfer();
  for (const [name, bytes] of files)
    data.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
  zone.dispatchEvent(
    new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""

_COPY_PICTURE = """async (bytes) => {
  const picture = new Blob([new Uint8Array(bytes)], { type: "image/png" });
  await navigator.clipboard.write([new ClipboardItem({ [picture.type]: picture })]);
}"""

PATIENCE = 300_000  # ms for what the page does: other work may take the cores
MARGIN = 20  # px around the graph in a picture of it
BADGE = 26  # px above a node, for the badge that names its pack
_ENDS = ("execution_success", "execution_error", "execution_interrupted")


@dataclass(eq=False)
class HostPage:
    """The page of a running ComfyUI.

    Attributes:
        page: playwright's page.
        complaints: errors that the page threw since it was loaded.
    """

    page: Any
    complaints: list[str] = field(default_factory=list)

    def load(self, address: str, settings: dict[str, Any]) -> None:
        """Open ComfyUI and wait until it can be used."""
        self.page.on("pageerror", lambda error: self.complaints.append(str(error.stack)))
        for name, value in settings.items():
            answer = self.page.request.post(
                f"{address}/api/settings/{name}", data=json.dumps(value)
            )
            assert answer.ok, answer.status_text
        self.page.goto(address)
        self.page.wait_for_function("window.app?.graph && app.extensionManager")
        self.page.wait_for_function(
            "app.extensions.some((extension) => extension.name === 'comfy_glaze')"
        )
        self.page.wait_for_timeout(2500)  # the first run's dialogue comes late
        self.page.keyboard.press("Escape")
        self.page.evaluate(_LISTEN)
        self.complaints.clear()  # 0.3.64 has one of its own while it starts

    def drop(self, workflow: Path, as_app: bool = False) -> None:
        """Drop a workflow file onto the canvas, and wait until the graph is the file's.

        Args:
            as_app: whether an app opens as one; else as its graph.
        """
        graph = json.loads(workflow.read_text(encoding="utf-8"))
        if not as_app:
            graph["extra"].pop("linearMode", None)
        text, count = json.dumps(graph), len(graph["nodes"])
        self.page.evaluate("app.graph.clear()")
        self.page.evaluate(_DROP, [workflow.name, text])
        self.page.wait_for_function(f"app.graph.nodes.length === {count}")
        self.page.wait_for_timeout(500)

    def drop_picture(self, node_type: str, name: str, data: bytes) -> None:
        """Drop a picture onto a node, as from a file manager."""
        self.page.evaluate(_DROP_PICTURE, [name, list(data), *self.place_of(node_type)])

    def drop_on_field(self, pictures: dict[str, bytes]) -> None:
        """Drop PNG files, by name, onto the pack's own field, of a node or of the app."""
        zone = self.page.locator(".glaze-drop:visible")
        zone.evaluate(_DROP_ON_FIELD, [[name, list(data)] for name, data in pictures.items()])

    def paste_picture(self, node_type: str, data: bytes) -> None:
        """Click on a node's title, and paste a PNG from the clipboard."""
        self.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.page.evaluate(_COPY_PICTURE, list(data))
        self.page.mouse.click(*self.place_of(node_type))
        self.page.keyboard.press("Control+V")

    def place_of(self, node_type: str, across: float = 0.5, down: float = -12) -> list[float]:
        """A point of a node on the screen, brought into view: by default the middle of its title.

        Args:
            across: a share of the node's width.
            down: in the graph's pixels, from the upper edge of the node's body.
        """
        point: list[float] = self.page.evaluate(
            """async ([type, across, down]) => {
                const node = app.graph.nodes.find((candidate) => candidate.type === type);
                const { ds, canvas } = app.canvas;
                ds.scale = 1;
                ds.offset[0] = 300 - node.pos[0];
                ds.offset[1] = 200 - node.pos[1];
                app.canvas.setDirty(true, true);
                await new Promise((done) => setTimeout(done, 500));
                const box = canvas.getBoundingClientRect();
                return [box.x + 300 + across * node.size[0], box.y + 200 + down];
            }""",
            [node_type, across, down],
        )
        return point

    def select(self, *node_types: str) -> None:
        """Select the nodes of some types, and nothing else."""
        self.page.evaluate(
            """(types) => {
                const nodes = app.graph.nodes.filter((node) => types.includes(node.type));
                app.canvas.deselectAll?.();
                app.canvas.selectNodes(nodes);
            }""",
            list(node_types),
        )

    def command(self, name: str) -> None:
        """Do what a menu of the page does."""
        self.page.evaluate("(name) => app.extensionManager.command.execute(name)", name)

    def press_run(self) -> None:
        """Press the page's own Run button."""
        self.page.evaluate("window.seen.length = 0")
        button = self.page.get_by_test_id("queue-button")
        button.locator("xpath=descendant-or-self::button").first.click()

    def wait_for_end(self, seconds: float = 900) -> str:
        """How the run ended: execution_success, execution_error or execution_interrupted."""
        ends = json.dumps(_ENDS)
        self.page.wait_for_function(
            f"window.seen.some(([type]) => {ends}.includes(type))", timeout=1000 * seconds
        )
        end: str = next(kind for kind, _ in self.seen() if kind in _ENDS)
        return end

    def run(self, seconds: float = 900) -> None:
        """Press Run and wait for a good end, also of the runs that this one queues."""
        self.press_run()
        self.wait_for_end(seconds)
        until = time.monotonic() + seconds
        while self.queued():
            assert time.monotonic() < until, f"{self.queued()} runs are left after {seconds} s"
            self.page.wait_for_timeout(200)
        ends = [event for event in self.seen() if event[0] in _ENDS]
        assert {kind for kind, _ in ends} == {"execution_success"}, ends
        self.page.wait_for_timeout(700)  # the widgets take in what came last

    def queued(self) -> int:
        """How many runs the host has before it, the present one included."""
        count: int = self.page.evaluate(
            "fetch('/queue').then((r) => r.json()).then((q) => Object.values(q).flat().length)"
        )
        return count

    def seen(self) -> list[tuple[str, Any]]:
        """The host's events since the last press of Run."""
        return [(kind, detail) for kind, detail in self.page.evaluate("window.seen")]

    def executed(self) -> list[str]:
        """The types of the nodes that ran, in order."""
        ids = [
            detail if isinstance(detail, str) else detail.get("node")
            for kind, detail in self.seen()
            if kind == "executing" and detail
        ]
        types: dict[str, str] = self.page.evaluate(
            "Object.fromEntries(app.graph.nodes.map((node) => [String(node.id), node.type]))"
        )
        return [types[id] for id in dict.fromkeys(filter(None, ids))]

    def set_widget(self, node_type: str, name: str, value: Any) -> None:
        """Set a widget on every node of a type, as its own editor does."""
        found = self.page.evaluate(
            """([type, name, value]) => {
                const nodes = app.graph.nodes.filter((node) => node.type === type);
                for (const node of nodes) {
                  const widget = node.widgets.find((candidate) => candidate.name === name);
                  const before = widget.value;
                  widget.value = value;
                  widget.callback?.(value, app.canvas, node);
                  node.onWidgetChanged?.(name, value, before, widget);
                }
                return nodes.length;
            }""",
            [node_type, name, value],
        )
        assert found, f"the graph has no {node_type}"

    def draw_bank_small(self, workflow: Path) -> None:
        """Let a style bank in a workflow be drawn in a minute; for real, it takes many."""
        if "GlazeBuildStyleBank" in workflow.read_text(encoding="utf-8"):
            self.set_widget("GlazeBuildStyleBank", "short_side", 64)
            self.set_widget("GlazeBuildStyleBank", "steps", 1)

    def as_api(self) -> dict[str, Any]:
        """The graph as the Run button would send it."""
        prompt: dict[str, Any] = self.page.evaluate(
            "app.graphToPrompt().then(({ output }) => output)"
        )
        return prompt

    def widget(self, node_type: str, name: str) -> Any:
        """The value of a widget on the only node of a type."""
        return self.page.evaluate(
            """([type, name]) => app.graph.nodes.find((node) => node.type === type)
                .widgets.find((widget) => widget.name === name).value""",
            [node_type, name],
        )

    def faults(self) -> list[str]:
        """What is wrong to the eye: overlapping or unknown nodes, needed sockets without a wire."""
        found: list[str] = self.page.evaluate(_FAULTS)
        return found

    def bounds(self) -> tuple[float, float, float, float]:
        """The box around everything in the graph: left, top, width, height."""
        left, top, right, bottom = self.page.evaluate(_BOUNDS)
        return left, top, right - left, bottom - top

    def show_at(self) -> dict[str, float]:
        """Make room for the whole graph at its own size; the box on the page that it then fills."""
        left, top, width, height = self.bounds()
        size = (int(width) + 2 * MARGIN, int(height) + 2 * MARGIN)
        self.page.set_viewport_size({"width": size[0] + 200, "height": size[1] + 200})
        self.page.wait_for_timeout(500)
        self.page.evaluate(
            """([x, y]) => {
                const { ds } = app.canvas;
                ds.scale = 1;
                ds.offset[0] = x;
                ds.offset[1] = y;
                app.canvas.setDirty(true, true);
            }""",
            [MARGIN - left, MARGIN - top],
        )
        self.page.wait_for_timeout(1200)
        corner = self.page.locator("#graph-canvas").bounding_box()
        return {"x": corner["x"], "y": corner["y"], "width": size[0], "height": size[1]}

    def picture(self) -> bytes:
        """The graph alone, at its own size, as PNG."""
        shot: bytes = self.page.screenshot(style=_ONLY_THE_GRAPH, clip=self.show_at())
        return shot

    def node_box(self, node_type: str, margin: int = 12) -> tuple[int, int, int, int] | None:
        """Where the first node of a type lies in :meth:`picture`, with its badge; or None."""
        left, top, *_ = self.bounds()
        box = self.page.evaluate(
            """(type) => {
                const node = app.graph.nodes.find((candidate) => candidate.type === type);
                return node ? [...node.getBounding()] : null;
            }""",
            node_type,
        )
        if box is None:
            return None
        x, y = box[0] - left + MARGIN, box[1] - top + MARGIN
        right, bottom = x + box[2] + margin, y + box[3] + margin
        return int(x - margin), int(max(0, y - BADGE - margin)), int(right), int(bottom)


_BOUNDS = """() => {
  const boxes = [...app.graph.nodes.map((node) => node.getBounding()),
    ...app.graph.groups.map((group) => group.boundingRect ?? group._bounding)];
  return [Math.min(...boxes.map((b) => b[0])), Math.min(...boxes.map((b) => b[1])),
    Math.max(...boxes.map((b) => b[0] + b[2])), Math.max(...boxes.map((b) => b[1] + b[3]))];
}"""

_FAULTS = """() => {
  const faults = [];
  const { nodes, groups } = app.graph;
  const name = (node) => `${node.title} (${node.id})`;
  const { ds } = app.canvas;
  const canvas = document.querySelector("#graph-canvas").getBoundingClientRect();
  const box = (node) => {
    const [x, y] = node.pos;
    // In Nodes 2.0 as it is drawn, with badges and buttons below it.
    const element = document.querySelector(`[data-node-id="${node.id}"]`);
    const drawn = [...(element?.querySelectorAll("*") ?? [])].filter((part) =>
      part.offsetParent && getComputedStyle(part).visibility !== "hidden" &&
      !part.closest(".glaze-scrolls, .glaze-canvas"));
    const below = drawn.map((part) => part.getBoundingClientRect().bottom);
    const bottom = (Math.max(...below) - canvas.top) / ds.scale - ds.offset[1];
    return { left: x, top: y - 30, right: x + node.size[0],
      bottom: Math.max(y + node.size[1], drawn.length ? bottom : y) };
  };
  const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top ||
    b.bottom <= a.top;
  nodes.forEach((node, index) => {
    if (node.has_errors || !window.LiteGraph.registered_node_types[node.type])
      faults.push(`${name(node)} is red`);
    for (const other of nodes.slice(index + 1))
      if (!apart(box(node), box(other))) faults.push(`${name(node)} overlaps ${name(other)}`);
    const [width, height] = node.computeSize();
    if (node.size[1] < height - 1) faults.push(`${name(node)} is too low: ${height}`);
    if (node.size[0] < width - 1) faults.push(`${name(node)} is too narrow: ${width}`);
    const inside = groups.some((group) => {
      const [x, y, w, h] = group.boundingRect ?? group._bounding;
      const b = box(node);
      return x <= b.left && y <= b.top && b.right <= x + w && b.bottom <= y + h;
    });
    if (!inside) faults.push(`${name(node)} lies outside its group`);
    const needed = Object.keys(node.constructor.nodeData?.input?.required ?? {});
    for (const input of node.inputs ?? [])
      if (needed.includes(input.name) && !input.widget && input.link === null)
        faults.push(`${name(node)} lacks ${input.name}`);
  });
  return faults;
}"""

_ONLY_THE_GRAPH = """
  body * { visibility: hidden; }
  #graph-canvas, .dom-widget, .dom-widget *, [data-node-id], [data-node-id] * {
    visibility: visible;
  }
"""


@contextmanager
def open_host(
    address: str, *, width: int = 1600, height: int = 1000, **settings: Any
) -> Iterator[HostPage]:
    """A page of a running ComfyUI, with settings such as ``Comfy_VueNodes_Enabled=True``."""
    named = {
        "Comfy.TutorialCompleted": True,
        "Comfy.Minimap.Visible": False,
        "Comfy.Graph.CanvasInfo": False,
    }
    named |= {name.replace("_", "."): value for name, value in settings.items()}
    with open_chromium() as browser:
        context = browser.new_context(viewport={"width": width, "height": height})
        context.set_default_timeout(PATIENCE)
        page = HostPage(context.new_page())
        page.load(address, named)
        yield page
