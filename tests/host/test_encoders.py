"""Φ from the host's VAEs, inside this process: features, gradients, and what is left behind."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import pkgutil
import sys
import weakref
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file
from torch import Tensor

from ..conftest import smooth_picture
from .in_process import NAME, pack_module
from .vae_kinds import DECODERS, KINDS, UNFIT, Kind, encoded, made_by_the_host
from .vae_weights import WEIGHTS, Weights, host_vae

pytestmark = pytest.mark.filterwarnings("ignore")  # the host's own


@pytest.fixture(scope="session")
def pack(host_path: Path) -> ModuleType:
    """The pack's host adapters, loaded by path as the host does it, beside the host's modules."""
    return pack_module(host_path, "nodes.host.encoders")


def gradient_through_a_fresh_copy(weights: Weights, picture: Tensor) -> Tensor:
    """The plain way, on a VAE that is nobody's: the sum of squared features, to the pixels."""
    with torch.inference_mode(False), torch.enable_grad():
        sd = importlib.import_module("comfy.sd")
        fresh = sd.VAE(sd={k: v.clone() for k, v in weights.items()}, dtype=torch.float32)
        pixels = picture.clone().requires_grad_()
        inputs = fresh.process_input(pixels)
        if fresh.latent_dim == 3:
            inputs = inputs[:, :, None]
        features = fresh.first_stage_model.encode(inputs)
        (gradient,) = torch.autograd.grad(features.square().sum(), pixels)
        return gradient


@pytest.mark.parametrize("kind", WEIGHTS)
def test_features_gradients_and_the_users_vae(pack: ModuleType, kind: str) -> None:
    weights, picture = WEIGHTS[kind](), smooth_picture(64, 72)
    vae = host_vae(weights)
    before = encoded(vae, picture)
    with torch.inference_mode():
        hosted = pack.hosted_encoder(vae)
        assert torch.equal(hosted.encoder(picture), before)
    expected = gradient_through_a_fresh_copy(weights, picture)

    for recompute in (False, True):

        def gradient(phi: Any, metric: None) -> Tensor:
            with torch.inference_mode(False), torch.enable_grad():
                pixels = picture.clone().requires_grad_()
                return torch.autograd.grad(phi(pixels).square().sum(), pixels)[0]

        memory = sys.modules[f"{NAME}.nodes.host.memory"]
        with torch.inference_mode():
            device = hosted.encoder.device
            with memory.at_work(hosted.patchers, device, 0, recompute):
                found = gradient(hosted.encoder, None)
        error = (found - expected).norm() / expected.norm()
        assert float(error) <= 1e-5, f"recompute={recompute}"

    assert torch.equal(encoded(vae, picture), before)
    assert importlib.import_module("comfy.model_management").loaded_models() == [vae.patcher]
    copy = weakref.ref(hosted)
    del vae, hosted
    gc.collect()
    assert copy() is None


def _made(kind: Kind, dtype: torch.dtype = torch.float32, *, filled: bool = True) -> Any:
    """The host's VAE of a kind, or a skip where this host is older than the kind."""
    try:
        pkgutil.resolve_name(kind.since)
        return made_by_the_host(kind, dtype, filled=filled)
    except (AttributeError, ImportError, NameError) as error:
        pytest.skip(f"this host does not make it: {error}")


ALL_KINDS = [
    pytest.param(name, marks=pytest.mark.slow if kind.large else ()) for name, kind in KINDS.items()
]


