"""Files of the user: none that is read is replaced, and nothing is left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clipsight.cli.outcome import FLAGS, one_line


@pytest.mark.parametrize(
    "words",
    [
        ("cat.png", "--out", "cat.png"),
        ("cat.png", "--out", "./cat.png"),
        ("cat.png", "--out", "hard.png"),
        ("dog.explain.png",),  # of another picture, into its place
        ("texts.json", "--texts-file", "texts.json", "--out", "texts.json"),
    ],
    ids=" ".join,
)
def test_an_input_is_never_replaced(lens, run, words):
    os.link("cat.png", "hard.png")
    Path("dog.explain.png").write_bytes(Path("cat.png").read_bytes())
    Path("texts.json").write_text("dog")
    before = {path: path.read_bytes() for path in Path().iterdir()}
    more = ("dog.jpg",) if words[0].startswith("dog") else ()
    code, out, err = run("explain", *words, *more, "-t", "dog", "--overwrite")
    assert (code, out, lens.loaded) == (2, "", [])
    assert "would replace the input" in err
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


def test_a_link_to_an_input_is_never_written_through(lens, run):
    before = Path("cat.png").read_bytes()
    os.symlink("cat.png", "out.png")
    assert run("explain", "cat.png", "-t", "dog", "--out", "out.png", "--overwrite")[0] == 2
    code, _, err = run("explain", "dog.jpg", "-t", "dog", "--out", "out.png", "--overwrite")
    assert code == 1
    assert "symbolic link" in err
    assert Path("cat.png").read_bytes() == before


def test_a_corpus_is_not_replaced_by_the_data_of_its_report(lens, run):
    Path("captions.json").write_text("[]")
    words = ("words", "--corpus", "captions.json", "--report", "captions.html", "--overwrite")
    assert run(*words)[0] == 2
    assert Path("captions.json").read_text() == "[]"


STOPPED = """
import signal, sys, time
from clipsight.cli import main, batch
from clipsight.cli.options import OutputOptions
from clipsight.results.io import atomic_write

class Slow:
    def save(self, path, *, overwrite=False):
        with atomic_write(path) as file:
            file.write(b"half")
            file.flush()
            print("writing", flush=True)
            time.sleep(600)

from clipsight.cli.registry import verb
from pathlib import Path

@verb(1)
def slow(image: str) -> int:
    return batch.answer_each(
        {image: [Path("x.bin")]}, OutputOptions(), open_lens=object, ask=lambda *_: Slow(), tell=lambda _: None
    )

signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start background jobs with it ignored
sys.exit(main(["slow", "cat.png"]))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM")
@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_stopped_command_leaves_no_temporary_file(lens, number):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    before = sorted(os.listdir())
    command = [sys.executable, "-c", STOPPED]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"writing\n"
            process.send_signal(getattr(signal, number))
            assert process.wait(timeout=60) in (143, 130)
        finally:
            process.kill()
    assert sorted(os.listdir()) == before


def test_advice_in_python_becomes_advice_in_flags():
    token = FLAGS.set({"overwrite": "--overwrite", "validate": "--validate", "per_picture": "--per-picture"})
    try:
        assert (
            one_line("give another name or pass overwrite=True.") == "give another name or pass --overwrite."
        )
        assert one_line("patience needs validate=500, say.") == "patience needs --validate 500, say."
        assert one_line('use per_picture="2" (x)') == 'use --per-picture "2" (x)'
        for kept in ("scale=2", "overwrite=False", "validate=[1, 2]", "a=b", "x.validate == 3"):
            assert one_line(kept) == kept
    finally:
        FLAGS.reset(token)
    FLAGS.set({})
    assert one_line("pass overwrite=True.") == "pass overwrite=True."
