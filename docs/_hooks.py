"""Pages that state figures and options take them from where they are kept, so that they cannot go stale.

| in the page | becomes |
|---|---|
| `<!-- figures: PATH KEY -->` | tables of a JSON file; KEY, a name inside it, may be left out |
| `<!-- help: VERB -->` | the help page of a command, or of one of a command, as in `help: bench world` |
| `<!-- bench: PATH -->` | the table of what `clipsight bench world --json` printed into PATH |
| `<!-- tasks: PATH TASK -->` | one table of what `clipsight bench tasks --json` printed into PATH |
| `<!-- tasks: list -->` | every task with its question and figures |
| `<!-- composition: PATH ID … -->` | these benchmarks of what `clipsight bench composition --json` printed into PATH |
| `<!-- benchmarks: table -->` | every compositional benchmark and guard in a line |
| `<!-- words: PATH WHAT LABEL -->` | of `scripts/measure_words_gap.py`, a model's `gaps`, `layers` or `foils` |
| `<!-- published: TOWER PATH -->` | mIoU published with that tower, our figures of PATH in the last columns |
| `<!-- models: counts -->`, `<!-- models: table -->` | how many architectures are read, or each in a line |
| `<!-- micro: PATH -->` | what `scripts/train_micro.py measure` wrote into PATH |
| `<!-- methods: table -->`, `<!-- methods: list -->` | every method in a line, or with paper and differences |
| `<!-- architecture: WHAT -->` | the `drawing` or `table` of rooms, or the way of a `picture`, `caption` or `example` |
| `<!-- variants: options -->`, `<!-- variants: settings -->` | options of the authors, their settings for data sets |

A file that is not there yet gives a plain sentence, not a number.
"""

import importlib.util
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

_found = importlib.util.spec_from_file_location("_architecture", Path(__file__).with_name("_architecture.py"))
assert _found is not None
assert _found.loader is not None
architecture = importlib.util.module_from_spec(_found)
_found.loader.exec_module(architecture)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs with each page's text."""
    markdown = re.sub(r"<!-- figures: (\S+)(?: (\S+))? -->", lambda m: figures(m[1], m[2]), markdown)
    markdown = re.sub(r"<!-- bench: (\S+) -->", lambda m: bench(m[1]), markdown)
    markdown = re.sub(r"<!-- tasks: list -->", lambda m: task_list(), markdown)
    markdown = re.sub(r"<!-- tasks: (\S+) (\w+) -->", lambda m: tasks(m[1], m[2]), markdown)
    markdown = re.sub(
        r"<!-- composition: (\S+) ([\w ]+?) -->", lambda m: composition(m[1], m[2].split()), markdown
    )
    markdown = re.sub(
        r"<!-- words: (\S+) (\w+) ([\w -]+?) -->", lambda m: WORDS[m[2]](_words_of(m[1], m[3])), markdown
    )
    markdown = re.sub(r"<!-- benchmarks: table -->", lambda m: benchmarks(), markdown)
    markdown = re.sub(r"<!-- published: (\S+) (\S+) -->", lambda m: published(m[1], m[2]), markdown)
    markdown = re.sub(r"<!-- methods: (table|list) -->", lambda m: METHODS[m[1]](), markdown)
    markdown = re.sub(r"<!-- models: (table|counts) -->", lambda m: MODELS[m[1]](), markdown)
    markdown = re.sub(r"<!-- micro: (\S+) -->", lambda m: micro(m[1]), markdown)
    markdown = re.sub(r"<!-- variants: (\w+) -->", lambda m: variants(m[1]), markdown)
    markdown = architecture.on_page(markdown)
    return re.sub(r"<!-- help: ([\w ]+?) -->", lambda m: help_page(m[1]), markdown)


def figures(path: str, key: str | None) -> str:
    """Tables for the numbers in a JSON file of this repository."""
    file = ROOT / path
    data = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    data = data.get(key) if key else data
    return "\n\n".join(_tables(data)) if data else f"*No figures are recorded in `{path}` yet.*"


def help_page(verb: str) -> str:
    """What `clipsight VERB --help` prints."""
    from rich.console import Console

    from clipsight.cli.app import build_app

    text = io.StringIO()
    build_app()(
        [*verb.split(), "--help"],
        console=Console(file=text, width=88, color_system=None),
        result_action="return_value",
    )
    return f"```text\n{text.getvalue().rstrip()}\n```"


