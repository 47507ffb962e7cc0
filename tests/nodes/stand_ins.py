"""Stand-ins for the host's modules: just what the pack touches, with the host's traps built in."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

# --- comfy_api.latest: schemas are recorded as they are given ------------------------------------


@dataclass
class Socket:
    kind: str
    id: str
    options: dict[str, Any]
    extra_dict: dict[str, Any] = field(default_factory=dict)


def _type(kind: str) -> Any:
    def socket(id: str, **options: Any) -> Any:
        options.pop("types", None)
        return Socket(kind, id, options)

    return SimpleNamespace(kind=kind, Input=socket, Output=socket)


@dataclass
class Schema:
    """Exactly the fields that ComfyUI 0.3.64 knows and the pack uses; another one raises."""

    node_id: str
    display_name: str
    category: str
    inputs: list[Socket]
    outputs: list[Socket]
    description: str
    hidden: list[str] = field(default_factory=list)
    is_input_list: bool = False
    is_output_node: bool = False


class NodeOutput:
    def __init__(self, *args: Any, ui: dict[str, Any] | None = None) -> None:
        self.args, self.ui = args, ui


def comfy_api() -> ModuleType:
    kinds = "Image Mask Model Clip ClipVision Vae Int Float String Boolean Combo"
    io = SimpleNamespace(
        **{kind: _type(kind.upper()) for kind in kinds.split()},
        Custom=_type,
        MultiType=_type("MULTI"),
        ComfyNode=type("ComfyNode", (), {"hidden": None}),
        Schema=Schema,
        NodeOutput=NodeOutput,
        Hidden=SimpleNamespace(unique_id="ID", prompt="PROMPT", extra_pnginfo="EXTRA"),
        UploadType=SimpleNamespace(image="image_upload"),
        FolderType=SimpleNamespace(input="input"),
    )
    return module("comfy_api.latest", io=io, ComfyExtension=object)


@dataclass
class ExecutionBlocker:
    """In place of an output, stops what depends on it."""

    message: str | None


# --- comfy.model_management: what is loaded becomes inference tensors, as a move to a GPU does ---


class Interrupt(BaseException):
    """As in newer hosts; older ones derive it from Exception."""


class OutOfMemory(Exception):
    pass


class ModelManagement(ModuleType):
    InterruptProcessingException = Interrupt
    OOM_EXCEPTION = OutOfMemory

    def __init__(self) -> None:
        super().__init__("comfy.model_management")
        self.current_loaded_models: list[Any] = []
        self.stop_after: int | None = None  # looks until "Stop" is pressed
        self.room: int | None = None  # models that fit
        self.loads: list[list[Any]] = []  # what was there after each

    def load_models_gpu(self, models: list[Any], memory_required: float, **_: Any) -> None:
        assert torch.is_inference_mode_enabled(), "the host's own modules could break"
        others = [one for one in self.current_loaded_models if one.model not in models]
        if self.room is not None:
            others = others[: max(0, self.room - len(models))]
        self.current_loaded_models[:] = [
            *others,
            *(SimpleNamespace(model=patcher) for patcher in models),
        ]
        self.loads.append([one.model for one in self.current_loaded_models])
        for patcher in models:
            for part in patcher.model.modules():
                for name, weight in part._parameters.items():
                    if weight is not None:
                        part._parameters[name] = nn.Parameter(weight.clone(), requires_grad=False)

    def free_memory(self, required: float, device: Any, keep_loaded: list[Any]) -> None:
        assert torch.is_inference_mode_enabled(), "the host's own modules could break"
        self.current_loaded_models[:] = keep_loaded

    def throw_exception_if_processing_interrupted(self) -> None:
        if self.stop_after is not None:
            self.stop_after -= 1
            if self.stop_after < 0:
                raise Interrupt

    def vae_offload_device(self) -> torch.device:
        return torch.device("cpu")

    def get_free_memory(self, device: Any) -> float:
        return 1e9

    def soft_empty_cache(self) -> None:
        pass


# --- comfy.sd: a VAE whose weights are inference tensors, as the host's are ----------------------


class SmallVAE(nn.Module):
    """Named after nothing: an encoder of one convolution, and a decoder nobody needs."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, 4, 8, stride=8)
        self.decoder = nn.ConvTranspose2d(4, 3, 8, stride=8)

    def encode(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.encoder(pixels).tanh()
        return features


class VAE:
    latent_dim, latent_channels = 2, 4
    vae_dtype = torch.float32

    def __init__(self, sd: dict[str, Tensor], metadata: Any = None) -> None:
        self.first_stage_model = SmallVAE()
        self.first_stage_model.load_state_dict(sd)
        self.device = torch.device("cpu")
        self.process_input = lambda images: images * 2 - 1

    def get_sd(self) -> dict[str, Tensor]:
        return self.first_stage_model.state_dict()

    def spacial_compression_encode(self) -> int:
        return 8

    def encode(self, pixels: Tensor) -> Tensor:
        return self.first_stage_model.encode(self.process_input(pixels.movedim(-1, 1)))

    def decode(self, latent: Tensor) -> Tensor:
        return self.first_stage_model.decoder(latent).sigmoid().movedim(1, -1)


@torch.inference_mode()
def host_vae(seed: int = 0) -> VAE:
    torch.manual_seed(seed)
    return VAE(SmallVAE().state_dict())


def host_model(
    weights: Any = dict, channels: int = 4, dimensions: int = 2, **config: Any
) -> SimpleNamespace:
    """A diffusion model, as the host describes what it works on."""
    latent = SimpleNamespace(latent_channels=channels, latent_dimensions=dimensions)
    described = SimpleNamespace(unet_config=config)
    inner = SimpleNamespace(latent_format=latent, model_config=described)
    return SimpleNamespace(model=inner, model_state_dict=weights)


# --- the rest ------------------------------------------------------------------------------------


def module(name: str, **contents: Any) -> ModuleType:
    made = ModuleType(name)
    made.__dict__.update(contents)
    return made


class ProgressBar:
    def __init__(self, total: int, node_id: str | None = None) -> None:
        pass

    def update_absolute(self, value: int, total: int, preview: Any = None) -> None:
        pass


class Queue:
    """What runs, and what waits."""

    def __init__(self) -> None:
        self.running: list[tuple[Any, ...]] = []
        self.waiting: list[tuple[Any, ...]] = []

    def get_current_queue_volatile(self) -> tuple[list[Any], list[Any]]:
        return list(self.running), list(self.waiting)

    def put(self, item: tuple[Any, ...]) -> None:
        self.waiting.append(item)


class Server:
    """Remembers what the page would have received."""

    client_id = "page"

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any], str]] = []
        self.handlers: dict[str, Any] = {}
        self.routes = SimpleNamespace(get=self._get)
        self.number, self.prompt_queue = 7, Queue()

    def send_sync(self, event: str, data: dict[str, Any], to: str) -> None:
        self.sent.append((event, data, to))

    def send_progress_text(self, text: str, node_id: str) -> None:
        self.sent.append((text, {}, node_id))

    def _get(self, path: str) -> Any:
        return lambda handler: self.handlers.setdefault(path, handler)


