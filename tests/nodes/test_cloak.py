"""Encoders, budgets and the cloak, through the nodes, on a host that breaks what it may."""

from __future__ import annotations

import gc
import weakref
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from comfy_glaze.cloaking.budget import PRESETS

from .conftest import Pack, host_picture
from .stand_ins import VAE, Interrupt, OutOfMemory, host_vae


def cloak(pack: Pack, encoder: Any, hidden: Any = None, **inputs: Any) -> Any:
    given = {
        "image": host_picture(),
        "styled": host_picture(seed=1),
        "budget": pack.run("GlazeLPIPSBudget", metric="st-lpips-alex").args[0],
        "steps": 3,
    }
    return pack.run("GlazeCloakOptimize", hidden, encoder=encoder, **(given | inputs))


def state(vae: VAE) -> dict[str, Any]:
    return {key: (value.clone(), value.is_inference()) for key, value in vae.get_sd().items()}


def assert_untouched(vae: VAE, before: dict[str, Any]) -> None:
    for key, (value, was_inference) in state(vae).items():
        assert torch.equal(value, before[key][0])
        assert was_inference == before[key][1]


def test_a_vae_of_the_host_leads_a_cloak_and_stays_as_it_was(pack: Pack) -> None:
    vae = host_vae()
    before = state(vae)
    image, batch = cloak(pack, vae).args
    measures = batch.pictures[0].cloak.measures[0]
    assert measures.shift_512 > 0
    assert 0 < measures.linf <= PRESETS["default"].linf + 1e-6
    assert measures.perceptual <= PRESETS["default"].limit
    assert image.shape == (1, 64, 64, 3)
    assert_untouched(vae, before)
    assert pack.memory.current_loaded_models == []


def test_features_are_those_of_the_hosts_encode(pack: Pack) -> None:
    vae, picture = host_vae(), host_picture(64, 96)
    encoder = pack.module("nodes.host.encoders").hosted_encoder(vae).encoder
    with torch.inference_mode():
        assert torch.equal(encoder(picture.movedim(-1, 1)), vae.encode(picture))


def test_the_copy_is_made_once_and_goes_with_its_vae(pack: Pack) -> None:
    encoders = pack.module("nodes.host.encoders")
    vae = host_vae()
    hosted = encoders.hosted_encoder(vae)
    assert encoders.hosted_encoder(vae) is hosted
    assert encoders.hosted_encoder(host_vae(seed=1)).encoder.fingerprint != (
        hosted.encoder.fingerprint
    )
    copy = weakref.ref(hosted)
    del vae, hosted
    gc.collect()
    assert copy() is None


def test_a_vae_without_features_is_refused_by_its_name(pack: Pack) -> None:
    vae = host_vae()
    type(vae.first_stage_model).__name__ = "PixelspaceConversionVAE"
    try:
        with pytest.raises(
            ValueError, match=r"'encoder' \(PixelspaceConversionVAE\).* no cloak of this kind"
        ):
            cloak(pack, vae)
    finally:
        type(vae.first_stage_model).__name__ = "SmallVAE"
    sound = host_vae()
    sound.latent_dim = 1
    with pytest.raises(ValueError, match="it is not for pictures"):
        cloak(pack, sound)
    with pytest.raises(ValueError, match="'encoder' needs a VAE"):
        cloak(pack, None)


def test_stop_ends_the_run_at_the_next_step_and_leaves_nothing_loaded(pack: Pack) -> None:
    vae = host_vae()
    before = state(vae)
    pack.memory.stop_after = 2
    with pytest.raises(Interrupt):
        cloak(pack, vae, steps=50)
    steps = [data["step"] for event, data, _ in pack.server.sent if event == "comfy_glaze.step"]
    assert max(steps) <= 2
    assert pack.memory.current_loaded_models == []
    assert_untouched(vae, before)


def test_a_failed_run_leaves_nothing_loaded(pack: Pack) -> None:
    with pytest.raises(ValueError, match="keep_clear covers it all"):
        cloak(pack, host_vae(), keep_clear=torch.ones(1, 64, 64))
    assert pack.memory.current_loaded_models == []


