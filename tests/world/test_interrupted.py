"""Worlds on disk are whole or not there: a killed writer leaves nothing that opens as one."""

import os
import signal
import subprocess
import sys
import time

import pytest

from clipsight.world import write_tsv, write_voc, write_webdataset

WRITERS = {"tsv": write_tsv, "webdataset": write_webdataset, "voc": write_voc}
PROGRAM = """
import sys
from pathlib import Path
from clipsight import world
def watch(scenes):
    for number, scene in enumerate(scenes):
        if number == 8:
            print("writing", flush=True)
        yield scene
getattr(world, sys.argv[1])(Path(sys.argv[2]), 3000, 1, watch=watch)
"""


def visible(folder):
    return (
        sorted(one.name for one in folder.iterdir() if not one.name.startswith("."))
        if folder.exists()
        else []
    )


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("there", [False, True])
def test_a_killed_writer_leaves_nothing_that_opens(tmp_path, kind, there):
    out = tmp_path / "world"
    if there:
        out.mkdir()
        (out / "notes.txt").write_text("mine")
    before = visible(out)
    command = [sys.executable, "-c", PROGRAM, WRITERS[kind].__name__, str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        os.kill(writer.pid, signal.SIGKILL)
    assert visible(out) == before
    WRITERS[kind](out, 3, 1)  # the same folder can be written afterwards
    assert len(visible(out)) > len(before)
    left = [one for place in (tmp_path, out) for one in place.glob(".clipsight-world-*")]
    assert len(left) == 1
    os.utime(left[0], (time.time() - 7200,) * 2)
    with pytest.raises(FileExistsError, match="already holds"):
        WRITERS[kind](out, 3, 1)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_writer_that_fails_leaves_nothing_at_all(tmp_path, kind):
    def watch(scenes):
        yield next(iter(scenes))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        WRITERS[kind](tmp_path / "world", 5, 1, watch=watch)
    assert list(tmp_path.iterdir()) == []


def test_what_dead_writers_left_is_removed(tmp_path):
    old, new = (tmp_path / f".clipsight-world-{word}.part" for word in ("old", "new"))
    for one in (old, new):
        one.mkdir()
    os.utime(old, (time.time() - 7200,) * 2)
    write_tsv(tmp_path / "world", 1)
    assert (old.exists(), new.exists()) == (False, True)