BENCH = {
    "AUROC": ("auroc", 1.0, 3),
    "pointing": ("pointing", 1.0, 3),
    "mIoU": ("miou", 1.0, 3),
    "ms": ("seconds_per_image", 1000.0, 0),
    "MB": ("peak_mb", 1.0, 1),
}
"""Column of the table: figure, factor to its unit, decimals."""


def bench(path: str) -> str:
    """A row for each recipe: mean over the seeds, lowest and highest seed in brackets, best AUROC first."""
    rows = _rows(path)
    if not rows:
        return f"*No figures are recorded in `{path}` yet.*"
    rows = sorted(rows, key=lambda row: -(row["auroc"] or 0))
    table = [[f"`{row['recipe']}`", *(_spread(row, *how) for how in BENCH.values())] for row in rows]
    counts = {len(row["seeds"]) for row in rows}
    notes = {row["note"] for row in rows if row.get("note")}
    said = (
        ["\n".join(["Notes from this run:", "", *(f"* {note}" for note in sorted(notes))])] if notes else []
    )
    return "\n\n".join([*_titled("", ["recipe", *BENCH], table), f"{_counts(counts)} seeds.", *said])


def tasks(path: str, task: str) -> str:
    """A row for each setting of a task: mean over the seeds, lowest and highest in brackets, in the order measured."""
    file = ROOT / path
    rows = json.loads(file.read_text(encoding="utf-8")).get(task, []) if file.exists() else []
    measured = [row for row in rows if row["by_seed"]]
    if not measured:
        return f"*No figures of {task} are recorded in `{path}` yet.*"
    names = [name for name in measured[0]["by_seed"][0] if name != "seed"]
    settings = [name for name in measured[0] if name not in (*names, "seeds", "by_seed", "note", "error")]
    table = [
        [*(f"`{row[name]}`" for name in settings), *(_task_cell(row, name) for name in names)]
        for row in measured
    ]
    failed = [f"Failed: {row['error']}" for row in rows if row.get("error")]
    notes = [f"* {note}" for note in dict.fromkeys(row["note"] for row in rows if row.get("note"))]
    said = ["\n".join(["Notes from this run:", "", *notes])] if notes else []
    counts = {len(row["seeds"]) for row in measured}
    return "\n\n".join(
        [*_titled("", [*settings, *names], table), f"{_counts(counts)} seeds.", *failed, *said]
    )


def composition(path: str, ids: list[str]) -> str:
    """A row for each split and mean, a column of scores with 1.96 standard errors for each model of the file."""
    rows = [row for row in _rows(path) if row["benchmark"] in ids]
    if not rows:
        return f"*No figures of {', '.join(ids)} are recorded in `{path}` yet.*"
    labels = list(dict.fromkeys(row["label"] for row in rows))
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        name = row["split"] if row["kind"] == "split" else f"**{row['name']}**"
        lines.setdefault((row["benchmark"], name), {})[row["label"]] = row
    table = []
    for (benchmark, name), by_label in lines.items():
        row = next(iter(by_label.values()))
        figure = row["metrics"][row["metric"]] if row["kind"] == "split" else {}
        chance, ties = figure.get("chance"), figure.get("tie_rate")
        scores = [
            f"{by_label[label]['score']:.1f} ± {1.96 * by_label[label]['error']:.1f}"
            if label in by_label
            else ""
            for label in labels
        ]
        table.append(
            [
                f"`{benchmark}`",
                name,
                row.get("metric", ""),
                *scores,
                f"{figure['scored']:,}" if figure else "",
                "" if chance is None else f"{chance:.1f}",
                *(["" if ties is None else f"{ties:.1f}"] if len(labels) == 1 else []),
            ]
        )
    heads = ["percent"] if len(labels) == 1 else [f"`{label}`" for label in labels]
    columns = [
        "benchmark",
        "split",
        "figure",
        *heads,
        "items",
        "chance",
        *(["ties, %"] if len(labels) == 1 else []),
    ]
    return "\n".join(_titled("", columns, table))


def task_list() -> str:
    """Every task that is measured: what it answers, and what its figures are."""
    from clipsight.bench.tasks import TASKS

    rows = [
        [f"`{one.id}`", one.question, "; ".join(f"`{name}`: {text}" for name, text in one.figures.items())]
        for one in TASKS
    ]
    return "\n\n".join(_titled("", ["task", "question", "figures"], rows))


