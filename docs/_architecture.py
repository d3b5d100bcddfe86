"""The page "Architecture", from the code: rooms by floor with what they use, and the ways of a picture, a caption and a
training example.

Floors are those that `tests/test_floors.py` holds imports to. What a room or a step does is the first sentence of its
docstring; what a room uses is what its files import. `_hooks.py` puts the results into the page.
"""

import ast
import re
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "clipsight"
FLOORS_FILE = ROOT / "tests" / "test_floors.py"

WAYS = {
    "picture": (
        "cli/explain.py:explain",
        "session/lens.py:Lens.explain",
        "pictures/reading.py:read_noted",
        "towers/preprocess.py:to_pixels",
        "towers/view.py:VisionView.embed",
        "features/executor.py:ImagePass.features",
        "scoring/similarity.py:similarity_maps",
        "scoring/contrast.py:contrast_maps",
        "results/explanation.py:Explanation",
        "results/explanation.py:Explanation.save",
        "draw/tiles.py",
    ),
    "caption": (
        "cli/words.py:words",
        "session/lens.py:Lens.words",
        "language/reading.py:read_captions",
        "roles/extract.py:extract_roles",
        "attribution/attribute.py:attribute",
        "towers/view.py:TextView.parts",
        "session/word_result.py:word_attribution",
        "results/words.py:WordAttribution",
        "results/words.py:WordAttribution.save",
        "draw/caption.py",
    ),
    "example": (
        "cli/tune.py",
        "records/row.py:Row",
        "tune/data/records.py:read_record",
        "tune/data/example.py:Example",
        "tune/data/collate.py:Collate",
        "tune/data/batch.py:Batch",
        "tune/encode.py:TrainingTowers",
        "attribution/attribute.py:attribute",
        "tune/objectives/objective.py:Objective",
        "tune/trainer.py:Trainer",
        "tune/export.py:export_model",
    ),
}
"""Steps in order, as FILE:NAME below the package; a step that is renamed or moved away fails."""

_CHAR, _LINE, _WIDTH = 7.4, 22, 360


def floors() -> dict[int, list[str]]:
    """Rooms by floor, the top floor first."""
    for node in ast.parse(FLOORS_FILE.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FLOORS":
            floor_of: dict[str, int] = ast.literal_eval(node.value)
            found: dict[int, list[str]] = {}
            for room in sorted(floor_of):
                if not room.startswith("__"):
                    found.setdefault(floor_of[room], []).append(room)
            return dict(sorted(found.items(), reverse=True))
    raise LookupError(f"{FLOORS_FILE.name} has no FLOORS.")


def uses(room: str) -> set[str]:
    """Other rooms that the files of a room import, wherever in the file."""
    found = set()
    for path in _files(room):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = (
                    [f"clipsight.{one.name}" for one in node.names]
                    if node.module == "clipsight"
                    else [node.module]
                )
            found |= {name.split(".")[1] for name in names if name.startswith("clipsight.")}
    return (found & {one for rooms in floors().values() for one in rooms}) - {room}


def summary(step: str) -> str:
    """The first sentence of the docstring of a file, or of a class, function or method in it, as FILE or FILE:NAME.

    Raises:
        LookupError: there is no such file or name, or it has no docstring.
    """
    file, _, name = step.partition(":")
    path = PACKAGE / file
    if not path.exists():
        raise LookupError(f"{step}: there is no file {file}.")
    node: ast.AST = ast.parse(path.read_text(encoding="utf-8"))
    for part in filter(None, name.split(".")):
        kinds = ast.ClassDef | ast.FunctionDef
        # The last of several definitions is the one that runs; the others are its overloads.
        inside = [one for one in ast.iter_child_nodes(node) if isinstance(one, kinds) and one.name == part]
        if not inside:
            raise LookupError(f"{step}: {file} defines no {name}.")
        node = inside[-1]
    text = ast.get_docstring(node)  # type: ignore[arg-type]
    if not text:
        raise LookupError(f"{step}: it has no docstring.")
    return re.split(r"(?<=[.?!])\s", " ".join(text.split("\n\n")[0].split()), maxsplit=1)[0]


def table() -> str:
    """A line for each room: floor, what it is for, what it uses, lines of code."""
    lines = ["| floor | room | what it is for | uses | lines |", "|---:|---|---|---|---:|"]
    for floor, rooms in floors().items():
        for room in rooms:
            files = _files(room)
            count = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)
            own = f"{room}/__init__.py" if (PACKAGE / room).is_dir() else f"{room}.py"
            used = ", ".join(f"`{one}`" for one in sorted(uses(room)))
            lines.append(f"| {floor} | `{room}` | {_cell(summary(own))} | {used} | {count:,} |")
    return "\n".join(lines)


