"""The audit as one HTML page without outside parts: findings, headlines, the gap, every split, how it was made."""

import json
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html import escape

from clipsight.bench.audit.cells import capital, named, plural, table
from clipsight.bench.audit.measure import Audit, Audited
from clipsight.bench.audit.style import STYLE
from clipsight.bench.audit.tables import (
    benchmarks_section,
    gap_section,
    glance_section,
    guards_section,
    published_section,
)
from clipsight.bench.composition import get_benchmark
from clipsight.results.wording import printable

_ACTIVATIONS = {"quick_gelu": "QuickGELU", "gelu": "GELU"}


def page(audit: Audit) -> str:
    """The page as text. All words of the user are escaped; its policy forbids scripts and every outside address."""
    models = audit.models
    digest = b64encode(sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    first = models[0].report
    asked = ", ".join(get_benchmark(id).title for id in audit.asked)
    guards = [id for id in first.guards if id not in audit.asked]
    sections = [
        ("glance", "At a glance", glance_section(models)),
        ("gap", "Where attribution goes", gap_section(audit)),
        ("benchmarks", "Benchmarks", benchmarks_section(models, guard=False)),
        ("guards", "Guards", guards_section(audit)),
        ("published", "Published scores", published_section(models)),
        ("reading", "Before you quote this", _notes(audit)),
        ("made", "How this was made", _made(models)),
    ]
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Composition audit: {escape(", ".join(printable(one.label) for one in models))} · clipsight</title>
<style>{STYLE}</style></head>
<body><main>
<h1>Composition audit</h1>
<p class="quiet">Does the model read who does what to whom, where does its attribution go, and what can it do besides?
{escape(capital(asked))}; {plural(len(guards), "guard")}; protocol {escape(str(first.settings["protocol"]))}.</p>
{_models(models)}
<nav>{"".join(f'<a href="#{id}">{title}</a>' for id, title, _ in sections)}</nav>
<div class="cards">{"".join(_card(audit, index) for index in range(len(models)))}</div>
{"".join(f'<section id="{id}"><h2>{title}</h2>{body}</section>' for id, title, body in sections)}
</main></body></html>
"""


def _models(models: Sequence[Audited]) -> str:
    rows = []
    for index, one in enumerate(models):
        about = one.report.about
        cells = (
            f"{about.model} {about.pretrained or ''}".strip(),
            about.fingerprint,
            _ACTIVATIONS.get(about.activation, about.activation),
            f"{about.size[1]} × {about.size[0]} px, {about.view}",
            f"{about.dtype} on {about.device}",
        )
        said = "".join(f"<td>{escape(printable(cell))}</td>" for cell in cells)
        rows.append(f"<tr><th>{named(models, index)}</th>{said}</tr>")
    names = ("", "model", "weights", "activation", "pictures", "computed in")
    return table(names, rows)


def _card(audit: Audit, index: int) -> str:
    said = audit.findings(index) or ("Nothing out of the ordinary.",)
    lines = "".join(f"<li>{escape(printable(line))}</li>" for line in said)
    return f'<div class="card"><h3>{named(audit.models, index)}</h3><ul>{lines}</ul></div>'


def _notes(audit: Audit) -> str:
    own = [
        "Differences are called clear when they exceed 1.96 standard errors of two independent samples. The models saw "
        "the same items, so that a small difference called unclear may be one; several items about one picture make "
        "the errors too small.",
        "A tie is never a win. Scripts that take an arg max count some of them as right.",
    ]
    notes = dict.fromkeys(note for one in audit.models for note in one.report.notes)
    failures = dict.fromkeys(failure for one in audit.models for failure in one.report.failures)
    lines = "".join(f"<li>{escape(note)}</li>" for note in (*own, *notes))
    failed = "".join(f'<pre class="warn">{escape(failure)}</pre>' for failure in failures)
    return f'<ul class="notes">{lines}</ul>{failed}'


def _made(models: Sequence[Audited]) -> str:
    first = models[0].report
    files = {
        (one.file, one.sha256, one.rows): row.benchmark
        for row in first.rows
        for one in row.files
        if one.sha256
    }
    facts = [
        ("settings", json.dumps(dict(first.settings), ensure_ascii=False)),
        ("versions", ", ".join(f"{name} {version}" for name, version in first.versions.items())),
        *((f"{id} {file}", f"{rows:,} records, sha256 {mark}") for (file, mark, rows), id in files.items()),
        *((f"{row.benchmark} {row.split}", f"texts sha256 {row.texts_sha256}") for row in first.rows),
    ]
    rows = "".join(
        f"<tr><th>{escape(printable(name))}</th><td>{escape(printable(value))}</td></tr>"
        for name, value in facts
    )
    return (
        '<p class="how">The .json beside this page holds all of it, a row for each split.</p>'
        f'<details><summary>Settings, versions, files</summary><table class="facts">{rows}</table></details>'
    )
