"""Which words of the emoji world's captions carry the match, for the bundled model and for one that never learnt.

Writes word_gap.json and words_gap.webp into docs/assets, for docs/words_gap.md ("Do objects win?"); two minutes:

    python scripts/measure_words_gap.py

For the bundled model alone the same comes from

    clipsight words --corpus world:101,102,103:100 --model clipsight-tiny --report words.html
"""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import open_clip
import torch
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from PIL import Image

import clipsight
from clipsight.bench.word_gap import Corpus, ModelWords, analyse_words, verdict
from clipsight.bench.word_gap.drawing import LIGHT
from clipsight.bench.word_gap.figures import draw_controls, draw_gaps

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "assets" / "word_gap.json"
CONFIG = ROOT / "src" / "clipsight" / "assets" / "clipsight-tiny" / "open_clip_config.json"
PICTURE = ROOT / "docs" / "assets" / "words_gap.webp"
CORPUS = "world:101,102,103:100"
SEED = 0
GUTTER = 24


def main() -> None:
    models = [
        ("clipsight-tiny", clipsight.load("clipsight-tiny")),
        ("random weights", clipsight.load(random())),
    ]
    report = analyse_words(
        models,
        Corpus(CORPUS),
        progress=lambda label, done, total: print(f"{label}: {done} of {total}", flush=True),
    )
    report.save(OUT, overwrite=True)
    drawing(report.models).save(PICTURE, quality=85, method=6)
    for model in report.models:
        print(f"\n{model.label}: {model.captions} captions, {model.comparable} to compare")
        print("\n".join(verdict(model)))


def drawing(models: Sequence[ModelWords]) -> Image.Image:
    """The gaps, and below them with controls, of both models."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    sheets = []
    for draw in (draw_gaps, draw_controls):
        buffer = io.BytesIO()
        FigureCanvasAgg(draw(models, LIGHT)).print_png(buffer, metadata={"Software": None})
        sheets.append(Image.open(buffer).convert("RGB"))
    whole = Image.new("RGB", (sheets[0].width, sum(sheet.height + GUTTER for sheet in sheets)), LIGHT.paper)
    top = 0
    for sheet in sheets:
        whole.paste(sheet, (0, top))
        top += sheet.height + GUTTER
    return whole


def random() -> torch.nn.Module:
    """The bundled model's architecture as it is before training."""
    config = json.loads(CONFIG.read_text(encoding="utf-8"))["model_cfg"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return open_clip.CLIP(
            config["embed_dim"],
            CLIPVisionCfg(**config["vision_cfg"]),
            CLIPTextCfg(**config["text_cfg"]),
            quick_gelu=config.get("quick_gelu", False),
        ).eval()


if __name__ == "__main__":
    main()
