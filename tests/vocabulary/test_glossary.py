"""The words are explained alike in the report and on the site."""

import re
from pathlib import Path

from bayes_vae.vocabulary.glossary import GLOSSARY, UNLINKED, words_in

PAGE = Path(__file__).resolve().parents[2] / "docs" / "glossary.md"


def test_the_page_has_the_same_words_with_the_same_meanings():
    entries = re.findall(
        r"^## (.+?)\n\n(.+?)(?=\n\n|\n?\Z)", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert {word: " ".join(text.split()) for word, text in entries} == GLOSSARY


def test_the_words_stand_in_order_and_those_left_unlinked_are_explained():
    assert list(GLOSSARY) == sorted(GLOSSARY, key=str.lower)
    assert set(UNLINKED) <= set(GLOSSARY)


def test_a_longer_word_is_found_before_its_part():
    assert [word for *_, word in words_in("the posterior collapse of particles")] == ["posterior collapse", "particle"]
    assert words_in("natural, unnats") == []