@pytest.mark.parametrize("name", ALL_KINDS)
def test_every_picture_vae_of_the_host_leads(pack: ModuleType, name: str) -> None:
    vae, picture = _made(KINDS[name]), smooth_picture(64, 96)
    if vae.first_stage_model is None:
        pytest.skip("this host does not know it")
    wanted = encoded(vae, picture)
    with torch.inference_mode():
        hosted = pack.hosted_encoder(vae)
        found = hosted.encoder(picture)
    assert found.shape == wanted.shape
    assert float((found - wanted).norm() / wanted.norm()) <= 1e-4
    assert hosted.encoder.name == KINDS[name].whose
    assert not any(part.numel() for part in decoder_of(hosted)), "no memory goes to the decoder"

    memory = sys.modules[f"{NAME}.nodes.host.memory"]
    phi, moved, gradients = hosted.encoder, [], []
    pixels = picture.clone()
    with torch.inference_mode():
        for recompute in (False, True, False, False):  # the same place twice, then two steps away
            with memory.at_work(hosted.patchers, phi.device, 0, recompute):
                gradient, distance = led_away(phi, pixels, wanted)
            gradients.append(gradient)
            moved.append(distance)
            if len(moved) > 1:
                pixels = pixels + 1e-4 * gradient.sign()
    first, again = gradients[:2]
    assert bool(first.isfinite().all())
    assert bool(first.any())
    assert float((first - again).norm() / first.norm()) <= 1e-5, "computed twice, kept or not"
    assert moved[1] < moved[2] < moved[3]


HOSTS_LAYOUTS = [
    "FLUX.2",
    "Wan 2.1, Qwen-Image",
    "Qwen-Image-Layered",
    pytest.param("Wan 2.2", marks=pytest.mark.slow),
    pytest.param("HunyuanImage 2.1", marks=pytest.mark.slow),
    "taef2",
    "taew2_1",
    "taew2_2",
    "lighttaehy1_5",
    "taeltx_2",
    "taeh3",
]


@pytest.mark.parametrize("name", HOSTS_LAYOUTS)
def test_the_library_reads_a_file_of_the_hosts_layout_as_the_host_does(
    pack: ModuleType, tmp_path: Path, name: str
) -> None:
    vae, picture = _made(KINDS[name]), smooth_picture(64, 96)
    weights = {
        key: value.detach().clone()
        for key, value in vae.get_sd().items()
        if key.split(".")[0] not in DECODERS
    }
    save_file(weights, tmp_path / "vae.safetensors")
    library = importlib.import_module(f"{NAME}.comfy_glaze.networks.encoder_files")
    own = library.load_encoder(str(tmp_path / "vae.safetensors"))
    with torch.inference_mode():
        hosted = pack.hosted_encoder(vae).encoder
    assert own.fingerprint == hosted.fingerprint
    assert (own.multiple, own.family) == (hosted.multiple, hosted.family)
    found, wanted = own(picture), encoded(vae, picture)
    assert found.shape == wanted.shape
    # The host scales what some small encoders give to what the large one gives.
    found, wanted = found / found.norm(), wanted / wanted.norm()
    assert float((found - wanted).norm()) <= 1e-4


