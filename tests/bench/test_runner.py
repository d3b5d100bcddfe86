"""The runner: nothing lost, nothing measured twice, failures named and counted; rows that outlive a kill."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clipsight.bench.rows import RowFile, manifest
from clipsight.bench.runner import Failure, RunSummary, Share, WorkItem, run, tell

ASKED = manifest("toy", seeds=[1, 2], model={"name": "planted"})


def items(names, measured=None, broken=()):
    def measure(name):
        if name in broken:
            raise OSError(f"{name} is\nno picture")
        if measured is not None:
            measured.append(name)
        return {"of": name}

    return [WorkItem(id=name, measure=lambda name=name: measure(name), group=name[0]) for name in names]


def test_what_cannot_be_measured_is_named_and_counted_and_the_others_go_on():
    rows = RowFile()
    unread = Failure(item="table.csv:7", reason="no caption")
    summary = run([*items(["a1", "b1", "a2", "c1"], broken=("a1",)), unread], rows)
    assert dict(rows) == {"b1": {"of": "b1"}, "c1": {"of": "c1"}}
    assert summary == RunSummary(
        measured=2, skipped=1, failures=(Failure(item="a1", reason="OSError: a1 is no picture"), unread)
    )
    assert str(unread) == "table.csv:7: no caption"
    with pytest.raises(OSError, match="no picture"):
        run(items(["a1"], broken=("a1",)), rows, strict=True)


def test_every_item_belongs_to_exactly_one_part():
    names = [f"i{number}" for number in range(200)]
    done = []
    for index in range(3):
        summary = run(items(names, done), RowFile(), share=Share(index=index, count=3))
        assert summary.measured + summary.left == 200
        assert summary.measured > 40
    assert sorted(done) == sorted(names)


@pytest.mark.parametrize("word", ["0/2", "3/2", "a/b", "2", "1/", "-1/2"])
def test_a_part_that_does_not_exist_is_refused(word):
    with pytest.raises(ValueError, match="part"):
        Share.parse(word)


def test_parts_are_written_as_they_are_read():
    assert str(Share.parse("2/4")) == "2/4"
    assert Share.parse("2/4") == Share(index=1, count=4)
    with pytest.raises(ValueError, match="part 4 of 3 does not exist"):
        Share(index=3, count=3)


def test_progress_counts_things_and_not_items():
    told = []
    work = [
        WorkItem(id="a", measure=dict, size=3),
        Failure(item="b", reason=""),
        WorkItem(id="c", measure=dict),
    ]
    run(work, RowFile(), watch=tell(lambda *facts: told.append(facts), "pictures", 5))
    assert told == [("pictures", 3, 5), ("pictures", 4, 5), ("pictures", 5, 5)]


def test_rows_are_found_again_and_other_questions_refused(tmp_path):
    file, done = tmp_path / "rows.jsonl", []
    assert run(items(["a", "b"], done), RowFile(file, ASKED)).measured == 2
    summary = run(items(["a", "b", "c"], done), RowFile(file, ASKED))
    assert (summary.reused, summary.measured, done) == (2, 1, ["a", "b", "c"])
    first, *lines = file.read_text().splitlines()
    assert json.loads(first)["manifest"] == ASKED
    assert [json.loads(line)["id"] for line in lines] == ["a", "b", "c"]
    with pytest.raises(ValueError, match=r"its seeds is \[1, 2\], asked is \[3\]"):
        RowFile(file, manifest("toy", seeds=[3], model={"name": "planted"}))
    with pytest.raises(ValueError, match="its code is"):
        RowFile(file, {**ASKED, "versions": {**ASKED["versions"], "code": "other"}})
    file.write_text("name,score\n")
    with pytest.raises(ValueError, match="not a file of rows"):
        RowFile(file, ASKED)


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_line_that_was_not_finished_is_measured_again(tmp_path, cut):
    file = tmp_path / "rows.jsonl"
    run(items(["a", "b"]), RowFile(file, ASKED))
    file.write_bytes(file.read_bytes()[:-cut])
    done = []
    rows = RowFile(file, ASKED)
    run(items(["a", "b"], done), rows)
    assert done
    assert dict(RowFile(file, ASKED)) == dict(rows) == {"a": {"of": "a"}, "b": {"of": "b"}}


def test_a_file_without_a_whole_first_line_is_begun_anew(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'{"manifest": {"ki')
    assert run(items(["a"]), RowFile(file, ASKED)).measured == 1
    assert dict(RowFile(file, ASKED)) == {"a": {"of": "a"}}


def test_the_files_of_parts_are_read_together(tmp_path):
    file, names = tmp_path / "rows.jsonl", [f"i{number}" for number in range(9)]
    for index in range(2):
        share = Share(index=index, count=2)
        run(items(names), RowFile(file, ASKED, share), share=share)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["rows.1of2.jsonl", "rows.2of2.jsonl"]
    rows = RowFile(file, ASKED)
    assert run(items(names), rows).reused == 9
    assert sorted(name for name, _ in rows) == names


KILLED = """
import sys, time
from pathlib import Path
from clipsight.bench.rows import RowFile
from clipsight.bench.runner import WorkItem, run

def measure(name):
    time.sleep(0.01)
    return {"of": name}

names = [f"i{number}" for number in range(1000)]
rows = RowFile(Path(sys.argv[1]), {"kind": "toy"})
run([WorkItem(id=name, measure=lambda name=name: measure(name)) for name in names], rows)
"""


def test_a_killed_process_loses_no_finished_row(tmp_path):
    file = tmp_path / "rows.jsonl"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(file)], env=_environment())
    while not file.exists() or file.read_bytes().count(b"\n") < 5:
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL) if os.name == "posix" else process.kill()
    process.wait()
    there = file.read_bytes().count(b"\n") - 1
    rows = RowFile(file, {"kind": "toy"})
    assert 4 <= there == len(rows) < 1000
    summary = run(items([f"i{number}" for number in range(there + 3)]), rows)
    assert (summary.reused, summary.measured) == (there, 3)


def _environment() -> dict[str, str]:
    import clipsight

    return {**os.environ, "PYTHONPATH": str(Path(clipsight.__file__).parents[1])}
