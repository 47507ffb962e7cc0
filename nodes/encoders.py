"""Encoders: one by name, or several at once."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..comfy_glaze.networks.encoder_files import load_encoder
from .families import MOST, files_of_families, what_is_missing
from .host.encoders import load_vae
from .host.files import vae_names
from .host.running import tell
from .sockets import CATEGORY, EncoderSocket, Ensemble, encoder_input

EMBEDDED = "embedded (rehearsal only)"
NOTHING = "nothing"


class LoadEncoder(io.ComfyNode):
    """Φ by name, for where no checkpoint is loaded."""

    @classmethod
    def define_schema(cls) -> Any:
        return io.Schema(
            node_id="GlazeLoadEncoder",
            display_name="Load Encoder (Glaze)",
            category=CATEGORY,
            description="An image encoder for the cloak to act on, when no checkpoint is loaded. "
            "A checkpoint's own VAE can be wired to 'encoder' directly.",
            inputs=[
                io.Combo.Input(
                    "name",
                    options=[EMBEDDED, *vae_names()],
                    default=EMBEDDED,
                    tooltip="A VAE from models/vae: the one that the models you worry about use. "
                    "The embedded one belongs to no image generator: it is for rehearsals, and a "
                    "cloak made on it guards nothing.",
                )
            ],
            outputs=[EncoderSocket.Output("encoder", display_name="encoder")],
        )

    @classmethod
    def execute(cls, name: str) -> Any:
        encoder = load_encoder("embedded") if name == EMBEDDED else load_vae(name)
        return io.NodeOutput(encoder)


class CombineEncoders(io.ComfyNode):
    """Several encoders led at once."""

    @classmethod
    def define_schema(cls) -> Any:
        sockets = [
            encoder_input(
                "A checkpoint's VAE, or an encoder from Load Encoder.",
                f"encoder_{number}",
                optional=number > 1,
            )
            for number in range(1, 5)
        ]
        weights = [
            io.Float.Input(
                f"weight_{number}",
                default=1.0,
                min=0.0,
                max=10.0,
                step=0.1,
                tooltip=f"How much encoder_{number} counts against the others; 0 leaves it out.",
            )
            for number in range(1, 5)
        ]
        return io.Schema(
            node_id="GlazeCombineEncoders",
            display_name="Combine Encoders (Glaze)",
            category=CATEGORY,
            description="One cloak against several models at once, for instance SDXL and FLUX. "
            "They take turns, so it costs little more time than one of them, and each is led less "
            "far than by a cloak of its own.",
            inputs=[
                *sockets,
                *weights,
                io.Combo.Input(
                    "also",
                    options=[NOTHING, MOST],
                    default=NOTHING,
                    optional=True,
                    tooltip="Adds the VAEs of the models that are fine-tuned most, as far as "
                    "their files lie in models/vae; the node says which are missing.",
                ),
            ],
            outputs=[EncoderSocket.Output("encoder", display_name="encoder")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, also: str = NOTHING, **_: Any) -> str:
        return "/".join(vae_names()) if also == MOST else ""

    @classmethod
    def execute(cls, **inputs: Any) -> Any:
        numbers = [n for n in range(1, 5) if inputs.get(f"encoder_{n}") is not None]
        members = [(inputs[f"encoder_{n}"], float(inputs[f"weight_{n}"])) for n in numbers]
        members = [(encoder, weight) for encoder, weight in members if weight > 0]
        if inputs.get("also", NOTHING) == MOST:
            files, missing = files_of_families(vae_names())
            members += [(load_vae(name), 1.0) for name in files.values()]
            if missing:
                tell(what_is_missing(missing), cls.hidden.unique_id if cls.hidden else None)
        if not members:
            raise ValueError("Expected at least one encoder with a weight above 0, but got none.")
        return io.NodeOutput(Ensemble(tuple(members)))


NODES = [LoadEncoder, CombineEncoders]
