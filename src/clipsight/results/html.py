"""An explanation as one HTML page without outside parts, and its short form for notebooks."""

import io
import json
from base64 import b64encode
from hashlib import sha256
from html import escape
from math import isfinite

from PIL import Image

from . import heat
from .explanation import Explanation
from .io import json_numbers
from .page_parts import SCRIPT, STYLE
from .provenance import Provenance
from .scaling import ScaleChoice
from .wording import number, printable

PICTURE_SIDE = (1000, 1400)  # least and most pixels on the long side of the JPEG in the page
LAYER_SIDE = 640  # of a colour layer: it is smooth, the browser enlarges it


def page(explanation: Explanation, *, scale: ScaleChoice = "shared") -> str:
    """The page as text. All words of the user are escaped; its policy forbids every outside address."""
    picture = Image.fromarray(explanation.image)
    photo = _within(picture, *PICTURE_SIDE)
    layers = [_layer(explanation, k, scale) for k in range(len(explanation.texts))]
    scales = [explanation.scale_of(k, scale) for k in range(len(explanation.texts))]
    unit = explanation.provenance.unit
    data = {
        "unit": unit,
        "size": list(explanation.image.shape[:2]),
        "texts": [
            {
                "layer": _uri(image, "PNG"),
                "low": "flat" if s.flat else ("≤ " if s.clipped else "") + (number(s.low) if s.low else "0"),
                "high": "" if s.flat else number(s.high),
                "words": " ".join(w for w in (s.note, t) if w),
                "map": json_numbers(m.numpy()),
            }
            for image, s, t, m in zip(layers, scales, explanation.trust, explanation.maps, strict=True)
        ],
    }
    payload = json.dumps(data, allow_nan=False).replace("<", "\\u003c")  # cannot end its own element
    name = escape(printable(explanation.source)) if explanation.source else "picture"
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{_digest(STYLE)}'; "
        f"script-src 'sha256-{_digest(SCRIPT)}'; base-uri 'none'; form-action 'none'"
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name} · clipsight</title>
<style>{STYLE}</style></head>
<body><main>
<figure>
<div class="stage"><img class="photo" src="{_uri(photo, "JPEG")}" alt="{name}">
<img class="layer" src="{data["texts"][0]["layer"]}" alt=""></div>
<div class="scale"><img class="bar" src="{_uri(Image.fromarray(heat.bar(256, 1)), "PNG")}" alt="colour bar">
<div class="ticks"><span class="low">{data["texts"][0]["low"]}</span>
<span>raw score ({escape(unit)})</span><span class="high">{data["texts"][0]["high"]}</span></div></div>
<div class="controls"><label>Opacity
<input class="opacity" type="range" min="0" max="100" value="100" aria-label="Opacity of the map"></label>
<output class="probe">Point at the picture to read a score</output></div>
</figure>
<aside><h1>Where the model sees these words</h1>
<div class="texts" role="radiogroup" aria-label="Texts">{_choices(explanation)}</div>
<p class="words" aria-live="polite">{escape(data["texts"][0]["words"])}</p>
<details><summary>How this was made</summary>{_table(explanation)}</details></aside>
</main>
<script type="application/json" id="data">{payload}</script>
<script>{SCRIPT}</script></body></html>
"""


def notebook(explanation: Explanation, png: str) -> str:
    """The sheet (`png` in base64) and, folded, the provenance: static, for notebooks that strip scripts."""
    return (
        f'<img alt="{escape(repr(explanation))}" style="max-width:100%" src="data:image/png;base64,{png}">'
        f"<details><summary>How this was made</summary>{_table(explanation)}</details>"
    )


def _choices(explanation: Explanation) -> str:
    out = []
    for k, text in enumerate(explanation.texts):
        presence = float(explanation.presence[k])
        shown = f"{presence:.2f}" if isfinite(presence) else "–"
        meter = f'<meter min="0" max="1" value="{presence:.4f}"></meter>' if isfinite(presence) else ""
        checked = " checked" if k == 0 else ""
        out.append(
            f'<label><input type="radio" name="text" value="{k}"{checked}><span class="name">'
            f"{escape(printable(text))}</span>{meter}<span class='value' title='presence'>{shown}</span>"
            f"</label>"
        )
    note = "presence, 0 to 1" if not explanation.presence_reason else explanation.presence_reason
    return "".join(out) + f'<p class="legend">{escape(note)}</p>'


def _table(explanation: Explanation) -> str:
    rows = "".join(
        f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in _rows(explanation.provenance)
    )
    return f"<table>{rows}</table>"


def _rows(provenance: Provenance) -> list[tuple[str, str]]:
    h, w = provenance.grid
    height, width = provenance.size
    names = ", ".join(map(printable, provenance.contrast_texts))
    rows = [
        ("model", f"{provenance.model} {provenance.pretrained or ''}".strip()),
        ("weights", provenance.fingerprint),
        ("method", provenance.method),
        ("settings", json.dumps(provenance.settings, ensure_ascii=False)),
        ("contrast", provenance.contrast + (f": {names}" if names else "")),
        ("templates", " | ".join(provenance.templates) or "texts as given"),
        ("grid", f"{h} rows × {w} columns"),
        ("seen at", f"{width} × {height} px"),
        ("versions", ", ".join(f"{k} {v}" for k, v in provenance.versions.items())),
    ]
    return rows + [("note", note) for note in provenance.notes]


def _layer(explanation: Explanation, row: int, scale: ScaleChoice) -> Image.Image:
    height, width = explanation.image.shape[:2]
    shrink = LAYER_SIDE / max(height, width)
    size = max(round(height * shrink), 1), max(round(width * shrink), 1)
    return heat.layer(explanation.maps[row].numpy(), explanation.scale_of(row, scale), size)


def _within(picture: Image.Image, least: int, most: int) -> Image.Image:
    side = max(picture.size)
    shrink = min(max(side, least), most) / side
    return heat.fit(picture, (max(round(picture.height * shrink), 1), max(round(picture.width * shrink), 1)))


def _uri(picture: Image.Image, kind: str) -> str:
    buffer = io.BytesIO()
    options = {"quality": 88} if kind == "JPEG" else {}
    picture.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{b64encode(buffer.getvalue()).decode()}"


def _digest(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode()
