"""The documentation's Python runs, and its command lines parse.

Blocks fenced as ```python are executed, page by page, in an empty folder. The README needs a photo and a download,
so it is only compiled.
"""

import re
import shlex
from pathlib import Path

import pytest

from clipsight.cli.app import build_app

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
BUNDLED = ROOT / "src/clipsight/assets/clipsight-tiny/open_clip_model.safetensors"


def _blocks(page: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )


@pytest.mark.skipif(not BUNDLED.exists(), reason="the bundled model is not trained yet")
@pytest.mark.parametrize(
    "page", [page for page in PAGES if _blocks(page, "python")], ids=lambda page: page.stem
)
def test_python_of_a_page_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "docs"}
    for number, block in enumerate(_blocks(page, "python"), 1):
        exec(compile(block, f"{page.name}, block {number}", "exec"), namespace)


def test_python_of_the_readme_compiles():
    (block,) = _blocks(ROOT / "README.md", "python")
    compile(block, "README.md", "exec")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
def test_command_lines_of_a_page_parse(page):
    for block in _blocks(page, "bash"):
        for line in block.splitlines():
            program, *words = shlex.split(line, comments=True) or [""]
            if program == "clipsight":
                build_app().parse_args(words, exit_on_error=False, print_error=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_ends_with_how_to_tell_it_is_wrong(page):
    headings = re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert headings[-1] == "How to tell it is wrong"


def test_the_readme_has_exactly_two_set_up_commands():
    first = _blocks(ROOT / "README.md", "bash")[0].splitlines()
    assert [line.split("#")[0].strip() for line in first] == ["make demo", "make test"]
