"""Do objects win? The attribution that words get by their role, over a corpus, for several models side by side."""

from clipsight.bench.words_analysis.analysis import analyse_captions, analyse_words
from clipsight.bench.words_analysis.behaviour import Behaviour, FoilFigures
from clipsight.bench.words_analysis.caption import CorpusCaption, FoilPair
from clipsight.bench.words_analysis.columns import SETUPS, Column
from clipsight.bench.words_analysis.corpus import Corpus, CorpusOptions
from clipsight.bench.words_analysis.items import attribution_gap
from clipsight.bench.words_analysis.report import GapRow, ModelWords, WordsReport
from clipsight.bench.words_analysis.resampling import Interval
from clipsight.bench.words_analysis.statistics import Figures
from clipsight.bench.words_analysis.verdict import verdict

__all__ = [
    "SETUPS",
    "Behaviour",
    "Column",
    "Corpus",
    "CorpusCaption",
    "CorpusOptions",
    "Figures",
    "FoilFigures",
    "FoilPair",
    "GapRow",
    "Interval",
    "ModelWords",
    "WordsReport",
    "analyse_captions",
    "analyse_words",
    "attribution_gap",
    "verdict",
]
