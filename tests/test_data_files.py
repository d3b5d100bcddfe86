"""The data files of the package are what their readers take them for: no unknown key, no source missing or unused."""

import json
import tomllib
from importlib.resources import files
from typing import get_args

from clipsight.features.citation import Grade

ASSETS = files("clipsight") / "assets"


def test_published_scores_have_source_grade_and_plausible_values():
    data = json.loads((ASSETS / "published_scores.json").read_text(encoding="utf-8"))
    assert set(data) == {"sources", "tables"}
    assert all(text.strip() for text in data["sources"].values())
    assert {table["source"] for table in data["tables"]} == set(data["sources"])
    for table in data["tables"]:
        assert set(table) - {"metric"} == {"benchmark", "protocol", "source", "grade", "scores"}
        assert table["grade"] in get_args(Grade)
        for scores in table["scores"].values():
            assert scores
            assert all(isinstance(value, float) and 0 < value < 100 for value in scores.values())


def test_vocabularies_name_lists_that_are_there_and_use_all_of_them():
    data = tomllib.loads((ASSETS / "vocabularies.toml").read_text(encoding="utf-8"))
    assert set(data) == {"lists", "synonyms", "benchmarks"}
    made = [one for variants in data["benchmarks"].values() for one in variants.values()]
    assert all({"classes"} <= set(one) <= {"classes", "synonyms", "background"} for one in made)
    used = {one[name] for one in made for name in ("classes", "background") if name in one}
    assert used == set(data["lists"])
    assert {one["synonyms"] for one in made if "synonyms" in one} == set(data["synonyms"])
    for name, words in data["lists"].items():
        assert len(set(words)) == len(words), name
        assert all(word == " ".join(word.split()) for word in words)
    for one in made:
        synonyms = data["synonyms"].get(one.get("synonyms"), {})
        assert set(synonyms) <= set(data["lists"][one["classes"]])


def test_relations_left_out_are_sorted_and_in_one_list_each():
    data = tomllib.loads((ASSETS / "vg_relations_left_out.toml").read_text(encoding="utf-8"))
    assert set(data) == {"notebook", "macco"}
    for one in data.values():
        assert one["source"]
        assert one["names"] == sorted(set(one["names"]))
    assert not set(data["notebook"]["names"]) & set(data["macco"]["names"])