def benchmarks() -> str:
    """Every compositional benchmark: id, name, splits, records of the release, where it comes from."""
    from clipsight.bench.composition import benchmark_ids, get_benchmark

    table = []
    for one in sorted(map(get_benchmark, benchmark_ids()), key=lambda b: (b.guard, b.id)):
        known = [split.rows for split in one.annotations]
        count = f"{sum(filter(None, known)):,}" if all(known) else ""
        table.append(
            [
                f"`{one.id}`",
                one.title + (" (guard)" if one.guard else ""),
                str(len(one.annotations)),
                count,
                ", ".join(one.protocols),
                one.origin,
            ]
        )
    return "\n".join(_titled("", ["id", "name", "files", "records", "protocols", "from"], table))


def word_gaps(model: dict[str, Any] | None) -> str:
    """A row for each attribution: how many times as much an object word gets, and with controls."""
    if model is None:
        return "*No figures are recorded yet.*"
    table = [
        [f"`{row['name']}`", *map(_ratio, _gaps(row)), _ratio(row["shuffled"])]
        for row in model["rows"]
        if row["layer"] is None
    ]
    columns = [
        "attribution",
        "γ",
        "over attributes",
        "over relations",
        "typical word",
        "controlled",
        "dealt anew",
    ]
    return "\n".join(_titled("", columns, table))


def word_layers(model: dict[str, Any] | None) -> str:
    """The same for single blocks."""
    if model is None:
        return "*No figures are recorded yet.*"
    table = [
        [f"`{row['name']}`", str(row["layer"] + 1), *map(_ratio, _gaps(row))]
        for row in model["rows"]
        if row["layer"] is not None
    ]
    columns = ["attribution", "block", "γ", "over attributes", "over relations", "typical word", "controlled"]
    return "\n".join(_titled("", columns, table))


def word_foils(model: dict[str, Any] | None) -> str:
    """A row for each kind of foil: how far the similarity falls, and how often the caption wins."""
    if model is None:
        return "*No figures are recorded yet.*"
    table = [
        [f"`{kind}`", str(one["count"]), _ratio(one["drop"], 4), _ratio(one["wins"])]
        for kind, one in model["behaviour"]["foils"].items()
    ]
    return "\n".join(_titled("", ["foil", "how many", "ΔFoil", "captions that win"], table))


WORDS = {"gaps": word_gaps, "layers": word_layers, "foils": word_foils}


def _words_of(path: str, label: str) -> dict[str, Any] | None:
    file = ROOT / path
    models = json.loads(file.read_text(encoding="utf-8"))["models"] if file.exists() else []
    return next((model for model in models if model["label"] == label), None)


def _gaps(row: dict[str, Any]) -> list[list[float | None]]:
    return [*row["gap"].values(), row["plain"]["composition"], row["controlled"]["composition"]]


def _ratio(found: list[float | None], decimals: int = 2) -> str:
    if None in found:
        return "–"
    value, low, high = (f"{end:.{decimals}f}".replace("-", "−") for end in found)
    return f"{value} ({low}–{high})"


def _task_cell(row: dict[str, Any], name: str) -> str:
    if row[name] is None:
        return "–"
    each = [one[name] for one in row["by_seed"] if one[name] is not None]
    if name == "names":
        return f"{min(each):.0f}–{max(each):.0f}"
    return f"{row[name]:.2f} ({min(each):.2f}–{max(each):.2f})"


def _spread(row: dict[str, Any], name: str, factor: float, decimals: int) -> str:
    if row[name] is None:
        return "failed" if row.get("error") else "–"
    mean, *each = (factor * value for value in (row[name], *(one[name] for one in row["by_seed"])))
    if name == "peak_mb":
        return f"{mean:.{decimals}f}"
    return f"{mean:.{decimals}f} ({min(each):.{decimals}f}–{max(each):.{decimals}f})"


def _counts(counts: set[int]) -> str:
    return " or ".join(map(str, sorted(counts)))


def _rows(path: str) -> list[dict[str, Any]]:
    file = ROOT / path
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else []


PROTOCOLS = (
    ("ClearCLIP's protocol", ("ClearCLIP's protocol", "plain names")),
    (
        "Protocols of their own: a row compares with itself alone",
        ("own protocol", "unreleased", "language model", "whole method"),
    ),
    ("SCLIP's protocol (names with synonyms, sliding windows)", ("",)),
)
"""Headline, and what a setting says that belongs under it; the first that fits."""


