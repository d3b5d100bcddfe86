"""The house: imports go down only, and rooms of one floor meet by their named interface."""

import ast
from collections.abc import Iterator
from pathlib import Path

import clipsight

ROOT = Path(clipsight.__file__).parent
FLOORS = {
    "errors": 1, "store": 1, "records": 1, "pictures": 1, "draw": 1, "report": 1, "world": 1,
    "results": 2, "language": 2, "roles": 2, "checkpoints": 2,
    "towers": 3,
    "features": 4, "scoring": 4, "refine": 4, "tasks": 4, "attribution": 4,
    "session": 5,
    "bench": 6, "tune": 6,
    "cli": 7, "__main__": 7, "__init__": 7,
}  # fmt: skip
MOST_LINES = 600


def _imports(path: Path) -> Iterator[str]:
    """Rooms of clipsight that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = (
                [f"clipsight.{a.name}" for a in node.names] if node.module == "clipsight" else [node.module]
            )
        for name in names:
            if name.startswith("clipsight."):
                yield name.split(".")[1]


def test_imports_go_down_only():
    wrong = []
    for path in ROOT.rglob("*.py"):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        for other in _imports(path):
            if other in FLOORS and FLOORS[other] > FLOORS[room]:
                wrong.append(
                    f"{path.relative_to(ROOT)} (floor {FLOORS[room]}) imports {other} (floor {FLOORS[other]})"
                )
    assert not wrong


def test_every_room_has_a_floor():
    rooms = {
        p.name.removesuffix(".py")
        for p in ROOT.iterdir()
        if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    assert rooms == set(FLOORS)


def test_files_stay_small():
    assert not [
        str(p) for p in ROOT.rglob("*.py") if len(p.read_text(encoding="utf-8").splitlines()) > MOST_LINES
    ]


def test_adapters_stay_small():
    adapters = [
        p for p in (ROOT / "towers").glob("*.py") if p.name.startswith(("open_clip_", "timm_", "hf_"))
    ]
    assert len(adapters) >= 10
    assert not [p.name for p in adapters if len(p.read_text(encoding="utf-8").splitlines()) >= 200]


def test_drawings_and_pages_know_nothing_of_the_house():
    """They take arrays and plain facts: no result, no model, not each other."""
    for room in ("draw", "report"):
        files = list((ROOT / room).rglob("*.py"))
        assert files
        for path in files:
            assert set(_imports(path)) <= {room}, path
