"""Files are whole or absent: the disk fills up, a name is too long, a folder is closed."""

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from clipsight.checkpoints.folder import write_model_folder
from clipsight.cli.segment import Segmented
from clipsight.results import Classification, Tags, atomic_write, check_writable, io
from inputs import corpus
from results.scenes import PROVENANCE, explanation
from results.test_anomaly import anomaly
from results.test_segmentation import made as segmentation

ROOM = (0, 1, 100, 600)
"""Bytes that the disk has room for; every result is larger."""


def classification() -> Classification:
    return Classification(
        labels=tuple(f"label {i}" for i in range(40)),
        probabilities=torch.full((40,), 0.025),
        similarity=torch.linspace(0, 0.3, 40),
        source="",
        provenance=PROVENANCE,
    )


def tags() -> Tags:
    ones = torch.linspace(0, 0.3, 40)
    return Tags(
        labels=tuple(f"label {i}" for i in range(40)),
        scores=ones, similarity=ones, presence=ones, presence_reason="", source="", provenance=PROVENANCE,
    )  # fmt: skip


def sheet() -> Segmented:
    return Segmented(segmentation(), only_labels=False)


WRITERS = [
    *((explanation, f"x.{end}") for end in ("png", "npz", "json", "html")),
    *((segmentation, f"x.{end}") for end in ("png", "npz", "json", "geojson")),
    *((anomaly, f"x.{end}") for end in ("png", "npz", "json")),
    (classification, "x.json"),
    (tags, "x.json"),
    (sheet, "x.png"),
]


class FullDisk:
    """A file on a disk that has room for so many bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self._file, self._room = file, room

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        if size > self._room:
            self._file.write(memoryview(data).cast("B")[: self._room])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._room -= size
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch):
    """Call with the bytes that there is room for."""

    def fill(room: int) -> None:
        @contextmanager
        def opened(*args: Any) -> Iterator[FullDisk]:
            with open(*args) as file:
                yield FullDisk(file, room)

        monkeypatch.setattr(io, "open", opened, raising=False)

    return fill


@pytest.mark.parametrize(("make", "name"), WRITERS, ids=lambda value: getattr(value, "__name__", value))
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_full_disk_leaves_neither_a_part_nor_a_temporary_file(tmp_path, full_disk, make, name, overwrite):
    result, path = make(), tmp_path / name
    if overwrite:
        path.write_bytes(b"before")
    for room in ROOM:
        full_disk(room)
        with pytest.raises(OSError, match="No space left on device") as caught:
            result.save(path, overwrite=overwrite)
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
        assert [file.read_bytes() for file in tmp_path.iterdir()] == ([b"before"] if overwrite else [])
    full_disk(100_000_000)
    result.save(path, overwrite=overwrite)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert path.stat().st_size > ROOM[-1]


def test_a_limit_of_the_system_is_said_with_the_files_name(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits of POSIX")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        with pytest.raises(OSError, match=r"cannot write, File too large: '.*x\.npz'"):
            explanation().save(tmp_path / "x.npz")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["漢" * 80 + ".png", "🐶" * 60 + ".png", "x" * 251 + ".png", "ж" * 120 + ".png"]
)
def test_names_as_long_as_the_system_allows_are_written(tmp_path: Path, name: str) -> None:
    assert len(name.encode()) <= 255
    explanation().save(tmp_path / name)
    assert os.listdir(tmp_path) == [name]


def test_names_that_are_too_long_are_refused_before_the_work(tmp_path: Path) -> None:
    for act in (check_writable, explanation().save):
        with pytest.raises(OSError, match="File name too long") as caught:
            act(tmp_path / ("x" * 300 + ".png"))
        assert "tmp'" not in str(caught.value)
    assert not os.listdir(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="POSIX rights")
def test_a_folder_that_may_not_be_written_in_is_said_with_the_files_name() -> None:
    with tempfile.TemporaryDirectory() as name:  # not tmp_path, whose parents are closed to other users
        os.chmod(name, 0o555)
        with (
            corpus.nobody(),
            pytest.raises(PermissionError, match=r"cannot write, Permission denied: '[^']*/x\.png'"),
        ):
            explanation().save(Path(name, "x.png"))
        assert not os.listdir(name)
        os.chmod(name, 0o755)


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    def stop() -> None:
        with atomic_write(tmp_path / "x.bin") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert not os.listdir(tmp_path)


def test_nothing_is_written_through_a_link_nor_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "target.png").write_bytes(b"before")
    for link, target in (("link.png", "target.png"), ("broken.png", "nowhere.png")):
        os.symlink(target, tmp_path / link)
        for overwrite in (False, True):
            with pytest.raises(FileExistsError, match="symbolic link"):
                explanation().save(tmp_path / link, overwrite=overwrite)
        assert os.readlink(tmp_path / link) == target
    assert (tmp_path / "target.png").read_bytes() == b"before"
    assert sorted(os.listdir(tmp_path)) == ["broken.png", "link.png", "target.png"]


def test_a_folder_that_is_a_link_is_written_into(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    os.symlink("there", tmp_path / "here")
    explanation().save(tmp_path / "here" / "x.png")
    assert os.listdir(tmp_path / "there") == ["x.png"]


WRITES_FOREVER = """
import sys, time
from clipsight.results.io import atomic_write
with atomic_write(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    time.sleep(600)
"""


def test_what_a_killed_process_left_is_removed_and_what_a_live_one_writes_is_kept(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", WRITES_FOREVER, str(tmp_path / "x.bin")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"writing\n"
            with atomic_write(tmp_path / "a.bin") as file:
                file.write(b"whole")
            assert len(os.listdir(tmp_path)) == 2  # a.bin, and what is being written
        finally:
            process.kill()
    io._SWEPT.clear()  # as a new process
    with atomic_write(tmp_path / "b.bin") as file:
        file.write(b"whole")
    assert sorted(os.listdir(tmp_path)) == ["a.bin", "b.bin"]


def test_a_model_folder_keeps_what_it_had_when_the_disk_is_full(tmp_path: Path, full_disk) -> None:
    module, folder = torch.nn.Linear(30, 30), tmp_path / "model"
    write_model_folder(folder, module, {"embed_dim": 1}, {}, {})
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    full_disk(600)  # enough for the descriptions, not for the weights
    with pytest.raises(OSError, match="No space left"):
        write_model_folder(folder, torch.nn.Linear(30, 30), {"embed_dim": 1}, {}, {})
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
