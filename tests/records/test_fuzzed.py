"""Whatever a file holds: rows and named failures together are the records that went in."""

import csv
import io
import json
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipsight.records import BadRow, Malformed, Row, csv_rows, json_rows, jsonl_rows, text_rows

EACH = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
LETTERS = string.ascii_letters + string.digits + "\"'.:;|,é→\u2028\x0c\x85 "
captions = st.text(LETTERS, min_size=1, max_size=20).filter(str.strip)
broken = st.sampled_from(["", "a\tb\tc\td", "\x00\x00"])


def read(path, content, reader, **more):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(reader(path, path.name, **more))


def split(found):
    rows = [one for one in found if isinstance(one, Row)]
    bad = [one for one in found if isinstance(one, Malformed)]
    assert all(one.reason and one.line > 0 for one in bad)
    return rows, bad


@EACH
@given(rows=st.lists(captions, min_size=1, max_size=8), end=st.sampled_from(["\n", "\r\n"]))
def test_tables_written_as_they_are(tmp_path, rows, end):
    """No program quoted them: every line is a row, whatever marks its caption has."""
    text = end.join(["filepath\ttitle", *(f"{n}.jpg\t{caption}" for n, caption in enumerate(rows))]) + end
    found, bad = split(read(tmp_path / "a.tsv", text, csv_rows))
    assert not bad
    assert [row.value["filepath"] for row in found] == [f"{n}.jpg" for n in range(len(rows))]
    for row, caption in zip(found, rows, strict=True):
        # A cell that stands wholly in marks is what the standard calls a quoted one.
        assert row.value["title"] in (caption, caption[1:-1].replace('""', '"'))


@EACH
@given(
    rows=st.lists(st.text(LETTERS + "\n\t", min_size=1, max_size=20), min_size=1, max_size=8),
    delimiter=st.sampled_from([",", "\t", ";", "|"]),
)
def test_tables_written_by_programs(tmp_path, rows, delimiter):
    """By the standard: the values come back; three columns, so that no line of a caption looks like a row."""
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter).writerows(
        [("filepath", "title", "other"), *((f"{n}.jpg", caption, "x") for n, caption in enumerate(rows))]
    )
    found, bad = split(read(tmp_path / "a.csv", file.getvalue(), csv_rows))
    seen = [row.value["title"] for row in found]
    if bad or seen != rows:  # lines of a caption that are rows by themselves are read as such, and counted
        assert len(found) + len(bad) > len(rows)
        assert any("\n" in caption and delimiter in caption for caption in rows)


@EACH
@given(
    lines=st.lists(
        st.one_of(captions.map(lambda c: f"x.jpg\t{c}"), st.sampled_from(["a", "a\tb\tc"])), max_size=8
    )
)
def test_lines_with_other_numbers_of_cells_are_counted(tmp_path, lines):
    text = "\n".join(["filepath\ttitle", *lines])
    found, bad = split(read(tmp_path / "a.tsv", text, csv_rows))
    assert len(found) + len(bad) == len(lines)
    assert len(bad) == sum(line.count("\t") != 1 for line in lines)


json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
spoiled = st.sampled_from(['{"a": 1, "a": 2}', "9" * 5000, '{"b" 1}', "nothing", "[1, 2"])


@EACH
@given(values=st.lists(st.one_of(json_values.map(json.dumps), spoiled), max_size=8))
def test_lines_of_json(tmp_path, values):
    found, bad = split(read(tmp_path / "a.jsonl", "\n".join(values), jsonl_rows))
    assert len(found) + len(bad) == len(values)
    wrong = ('{"a": 1, "a": 2}', "9" * 5000, '{"b" 1}', "nothing", "[1, 2")
    assert len(bad) == sum(value in wrong for value in values)


@EACH
@given(
    values=st.lists(
        st.one_of(json_values.map(json.dumps), spoiled.filter(lambda s: s != "[1, 2")), max_size=8
    )
)
def test_elements_of_json(tmp_path, values):
    found, bad = split(read(tmp_path / "a.json", f"[{','.join(values)}]", json_rows))
    assert len(found) + len(bad) == len(values)


@EACH
@given(keys=st.lists(st.sampled_from("abcd"), max_size=8))
def test_repeated_names_count_once_and_are_named(tmp_path, keys):
    text = "{" + ",".join(f'"{key}": {n}' for n, key in enumerate(keys)) + "}"
    found, bad = split(read(tmp_path / "a.json", text, json_rows))
    assert [row.key for row in found] == list(dict.fromkeys(keys))
    assert len(found) + len(bad) == len(keys)
    assert all("stands twice" in one.reason for one in bad)


