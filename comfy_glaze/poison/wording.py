"""A concept's words inside a sentence: whether an article stands before them, and which."""

from __future__ import annotations

import re

_DETERMINERS = {
    "a", "an", "the", "some", "any", "no", "every", "each", "this", "that", "these", "those",
    "my", "your", "his", "her", "its", "our", "their", "many", "several", "few", "both", "all",
    "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
}  # fmt: skip
_PREPOSITIONS = {
    "of", "in", "on", "at", "with", "without", "by", "from", "under", "over", "beside", "near",
    "behind", "before", "after", "between", "among", "inside", "outside", "for", "to", "into",
    "through", "during", "who", "that", "which", "made", "being",
}  # fmt: skip
_MASS_NOUNS = {  # nouns that take no article, as most prompts use them
    "water", "fire", "snow", "ice", "rain", "fog", "smoke", "sand", "grass", "hair", "rice",
    "bread", "food", "meat", "money", "jewelry", "jewellery", "furniture", "clothing",
    "luggage", "lightning", "weather", "traffic", "art", "music", "graffiti", "calligraphy",
    "embroidery", "porcelain", "pottery", "nature", "armor", "armour", "mud", "dirt", "gold",
    "silver", "moonlight", "sunlight", "starlight", "thunder", "foliage", "chess",
}  # fmt: skip
_PLURALS = {  # and the words they are plurals of
    "people": "person", "children": "child", "men": "man", "women": "woman", "mice": "mouse",
    "geese": "goose", "feet": "foot", "teeth": "tooth", "oxen": "ox", "lice": "louse",
    "dice": "die", "cacti": "cactus", "fungi": "fungus", "cattle": "cattle", "police": "police",
    "clothes": "clothes", "menus": "menu", "emus": "emu", "gnus": "gnu", "skis": "ski",
    "taxis": "taxi", "kiwis": "kiwi", "bikinis": "bikini", "yetis": "yeti", "rabbis": "rabbi",
    "tsunamis": "tsunami", "wolves": "wolf", "knives": "knife", "leaves": "leaf", "loaves": "loaf",
    "elves": "elf", "calves": "calf", "scarves": "scarf", "shelves": "shelf", "wives": "wife",
    "hooves": "hoof", "thieves": "thief", "dwarves": "dwarf", "shoes": "shoe", "canoes": "canoe",
    "houses": "house", "horses": "horse", "roses": "rose", "noses": "nose", "vases": "vase",
    "cases": "case", "axes": "axe", "cookies": "cookie", "movies": "movie", "zombies": "zombie",
    "selfies": "selfie", "pixies": "pixie", "ties": "tie", "pies": "pie", "caches": "cache",
}  # fmt: skip
_SINGULAR_IN_S = {
    "lens", "gas", "canvas", "atlas", "christmas", "cosmos", "chaos", "rhinoceros", "thermos",
    "series", "species", "news", "paris", "texas", "mars", "tennis", "crossroads", "gallows",
    "barracks", "headquarters",
}  # fmt: skip
_NAME = re.compile(r"[A-Z][a-z]")
_SINGULAR_IN_MEN = re.compile(r"(speci|o|abdo|ra|sta|regi|cycla|acu)men")
_VOWEL_WRITTEN_AS_CONSONANT = re.compile(r"(hour|honest|hono|heir|x-?ray|8|11\b|18\b)")
_CONSONANT_WRITTEN_AS_VOWEL = re.compile(
    r"(eu|ewe|one\b|once\b|oui|u(ni(?![dmn])|[kb][aeiou]|ga|r[aei]|s[aeiu]|t[aeiou]))"
)
_LETTERS_WITH_A_VOWEL = frozenset("AEFHILMNORSX")  # as they are spoken: an FBI agent, a UFO


def with_article(phrase: str) -> str:
    """A phrase with the article it needs: "a dog", "an owl", "dogs", "a boat" as it was given.

    English alone does not tell a name from a noun ("batman", "batter"); words that all begin with a
    capital are a name ("Mona Lisa"), and a phrase that begins with an article or another determiner
    is taken as it is, so that a user can always say what stands there.
    """
    words = phrase.split()
    if not words or words[0].lower() in _DETERMINERS:
        return " ".join(words)
    if all(_NAME.match(word) for word in words):
        return " ".join(words)
    noun = _head(words)
    if noun in _MASS_NOUNS or is_plural(noun):
        return " ".join(words)
    return f"{_article(words[0])} {' '.join(words)}"


def without_article(phrase: str) -> str:
    """A phrase without the determiner at its beginning, unless that is all of it."""
    first, *rest = phrase.split() or [""]
    return " ".join(rest) if rest and first.lower() in _DETERMINERS else " ".join([first, *rest])


def is_plural(noun: str) -> bool:
    """Whether a noun in lower case is a plural."""
    if noun in _PLURALS:
        return True
    if noun.endswith("men"):
        return _SINGULAR_IN_MEN.fullmatch(noun) is None
    return (
        noun.endswith("s") and not noun.endswith(("ss", "us", "is")) and noun not in _SINGULAR_IN_S
    )


def forms_of(noun: str) -> list[str]:
    """A noun in lower case, with its singular and its plurals, the likely ones."""
    singular = noun
    if noun in _PLURALS:
        singular = _PLURALS[noun]
    elif is_plural(noun):
        if noun.endswith("men"):
            singular = noun[:-2] + "an"
        elif noun.endswith("ies"):
            singular = noun[:-3] + "y"
        else:
            singular = re.sub(r"(?<=[sxz])es$|(?<=[cs]h)es$|(?<=o)es$|s$", "", noun)
    plurals = {many for many, one in _PLURALS.items() if one == singular}
    if singular.endswith("man"):
        plurals.add(singular[:-2] + "en")
    if re.search(r"[^aeiou]y$", singular):
        plurals.add(singular[:-1] + "ies")
    return sorted({noun, singular, singular + "s", singular + "es"} | plurals)


def _head(words: list[str]) -> str:
    """The noun that decides the number: the last word before the first preposition."""
    for place, word in enumerate(words[1:], start=1):
        if word.lower() in _PREPOSITIONS:
            return words[place - 1].lower()
    return words[-1].lower()


def _article(word: str) -> str:
    """ "a" or "an", by how a word is spoken."""
    low = word.lower()
    if _VOWEL_WRITTEN_AS_CONSONANT.match(low):
        return "an"
    letters = re.match(r"[A-Z]{2,}(?![a-z])|[A-Z](?=-)", word)
    if letters:
        return "an" if word[0] in _LETTERS_WITH_A_VOWEL else "a"
    vowel = low[0] in "aeiouàáâäåæèéêëìíîïòóôöøùúûü"
    return "an" if vowel and not _CONSONANT_WRITTEN_AS_VOWEL.match(low) else "a"
