from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from comfy_glaze.files.formats import ArtworkError
from comfy_glaze.styles.bank import Style, StyleBankError
from comfy_glaze.styles.memory import (
    choice_state,
    forget_choice,
    memory_file,
    remember_choice,
    remembered_choice,
    remembered_choices,
    target_for,
)
from comfy_glaze.styles.target import TargetStyle

from ..conftest import posix_words

FLAT = TargetStyle(Style("Flat", "Minimalism", None, "a flat picture", None), 1.5, 62.0)
DUSK = TargetStyle(Style("Dämmerung", "Fauvism", "Nobody", "dusk", 3), 2.5, 70.0)


def never() -> TargetStyle:
    raise AssertionError("nothing was to be drawn")


def test_choice_is_remembered_as_it_was() -> None:
    assert remembered_choice("Ana") is None
    remember_choice("Ana", DUSK, "embedded-1")
    found = remembered_choice("Ana")
    assert found is not None
    assert (found.artist, found.target, found.encoder) == ("Ana", DUSK, "embedded-1")
    assert "Dämmerung" in memory_file().read_text(encoding="utf-8")


@pytest.mark.skipif(os.name != "posix", reason="file modes are a matter of POSIX")
def test_memory_is_the_users_alone() -> None:
    remember_choice("Ana", DUSK)
    assert stat.S_IMODE(memory_file().stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["Ána Ortiz", "ána ORTIZ", "  Ána\tOrtiz ", "A\u0301na Ortiz"])
def test_artist_is_the_same_however_the_name_is_typed(name: str) -> None:
    remember_choice("Ána Ortiz", FLAT)
    found = remembered_choice(name)
    assert found is not None
    assert found.artist == "Ána Ortiz"
    assert remembered_choice("Ana Ortiz") is None


@pytest.mark.parametrize("name", ["", "  ", "a" * 121, "a\x1b[2J", "a\u202eb"])
def test_what_is_no_name_is_named(name: str) -> None:
    with pytest.raises(StyleBankError, match="must be one line of at most 120 characters"):
        remember_choice(name, FLAT)


def test_choices_are_listed_changed_and_forgotten() -> None:
    remember_choice("Zoe", FLAT)
    remember_choice("Ana", FLAT)
    assert [choice.artist for choice in remembered_choices()] == ["Ana", "Zoe"]
    remember_choice("Ana", DUSK)
    kept = remember_choice("Zoe", DUSK, replace=False)
    assert kept.target == FLAT
    forgotten = forget_choice("ana")
    assert forgotten is not None
    assert forgotten.target == DUSK
    assert forget_choice("ana") is None
    assert [choice.artist for choice in remembered_choices()] == ["Zoe"]


def test_all_of_an_artists_work_goes_to_the_first_choice() -> None:
    assert target_for("Ana", None, lambda: FLAT, "embedded-1") == FLAT
    assert target_for("Ana", None, never, "embedded-1") == FLAT
    assert target_for("Bea", None, lambda: DUSK, "embedded-1") == DUSK
    assert target_for("", None, lambda: DUSK, "embedded-1") == DUSK
    assert len(remembered_choices()) == 2


def test_named_style_changes_what_is_remembered() -> None:
    target_for("Ana", None, lambda: FLAT, "embedded-1")
    assert target_for("Ana", DUSK, never, "embedded-1") == DUSK
    assert target_for("Ana", None, never, "embedded-1") == DUSK
    assert target_for("Ana", FLAT, never, "embedded-1") == FLAT
    found = remembered_choice("Ana")
    assert found is not None
    assert (found.target, found.encoder) == (FLAT, None)


def test_naming_the_remembered_style_keeps_its_record() -> None:
    target_for("Ana", None, lambda: FLAT, "embedded-1")
    target_for("Ana", TargetStyle(FLAT.style, None, None), never, "other")
    found = remembered_choice("Ana")
    assert found is not None
    assert (found.target, found.encoder) == (FLAT, "embedded-1")


def test_state_changes_only_from_elsewhere() -> None:
    before = choice_state("Ana")
    target_for("Ana", None, lambda: FLAT, "embedded-1")
    assert choice_state("Ana") == before
    target_for("Ana", DUSK, never, "embedded-1")
    assert choice_state(" ana ") == before
    remember_choice("Bea", DUSK)
    assert choice_state("Ana") == before
    remember_choice("Ana", FLAT)  # as the command line would
    changed = choice_state("Ana")
    assert changed != before
    assert choice_state("Ana") == changed
    forget_choice("Ana")
    forgotten = choice_state("Ana")
    assert forgotten not in (before, changed)
    target_for("Ana", None, lambda: FLAT, "embedded-1")
    assert choice_state("Ana") == forgotten
    assert choice_state("") == ""


def test_many_threads_agree_on_one_choice() -> None:
    targets = [
        TargetStyle(Style(f"Style {n}", "Realism", None, "p", None), 1.0, 50.0) for n in range(8)
    ]
    with ThreadPoolExecutor(8) as pool:
        chosen = set(pool.map(lambda t: target_for("Ana", None, lambda: t, "e"), targets))
    assert len(chosen) == 1
    found = remembered_choice("Ana")
    assert found is not None
    assert {found.target} == chosen


def test_parallel_writers_lose_nothing() -> None:
    code = (
        "import sys; from comfy_glaze.styles.memory import remember_choice; "
        "from comfy_glaze.styles.bank import Style; "
        "from comfy_glaze.styles.target import TargetStyle; "
        "target = TargetStyle(Style('A', 'Realism', None, 'p', None), 1.0, 50.0); "
        "[remember_choice(f'{sys.argv[1]} {n}', target) for n in range(15)]"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, name]) for name in ("Ana", "Bea")]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(remembered_choices()) == 30
    leftovers = {path.name for path in memory_file().parent.iterdir()}
    assert leftovers <= {"target-styles.json", "target-styles.lock"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"artists": []}',
        '{"artists": {"ana": 3}}',
        '{"artists": {"ana": {"artist": "Ana"}}}',
        "[" * 9999,
    ],
)
def test_damaged_memory_is_named_and_kept(text: str) -> None:
    path = memory_file()
    path.parent.mkdir(parents=True)
    path.write_text(text)
    for action in (
        remembered_choices,
        lambda: remember_choice("Bea", FLAT),
        lambda: forget_choice("Bea"),
    ):
        with pytest.raises(StyleBankError, match=r"target-styles.json, .* is damaged; mend it"):
            action()
    assert path.read_text() == text


@posix_words
def test_memory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    memory_file().parent.parent.mkdir(parents=True, exist_ok=True)
    memory_file().parent.write_text("a file in the folder's place")
    with pytest.raises(ArtworkError, match=r"target-styles.json cannot be written: File exists"):
        remember_choice("Ana", FLAT)


def test_memory_is_plain_json() -> None:
    remember_choice("Ana", DUSK, "embedded-1")
    written = json.loads(memory_file().read_text(encoding="utf-8"))
    assert written["artists"]["ana"]["style"]["name"] == "Dämmerung"
