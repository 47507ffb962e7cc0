"""What a cloak on a full-size VAE costs in memory, on the CPU of a real host."""

from __future__ import annotations

from pathlib import Path

import pytest

from .checkpoint import write_kl_vae
from .graphs import node, rehearsal_graph
from .server import Graph, Server

GIB = 2**30
KL_VAE = "full-kl.safetensors"


def kilobytes(server: Server, field: str) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith(f"{field}:")]
    return int(line.split()[1])


def kl_graph(steps: int) -> Graph:
    """A cloak at 512 px on the full-size VAE, redrawn by the built-in engine."""
    graph = rehearsal_graph("harbour.png")
    graph["encoder"] = node("VAELoader", vae_name=KL_VAE)
    graph["small"] = node(
        "ImageScale",
        image=["artwork", 0],
        upscale_method="lanczos",
        width=512,
        height=512,
        crop="center",
    )
    for name, socket in (("target", "images"), ("styled", "image"), ("cloak", "image")):
        graph[name]["inputs"][socket] = ["small", 0]
    # Chosen by name: auto asks for the cloak's own VAE, on which it would encode all styles first.
    graph["target"]["inputs"] |= {"encoder": ["embedded", 0], "style": "Blue woodblock print"}
    graph["embedded"] = node("GlazeLoadEncoder", name="embedded (rehearsal only)")
    graph["cloak"]["inputs"]["encoder"] = ["encoder", 0]
    graph["cloak"]["inputs"]["steps"] = steps
    del graph["save"]["inputs"]["artwork"]
    return graph


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux keeps the peak")
def test_ten_steps_on_a_full_size_vae_stay_below_four_gibibytes(server: Server) -> None:
    graph = kl_graph(steps=10)
    write_kl_vae(server.base / "models" / "vae" / KL_VAE)
    idle = kilobytes(server, "VmRSS")
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5", encoding="ascii")
    run = server.run(graph, seconds=7200)  # a busy CPU takes its time over it
    assert run.end == "execution_success", run.events[-1]
    used = (kilobytes(server, "VmHWM") - idle) * 1024
    print(f"peak above idle: {used / GIB:.2f} GiB")
    assert used <= 4 * GIB
