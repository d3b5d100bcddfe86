"""`clipsight demo`: the whole way from an image and words to maps, offline, in one command."""

import re
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from clipsight.cli.options import BUNDLED
from clipsight.cli.outcome import SUCCESS, print_json, say
from clipsight.cli.progress import waiting
from clipsight.cli.registry import verb


@dataclass(frozen=True, kw_only=True)
class DemoScene:
    """Which scene of the emoji world is shown, and which word is asked for although it is absent."""

    index: int
    seed: int
    objects: int
    size: int
    absent: str


# One of the clearer of 700 held-out scenes looked through; the averages stand on the bundled model's card.
SCENE = DemoScene(index=89, seed=15, objects=3, size=448, absent="guitar")
FILES = {
    "explanation.png": "the maps side by side: open this first",
    "explanation.html": "the same as a web page that needs no other file",
    "explanation.npz": "raw signed values: clipsight.Explanation.load(...)",
}


@verb(80)
def demo(*, out: Path = Path("demo-out"), overwrite: bool = False, json: bool = False) -> int:
    """Explain a bundled image with the bundled model, offline.

    Asks for every object of a scene and for one that is not there. Writes the image, the maps side by side (PNG and a
    self-contained HTML page), the raw values (NPZ) and one overlay per word.

    Args:
        out: Folder to write to.
        overwrite: Replace existing files. Without it they are kept and the command fails.
        json: Print one JSON document to standard output, and nothing else.
    """
    with waiting():
        import clipsight
        from clipsight.results import atomic_write, check_writable, summary_line
        from clipsight.world import make_scene

    scene = make_scene(SCENE.index, seed=SCENE.seed, split="heldout", size=SCENE.size, objects=SCENE.objects)
    words = list(dict.fromkeys([*(thing.name for thing in scene.objects), SCENE.absent]))
    picture = out / "picture.png"
    overlays = {word: out / f"word-{re.sub(r'[^a-z0-9]+', '-', word)}.png" for word in words}
    out.mkdir(parents=True, exist_ok=True)
    for file in (picture, *(out / name for name in FILES), *overlays.values()):
        check_writable(file, overwrite=overwrite)

    with waiting("explaining"):
        with atomic_write(picture, overwrite=overwrite) as file:
            scene.image.save(file, format="PNG")
        explanation = clipsight.load(BUNDLED).see(picture).explain(words)
        for name in FILES:
            explanation.save(out / name, overwrite=overwrite)
        for word, path in overlays.items():
            with atomic_write(path, overwrite=overwrite) as file:
                explanation.overlay(word).save(file, format="PNG")

    if json:
        saved = [str(path) for path in (picture, *(out / name for name in FILES), *overlays.values())]
        print_json({"image": str(picture), "saved": saved, "result": explanation.to_dict()})
        return SUCCESS
    say(f"The image: {scene.captions[0].text}. There is no {SCENE.absent} in it.")
    for index in range(len(words)):
        say(summary_line(explanation, index), indent=2)
        say(explanation.trust[index], indent=4, style="dim")
    say("")
    say(Text.assemble(("Written to ", "bold"), (str(out.resolve()), "bold"), ":"))
    for name, what in FILES.items():
        say(f"{name:<17} {what}", indent=2)
    say(f"{'word-*.png':<17} one overlay for each of the {len(words)} words", indent=2)
    say("")
    say("Next, your own image (the default model, ViT-B-16, is downloaded once):")
    say("clipsight explain photo.jpg -t dog cat", indent=2)
    return SUCCESS
