"""The audit as one HTML page without outside parts: findings, headlines, the gap, every split, how it was made."""

from clipsight.bench.audit import sections
from clipsight.bench.audit.charts import COLOURS, gap_axis, percent_axis
from clipsight.bench.audit.findings import SIGMAS
from clipsight.bench.audit.measure import Audit, Audited
from clipsight.bench.composition import get_benchmark
from clipsight.report import render
from clipsight.results.wording import printable

_ACTIVATIONS = {"quick_gelu": "QuickGELU", "gelu": "GELU"}


def page(audit: Audit) -> str:
    """The page as text. All words of the user are escaped; its policy forbids scripts and every outside address."""
    models = audit.models
    first = models[0].report
    compared = next((one.gap for one in models if one.gap is not None and one.gap.setups), None)
    return render(
        "audit.html.j2",
        labels=[printable(one.label) for one in models],
        colours=COLOURS,
        asked=sections.capital(", ".join(get_benchmark(id).title for id in audit.asked)),
        guard_count=len([id for id in first.guards if id not in audit.asked]),
        protocol=str(first.settings["protocol"]),
        models=[_model(one) for one in models],
        findings=[
            [printable(line) for line in audit.findings(k)] or ["Nothing out of the ordinary."]
            for k in range(len(models))
        ],
        sigmas=f"{SIGMAS:g}",
        percent_axis=percent_axis(),
        gap_axis=gap_axis(),
        glance=list(sections.glance(models)),
        without_gap=[printable(one.without_gap) if one.gap is None else "" for one in models],
        gap_rows=sections.gap_rows(models) if compared else [],
        captions=sections.capital(audit.captions),
        counts=f"{compared.comparable:,} of {compared.captions:,} captions" if compared else "",
        benchmarks=sections.benchmarks(models, guard=False),
        guards=sections.benchmarks(models, guard=True),
        without=", ".join(get_benchmark(id).title for id in audit.without),
        published=sections.published(models),
        notes=dict.fromkeys(note for one in models for note in one.report.notes),
        failures=dict.fromkeys(failure for one in models for failure in one.report.failures),
        made=list(sections.made(models)),
    )


def _model(one: Audited) -> list[str]:
    """How the model was run: a cell for each column of the table of models."""
    about = one.report.about
    cells = (
        f"{about.model} {about.pretrained or ''}".strip(),
        about.fingerprint,
        _ACTIVATIONS.get(about.activation, about.activation),
        f"{about.size[1]} × {about.size[0]} px, {about.view}",
        f"{about.dtype} on {about.device}",
    )
    return [printable(cell) for cell in cells]