def drawing() -> str:
    """The floors with their rooms, as SVG in the colours of the page; readable at 390 pixels."""
    parts, y = [], 0.0
    for floor, rooms in floors().items():
        top, x, y = y, 34.0, y + 8
        for room in rooms:
            width = _CHAR * len(room) + 16
            if x + width > _WIDTH - 6:
                x, y = 34.0, y + 30
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="24" rx="4" fill="{_ACCENT}" '
                f'fill-opacity="0.16" stroke="{_ACCENT}"/>'
                f'<text x="{x + 8:.1f}" y="{y + 16:.1f}">{room}</text>'
            )
            x += width + 6
        y += 32
        parts.append(
            f'<rect x="1" y="{top:.1f}" width="{_WIDTH - 2}" height="{y - top:.1f}" fill="none" '
            'stroke="currentColor" stroke-opacity="0.35"/>'
            f'<text x="12" y="{(top + y) / 2 + 4:.1f}">{floor}</text>'
        )
    return _svg(
        parts, y, "The rooms of clipsight by floor; a room imports only from its own floor and those below."
    )


def way(name: str) -> str:
    """The steps of a way: a stair over the floors, and a list with what each step does."""
    floor_of = {room: floor for floor, rooms in floors().items() for room in rooms}
    steps = [(step, _label(step), floor_of[step.split("/")[0]]) for step in WAYS[name]]
    left, apart = 12, 14
    parts = [f'<text x="{left + apart * (floor - 1) - 4}" y="12">{floor}</text>' for floor in range(1, 8)]
    dots = [(left + apart * (floor - 1), 30 + _LINE * index) for index, (_, _, floor) in enumerate(steps)]
    line = " ".join(f"{x},{y}" for x, y in dots)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{_ACCENT}" stroke-width="2"/>')
    for (x, y), (_, label, _) in zip(dots, steps, strict=True):
        parts.append(f'<circle cx="{x}" cy="{y}" r="4" fill="{_ACCENT}"/>')
        parts.append(f'<text x="{left + apart * 7}" y="{y + 4}">{escape(label)}</text>')
    stair = _svg(
        parts,
        30 + _LINE * len(steps) - 10,
        f"The way of a {_FULL.get(name, name)} over the floors of clipsight.",
    )
    listed = [f"{number}. `{label}`: {summary(step)}" for number, (step, label, _) in enumerate(steps, 1)]
    return "\n\n".join([stair, "\n".join(listed)])


_FULL = {"example": "training example"}
_ACCENT = "var(--md-accent-fg-color, currentColor)"


def _svg(parts: list[str], height: float, title: str) -> str:
    return (
        f'<figure><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" role="img" '
        'style="width:100%;max-width:520px" fill="currentColor" font-size="12" font-family="monospace">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg></figure>"
    )


def _label(step: str) -> str:
    file, _, name = step.partition(":")
    return f"{file.split('/')[0]}: {name}" if name else file.removesuffix(".py").replace("/", ".")


def _files(room: str) -> list[Path]:
    folder = PACKAGE / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{room}.py"]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def on_page(markdown: str) -> str:
    """A page's text with `<!-- architecture: drawing -->`, `table`, `picture`, `caption` and `example` filled in."""

    def filled(found: re.Match[str]) -> str:
        what = found[1]
        return drawing() if what == "drawing" else table() if what == "table" else way(what)

    return re.sub(r"<!-- architecture: (\w+) -->", filled, markdown)
