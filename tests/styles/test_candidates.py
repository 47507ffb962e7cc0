from __future__ import annotations

import unicodedata
from itertools import combinations
from pathlib import Path

import pytest

from comfy_glaze.styles.bank import StyleBankError
from comfy_glaze.styles.candidates import (
    filter_candidates,
    find_known_style,
    genre_names,
    plain,
    read_style_list,
    wikiart_candidates,
)

OTHER_NAMES = (
    ("Mabuse", "Jan Gossaert"),
    ("Hiroshige", "Utagawa Hiroshige"),
    ("Hokusai", "Katsushika Hokusai"),
    ("Utamaro", "Kitagawa Utamaro"),
    ("El Greco", "Doménikos Theotokópoulos"),
    ("Titian", "Tiziano Vecellio"),
    ("Tintoretto", "Jacopo Robusti"),
    ("Canaletto", "Giovanni Antonio Canal"),
    ("Canaletto the Younger", "Bernardo Bellotto"),
    ("Caravaggio", "Michelangelo Merisi"),
    ("Michelangelo", "Michelangelo Buonarroti"),
    ("Correggio", "Antonio Allegri"),
    ("Parmigianino", "Francesco Mazzola"),
    ("Raphael", "Raffaello Sanzio"),
    ("Sandro Botticelli", "Alessandro Filipepi"),
    ("Paolo Veronese", "Paolo Caliari"),
    ("Master of Flémalle", "Robert Campin"),
    ("Master of Moulins", "Jean Hey"),
    ("Rembrandt", "Rembrandt van Rijn"),
    ("Claude Lorrain", "Claude Gellée"),
    ("Afro", "Afro Basaldella"),
    ("Balthus", "Balthasar Klossowski"),
    ("Toyen", "Marie Čermínová"),
    ("Arman", "Armand Fernandez"),
    ("Erró", "Guðmundur Guðmundsson"),
    ("Corneille", "Guillaume Cornelis van Beverloo"),
    ("Le Corbusier", "Charles-Édouard Jeanneret"),
    ("Man Ray", "Emmanuel Radnitzky"),
    ("Grandma Moses", "Anna Mary Robertson Moses"),
    ("Séraphine Louis", "Séraphine de Senlis"),
    ("Jacques Villon", "Gaston Duchamp"),
    ("Marevna", "Marie Vorobieff"),
    ("Aleksandra Ekster", "Alexandra Exter"),
    ("Volodymyr Orlovsky", "Vladimir Orlovsky"),
    ("Alexander Archipenko", "Oleksandr Arkhypenko"),
    ("J. M. W. Turner", "William Turner"),
    ("Joseph Wright of Derby", "Joseph Wright"),
    ("Blinky Palermo", "Peter Heisterkamp"),
    ("Maria Primachenko", "Maria Prymachenko"),
    ("Tsuguharu Foujita", "Léonard Foujita"),
)
"""Two names of one painter: the list may have one of them."""

DIFFERENT_PEOPLE = {
    ("Arman", "Arman Manookian"),
    ("Michelangelo", "Michelangelo Pistoletto"),
    ("Raphael", "Raphael Kirchner"),
    ("Utagawa Kunisada", "Utagawa Kunisada II"),
    ("Utagawa Toyokuni", "Utagawa Toyokuni II"),
}
"""Names of which one contains the other's words, looked at one by one."""


def artists() -> list[str]:
    return [candidate.style.artist or "" for candidate in wikiart_candidates()]


def test_lists_are_as_long_as_the_papers() -> None:
    assert len(wikiart_candidates()) == 1119
    assert len(wikiart_candidates(all_styles=True)) == 2108
    for everything in (False, True):
        names = [candidate.style.name for candidate in wikiart_candidates(everything)]
        assert len({name.casefold() for name in names}) == len(names)