def published(tower: str, path: str) -> str:
    """Published mIoU by protocol; our AUROC and mIoU on the emoji world, where there are any, in the last columns."""
    from clipsight.features import get_recipe, recipe_ids
    from clipsight.features.citation import EIGHT

    ours = {row["recipe"]: row for row in _rows(path)}
    groups: dict[str, dict[tuple[str, ...], dict[str, float]]] = {title: {} for title, _ in PROTOCOLS}
    for name in recipe_ids():
        for one in get_recipe(name).published:
            if one.metric == "mIoU" and re.match(rf"{re.escape(tower)}(,| on |$)", one.setting):
                title = next(
                    title for title, words in PROTOCOLS if any(word in one.setting for word in words)
                )
                line = (name, one.setting.removeprefix(tower).lstrip(", "), one.grade, one.where)
                groups[title].setdefault(line, {})[one.benchmark] = one.value
    parts = []
    for title, lines in groups.items():
        if lines:
            extra = {at for values in lines.values() for at in values} - set(EIGHT)
            columns = [
                at for at in (*EIGHT, *sorted(extra)) if any(at in values for values in lines.values())
            ]
            table = [
                [
                    f"`{name}`",
                    *(f"{values[at]:g}" if at in values else "" for at in columns),
                    setting or "–",
                    grade,
                    where,
                ]
                + [_ours(ours.get(name), figure) for figure in ("auroc", "miou")]
                for (name, setting, grade, where), values in lines.items()
            ]
            parts += _titled(
                title, ["recipe", *columns, "setting", "grade", "where", "AUROC here", "mIoU here"], table
            )
    return "\n\n".join(parts) or f"*Nothing is recorded for {tower}.*"


def _ours(row: dict[str, Any] | None, figure: str) -> str:
    return "" if row is None or row[figure] is None else f"{row[figure]:.2f}"


def methods_table() -> str:
    """Every method in a line: id, idea, where it works, what of that block stays."""
    from clipsight.features import Accumulate, ClassToken, EveryBlock, get_recipe, recipe_ids

    rows = []
    for recipe in map(get_recipe, recipe_ids()):
        where, path = "the last block", recipe.path
        if isinstance(path, Accumulate):
            where = "all blocks, summed" if path.blocks is None else f"the last {path.blocks} blocks, summed"
        elif isinstance(path, EveryBlock):
            where = "every block"
        where += ", with what others left" if replace(recipe, maps=()).records or recipe.edit else ""
        kept = {"keep": "residual", "drop": "nothing"}
        share = recipe.residual
        rest = f"{share.share:g} of the class token" if isinstance(share, ClassToken) else kept[share]
        rest += " and network" if recipe.ffn == "keep" else ""
        rows.append([f"`{recipe.id}`", recipe.summary, where, rest])
    return "\n".join(_titled("", ["id", "idea", "works in", "what stays of the block"], rows))


def methods_list() -> str:
    """Every method: id, idea, paper, and what is different here."""
    from clipsight.features import get_recipe, recipe_ids

    lines = []
    for name in recipe_ids():
        recipe = get_recipe(name)
        lines.append(f"### `{name}`\n\n{recipe.summary}")
        if paper := recipe.source:
            arxiv = f" [arXiv {paper.arxiv}](https://arxiv.org/abs/{paper.arxiv})." if paper.arxiv else ""
            code = f" Code: {paper.repository} at {paper.commit[:7] if len(paper.commit) == 40 else paper.commit}."
            lines.append(f"*{paper.title}.* {paper.venue}.{arxiv}{code}")
        if recipe.differences:
            lines.append("\n".join(["Different here:", "", *(f"* {one}" for one in recipe.differences)]))
    return "\n\n".join(lines)


METHODS = {"table": methods_table, "list": methods_list}


def models_counts() -> str:
    """How many of open_clip's architectures are read, and how many take CLIP Surgery."""
    from clipsight.checkpoints.architectures import FILE, architectures

    known = architectures()
    version = json.loads(FILE.read_text(encoding="utf-8"))["open_clip"]
    cut = sum(not _why_not(facts) for facts in known.values())
    return (
        f"Of the {len(known)} architectures that open_clip {version} lists, **{len(known)}** are read patch by patch "
        f"and **{cut}** ({cut / len(known):.0%}) take CLIP Surgery."
    )