def test_load_encoder_reads_a_small_encoder_whole_and_alone(
    pack: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FLUX.2's, which the host's loader takes for another kind where its file is a whole one."""
    vae, picture = _made(KINDS["taef2"]), smooth_picture(64, 96)
    weights = {key: value.detach().clone() for key, value in vae.get_sd().items()}
    prefix = "taesd_encoder."
    half = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    save_file(weights, tmp_path / "taef2.safetensors")
    save_file(half, tmp_path / "taef2_encoder.safetensors")
    monkeypatch.setattr(pack, "vae_path", lambda name: str(tmp_path / name))
    wanted = encoded(vae, picture)
    with torch.inference_mode():
        alone = pack.load_vae("taef2_encoder.safetensors")
        assert pack.seen_through(alone, picture, picture) == []
        for name in ("taef2.safetensors", "taef2_encoder.safetensors"):
            phi = pack.hosted_encoder(pack.load_vae(name)).encoder
            found = phi(picture)
            assert float((found - wanted).norm() / wanted.norm()) <= 1e-4, name
            assert phi.family == "FLUX.2's small"
        taken_apart = host_vae(weights)  # as Load VAE does
        with pytest.raises(ValueError, match="Load it with Load Encoder"):
            pack.hosted_encoder(taken_apart)


@pytest.mark.parametrize("kind", ["TAESD", "Wan"])
def test_what_a_model_sees_is_the_hosts_own_round_trip(pack: ModuleType, kind: str) -> None:
    vae, picture = host_vae(WEIGHTS[kind]()), smooth_picture(64, 96)
    as_trained = importlib.import_module(f"{NAME}.comfy_glaze.portfolio.seen").as_trained
    with torch.inference_mode():
        features = pack.hosted_encoder(vae).encoder(picture)
        (seen,) = pack.seen_through(vae, picture, 1 - picture)
        for found, shown in ((seen.original, picture), (seen.cloaked, 1 - picture)):
            decoded = vae.decode(vae.encode(as_trained(shown).movedim(1, -1)))
            wanted = decoded.reshape(1, *decoded.shape[-3:])  # Wan's is a video of one frame
            assert torch.allclose(found.movedim(1, -1), wanted.cpu().clamp(0, 1), atol=1e-4)
        assert torch.equal(pack.hosted_encoder(vae).encoder(picture), features)


def decoder_of(hosted: Any) -> list[Tensor]:
    (patcher,) = hosted.patchers
    parts = [getattr(patcher.model, name) for name in DECODERS if hasattr(patcher.model, name)]
    return [weight for part in parts for weight in part.parameters()]


def led_away(phi: Any, pixels: Tensor, origin: Tensor) -> tuple[Tensor, float]:
    """The gradient of the distance to a little beside the origin, and the distance to it."""
    with torch.inference_mode(False), torch.enable_grad():
        variable = pixels.clone().requires_grad_()
        features = phi(variable)
        shifted = origin.clone() - 0.01 * origin.abs().mean()
        (gradient,) = torch.autograd.grad((features - shifted).square().mean(), variable)
        return gradient, float((features.detach() - origin).norm())


@pytest.mark.parametrize("name", UNFIT)
def test_a_kind_that_cannot_lead_is_refused_in_a_sentence(pack: ModuleType, name: str) -> None:
    kind, reason = UNFIT[name]
    vae = _made(kind, filled=False)
    if vae.first_stage_model is None:
        pytest.skip("this host does not know it")
    with torch.inference_mode(), pytest.raises(ValueError, match=reason) as caught:
        pack.hosted_encoder(vae)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["SD 3, FLUX.1", "taef2", "taew2_1"])
def test_a_copy_keeps_the_format_and_works_in_float32(
    pack: ModuleType, name: str, dtype: torch.dtype
) -> None:
    vae, picture = _made(KINDS[name], dtype), smooth_picture(64, 96)
    with torch.inference_mode():
        hosted = pack.hosted_encoder(vae)
        (patcher,) = hosted.patchers
        own = weakref.ref(patcher)
        assert {weight.dtype for weight in patcher.model.parameters()} == {dtype}
        memory = sys.modules[f"{NAME}.nodes.host.memory"]
        with memory.at_work(hosted.patchers, hosted.encoder.device, 0, False):
            assert {weight.dtype for weight in patcher.model.parameters()} == {torch.float32}
            features = hosted.encoder(picture)
        assert {weight.dtype for weight in patcher.model.parameters()} == {dtype}
    assert features.dtype == torch.float32
    with torch.inference_mode():
        exact = _made(KINDS[name])
        for one, value in zip(
            exact.first_stage_model.parameters(), vae.first_stage_model.parameters(), strict=True
        ):
            one.copy_(value)
    wanted = encoded(exact, picture)
    assert float((features - wanted).norm() / wanted.norm()) <= 1e-4
    assert own() is not None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_several_at_once_keep_their_formats_and_work_in_float32(
    pack: ModuleType, dtype: torch.dtype
) -> None:
    """Beside each other: an encoder in half precision, one of another kind, and one in float32."""
    vaes = [_made(KINDS["taesd"], dtype), _made(KINDS["taew2_1"], dtype), _made(KINDS["taef1"])]
    ensemble = importlib.import_module(f"{NAME}.nodes.sockets").Ensemble
    together, picture = ensemble(tuple((vae, 1.0) for vae in vaes)), smooth_picture(64, 96)

    def formats(hosted: Any) -> list[set[torch.dtype]]:
        return [{one.dtype for one in own.model.parameters()} for own in hosted.patchers]

    with torch.inference_mode():
        hosted = pack.hosted_encoder(together)
        own = [pack.hosted_encoder(vae).encoder for vae in vaes]
        before = formats(hosted)
        assert before == [{dtype}, {dtype}, {torch.float32}]
        gradients = []

        def work(phi: Any, metric: None) -> list[Tensor]:
            assert formats(hosted) == 3 * [{torch.float32}]
            for member, _ in phi.members:
                gradients.append(led_away(member, picture, member(picture))[0])
            return [member(picture) for member, _ in phi.members]

        found = pack.with_encoder(together, "none", (64, 96), work)
        assert formats(hosted) == before
    assert all(bool(one.isfinite().all() and one.any()) for one in gradients)
    for vae, phi, features in zip(vaes, own, found, strict=True):
        alone = pack.with_encoder(vae, "none", (64, 96), lambda phi, _: phi(picture))
        assert torch.equal(features, alone), phi.name
    loaded = importlib.import_module("comfy.model_management").loaded_models()
    assert not any(one is patcher for one in loaded for patcher in hosted.patchers)


def test_a_copy_that_gives_other_features_is_refused(pack: ModuleType) -> None:
    vae = _made(KINDS["taesd"])
    encode = vae.encode
    vae.encode = lambda pixels: 1.5 * encode(pixels)
    with torch.inference_mode(), pytest.raises(ValueError, match="features are off by 33%"):
        pack.hosted_encoder(vae)


def test_a_picture_that_memory_has_no_room_for_is_refused(
    pack: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae = _made(KINDS["taesd"])
    mm = importlib.import_module("comfy.model_management")
    with torch.inference_mode():
        pack.hosted_encoder(vae)
        monkeypatch.setattr(mm, "get_free_memory", lambda *_: 1e6)
        with pytest.raises(ValueError, match=r"needs 0\.\d GB .* 512 × 512 pixels"):
            pack.with_encoder(vae, "none", (512, 512), lambda *_: None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["SD 1, SD 2, SDXL", "SD 3, Flux"])
def test_a_kl_encoder_has_one_fingerprint_in_library_and_host(
    pack: ModuleType, tmp_path: Path, kind: str, dtype: torch.dtype
) -> None:
    """The library reads the file's encoder half; the host holds all of it, in its own format."""
    library = importlib.import_module(f"{NAME}.comfy_glaze.networks.encoder_files")
    weights = WEIGHTS[kind]()
    save_file(weights, tmp_path / "vae.safetensors")
    own = library.load_encoder(str(tmp_path / "vae.safetensors"))
    with torch.inference_mode():
        hosted = pack.hosted_encoder(host_vae(weights, dtype)).encoder
    assert hosted.fingerprint == own.fingerprint


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_small_encoder_has_one_fingerprint_in_library_and_host(
    pack: ModuleType, tmp_path: Path, dtype: torch.dtype
) -> None:
    library = importlib.import_module(f"{NAME}.comfy_glaze.networks.encoder_files")
    AutoencoderTiny().save_pretrained(tmp_path)
    own = library.load_encoder(str(tmp_path))
    weights = dict(AutoencoderTiny.from_pretrained(tmp_path).state_dict())
    renamed = {"vae_scale": torch.ones(()), "vae_shift": torch.zeros(())}
    for key, value in weights.items():
        half, _, number, rest = key.split(".", 3)
        renamed[f"taesd_{half}.{int(number) + (half == 'decoder')}.{rest}"] = value
    with torch.inference_mode():
        hosted = pack.hosted_encoder(host_vae(renamed, dtype)).encoder
    assert hosted.fingerprint == own.fingerprint
