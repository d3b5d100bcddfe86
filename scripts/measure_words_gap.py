"""Which words of the emoji world's captions carry the match, for the bundled model and for one that never learnt.

Writes docs/assets/words_analysis.json, which "Do objects win?" (docs/words_gap.md) shows; two minutes on two cores:

    python scripts/measure_words_gap.py

For the bundled model alone the same comes from

    clipsight words --corpus world:101,102,103:100 --model clipsight-tiny --report words.html
"""

import json
from pathlib import Path

import open_clip
import torch
from open_clip.model import CLIPTextCfg, CLIPVisionCfg

import clipsight
from clipsight.bench.words_analysis import Corpus, analyse_words, verdict

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "assets" / "words_analysis.json"
CONFIG = ROOT / "src" / "clipsight" / "assets" / "clipsight-tiny" / "open_clip_config.json"
CORPUS = "world:101,102,103:100"
SEED = 0


def main() -> None:
    models = [("clipsight-tiny", clipsight.load("clipsight-tiny")), ("random weights", clipsight.load(random()))]
    report = analyse_words(
        models, Corpus(CORPUS), progress=lambda label, done, total: print(f"{label}: {done} of {total}", flush=True)
    )
    report.save(OUT, overwrite=True)
    for model in report.models:
        print(f"\n{model.label}: {model.captions} captions, {model.comparable} to compare")
        print("\n".join(verdict(model)))


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