def test_the_page_receives_the_steps_it_was_promised(pack: Pack) -> None:
    hidden = SimpleNamespace(unique_id="7:3")
    batch = {"image": host_picture(batch=2), "styled": host_picture(seed=1, batch=2)}
    cloak(pack, host_vae(), hidden, **batch)
    events = [data for event, data, to in pack.server.sent if to == "page"]
    assert set(events[0]) == {
        "node",
        "step",
        "steps",
        "picture",
        "pictures",
        "shift",
        "perceptual",
        "limit",
        "seconds_left",
    }
    assert events[0] | {"shift": 0, "perceptual": 0} == {
        "node": "7:3",
        "step": 1,
        "steps": 3,
        "picture": 1,
        "pictures": 2,
        "shift": 0,
        "perceptual": 0,
        "limit": PRESETS["default"].limit,
        "seconds_left": None,
    }
    assert (events[-1]["step"], events[-1]["picture"], events[-1]["seconds_left"]) == (3, 2, 0)


def test_steps_in_between_are_sent_ten_times_a_second_at_most(
    pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = pack.module("nodes.host.running")
    clock = iter(step * 0.04 for step in range(100))
    monkeypatch.setattr(running.time, "monotonic", lambda: next(clock))
    live = running.LiveRun("1", 1, picture=1)
    for number in range(1, 21):
        step = SimpleNamespace(
            step=number,
            steps=20,
            feature_distance=torch.tensor([0.5]),
            perceptual=torch.zeros(1),
            preview=lambda: torch.zeros(1, 3, 8, 8),
        )
        live.on_step(step)
    sent = [data["step"] for _, data, _ in pack.server.sent]
    assert sent == [1, 4, 7, 10, 13, 16, 19, 20]
    assert pack.server.sent[0][1]["perceptual"] is None


def test_the_ends_of_each_picture_are_sent_however_fast_it_is(
    pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = pack.module("nodes.host.running")
    monkeypatch.setattr(running.time, "monotonic", lambda: 0.0)
    pictures = [host_picture(), host_picture(seed=1), host_picture(seed=2)]
    cloak(pack, host_vae(), image=pictures, styled=[*pictures[1:], pictures[0]])
    sent = [data for event, data, _ in pack.server.sent if event == "comfy_glaze.step"]
    assert [(data["picture"], data["step"]) for data in sent] == [
        (picture, step) for picture in (1, 2, 3) for step in (1, 3)
    ]


def test_the_chart_ends_at_the_numbers_of_the_report(pack: Pack) -> None:
    pictures = {"image": host_picture(batch=2), "styled": host_picture(seed=1, batch=2)}
    _, made = cloak(pack, host_vae(), **pictures).args
    ends = [data for event, data, _ in pack.server.sent if event == "comfy_glaze.measured"]
    measured = [picture.cloak.measures[0] for picture in made.pictures]
    assert [end["picture"] for end in ends] == [1, 2]
    assert [(end["shift"], end["perceptual"]) for end in ends] == [
        (measures.shift_512, measures.perceptual) for measures in measured
    ]
    assert all(end["step"] == end["steps"] for end in ends)


def test_each_picture_of_a_batch_is_cloaked_as_if_alone(pack: Pack) -> None:
    pictures, styled = host_picture(batch=2), host_picture(seed=1, batch=2)
    vae = host_vae()
    together, _ = cloak(pack, vae, image=pictures, styled=styled).args
    alone, _ = cloak(pack, vae, image=pictures[1:], styled=styled[1:]).args
    assert torch.equal(together[1:], alone)


def test_a_list_of_mixed_sizes_is_counted_through(pack: Pack) -> None:
    pictures = [host_picture(), host_picture(72, 64, batch=2), host_picture(64, 80)]
    styled = [host_picture(seed=1), host_picture(72, 64, seed=1, batch=2), host_picture(64, 80, 1)]
    images, batches = cloak(pack, host_vae(), image=pictures, styled=styled).args
    assert [image.shape for image in images] == [picture.shape for picture in pictures]
    assert [len(batch.pictures) for batch in batches] == [1, 2, 1]
    events = [data for event, data, _ in pack.server.sent if event == "comfy_glaze.step"]
    assert {event["pictures"] for event in events} == {4}
    assert list(dict.fromkeys(event["picture"] for event in events)) == [1, 2, 3, 4]
    assert (events[0]["seconds_left"], events[-1]["seconds_left"]) == (None, 0)


def test_masked_pixels_stay_and_the_rest_moves(pack: Pack) -> None:
    mask = torch.zeros(64, 64)
    mask[:, :32] = 1
    image, _ = cloak(pack, host_vae(), keep_clear=mask).args
    assert torch.equal(image[:, :, :32], host_picture()[:, :, :32])
    assert not torch.equal(image[:, :, 32:], host_picture()[:, :, 32:])
    no_mask = torch.zeros(1, 32, 32)  # the host's way to say so
    assert cloak(pack, host_vae(), keep_clear=no_mask).args[0].shape == (1, 64, 64, 3)
    with pytest.raises(ValueError, match="'keep_clear' must be 64 × 64"):
        cloak(pack, host_vae(), keep_clear=torch.ones(1, 32, 32))


def test_pictures_between_grey_levels_are_cloaked_as_files_will_hold_them(pack: Pack) -> None:
    with torch.inference_mode():
        between = host_picture() * 0.9 + 0.0123
    image, batch = cloak(pack, host_vae(), image=between).args
    assert torch.equal(image, (image * 255).round() / 255)
    assert batch.pictures[0].cloak.measures[0].linf <= PRESETS["default"].linf + 1e-6


def test_another_size_of_styled_is_named(pack: Pack) -> None:
    with pytest.raises(ValueError, match="'styled' must have"):
        cloak(pack, host_vae(), styled=host_picture(72, 64))


def test_presets_and_custom_budgets(pack: Pack) -> None:
    for name, preset in PRESETS.items():
        (budget,) = pack.run("GlazeLPIPSBudget", preset=name, limit=0.9, linf=99.0).args
        assert asdict(budget) == asdict(preset)
        (even,) = pack.run("GlazeLPIPSBudget", preset=name, uniform=True).args
        assert asdict(even) == asdict(replace(preset, sight=None))
    even = pack.run("GlazeLPIPSBudget", preset="custom", linf=8.0, uniform=True).args[0]
    assert (even.linf, even.sight, even.preset) == (8 / 255, None, "custom")
    custom = pack.run("GlazeLPIPSBudget", preset="custom", limit=0.2, linf=0.0, metric="none")
    assert (custom.args[0].limit, custom.args[0].linf) == (0.2, None)
    _, batch = cloak(pack, host_vae(), budget=custom.args[0]).args
    assert batch.pictures[0].cloak.budget.preset == "custom"
    assert batch.pictures[0].cloak.measures[0].perceptual is None


def test_combined_encoders_are_led_together(pack: Pack) -> None:
    first, second = host_vae(), host_vae(seed=1)
    (combined,) = pack.run(
        "GlazeCombineEncoders", encoder_1=first, encoder_3=second, weight_3=0.5
    ).args
    _, batch = cloak(pack, combined).args
    (measures,) = batch.pictures[0].cloak.measures
    assert len(measures.encoders) == 2
    assert 0 < measures.shift_512 == measures.encoders[0].shift_512
    (nested,) = pack.run(
        "GlazeCombineEncoders", encoder_1=combined, encoder_2=host_vae(seed=2), weight_1=3.0
    ).args
    hosted = pack.module("nodes.host.encoders").hosted_encoder(nested).encoder
    assert [round(share, 3) for _, share in hosted.members] == [0.5, 0.25, 0.25]
    (only,) = pack.run("GlazeCombineEncoders", encoder_1=first, encoder_2=second, weight_2=0.0).args
    assert len(only.members) == 1
    with pytest.raises(ValueError, match="weight above 0"):
        pack.run("GlazeCombineEncoders", encoder_1=first, weight_1=0.0)


@pytest.mark.parametrize("room", [2, 3])
def test_encoders_take_turns_on_a_device_that_is_short_of_memory(pack: Pack, room: int) -> None:
    """There is room for the metric, which stays, and for one or two of three encoders."""
    vaes = [host_vae(seed) for seed in range(3)]

    def made() -> torch.Tensor:
        wired = {f"encoder_{number}": vae for number, vae in enumerate(vaes, 1)}
        (combined,) = pack.run("GlazeCombineEncoders", **wired).args
        image: torch.Tensor = cloak(pack, combined, steps=6).args[0]
        return image

    def with_the_metric() -> list[int]:
        """How many were there after each time that one came in to it."""
        has = [
            any(not hasattr(one.model, "encoder") for one in there) for there in pack.memory.loads
        ]
        since = has.index(True)
        assert all(has[since:]), "it was sent away"
        return [len(there) for there in pack.memory.loads[since + 1 :]]

    wanted = made()
    assert with_the_metric() == [2, 3, 4], "with room for all of them, all stay"
    pack.memory.room = room
    pack.memory.loads.clear()
    assert torch.equal(made(), wanted)
    came = with_the_metric()
    assert max(came) == room
    assert len(came) > len(vaes), "some came back"
    assert pack.memory.current_loaded_models == []


def test_vaes_of_the_usual_models_are_found_by_their_files_names(pack: Pack) -> None:
    families = pack.module("nodes.families")
    names = ["flux1/AE.safetensors", "wan2.2_vae.safetensors", "qwen_image_layered_vae.safetensors"]
    names += ["taef2.safetensors", "sub\\flux2-vae.safetensors", "Wan2_1_VAE_bf16.safetensors"]
    found, missing = families.files_of_families(names)
    assert found == {"FLUX.1": names[0], "FLUX.2": names[4], "Qwen/Wan": names[5]}
    assert [family.name for family in missing] == ["SDXL"]
    assert "SDXL (sdxl_vae.safetensors from " in families.what_is_missing(missing)
    for family in families.FAMILIES:  # each by its own usual name, and by no other's
        found, _ = families.files_of_families([family.usual])
        assert found == {family.name: family.usual}


def test_vaes_of_the_usual_models_are_added_and_the_missing_ones_named(
    pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, files = pack.module("nodes.encoders"), {"ae.safetensors": 1, "sdxl_vae.safetensors": 0}
    monkeypatch.setattr(module, "vae_names", lambda: list(files))
    monkeypatch.setattr(module, "load_vae", lambda name: host_vae(seed=files[name]))
    wired = {"encoder_1": host_vae(), "also": module.MOST}
    (combined,) = pack.run("GlazeCombineEncoders", **wired).args
    assert len(combined.members) == 3
    encoder = pack.module("nodes.host.encoders").hosted_encoder(combined).encoder
    assert [round(share, 3) for _, share in encoder.members] == [0.667, 0.333], "wired and found"
    (said,) = (text for text, _, _ in pack.server.sent)
    assert "FLUX.2 (flux2-vae.safetensors" in said
    assert "SDXL" not in said


def test_running_out_of_memory_is_retried_once_with_less(pack: Pack) -> None:
    memory = pack.module("nodes.host.memory")
    asked: list[bool] = []

    def fails_first(recompute: bool) -> str:
        asked.append(recompute)
        if not recompute:
            raise OutOfMemory
        return "done"

    assert memory.with_less_memory(fails_first, recompute=False) == "done"
    assert asked == [False, True]

    def fails_always(recompute: bool) -> str:
        raise OutOfMemory

    with pytest.raises(OutOfMemory):
        memory.with_less_memory(fails_always, recompute=False)


def test_stop_is_never_taken_for_a_lack_of_memory(
    pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OlderInterrupt(Exception):
        pass

    monkeypatch.setattr(pack.memory, "InterruptProcessingException", OlderInterrupt)
    monkeypatch.setattr(pack.memory, "OOM_EXCEPTION", Exception)
    asked: list[bool] = []

    def stopped(recompute: bool) -> None:
        asked.append(recompute)
        raise OlderInterrupt

    with pytest.raises(OlderInterrupt):
        pack.module("nodes.host.memory").with_less_memory(stopped, recompute=False)
    assert asked == [False]


def test_blocks_computed_twice_give_the_same_gradient(pack: Pack) -> None:
    memory = pack.module("nodes.host.memory")
    calls: list[bool] = []

    def forward(x: torch.Tensor) -> torch.Tensor:
        calls.append(True)
        return (x * 3).sin()

    block = memory.recomputed(forward)
    x = torch.linspace(0, 1, 5, requires_grad=True)
    cpu = torch.device("cpu")
    gradients = []
    for recompute in (False, True):
        with memory.at_work([], cpu, 0, recompute):
            gradients.append(torch.autograd.grad(block(x).sum(), x)[0])
    assert torch.equal(*gradients)
    assert len(calls) == 1 + 2
