"""Names are made of plain words, of the field's terms, or of words that the glossary explains."""

import ast
import re
from pathlib import Path

import pytest


def listed(text: str) -> set[str]:
    return set(text.split())


PLAIN = listed(
    """
    absolute acted activity agreement answer apart architecture attention audio bad baseline batch bit cache
    challenge change check child choose column command compare compress cut date declared decode disk drop dry end
    error evaluate explain export fact failure fetch figure file find finish first format gate geometry grid held
    hold host identity import in inference isolate job key leave length limit list location loss lost machine main
    many map match mean memory message model name native noise on option order outcome output own pack page path
    pipeline place plain plan plot pool predict prediction process progress quality random read readable reason
    record remain renew replace report resource result row same scale score section self setting sixteen sound
    source speech statistics style sum text time timeline too train unhealthy unknown unreadable unusable usage
    weight whole window write
    """
)
"""Words that a name uses as everybody does; one with a meaning of this house's own belongs into the glossary."""

FIELD = listed(
    """
    aac activation arrow audeering audformat augment av bar block bootstrap calibration classification cluster codec
    concat concordance config conv corpora cross demo distribute emosphere entropy epoch feature ffmpeg graph heap
    heat html iemocap iterable layer libsndfile log logmel mel metric mp3 msp norm odyssey optimiser podcast
    prefetch pretrained ray redaction resample s3 scatter schema shard soundfile sql svg table tar tensor
    transformer zip
    """
)
"""Terms and proper names of audio, learning and data processing, in the sense that they have there."""

ENDINGS = ("", "s", "es", "d", "ed", "r", "er", "ing", "or", "ion")


def entries(root: Path) -> list[str]:
    """What the glossary explains: the first column of its tables."""
    text = (root / "docs" / "glossary.md").read_text(encoding="utf-8")
    first = re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)
    return [entry for entry in first if entry not in ("word", "---")]


def words_of_the_glossary(root: Path) -> set[str]:
    """Words of its entries, and those that it puts in italics on the way."""
    text = (root / "docs" / "glossary.md").read_text(encoding="utf-8")
    found = [*entries(root), *re.findall(r"\*([\w -]+)\*", text)]
    return {word for entry in found for word in re.findall(r"[a-z0-9]+", entry.lower())}


def names(root: Path) -> dict[str, str]:
    """Every module and public class -> where it is."""
    found = {}
    for package in ("emosphere", "pipelines", "jobs"):
        for path in sorted((root / package).rglob("*.py")):
            place = path.relative_to(root)
            for part in place.with_suffix("").parts:
                if not part.startswith("__"):
                    found.setdefault(part, str(place))
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    found[node.name] = f"{place}: class {node.name}"
    return found


def words(name: str) -> list[str]:
    """Of snake_case or CamelCase, in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]+\d*(?![a-z])|[A-Z]?[a-z]+\d*|\d+", name)]


def stems(word: str) -> set[str]:
    """What the word may be a form of: files, decoded, decoder, dropped."""
    bare = {word.removesuffix(ending) for ending in ENDINGS}
    return bare | {f"{stem}e" for stem in bare} | {stem[:-1] for stem in bare if stem[-1:] == stem[-2:-1]}


def is_known(word: str, known: set[str]) -> bool:
    return not stems(word).isdisjoint(known)


def test_every_name_is_made_of_known_words(root: Path) -> None:
    known = PLAIN | FIELD | words_of_the_glossary(root)
    odd = [
        f"{word}: {place}" for name, place in names(root).items() for word in words(name) if not is_known(word, known)
    ]
    assert not odd, (
        "Name it in plain English or in the field's term, or give the word a line in docs/glossary.md. Of this test, "
        "PLAIN takes a word in its plain sense and FIELD a term.\n" + "\n".join(sorted(odd))
    )


def test_no_word_is_listed_that_no_name_uses(root: Path) -> None:
    used = {stem for name in names(root) for word in words(name) for stem in stems(word)}
    unused = (PLAIN | FIELD) - used
    assert not unused, f"No name uses these any more; take them out of this test: {', '.join(sorted(unused))}"


def test_no_word_of_the_glossary_is_listed_as_plain(root: Path) -> None:
    explained = {entry.lower() for entry in entries(root)} & (PLAIN | FIELD)
    assert not explained, f"The glossary explains these; take them out of this test: {', '.join(sorted(explained))}"


def test_the_glossary_explains_each_word_once(root: Path) -> None:
    assert sorted({entry for entry in entries(root) if entries(root).count(entry) > 1}) == []


@pytest.mark.parametrize("name", ["twins.py", "SnarkBuffer", "hearing"])
def test_an_odd_name_is_seen(root: Path, name: str) -> None:
    known = PLAIN | FIELD | words_of_the_glossary(root)
    assert not all(is_known(word, known) for word in words(name.removesuffix(".py")))
