"""What a terminal shows: lines that hang, bars that go away."""

import io
import sys

import pytest
from rich.console import Console

from clipsight.cli import outcome, progress
from clipsight.cli.outcome import say

TEXT = "Clearly there (0.97 against 1203 names); contrasted with the empty prompt; [red] is no markup."


@pytest.fixture
def screen(monkeypatch):
    """A terminal of a width; gives what was printed on it."""

    def make(width: int) -> io.StringIO:
        shown = io.StringIO()
        monkeypatch.setattr(
            outcome, "terminal", lambda: Console(file=shown, width=width, force_terminal=True, no_color=True)
        )
        return shown

    return make


@pytest.mark.parametrize("width", [30, 60, 120])
@pytest.mark.parametrize("indent", [0, 4])
def test_further_lines_hang_below_the_first(screen, width, indent):
    shown = screen(width)
    say(TEXT, indent=indent)
    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert " ".join(line.strip() for line in lines) == TEXT
    assert lines[0].startswith(" " * indent + "Clearly")
    assert all(line.startswith(" " * (indent + outcome.HANG)) for line in lines[1:])
    assert (len(lines) > 1) == (len(TEXT) > width - indent - outcome.HANG)


def test_wide_characters_take_two_columns(screen):
    shown = screen(40)
    say("漢字" * 30, indent=2)
    assert all(2 * sum(ord(char) > 255 for char in line) <= 38 for line in shown.getvalue().splitlines())


def test_nothing_is_wrapped_in_a_pipe(capsys):
    say(TEXT * 5, indent=2)
    assert capsys.readouterr().out == "  " + TEXT * 5 + "\n"


def test_the_line_of_a_load_goes_away_unless_something_was_drawn_below_it(monkeypatch):
    for below in ("", "50%"):
        shown = io.StringIO()
        console = Console(file=shown, width=60, force_terminal=True)
        monkeypatch.setattr(progress, "side_terminal", lambda console=console: console)
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        with progress.downloading("loading x"):
            sys.stderr.write(below)
        assert "loading x" in shown.getvalue()
        assert shown.getvalue().endswith("\x1b[1A\x1b[2K") == (not below)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_words_of_a_caption_fit_the_width(width):
    from results.test_words import words

    shown = io.StringIO()
    Console(file=shown, width=width, force_terminal=True, color_system=None).print(words())
    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert sum("█" in line for line in lines) > 0


def test_several_images_are_a_line_each_and_one_has_details(lens, run):
    ask = ("explain", "dog.jpg", "cat.png", "-t", "a dog")
    _, out, _ = run(*ask)
    assert [line.split(":")[0] for line in out.splitlines()] == ["dog.jpg", "cat.png", "note"]
    _, out, _ = run(*ask, "--overwrite", "-v")
    assert out.count("Trust line of a dog.") == 2
    assert out.count("The fake lens looked.") == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_written_for_a_shell(run, tmp_path, monkeypatch, shell):
    monkeypatch.setenv("HOME", str(tmp_path))
    code, _, _ = run("--install-completion", "--shell", shell, "--output", tmp_path / "completion")
    assert code == 0
    script = (tmp_path / "completion").read_text()
    assert "explain" in script
    assert "--texts-file" in script
