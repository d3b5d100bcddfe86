"""The published vocabularies have as many classes and words as their data sets and class files."""

import pytest

from clipsight.features.dataset_setting import KEYS
from clipsight.language.vocabularies import vocabularies, vocabulary

COUNTS = {
    "VOC21": (21, 56, 21), "VOC20": (20, 30, 20), "PC60": (60, 60, 60), "PC59": (59, 59, 59),
    "COCO-Object": (81, 113, 81), "COCO-Stuff": (171, 171, 171), "Cityscapes": (19, 19, 19), "ADE20K": (150, 150, 150),
}  # fmt: skip
"""Classes, queries of "S", queries of "P"."""


@pytest.mark.parametrize("benchmark", COUNTS)
def test_counts(benchmark: str):
    classes, synonyms, plain = COUNTS[benchmark]
    assert len(vocabulary(benchmark)) == classes
    assert len(vocabulary(benchmark, "S").queries) == synonyms
    assert len(vocabulary(benchmark, "P").queries) == plain
    for variant in vocabularies()[benchmark]:
        names = vocabulary(benchmark, variant)
        assert names.classes == vocabulary(benchmark).classes
        assert names.background == (benchmark in ("VOC21", "PC60", "COCO-Object"))
        assert all(" ".join(word.split()) == word for word in names.queries)


def test_all_settings_have_names():
    assert set(KEYS.values()) == set(vocabularies())


def test_wording_is_literal():
    voc = vocabulary("VOC21")
    assert voc.words[0][:2] == ("sky", "wall")
    assert len(voc.words[0]) == 26
    assert voc.classes[4] == "ship"
    assert voc.words[15] == (
        "person", "person in shirt", "person in jeans", "person in dress", "person in sweater", "person in skirt",
        "person in jacket",
    )  # fmt: skip
    assert voc.words[20][0] == "television monitor"
    assert vocabulary("VOC20", "sfp").words[14][1] == "people in shirt"
    assert vocabulary("COCO-Object").words[1][-1] == "body"
    assert len(vocabulary("COCO-Object", "proxyclip").words[0]) == 17
    assert vocabulary("Cityscapes").classes[6] == "trafficlight"
    assert "chestofdrawers" in vocabulary("ADE20K").classes
    assert vocabulary("COCO-Stuff").classes[84] == "building-other"


def test_the_published_clash_is_said():
    assert [key for key in vocabularies() for v in vocabularies()[key] if vocabulary(key, v).notes] == [
        "COCO-Object",
        "COCO-Object",
    ]
    assert vocabulary("COCO-Object").clashes == {"bed": ("background", "bed")}


def test_unknown():
    with pytest.raises(ValueError, match="give one of VOC21"):
        vocabulary("VOC2012")
    with pytest.raises(ValueError, match="COCO-Stuff has no names 'sfp'; give one of S, P, corrclip"):
        vocabulary("COCO-Stuff", "sfp")
