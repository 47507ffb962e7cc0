"""A real ComfyUI in a process of its own, and what a test asks of it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Graph = dict[str, dict[str, Any]]
Event = dict[str, Any]

_ENDS = ("execution_success", "execution_error", "execution_interrupted")


@dataclass(eq=False)
class Run:
    """One run of a graph, as the page would have seen it."""

    events: list[Event] = field(default_factory=list)

    @property
    def end(self) -> str:
        return str(self.events[-1]["type"])

    @property
    def executed(self) -> set[str]:
        """The nodes that really ran, caches aside."""
        started = (e["data"]["node"] for e in self.events if e["type"] == "executing")
        return {node for node in started if node is not None}

    def shown(self, node: str) -> dict[str, Any]:
        """What a node gave the page to show."""
        found = [
            e["data"]["output"]
            for e in self.events
            if e["type"] == "executed" and e["data"]["node"] == node
        ]
        return dict(found[-1])

    def of_type(self, kind: str) -> list[Any]:
        return [e["data"] for e in self.events if e["type"] == kind]


@dataclass(eq=False)
class Server:
    """A host with the pack as a clean copy, models and pictures in a folder of its own."""

    base: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def read(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return bytes(answer.read())

    def get(self, path: str) -> Any:
        return json.loads(self.read(path))

    def post(self, path: str, body: Any) -> None:
        data = json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, headers={"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=60).close()

    def run(
        self,
        graph: Graph,
        on_event: Callable[[Event], None] = lambda event: None,
        seconds: float = 900,
    ) -> Run:
        """Queue a graph in API format and listen until it ends.

        Raises:
            AssertionError: the host refuses the graph; with its reasons.
        """
        return asyncio.run(asyncio.wait_for(self._run(graph, on_event), timeout=seconds))

    async def _run(self, graph: Graph, on_event: Callable[[Event], None]) -> Run:
        import aiohttp  # the host brings it; without a host these tests are only collected

        client, run = uuid.uuid4().hex, Run()
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{self.url}/ws?clientId={client}", max_msg_size=0) as socket,
        ):
            body = {"prompt": graph, "client_id": client}
            async with session.post(f"{self.url}/prompt", json=body) as answer:
                assert answer.status == 200, await answer.text()
            async for message in socket:
                if message.type is aiohttp.WSMsgType.BINARY:
                    event: Event = {"type": "preview", "data": message.data}
                elif message.type is aiohttp.WSMsgType.TEXT:
                    event = json.loads(message.data)
                else:
                    break
                run.events.append(event)
                await asyncio.to_thread(on_event, event)
                if event["type"] in _ENDS:
                    return run
        raise AssertionError(f"The host went away:\n{self.log()[-3000:]}")

    def log(self) -> str:
        return (self.base / "host.log").read_text(errors="replace")

    def clear_caches(self) -> None:
        """What the page's button does: unload models, forget all results."""
        for _ in range(60):  # the host's queue does it when it gets round to it, or forgets it
            self.post("/free", {"unload_models": True, "free_memory": True})
            time.sleep(1)
            if not self.get("/probe")["loaded"]:
                return

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)


def start_server(host: Path, base: Path, port: int, *options: str) -> Server:
    """Start a host on the CPU and wait until it answers.

    Raises:
        RuntimeError: it ends instead; with the end of its log.
    """
    words = ["main.py", "--cpu", "--port", str(port), "--disable-api-nodes"]
    command = [*_powerless(), sys.executable, *words, "--base-directory", str(base), *options]
    caches = {name: str(base / name.lower()) for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
    environment = os.environ | caches | {"TORCH_HOME": str(base / "torch")}
    with (base / "host.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=host, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    server = Server(base, port, process)
    for _ in range(2400):  # some minutes where other work takes the cores
        if process.poll() is not None:
            raise RuntimeError(f"ComfyUI did not start:\n{server.log()[-3000:]}")
        try:
            server.get("/system_stats")
            return server
        except OSError:
            time.sleep(0.5)
    server.stop()
    raise RuntimeError(f"ComfyUI did not answer:\n{server.log()[-3000:]}")


def _powerless() -> list[str]:
    """Before a registry pack's host: what makes a read-only folder one for root, too."""
    if "COMFY_GLAZE_PACK" in os.environ and os.name == "posix" and os.geteuid() == 0:
        return ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]
    return []
