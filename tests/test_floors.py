"""The house: imports go down only, modules import each other in no circle, and rooms are used through their faces."""

import ast
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import clipsight

ROOT = Path(clipsight.__file__).parent
FLOORS = {
    "errors": 1, "untrusted": 1, "store": 1, "records": 1, "pictures": 1, "draw": 1, "report": 1, "world": 1,
    "results": 2, "language": 2, "roles": 2, "checkpoints": 2,
    "towers": 3,
    "features": 4, "scoring": 4, "refine": 4, "tasks": 4, "attribution": 4,
    "session": 5,
    "bench": 6, "tune": 6,
    "cli": 7, "__main__": 7, "__init__": 7,
}  # fmt: skip
MOST_LINES = 600
PAST_THE_FACE = {
    "towers": 84, "language": 54, "checkpoints": 36, "attribution": 27, "session": 32, "scoring": 25,
    "bench": 24, "results": 11, "roles": 22, "draw": 19, "tasks": 15, "tune": 14,
    "features": 8, "report": 8, "refine": 2,
}  # fmt: skip
"""How many imports from outside reach past the face (`__init__`) of a room. A room that is not here has closed doors.
These numbers may fall, never rise: give a name that others need to the room's face, and import it from there."""


def _modules() -> dict[str, Path]:
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = ("clipsight", *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()


def _imported(module: str, node: ast.AST) -> Iterator[str]:
    """The modules of clipsight that a statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in MODULES)
    elif isinstance(node, ast.ImportFrom):
        package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
        for _ in range(node.level - 1):
            package = package.rpartition(".")[0]
        base = ".".join(filter(None, (package if node.level else "", node.module)))
        for alias in node.names:
            name = f"{base}.{alias.name}"
            if name in MODULES or base in MODULES:
                yield name if name in MODULES else base


def _when_loaded(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when a module is imported, without those for type checkers."""
    for node in body:
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            yield from _when_loaded(node.body + node.orelse)
        elif isinstance(node, ast.Try | ast.With):
            yield from _when_loaded(node.body)


def _room(module: str) -> str:
    return [*module.split("."), "__init__"][1]


def _imports(path: Path) -> Iterator[str]:
    """Rooms of clipsight that a file imports, wherever in the file."""
    module = next(name for name, one in MODULES.items() if one == path)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        yield from (_room(name) for name in _imported(module, node) if name != "clipsight")


def _past_the_face() -> Counter[str]:
    """Imports from outside that reach past a room's face, by room."""
    found: Counter[str] = Counter()
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for name in set(_imported(module, node)):
                if name.count(".") > 1 and _room(name) != _room(module):
                    found[_room(name)] += 1
    return found


def test_rooms_are_used_through_their_faces():
    found = _past_the_face()
    risen = {room: count for room, count in found.items() if count > PAST_THE_FACE.get(room, 0)}
    assert not risen, "import these rooms' names from their faces"
    assert sum(PAST_THE_FACE.values()) - sum(found.values()) <= 20, "lower the numbers that fell"


def test_modules_import_each_other_in_no_circle():
    graph = {
        module: {
            name
            for node in _when_loaded(ast.parse(path.read_text(encoding="utf-8")).body)
            for name in _imported(module, node)
            if name != module
        }
        for module, path in MODULES.items()
    }
    assert graph["clipsight.bench.world"] >= {"clipsight.bench.world.recipes"}, "the reader of imports works"
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(f"a circle: {' imports '.join(reversed(error.args[1]))}") from None


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
