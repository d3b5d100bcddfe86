"""The extractors that use another package: TextBlob's bundled lexicon, and any spaCy pipeline."""

import sys
from typing import Any

import pytest

from clipsight.errors import Unsupported
from clipsight.roles import by_spacy, by_textblob
from clipsight.roles.extract import CaptionRoles, extract_roles

LETTER = {"object": "o", "attribute": "a", "relation": "r", "other": "-"}


def letters(found: CaptionRoles) -> str:
    return "".join(LETTER[role] for role in found.roles)


def relations(found: CaptionRoles) -> set[str]:
    def text(numbers: Any) -> str:
        return " ".join(found.words[i].text for i in numbers)

    def end(number: int | None) -> str:
        return "_" if number is None else found.words[number].text

    return {f"{end(r.subject)} [{text(r.words)}] {end(r.object)}" for r in found.relations}


def test_textblob_tags_offline():
    pytest.importorskip("textblob", reason='pip install "clipsight[words]"')
    found = extract_roles(
        "A brown dog is sitting on a large wooden table, near the man's two cats.", "textblob"
    )
    assert letters(found) == "-ao-rr-aaor-oao"
    assert {(found.words[a].text, found.words[o].text) for a, o in found.links} == {
        ("brown", "dog"), ("large", "table"), ("wooden", "table"), ("two", "cats"),
    }  # fmt: skip
    assert relations(found) == {"dog [sitting on] table", "table [near] man's"}
    assert found.extractor == "textblob"
    assert "textblob" in found.version


@pytest.mark.parametrize("caption", ["", "…", "a. b! c? d", "it's isn't", "x/y & z", "犬 dog", "1 2.5 3"])
def test_textblob_keeps_to_the_words(caption: str):
    pytest.importorskip("textblob", reason='pip install "clipsight[words]"')
    assert extract_roles(caption, "textblob").words == extract_roles(caption).words


def test_textblob_sees_punctuation_but_gives_it_no_role():
    pytest.importorskip("textblob", reason='pip install "clipsight[words]"')
    assert letters(extract_roles("Dogs, cats. Birds!", "textblob")) == "ooo"


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if neither package were installed."""
    for name in ("textblob", "textblob.taggers", "spacy"):
        monkeypatch.setitem(sys.modules, name, None)
    by_textblob._tagger.cache_clear()
    by_spacy._load.cache_clear()


@pytest.mark.usefixtures("hidden")
@pytest.mark.parametrize("extractor", ["textblob", "spacy"])
def test_a_missing_package_comes_with_its_install_line(extractor: str):
    with pytest.raises(Unsupported, match=r'pip install "clipsight\[words\]"'):
        extract_roles("a dog", extractor)


# word: (part of speech, dependency, place of its head in the sentence)
Parse = dict[str, list[tuple[str, str, int]]]
PARSES: Parse = {
    "A black dog is riding in front of two red cars": [
        ("DET", "det", 2), ("ADJ", "amod", 2), ("NOUN", "nsubj", 4), ("AUX", "aux", 4), ("VERB", "ROOT", 4),
        ("ADP", "prep", 4), ("NOUN", "pobj", 5), ("ADP", "prep", 6), ("NUM", "nummod", 10), ("ADJ", "amod", 10),
        ("NOUN", "pobj", 7),
    ],
    "The man and woman holding up an umbrella are happy": [
        ("DET", "det", 1), ("NOUN", "nsubj", 8), ("CCONJ", "cc", 1), ("NOUN", "conj", 1), ("VERB", "acl", 1),
        ("ADP", "prt", 4), ("DET", "det", 7), ("NOUN", "dobj", 4), ("AUX", "ROOT", 8), ("ADJ", "acomp", 8),
    ],
    "a bowl of hot soup on the table": [
        ("DET", "det", 1), ("NOUN", "ROOT", 1), ("ADP", "prep", 1), ("ADJ", "amod", 4), ("NOUN", "pobj", 2),
        ("ADP", "prep", 1), ("DET", "det", 7), ("NOUN", "pobj", 5),
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def pipeline() -> Any:
    """A pipeline of spaCy's own making, whose parser knows the sentences above and calls other words nouns."""
    spacy = pytest.importorskip("spacy", reason='pip install "clipsight[words]"')
    from spacy.language import Language

    @Language.component("sentences_by_heart")
    def by_heart(doc: Any) -> Any:
        parse = PARSES.get(doc.text, [])
        for token, (pos, dep, head) in zip(doc, parse, strict=False):
            token.pos_, token.dep_, token.head = pos, dep, doc[head]
        return doc

    nlp = spacy.blank("en")
    nlp.add_pipe("sentences_by_heart")
    ruler = nlp.add_pipe("attribute_ruler")
    ruler.add([[{"LOWER": {"IN": ["zebra", "grass"]}}]], {"POS": "NOUN"})
    ruler.add([[{"LOWER": "tall"}]], {"POS": "ADJ"})
    return nlp


def test_spacy_roles_links_and_relations(pipeline: Any):
    found = extract_roles("A black dog is riding in front of two red cars", "spacy", pipeline=pipeline)
    assert letters(found) == "-ao-rrrraao"
    assert {(found.words[a].text, found.words[o].text) for a, o in found.links} == {
        ("black", "dog"), ("two", "cars"), ("red", "cars"),
    }  # fmt: skip
    assert relations(found) == {"dog [riding in front of] cars"}
    assert found.extractor == "spacy"
    assert "spacy" in found.version


def test_spacy_takes_in_what_is_joined_and_said_of_a_subject(pipeline: Any):
    found = extract_roles("The man and woman holding up an umbrella are happy", "spacy", pipeline=pipeline)
    assert letters(found) == "-o-orr-o-a"
    assert relations(found) == {"man [holding up] umbrella", "woman [holding up] umbrella"}
    assert [(found.words[a].text, found.words[o].text) for a, o in found.links] == [("happy", "man")]


def test_spacy_of_is_no_relation(pipeline: Any):
    found = extract_roles("a bowl of hot soup on the table", "spacy", pipeline=pipeline)
    assert letters(found) == "-o-aor-o"
    assert relations(found) == {"bowl [on] table"}


def test_a_spacy_pipeline_without_a_parser_gives_roles_alone(pipeline: Any):
    found = extract_roles("Zebra, tall grass", "spacy", pipeline=pipeline)
    assert letters(found) == "oao"
    assert (found.links, found.relations) == ((), ())


def test_a_spacy_pipeline_without_a_tagger_is_refused():
    spacy = pytest.importorskip("spacy", reason='pip install "clipsight[words]"')
    with pytest.raises(Unsupported, match=r"sets no parts of speech \(its components: none\)"):
        extract_roles("a dog", "spacy", pipeline=spacy.blank("en"))


def test_a_spacy_pipeline_that_is_not_installed_is_named():
    pytest.importorskip("spacy", reason='pip install "clipsight[words]"')
    by_spacy._load.cache_clear()
    with pytest.raises(Unsupported, match="python -m spacy download en_no_such_pipeline"):
        extract_roles("a dog", "spacy", pipeline="en_no_such_pipeline")
