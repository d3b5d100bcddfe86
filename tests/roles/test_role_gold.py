"""The hand-made labels of caption words are whole, and belong to the captions they name."""

import hashlib
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

LABELS = Path(__file__).parents[1] / "data" / "roles"
REALSET = Path(__file__).parents[3] / "shared" / "realset"
WORD = re.compile(r"[A-Za-z0-9]+(?:['’-][A-Za-z0-9]+)*")
HALVES = ("dev", "test")


def read(half: str) -> list[dict[str, Any]]:
    return json.loads((LABELS / f"{half}.json").read_text(encoding="utf-8"))


def place(record: dict[str, Any]) -> tuple[int, int]:
    return record["image"], record["caption"]


@pytest.fixture(scope="module")
def captions() -> dict[int, list[str]]:
    index = REALSET / "index.json"
    if not index.is_file():
        pytest.skip("the shared photo set with its captions is not beside this checkout")
    return {
        i["id"]: i["captions"]
        for i in json.loads(index.read_text(encoding="utf-8"))["images"]
        if i["captions"]
    }


def test_the_halves_are_a_hundred_each_and_share_no_image():
    dev, test = (read(half) for half in HALVES)
    assert len({place(r) for r in dev}) == len(dev) == 100
    assert len({place(r) for r in test}) == len(test) == 100
    assert not {r["image"] for r in dev} & {r["image"] for r in test}


@pytest.mark.parametrize("half", HALVES)
def test_records_are_well_formed(half: str):
    for record in read(half):
        assert set(record) == {"image", "caption", "n_words", "sha1", "roles", "links", "relations"}
        roles = record["roles"]
        assert len(roles) == record["n_words"] > 0, place(record)
        assert set(roles) <= set("oar-"), place(record)
        assert "o" in roles, place(record)
        assert re.fullmatch("[0-9a-f]{12}", record["sha1"]), place(record)


@pytest.mark.parametrize("half", HALVES)
def test_links_join_an_attribute_to_an_object(half: str):
    for record in read(half):
        roles, links = record["roles"], record["links"]
        assert len({tuple(link) for link in links}) == len(links), place(record)
        for attribute, thing in links:
            assert 0 <= attribute < len(roles), place(record)
            assert 0 <= thing < len(roles), place(record)
            assert (roles[attribute], roles[thing]) == ("a", "o"), place(record)


@pytest.mark.parametrize("half", HALVES)
def test_relations_join_objects_by_relation_words_and_use_them_all(half: str):
    for record in read(half):
        roles, used = record["roles"], set()
        for subject, words, thing in record["relations"]:
            assert words, place(record)
            assert words == sorted(set(words)), place(record)
            ends = [end for end in (subject, thing) if end is not None]
            assert all(0 <= i < len(roles) for i in (*ends, *words)), place(record)
            assert all(roles[i] == "o" for i in ends), place(record)
            assert all(roles[i] == "r" for i in words), place(record)
            used.update(words)
        assert used == {i for i, role in enumerate(roles) if role == "r"}, place(record)


def test_each_role_is_frequent_enough_to_be_measured():
    for half in HALVES:
        letters = "".join(r["roles"] for r in read(half))
        assert min(letters.count(role) for role in "oar") >= 100, half


@pytest.mark.parametrize("half", HALVES)
def test_lengths_and_hashes_are_those_of_the_captions(half: str, captions: dict[int, list[str]]):
    for record in read(half):
        caption = captions[record["image"]][record["caption"]]
        assert record["n_words"] == len(WORD.findall(caption)), place(record)
        assert record["sha1"] == hashlib.sha1(caption.encode()).hexdigest()[:12], place(record)


def test_the_choice_is_the_one_the_guideline_states(captions: dict[int, list[str]]):
    rng = random.Random(6)
    images = rng.sample(sorted(captions), 100)
    chosen = {i: sorted(rng.sample(range(len(captions[i])), 2)) for i in images}
    by_hash = sorted(chosen, key=lambda i: hashlib.sha1(str(i).encode()).hexdigest())
    for half, ids in zip(HALVES, (sorted(by_hash[:50]), sorted(by_hash[50:])), strict=True):
        assert [place(r) for r in read(half)] == [(i, n) for i in ids for n in chosen[i]]
