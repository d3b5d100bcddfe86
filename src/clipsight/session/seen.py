"""A picture that a model has seen: encoded once, asked often."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from rich.console import Console

from clipsight.draw import thumbnail
from clipsight.report import data_uri, render
from clipsight.session.anomaly import anomaly as _anomaly
from clipsight.session.classify import classify as _classify
from clipsight.session.encoded import EncodedPicture
from clipsight.session.explain import explain as _explain
from clipsight.session.faithfulness import measure_faithfulness as _faithfulness
from clipsight.session.interact import interact as _interact
from clipsight.session.points import points as _points
from clipsight.session.segment import segment as _segment
from clipsight.session.sentence import sentence as _sentence
from clipsight.session.tag import tag as _tag
from clipsight.session.words import words as _words

_SIDE = 480
"""Most pixels of the picture in a notebook."""

Ask = TypeVar("Ask", bound=Callable[..., Any])


def _question(ask: Ask) -> Ask:
    """A question as a method: independent of global torch settings, with the weights checked once."""

    @wraps(ask)
    def asked(seen: EncodedPicture, *given: Any, **more: Any) -> Any:
        with seen.engine.asked():
            return ask(seen, *given, **more)

    return cast(Ask, asked)


class Seen(EncodedPicture):
    """A picture to be asked many questions. Made by `Lens.see`; safe to share between threads.

    Every question is a method, with the arguments and defaults of the method of `Lens` of the same name, the picture
    and its resolution left out.

    Attributes:
        picture: the picture, RGB. source: its name, "" if unknown. size: (H, W) pixels the model sees.
        notes: what was done differently from what was asked.

    Example:
        >>> import clipsight
        >>> from clipsight.world import make_scene
        >>> seen = clipsight.load("clipsight-tiny").see(make_scene(0).image)
        >>> tuple(seen.explain(["a dog", "a car"]).maps.shape), len(seen.classify(["a dog", "a car"]).labels)
        ((2, 14, 14), 2)
    """

    explain = _question(_explain)
    """Where in the picture does the model see these words? See `Lens.explain`."""
    classify = _question(_classify)
    """Which label fits the whole picture best? See `Lens.classify`."""
    tag = _question(_tag)
    """Which of these things are in the picture? See `Lens.tag`."""
    segment = _question(_segment)
    """Which of these names fits each pixel best? See `Lens.segment`.

    The size is `window`'s and `short_side`'s; at the size of `pixels` and seen whole it takes what was encoded already.
    """
    points = _question(_points)
    """Where should a segmenter be told to look for these words? See `Lens.points`."""
    anomaly = _question(_anomaly)
    """Is this thing damaged, and where? See `Lens.anomaly`."""
    words = _question(_words)
    """Which words of a caption carry its match with this picture? See `Lens.words`."""
    interact = _question(_interact)
    """Which word of a caption is matched by which region? See `Lens.interact`."""
    sentence = _question(_sentence)
    """Which words of a sentence does the picture bear out, and where? See `Lens.sentence`."""
    faithfulness = _question(_faithfulness)
    """Do the scores of words say what becomes of the match when words go? See `Lens.faithfulness`."""

    def __repr__(self) -> str:
        """The picture, its size as seen, and the model."""
        height, width = self.size
        return f"Seen({self.source or 'a picture'}, {width} × {height} px, by {self.engine.loaded.name!r})"

    def show(self) -> None:
        """Print what the model sees of the picture."""
        console = Console(highlight=False, markup=False, soft_wrap=True)
        for line in (repr(self), *self.notes):
            console.print(line)

    def _repr_html_(self) -> str:
        small = thumbnail(self.picture, (_SIDE, _SIDE))
        rows = [("seen at", f"{self.size[1]} × {self.size[0]} px"), *(("note", note) for note in self.notes)]
        return render("facts.notebook.j2", title=repr(self), image=data_uri(small, "JPEG"), rows=rows)
