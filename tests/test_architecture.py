"""The page "Architecture" says what the code is: its rooms, what they use, and the steps of its three ways."""

import importlib.util
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.test_floors import FLOORS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
WIDTH = 360


@pytest.fixture(scope="module")
def architecture():
    found = importlib.util.spec_from_file_location("_architecture", ROOT / "docs" / "_architecture.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_page_shows_every_part(architecture):
    asked = re.findall(r"<!-- architecture: (\w+) -->", PAGE.read_text(encoding="utf-8"))
    assert asked == ["drawing", "table", *architecture.WAYS]
    shown = architecture.on_page(PAGE.read_text(encoding="utf-8"))
    assert "<!--" not in shown
    assert shown.count("<svg") == 4


def test_every_room_is_drawn_and_listed(architecture):
    rooms = [room for room in FLOORS if not room.startswith("__")]
    assert sorted(room for floor in architecture.floors().values() for room in floor) == sorted(rooms)
    drawn = ElementTree.fromstring(architecture.drawing())
    texts = [one.text for one in drawn.iter() if one.tag.endswith("text")]
    assert set(rooms) <= set(texts)
    listed = re.findall(r"^\| (\d) \| `(\w+)` \|", architecture.table(), flags=re.MULTILINE)
    assert sorted((room, int(floor)) for floor, room in listed) == sorted(
        (room, FLOORS[room]) for room in rooms
    )


def test_what_a_room_uses_is_what_it_imports(architecture):
    assert architecture.uses("draw") == set()
    assert {"features", "towers", "results", "scoring"} <= architecture.uses("session")
    for room in FLOORS:
        if not room.startswith("__"):
            assert all(FLOORS[other] <= FLOORS[room] for other in architecture.uses(room))


@pytest.mark.parametrize("name", ["picture", "caption", "example"])
def test_a_way_has_all_its_steps(architecture, name):
    steps = architecture.WAYS[name]
    shown = architecture.way(name)
    assert all(f"{number}. `" in shown for number in range(1, len(steps) + 1))
    assert all(architecture.summary(step) in shown for step in steps)


def test_a_step_that_is_gone_is_named(architecture):
    with pytest.raises(LookupError, match=r"scoring/similarity\.py defines no gone"):
        architecture.summary("scoring/similarity.py:gone")
    with pytest.raises(LookupError, match=r"no file scoring/gone\.py"):
        architecture.summary("scoring/gone.py")


def test_drawings_fit_a_narrow_screen(architecture):
    for text in (architecture.drawing(), *map(architecture.way, architecture.WAYS)):
        svg = re.search(r"<svg.*?</svg>", text, flags=re.DOTALL)[0]
        drawn = ElementTree.fromstring(svg)
        left, top, width, height = map(float, drawn.get("viewBox").split())
        assert (left, top, width) == (0, 0, WIDTH)
        assert float(drawn.get("font-size")) >= 12
        assert "#" not in svg  # no fixed colour: it follows the page, light or dark
        for one in drawn.iter():
            if one.tag.endswith("text"):
                assert float(one.get("x")) + 7.3 * len(one.text) <= WIDTH
                assert float(one.get("y")) <= height
