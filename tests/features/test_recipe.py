"""The recipe language: what can be written runs; what cannot run cannot be written."""

import dataclasses
import json

import pytest

from clipsight.features import (
    Accumulate,
    Branch,
    Kernel,
    LastBlock,
    Recipe,
    get_recipe,
    recipe_ids,
    register,
    registry,
    with_depth,
)

QK = Kernel(branches=(Branch(left="q", right="k"),))


def recipe(**changes) -> Recipe:
    plain = {
        "id": "mine",
        "summary": "A test.",
        "kernel": QK,
        "path": LastBlock(),
        "residual": "drop",
        "ffn": "skip",
    }
    return Recipe(**{**plain, "positions": "bilinear", **changes})


def unchecked(kind: type, **fields) -> None:
    """Validation as users meet it, without the type checks that tests switch on."""
    made = object.__new__(kind)
    made.__dict__.update(fields)
    made.__post_init__()


@pytest.mark.parametrize(
    ("rule", "make"),
    [
        ("branch-operands", lambda: unchecked(Branch, left="x", right="k", weight=1.0)),
        ("branch-weights", lambda: Branch(left="q", right="k", weight=0.0)),
        ("branch-weights", lambda: Branch(left="q", right="k", weight=float("nan"))),
        ("kernel-branches", lambda: Kernel(branches=())),
        ("accumulate-blocks", lambda: Accumulate(0)),
        ("accumulate-skips-ffn", lambda: recipe(path=Accumulate(2), residual="keep", ffn="keep")),
        ("ffn-needs-residual", lambda: recipe(residual="drop", ffn="keep")),
        ("residual", lambda: unchecked(Recipe, **{**vars(recipe()), "residual": "half"})),
        ("ffn", lambda: unchecked(Recipe, **{**vars(recipe()), "ffn": "maybe"})),
        ("positions", lambda: unchecked(Recipe, **{**vars(recipe()), "positions": "nearest"})),
        ("recipe-id", lambda: recipe(id="Not An Id")),
        ("recipe-id", lambda: recipe(id="trailing.")),
        ("depth", lambda: with_depth(recipe(), 3)),
    ],
)
def test_broken_rules_are_named(rule, make):
    with pytest.raises(ValueError, match=f"rule '{rule}' is broken: got .+, but .+ Write "):
        make()


def test_recipes_are_data():
    for name in recipe_ids():
        made = get_recipe(name)
        plain = made.to_dict()
        assert json.loads(json.dumps(plain, allow_nan=False)) == plain
        assert plain["id"] == name
        assert hash(made) == hash(dataclasses.replace(made))
        assert made.source is not None
        assert all(
            number.grade in ("read", "second-hand", "derived") and number.where for number in made.published
        )


def test_to_dict_tells_depth_and_kernel():
    plain = with_depth(get_recipe("clip_surgery"), 4).to_dict()
    assert plain["path"] == {"kind": "accumulate", "blocks": 4}
    assert plain["kernel"]["branches"] == [{"kind": "Branch", "left": "v", "right": "v"}]
    assert plain["positions"] == "bilinear"
    assert get_recipe("naclip").to_dict()["kernel"]["branches"][0]["bias"][0]["by"] == {"kind": "Nearness"}


def test_depth_changes_the_path_alone():
    original = get_recipe("clip_surgery")
    deeper = with_depth(original, 9)
    assert deeper.path == Accumulate(9)
    assert dataclasses.replace(deeper, path=original.path) == original


def test_only_clip_is_plain():
    assert [name for name in recipe_ids() if get_recipe(name).is_plain] == ["clip"]
    plain = get_recipe("clip")
    doubled = Kernel(branches=(Branch(left="q", right="k", weight=2.0),))
    assert not dataclasses.replace(plain, kernel=doubled).is_plain
    assert not dataclasses.replace(plain, ffn="skip").is_plain


def test_registry_knows_ids_and_passes_recipes_through(monkeypatch):
    monkeypatch.setattr(registry, "_RECIPES", dict(registry._RECIPES))
    mine = recipe(id="mine.v2")
    assert get_recipe(mine) is mine
    assert "mine.v2" not in recipe_ids()
    assert register(mine) is mine
    assert register(mine) is mine
    assert get_recipe("mine.v2") is mine
    with pytest.raises(ValueError, match="registered already"):
        register(recipe(id="mine.v2", residual="keep"))


def test_unknown_id_lists_the_recipes_and_the_nearest():
    with pytest.raises(
        ValueError,
        match=r"did you mean 'clip_surgery'\? The recipes are clip, anoclip, clearclip, clip_surgery",
    ):
        get_recipe("clipsurgery")