def test_each_artist_stands_in_the_style_they_painted_most() -> None:
    most: dict[str, int] = {}
    for candidate in wikiart_candidates(all_styles=True):
        most[candidate.slug] = max(most.get(candidate.slug, 0), candidate.works)
    assert all(candidate.works == most[candidate.slug] for candidate in wikiart_candidates())
    (monet,) = (c.style for c in wikiart_candidates() if c.slug == "claude-monet")
    assert monet.name == "Claude Monet (Impressionism)"
    assert monet.prompt == "Impressionism painting by Claude Monet"


def test_no_name_is_mangled() -> None:
    for name in artists():
        assert name == unicodedata.normalize("NFC", name)
        assert all(letter.isalpha() or letter in " .'-" for letter in name), name
        assert not any(unicodedata.category(letter) == "Lm" for letter in name), name
        scripts = {unicodedata.name(letter).split()[0] for letter in name if letter.isalpha()}
        assert scripts == {"LATIN"}, name
        assert name == " ".join(name.split())
        assert name[0].isupper(), name
        words = [word for word in name.replace("-", " ").split() if word[0].islower()]
        small = "a af al chia d' da de del della der di do du el il la le of the van von y ter den"
        assert set(words) <= {*small.split(), "i"} | {"brothers"}, name
        for mark in ("Ã", "Â", "\ufffd", "  ", " .", "Ii"):
            assert mark not in name[1:], name


def test_no_artist_comes_twice() -> None:
    keys = [plain(name) for name in artists()]
    assert len(set(keys)) == len(keys) == 1119
    words = [frozenset(map(plain, name.replace("-", " ").split())) for name in artists()]
    assert len(set(words)) == len(words)  # nor with the family name first
    contained = {
        (a, b) if len(a) < len(b) else (b, a)
        for (a, one), (b, other) in combinations(zip(artists(), words, strict=True), 2)
        if one <= other or other <= one
    }
    assert contained == DIFFERENT_PEOPLE


@pytest.mark.parametrize("names", OTHER_NAMES, ids=lambda names: names[0])
def test_no_artist_has_a_nickname_beside_the_name(names: tuple[str, str]) -> None:
    known = {plain(name) for name in artists()}
    assert len(known & {plain(name) for name in names}) == 1


def test_genres_read_well() -> None:
    shown = set(genre_names().values())
    assert len(shown) == 27
    assert {"Art Nouveau", "Ukiyo-e", "Post-Impressionism", "Naïve Art", "Mannerism"} <= shown
    assert {candidate.style.genre for candidate in wikiart_candidates(True)} == shown
    prompts = [candidate.style.prompt for candidate in wikiart_candidates()]
    assert "Color Field Painting by Mark Rothko" in prompts
    assert not any("Painting painting" in prompt for prompt in prompts)


def test_filters_by_genre_whatever_the_spelling() -> None:
    found = filter_candidates(wikiart_candidates(), ["ukiyo E", "Naive art"])
    assert {candidate.style.genre for candidate in found} == {"Ukiyo-e", "Naïve Art"}
    assert 0 < len(found) < 100
    with pytest.raises(StyleBankError, match=r"no genre 'Cubisme' .* Cubism, Early Renaissance"):
        filter_candidates(wikiart_candidates(), ["Cubisme"])


def test_living_artists_can_be_left_out() -> None:
    def names(without_living: bool) -> set[str]:
        found = filter_candidates(wikiart_candidates(), without_living=without_living)
        return {candidate.style.artist or "" for candidate in found}

    left_out = names(False) - names(True)
    assert {"Yayoi Kusama", "Gerhard Richter", "Bridget Riley", "Allen Jones"} <= left_out
    assert {"Claude Monet", "Frida Kahlo", "Martin Barré", "Utagawa Kunisada II"} <= names(True)
    assert len(names(True)) > 1000


def test_one_name_is_listed_but_never_drawn() -> None:
    drawn = filter_candidates(wikiart_candidates())
    missing = {c.slug for c in wikiart_candidates()} - {c.slug for c in drawn}
    assert missing == {"adolf-hitler"}


