"""A picture that a model has seen: encoded once, asked often."""

from clipsight.session.anomaly import anomaly as _anomaly
from clipsight.session.classify import classify as _classify
from clipsight.session.encoded import EncodedPicture
from clipsight.session.explain import explain as _explain
from clipsight.session.faithfulness import measure_faithfulness as _faithfulness
from clipsight.session.points import points as _points
from clipsight.session.segment import segment as _segment
from clipsight.session.sentence import sentence as _sentence
from clipsight.session.tag import tag as _tag
from clipsight.session.words import words as _words


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

    explain = _explain
    """Where in the picture does the model see these words? See `Lens.explain`."""
    classify = _classify
    """Which label fits the whole picture best? See `Lens.classify`."""
    tag = _tag
    """Which of these things are in the picture? See `Lens.tag`."""
    segment = _segment
    """Which of these names fits each pixel best? See `Lens.segment`."""
    points = _points
    """Where should a segmenter be told to look for these words? See `Lens.points`."""
    anomaly = _anomaly
    """Is this thing damaged, and where? See `Lens.anomaly`."""
    words = _words
    """Which words of a caption carry its match with this picture? See `Lens.words`."""
    sentence = _sentence
    """Which words of a sentence does the picture bear out, and where? See `Lens.sentence`."""
    faithfulness = _faithfulness
    """Do the scores of words say what becomes of the match when words go? See `Lens.faithfulness`."""

    def __repr__(self) -> str:
        """The picture, its size as seen, and the model."""
        height, width = self.size
        return f"Seen({self.source or 'a picture'}, {width} × {height} px, by {self.engine.loaded.name!r})"
