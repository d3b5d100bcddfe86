"""Records with their lines; what is wrong is named with file and line, and the rest goes on."""

import json
from pathlib import Path

import pytest

from clipsight.records import BadRow, Malformed, Row, csv_rows, json_rows, jsonl_rows


def _write(tmp_path: Path, content: str | bytes, name: str = "a.json") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("indent", [None, 1, 4])
@pytest.mark.parametrize("data", [[1, {"a": [2, "]"]}, "x"], {"k": {"a": 1}, "l,": [","], "m": None}, [], {}])
def test_json_gives_what_json_gives_with_lines(tmp_path, data, indent):
    rows = list(json_rows(_write(tmp_path, json.dumps(data, indent=indent)), "a.json"))
    assert [row.value for row in rows] == (list(data.values()) if isinstance(data, dict) else data)
    assert [row.key for row in rows] == (
        list(data) if isinstance(data, dict) else ["0", "1", "2"][: len(data)]
    )
    if indent is None:
        assert {row.line for row in rows} <= {1}


def test_lines_are_those_of_an_editor(tmp_path):
    rows = list(json_rows(_write(tmp_path, '[\n {"a": 1},\n\n {"a":\n 2}\n]'), "a.json"))
    assert [row.line for row in rows] == [2, 4]


def test_a_broken_element_is_named_and_the_rest_goes_on(tmp_path):
    text = '{\n"0": {"a": 1},\n"1": {"a" 1, "b": [1, 2]},\n"2": {"a": "},"},\n3: {"a": 4},\n"4": {"a": 5}\n}'
    good = json_rows(_write(tmp_path, text), "a.json")
    found = list(good)
    assert [row.key for row in found if isinstance(row, Row)] == ["0", "2", "4"]
    bad = [row for row in found if isinstance(row, Malformed)]
    assert [(one.file, one.line) for one in bad] == [("a.json", 3), ("a.json", 5)]
    assert str(bad[0]).startswith("a.json:3: not JSON")


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_file_that_was_cut_off_gives_what_is_whole(tmp_path, cut):
    whole = json.dumps([{"a": index} for index in range(8)], indent=1)
    *rows, last = json_rows(_write(tmp_path, whole[:cut]), "a.json")
    assert [row.value for row in rows] == [{"a": index} for index in range(len(rows))]
    assert isinstance(last, Malformed)
    assert "file ends" in last.reason


@pytest.mark.parametrize(
    "content", ["", "  \n", "version https://git-lfs.github.com/spec/v1", "<html>", '"text"']
)
def test_what_is_no_list_or_object_is_said(tmp_path, content):
    (only,) = json_rows(_write(tmp_path, content), "a.json")
    assert isinstance(only, Malformed)
    assert "neither a JSON list nor an object" in only.reason


def test_a_mark_at_the_beginning_does_no_harm(tmp_path):
    (row,) = json_rows(_write(tmp_path, b"\xef\xbb\xbf[1]"), "a.json")
    assert row.value == 1


def test_other_encodings_spoil_their_record_only(tmp_path):
    first, second = json_rows(_write(tmp_path, b'[{"a": "caf\xe9"}, {"a": "caf\xc3\xa9"}]'), "a.json")
    with pytest.raises(BadRow, match="not UTF-8"):
        first.text("a")
    assert second.text("a") == "café"


def test_deep_nesting_is_a_broken_element(tmp_path):
    text = "[" + "[" * 100_000 + "]" * 100_000 + ", 1]"
    bad, good = json_rows(_write(tmp_path, text), "a.json")
    assert isinstance(bad, Malformed)
    assert good.value == 1


def test_json_lines(tmp_path):
    rows = list(jsonl_rows(_write(tmp_path, '{"a": 1}\n\n{"a": \n{"a": 3}\n'), "a.jsonl"))
    assert [(type(row), row.line) for row in rows] == [(Row, 1), (Malformed, 3), (Row, 4)]


def test_a_table_with_quotes_over_several_lines(tmp_path):
    text = 'id,caption\r\n1,"two\nlines, a ""comma"""\r\n\r\n2,too,many\r\n3,few\r\n'
    rows = list(csv_rows(_write(tmp_path, text), "a.csv"))
    assert [(type(row), row.line) for row in rows] == [(Row, 2), (Malformed, 5), (Row, 6)]
    assert rows[0].value == {"id": "1", "caption": 'two\nlines, a "comma"'}
    assert rows[1].reason.startswith("3 cells under 2 names")


def test_an_empty_table_is_said(tmp_path):
    (only,) = csv_rows(_write(tmp_path, ""), "a.csv")
    assert "empty" in only.reason


ROW = Row(
    value={
        "text": "a cat", "blank": " ", "number": 3, "word": "7", "none": None, "flag": True, "many": ["a", 2],
        "nothing": [], "huge": 1e400, "size": 0, "short": "x",
    },
    line=1,
    key="0",
)  # fmt: skip


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: ROW.text("caption"), "'caption' is missing"),
        (lambda: ROW.text("blank"), "'blank' is blank"),
        (lambda: Row(value={"a": "\u200b\n\0"}, line=1, key="0").text("a"), "'a' is blank"),
        (lambda: ROW.text("number"), "'number' is a number 3, not text"),
        (lambda: ROW.text("none"), "'none' is null, not text"),
        (lambda: ROW.get(0), "the record is an object, not a list"),
        (lambda: ROW.texts("text"), "'text' is text 'a cat', not a list"),
        (lambda: ROW.texts("many"), r"'many'\[1\] is a number 2, not text"),
        (lambda: ROW.texts("nothing"), "not a list of texts with something in it"),
        (lambda: ROW.number("text"), "'text' is text 'a cat', not a number"),
        (lambda: ROW.number("flag"), "'flag' is true or false"),
        (lambda: ROW.number("huge"), "not a number"),
        (lambda: ROW.word("flag"), "not text"),
        (lambda: ROW.box("number", "number", "size", "number"), "the crop is 0 pixels wide and 3 high"),
        (lambda: Row(value=[1], line=1, key="0").get(3), "it has no element 3"),
        (lambda: Row(value="x", line=1, key="0").text("a"), "the record is text 'x', not an object"),
        (lambda: Row(value=[], line=1, key="0").maybe("a"), "the record is a list, not an object"),
    ],
)
def test_what_is_wrong_with_a_record_is_said(ask, said):
    with pytest.raises(BadRow, match=said):
        ask()


def test_what_is_right_with_a_record():
    assert (ROW.text("text"), ROW.word("number"), ROW.word("word"), ROW.number("word")) == (
        "a cat",
        "3",
        "7",
        7,
    )
    assert ROW.maybe("absent") is None
    assert ROW.box("number", "number", "number", "word") == (3, 3, 3, 7)
