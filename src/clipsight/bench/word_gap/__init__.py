"""Do objects win? The attribution that words get by their role, over a corpus, for several models side by side."""

from clipsight.bench.resampling import Interval
from clipsight.bench.word_gap.analysis import analyse_captions, analyse_words
from clipsight.bench.word_gap.behaviour import Behaviour, FoilFigures
from clipsight.bench.word_gap.caption import CorpusCaption, FoilPair
from clipsight.bench.word_gap.columns import SETUPS, Column
from clipsight.bench.word_gap.corpus import Corpus, CorpusOptions
from clipsight.bench.word_gap.items import attribution_gap
from clipsight.bench.word_gap.report import GapRow, ModelWords, WordsReport
from clipsight.bench.word_gap.statistics import GapFigures
from clipsight.bench.word_gap.verdict import verdict

__all__ = [
    "SETUPS",
    "Behaviour",
    "Column",
    "Corpus",
    "CorpusCaption",
    "CorpusOptions",
    "FoilFigures",
    "FoilPair",
    "GapFigures",
    "GapRow",
    "Interval",
    "ModelWords",
    "WordsReport",
    "analyse_captions",
    "analyse_words",
    "attribution_gap",
    "verdict",
]