@EACH
@given(content=st.binary(max_size=200))
@pytest.mark.parametrize("reader", [csv_rows, json_rows, jsonl_rows, text_rows])
def test_any_bytes(tmp_path, reader, content):
    """Nothing is raised, and what comes of it either is text or is refused row by row."""
    for row in split(read(tmp_path / "a.any", content, reader))[0]:
        for name in row.value if isinstance(row.value, dict) else ():
            try:
                row.text(name).encode()
            except BadRow:
                continue


FOUR = [
    "filepath\ttitle",
    "0.jpg\tfirst dog",
    '1.jpg\t"Second dog',
    "2.jpg\tthird dog",
    '3.jpg\tfourth "dog"',
]


@pytest.mark.parametrize("last", ['3.jpg\tfourth "dog"', '3.jpg\tfourth dog"', '3.jpg\t"fourth dog"'])
@pytest.mark.parametrize("mark", ["\t", ",", ";", "|"])
def test_a_caption_that_begins_with_a_mark_swallows_nothing(tmp_path, last, mark):
    text = "\n".join([*FOUR[:4], last]).replace("\t", mark)
    found, bad = split(read(tmp_path / "a.tsv", text, csv_rows))
    assert not bad
    assert [row.line for row in found] == [2, 3, 4, 5]
    assert [row.value["title"] for row in found][:3] == ["first dog", '"Second dog', "third dog"]


def test_an_open_mark_that_is_no_row_is_named(tmp_path):
    found, bad = split(read(tmp_path / "a.csv", 'a,b\n1.jpg,"x,y\n2.jpg,z\n', csv_rows))
    assert [row.value["a"] for row in found] == ["2.jpg"]
    assert [(one.line, "quotation mark" in one.reason) for one in bad] == [(2, True)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("mark", ["\t", ",", ";", "|"])
def test_encodings_and_separators(tmp_path, encoding, mark):
    text = "\r\n".join(
        f"{n}{mark}{caption}" for n, caption in [("filepath", "title"), ("0.jpg", "ein grüner Bär")]
    )
    ((row,), bad) = split(read(tmp_path / "a.csv", text.encode(encoding), csv_rows))
    assert row.value == {"filepath": "0.jpg", "title": "ein grüner Bär"}
    assert not bad
    ((line,), bad) = split(read(tmp_path / "a.jsonl", '{"a": "ä"}\n'.encode(encoding), jsonl_rows))
    assert line.value == {"a": "ä"}


def test_a_file_cut_within_a_letter_names_its_last_row(tmp_path):
    content = "a\tb\n1\tx\n2\tü".encode("utf-16")[:-1]
    found, _ = split(read(tmp_path / "a.tsv", content, csv_rows))
    assert found[0].value == {"a": "1", "b": "x"}
    with pytest.raises(BadRow, match="not UTF-8"):
        found[1].text("b")


@pytest.mark.parametrize(
    ("start", "said"), [(b"\x1f\x8b\x08", "gzip"), (b"PK\x03\x04", "workbook"), (b"PAR1", "Parquet")]
)
@pytest.mark.parametrize("reader", [csv_rows, json_rows, jsonl_rows, text_rows])
def test_files_of_other_kinds_are_named(tmp_path, reader, start, said):
    (only,) = read(tmp_path / "a.tsv", start + bytes(range(256)), reader)
    assert said in only.reason


def test_two_columns_of_one_name(tmp_path):
    (only,) = read(tmp_path / "a.csv", "image,caption,caption\n1,2,3\n", csv_rows)
    assert "several columns are called 'caption'" in only.reason


def test_spoiled_values_spoil_what_reads_them(tmp_path):
    text = '{"caption": "a dog", "size": ' + "9" * 5000 + ', "more": {"x": 1, "x": 2}}'
    ((row,), _) = split(read(tmp_path / "a.jsonl", text, jsonl_rows))
    assert row.text("caption") == "a dog"
    with pytest.raises(BadRow, match="5,000 digits"):
        row.number("size")
    with pytest.raises(BadRow, match="'x' stands twice"):
        row.get("more")
    with pytest.raises(BadRow, match="a word of 20,000 characters"):
        Row(value=["w" * 20_000], line=1, key="").text(0)


def test_the_longest_word_is_the_tokenizers():
    from clipsight.language import tokens
    from clipsight.records import LONGEST_WORD

    assert LONGEST_WORD == tokens._LONGEST_WORD


def test_only_line_feeds_and_returns_end_a_line(tmp_path):
    text = "a dog\u2028with a cat\r\n\r\n a bus\x0c\x1c\x85 here \n" + "w" * 20_000
    found, bad = split(read(tmp_path / "a.txt", text, text_rows))
    assert [row.value["caption"] for row in found] == ["a dog\u2028with a cat", "a bus\x0c\x1c\x85 here"]
    assert [(one.line, one.reason[:8]) for one in bad] == [(4, "the line")]
