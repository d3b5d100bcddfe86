"""`clipsight demo`: the whole way from a picture and words to maps, offline, in one command."""

import re
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape

from clipsight.cli.options import BUNDLED
from clipsight.cli.outcome import DONE, side_terminal, terminal


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


def demo(*, out: Path = Path("demo-out"), overwrite: bool = False) -> int:
    """Explain a bundled picture with the bundled model, offline.

    Asks for every object of a scene and for one that is not there, and writes the picture, the maps side by side
    (PNG and a self-contained HTML page), the raw values (NPZ) and one overlay for each word.

    Args:
        out: The folder to write to.
        overwrite: Replace files that exist; without it they are kept and the command fails.
    """
    import clipsight
    from clipsight.results import summary_line
    from clipsight.results.io import atomic_write, check_writable
    from clipsight.world import make_scene

    scene = make_scene(SCENE.index, seed=SCENE.seed, split="heldout", size=SCENE.size, objects=SCENE.objects)
    words = list(dict.fromkeys([*(thing.name for thing in scene.objects), SCENE.absent]))
    picture = out / "picture.png"
    whole = [out / f"explanation.{suffix}" for suffix in ("png", "html", "npz")]
    overlays = {word: out / f"word-{re.sub(r'[^a-z0-9]+', '-', word)}.png" for word in words}
    out.mkdir(parents=True, exist_ok=True)
    for file in (picture, *whole, *overlays.values()):
        check_writable(file, overwrite=overwrite)

    with side_terminal().status("looking ..."):
        with atomic_write(picture, overwrite=overwrite) as file:
            scene.image.save(file, format="PNG")
        explanation = clipsight.load(BUNDLED).see(picture).explain(words)
        for file in whole:
            explanation.save(file, overwrite=overwrite)
        for word, path in overlays.items():
            with atomic_write(path, overwrite=overwrite) as file:
                explanation.overlay(word).save(file, format="PNG")

    console = terminal()
    console.print(f"The picture: {escape(scene.captions[0].text)}; there is no {SCENE.absent} in it.")
    for index in range(len(words)):
        console.print(f"  {escape(summary_line(explanation, index))}")
        console.print(f"    {escape(explanation.trust[index])}", style="dim")
    console.print(f"\nWritten to {escape(str(out.resolve()))}:", style="bold")
    console.print("  explanation.png   the maps side by side: open this first")
    console.print("  explanation.html  the same as one page that needs nothing else")
    console.print("  explanation.npz   raw signed values: clipsight.Explanation.load(...)")
    console.print(f"  word-*.png        one overlay for each of {len(words)} words")
    return DONE