def test_styles_are_known_by_painter_and_by_full_name() -> None:
    assert find_known_style("claude monet").name == "Claude Monet (Impressionism)"
    assert find_known_style("Claude Monet (Realism)").genre == "Realism"
    assert find_known_style("Soft crayon").embedded == 0
    with pytest.raises(StyleBankError, match="did you mean Claude Monet"):
        find_known_style("Claude Monnet (Impressionism)")


CSV = """name,genre,artist,prompt,died
Chalk,Realism,,chalk on slate,
,Cubism,Juan Gris,,1927
,Cubism,Somebody,,
"""
YAML = """
- {name: Chalk, genre: Realism, prompt: chalk on slate}
- {genre: Cubism, artist: Juan Gris, died: 1927}
- {genre: Cubism, artist: Somebody}
"""


@pytest.mark.parametrize(("suffix", "text"), [("csv", CSV), ("yaml", YAML), ("yml", YAML)])
def test_own_list_works_the_same_way(tmp_path: Path, suffix: str, text: str) -> None:
    file = tmp_path / f"own.{suffix}"
    file.write_text(text, encoding="utf-8-sig")
    found = read_style_list(file)
    assert [c.style.name for c in found] == [
        "Chalk",
        "Juan Gris (Cubism)",
        "Somebody (Cubism)",
    ]
    assert found[0].style.prompt == "chalk on slate"
    assert found[1].style.prompt == "Cubism painting by Juan Gris"
    assert len(filter_candidates(found, ["cubism"])) == 2
    (left,) = filter_candidates(found, without_living=True)
    assert left.style.artist == "Juan Gris"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("own.csv", "name\n=SUM(A1)\n", r"style 1: the name begins like a spreadsheet formula"),
        ("own.csv", "name\n@cmd\n", "like a spreadsheet formula"),
        ("own.csv", "name\nA\x07B\n", r"the name holds control characters: 'A\\x07B'"),
        ("own.yaml", '- {name: "A\\nB"}', "holds control characters"),
        ("own.yaml", '- {name: "\\u202eA"}', "holds control characters"),
        ("own.csv", f"name\n{'a' * 121}\n", "may have 120 characters, but it has 121"),
        ("own.csv", "name\nA\na\n", "The style 'a' comes twice in own.csv"),
        ("own.csv", "genre\nCubism\n", "expected a name, or an artist and a genre"),
        (
            "own.csv",
            "name,size\nA,3\n",
            "columns name, genre, artist, prompt, died, but got 'size'",
        ),
        ("own.csv", "name\nA,B\n", "but got None"),
        ("own.csv", "name\n", "needs at least one, but own.csv has none"),
        ("own.csv", 'name\n"A\n', "is no CSV"),
        ("own.yaml", "name: A", "Expected a list of styles in own.yaml"),
        ("own.yaml", "[a, b]", "Expected a list of styles in own.yaml"),
        ("own.yaml", "- name: [1]", r"expected text for name, but got \[1\]"),
        ("own.yaml", "- {", "is no YAML"),
        ("own.yaml", "- !!python/object/apply:os.getcwd []", "is no YAML"),
        ("own.yaml", "[" * 5000, "is no YAML"),
        ("own.txt", "A", "as .csv or .yaml, but got own.txt"),
    ],
)
def test_what_is_wrong_in_an_own_list_is_named(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(StyleBankError, match=words) as caught:
        read_style_list(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_unreadable_own_lists_are_named(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_bytes(b"name\n\xff\n")
    with pytest.raises(StyleBankError, match="must be UTF-8"):
        read_style_list(tmp_path / "own.csv")
    with pytest.raises(StyleBankError, match="cannot be read: No such file"):
        read_style_list(tmp_path / "absent.csv")
    (tmp_path / "own.csv").write_bytes(b"name\n" + b"a" * 4_000_001)
    with pytest.raises(StyleBankError, match=r"4 MB, but own.csv is larger"):
        read_style_list(tmp_path / "own.csv")