def _sample(model: Any, noise: Tensor, *settings: Any, **options: Any) -> Tensor:
    return settings[6] + 0.1 * noise  # the latent, changed as far as the noise says


def _noise(latent: Tensor, seed: int) -> Tensor:
    return torch.randn(latent.shape, generator=torch.Generator().manual_seed(seed))


def _save_path(prefix: str, output: str, width: int, height: int) -> tuple[Any, ...]:
    subfolder, _, name = prefix.rpartition("/")
    folder = Path(output, subfolder)
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder), name, len(list(folder.iterdir())) + 1, subfolder, prefix


def _annotated(name: str, output: Path) -> tuple[str, str | None]:
    marked = re.fullmatch(r"(.*)\[(output|input)\]", name)
    return (marked[1], str(output.with_name(marked[2]))) if marked else (name, None)


def host_modules(base: Path) -> dict[str, ModuleType]:
    """All modules of the host by name, with its folders under ``base``."""
    folders = {name: base / name for name in ("input", "output", "temp", "models")}
    for folder in folders.values():
        folder.mkdir()
    sampler = SimpleNamespace(SAMPLERS=["euler", "ddim"], SCHEDULERS=["normal", "karras"])
    patcher = lambda model, load_device, offload_device: SimpleNamespace(model=model)  # noqa: E731
    made = [
        module("comfy"),
        module("comfy_execution"),
        module("comfy_execution.graph_utils", ExecutionBlocker=ExecutionBlocker),
        module("comfy_api"),
        comfy_api(),
        ModelManagement(),
        module("comfy.model_patcher", ModelPatcher=patcher),
        module("comfy.sd", VAE=VAE),
        module("comfy.utils", ProgressBar=ProgressBar, PROGRESS_BAR_ENABLED=False),
        module("comfy.cli_args", args=SimpleNamespace(disable_metadata=False)),
        module("comfy.samplers", KSampler=sampler),
        module(
            "comfy.sample",
            sample=_sample,
            prepare_noise=_noise,
            fix_empty_latent_channels=lambda model, latent: latent,
        ),
        module("latent_preview", prepare_callback=lambda model, steps: None),
        module("server", PromptServer=SimpleNamespace(instance=Server())),
        module(
            "folder_paths",
            models_dir=str(folders["models"]),
            add_model_folder_path=lambda name, path, is_default: None,
            get_filename_list=lambda kind: [],
            get_input_directory=lambda: str(folders["input"]),
            get_output_directory=lambda: str(folders["output"]),
            get_temp_directory=lambda: str(folders["temp"]),
            annotated_filepath=lambda name: _annotated(name, folders["output"]),
            get_save_image_path=_save_path,
        ),
    ]
    modules = {one.__name__: one for one in made}
    for name, one in modules.items():  # so that `import comfy.sd` binds what `comfy.sd` finds
        parent, _, child = name.rpartition(".")
        if parent in modules:
            setattr(modules[parent], child, one)
    return modules
