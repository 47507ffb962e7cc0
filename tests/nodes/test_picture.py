"""The one node for the whole way does what the nodes for each step do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from .conftest import Pack, host_picture
from .stand_ins import host_model, host_vae

pytestmark = pytest.mark.usefixtures("one_cache")


class HostClip:
    """A text encoder of the host's, as far as the sampling asks."""

    def tokenize(self, text: str) -> str:
        return text

    def encode_from_tokens_scheduled(self, tokens: str) -> str:
        return tokens


def step_by_step(pack: Pack, pictures: list[Any], parts: dict[str, Any], **inputs: Any) -> Any:
    """The same choices on the discrete nodes, with all that is not chosen left as it is."""
    bank = pack.run("GlazeLoadStyleBank").args[0]
    encoder = inputs.get("encoder")
    chosen = pack.run(
        "GlazeSelectTargetStyle",
        style_bank=[bank],
        images=pictures,
        encoder=[encoder],
        style=[inputs.get("style", "auto")],
    )
    target = chosen.args[0]
    styled = [
        pack.run("GlazeStyleTransfer", image=one, target_style=target, **parts).args[0]
        for one in pictures
    ]
    budget = pack.run(
        "GlazeLPIPSBudget",
        preset=inputs.get("preset", "default"),
        uniform=inputs.get("uniform", False),
    ).args[0]
    cloaked = pack.run(
        "GlazeCloakOptimize",
        image=pictures,
        styled=styled,
        encoder=[encoder],
        budget=[budget],
        target_style=[target],
        **{name: inputs[name] for name in inputs.keys() & {"keep_clear", "method"}},
    )
    return chosen, cloaked


@pytest.mark.parametrize("choice", [{}, {"preset": "strong", "uniform": True}, {"method": "brief"}])
def test_it_does_what_the_discrete_nodes_do_with_the_same_choices(
    pack: Pack, choice: dict[str, Any]
) -> None:
    pictures = [host_picture(48, 64), host_picture(64, 40, seed=2, batch=2)]
    encoder = pack.run("GlazeLoadEncoder").args[0]
    chosen, apart = step_by_step(pack, pictures, {}, encoder=encoder, **choice)
    lists = {name: [value] for name, value in choice.items()}
    made = pack.run("GlazeCloakPicture", image=pictures, encoder=[encoder], **lists)
    assert made.ui == chosen.ui
    for images, expected in zip(made.args[0], apart.args[0], strict=True):
        assert torch.equal(images, expected)
    for batch, expected in zip(made.args[1], apart.args[1], strict=True):
        assert batch.encoder is encoder
        for one, other in zip(batch.pictures, expected.pictures, strict=True):
            assert one.cloak.budget == other.cloak.budget
            assert one.cloak.settings == other.cloak.settings
            assert one.cloak.measures == other.cloak.measures
            assert one.target == other.target


def test_a_checkpoint_redraws_where_it_is_wired(pack: Pack) -> None:
    vae, picture = host_vae(), host_picture(64, 64)
    parts = {"model": host_model(), "clip": HostClip()}
    _, apart = step_by_step(pack, [picture], {**parts, "vae": vae}, encoder=vae)
    made = pack.run("GlazeCloakPicture", image=picture, encoder=vae, **parts)
    assert torch.equal(made.args[0], apart.args[0][0])
    without = pack.run("GlazeCloakPicture", image=picture, encoder=vae)
    assert not torch.equal(made.args[0], without.args[0])


def test_a_distilled_model_redraws_without_guidance(pack: Pack) -> None:
    vae, picture = host_vae(), host_picture(64, 64)
    parts = {"model": host_model(image_model="flux"), "clip": HostClip()}
    _, apart = step_by_step(pack, [picture], {**parts, "vae": vae, "cfg": 1.0}, encoder=vae)
    made = pack.run("GlazeCloakPicture", image=picture, encoder=vae, **parts)
    assert torch.equal(made.args[0], apart.args[0][0])


def test_a_checkpoint_without_its_vae_is_refused_in_a_sentence(pack: Pack) -> None:
    encoder = pack.run("GlazeLoadEncoder").args[0]
    with pytest.raises(ValueError, match="wire its VAE to 'encoder'"):
        pack.run(
            "GlazeCloakPicture",
            image=host_picture(),
            encoder=encoder,
            model=host_model(),
            clip=HostClip(),
        )
    with pytest.raises(ValueError, match="clip brings nothing"):
        pack.run("GlazeCloakPicture", image=host_picture(), encoder=host_vae(), model=host_model())


def test_style_bank_and_mask_are_optional_and_used(pack: Pack) -> None:
    encoder = pack.run("GlazeLoadEncoder").args[0]
    bank = pack.module("comfy_glaze.styles.bank_file").load_style_bank(
        pack.module("nodes.style").BUILT_IN_FILE
    )
    mask = torch.zeros(1, 64, 64)
    mask[:, :32] = 1
    picture = host_picture()
    made = pack.run(
        "GlazeCloakPicture",
        image=picture,
        encoder=encoder,
        style_bank=bank,
        style="Heavy outlines",
        keep_clear=mask,
    )
    batch = made.args[1]
    assert batch.pictures[0].target.style.name == "Heavy outlines"
    before = torch.round(picture * 255) / 255
    assert torch.equal(made.args[0][:, :32], before[:, :32])
    assert not torch.equal(made.args[0][:, 32:], before[:, 32:])


def test_its_progress_is_that_of_its_own_node(pack: Pack) -> None:
    encoder = pack.run("GlazeLoadEncoder").args[0]
    pack.run(
        "GlazeCloakPicture", SimpleNamespace(unique_id="7"), image=host_picture(), encoder=encoder
    )
    steps = [data for event, data, _ in pack.server.sent if event == "comfy_glaze.step"]
    assert steps
    assert {data["node"] for data in steps} == {"7"}