def models_table() -> str:
    """A line for each architecture of open_clip."""
    from clipsight.checkpoints.architectures import architectures

    rows = []
    for name, facts in architectures().items():
        depth = "pool" if facts.pool_only else str(facts.depth or "one piece")
        text = f"{facts.context}, {facts.text}"
        size = f"{facts.size[0]}" if facts.size[0] == facts.size[1] else "×".join(map(str, facts.size))
        grid = "×".join(map(str, facts.grid))
        rows.append(
            [
                f"`{name}`",
                facts.family,
                size,
                grid,
                depth,
                facts.pools,
                text,
                "–" if _why_not(facts) else "yes",
            ]
        )
    columns = ["model", "image tower", "pixels", "grid", "blocks", "pools by", "text tower", "surgery"]
    return "\n".join(_titled("", columns, rows))


MODELS = {"table": models_table, "counts": models_counts}


def _why_not(facts: Any) -> str:
    from clipsight.features import adapt_to_depth, get_recipe, why_not

    return why_not(adapt_to_depth(get_recipe("clip_surgery"), facts).recipe, facts)


def micro(path: str) -> str:
    """A table for each tower: maps with and without surgery."""
    file = ROOT / path
    if not file.exists():
        return f"*No figures are recorded in `{path}` yet.*"
    parts = []
    for name, tower in json.loads(file.read_text(encoding="utf-8")).items():
        top1, raw = tower["noun_top1"], {row["recipe"]: row for row in tower["none"]}
        rows = [
            [
                f"`{row['recipe']}`",
                _spread(row, "auroc", 1.0, 3),
                _spread(row, "pointing", 1.0, 3),
                _spread(raw[row["recipe"]], "auroc", 1.0, 3),
                _spread(raw[row["recipe"]], "pointing", 1.0, 3),
            ]
            for row in tower["labels"]
        ]
        title = (
            f"{name}: {tower['family']}, grid {tower['grid'][0]} × {tower['grid'][1]}, noun top-1 {top1['mean']:.2f} "
            f"({top1['low']:.2f}–{top1['high']:.2f})"
        )
        parts += _titled(title, ["recipe", "AUROC", "pointing", "AUROC, raw", "pointing, raw"], rows)
    return "\n\n".join(parts)


def variants(kind: str) -> str:
    """Options of the authors as ids of their own (`options`), or their settings for data sets (`settings`)."""
    from clipsight.features import get_recipe, recipe_ids

    found = [one for one in map(get_recipe, recipe_ids(variants=True)) if one.variant_of]
    if kind == "options":
        table = [[f"`{one.id}`", one.summary] for one in found if one.setting is None]
        return "\n".join(_titled("", ["id", "what it is"], table))
    by_method: dict[str, list[str]] = {}
    for one in found:
        if one.setting is not None:
            by_method.setdefault(one.variant_of, []).append(f"`{one.id.removeprefix(one.variant_of)}`")
    table = [[f"`{name}`", " ".join(ends)] for name, ends in by_method.items()]
    return "\n".join(_titled("", ["method", "settings"], table))


def _tables(data: Any, title: str = "") -> list[str]:
    """A row for each plain value, a table for each list of rows, a titled table for each group."""
    if isinstance(data, list) and data and all(isinstance(row, dict) for row in data):
        columns = list(dict.fromkeys(name for row in data for name in row))
        return _titled(title, columns, [[_cell(row.get(name, "")) for name in columns] for row in data])
    plain = {
        name: value for name, value in data.items() if not isinstance(value, dict) and not _is_rows(value)
    }
    tables = (
        _titled(title, ["what", "value"], [[name, _cell(value)] for name, value in plain.items()])
        if plain
        else []
    )
    for name, value in data.items():
        if name not in plain:
            tables += _tables(value, name)
    return tables


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _titled(title: str, columns: list[str], rows: list[list[str]]) -> list[str]:
    lines = [" | ".join(columns), " | ".join("---" for _ in columns), *(" | ".join(row) for row in rows)]
    return [*([f"**{title}**"] if title else []), "\n".join(f"| {line} |" for line in lines)]


def _cell(value: Any) -> str:
    text = (
        f"{value:.4g}"
        if isinstance(value, float)
        else ", ".join(map(str, value))
        if isinstance(value, list)
        else str(value)
    )
    return text.replace("|", "\\|")
