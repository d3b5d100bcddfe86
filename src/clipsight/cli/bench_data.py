"""What compositional benchmarks are asked, and where their data are: the options of `bench composition` and `audit`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from clipsight.cli.bench import Seeds, check_scenes
from clipsight.cli.bench_models import NONE, Several
from clipsight.cli.options import Templates, read_templates
from clipsight.cli.outcome import Misuse, side_terminal

if TYPE_CHECKING:
    from clipsight.bench.composition import ReadOptions

ALL, AUTO = "all", "auto"


@dataclass(frozen=True, kw_only=True)
class ChosenBenchmarks:
    """What is measured: benchmarks, guards beside them, guards for which there are no data; how readers are told."""

    benchmarks: tuple[str, ...]
    guards: tuple[str, ...]
    without: tuple[str, ...]
    options: "ReadOptions"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """Which questions are asked."""

    sets: Several = ("world",)
    """Benchmarks by id, with blanks or commas between: aro, cola, colorswap, crepe, eqben, hard_positives, mmvp_vlm,
    negbench, sugarcrepe, sugarcrepe_pp, svo_probes, valse, vl_checklist, whatsup, winoground, world; `all` for those
    whose files are there. Only `world` needs no files."""

    annotations: Path | None = None
    """Folder with the benchmarks' annotation files, a folder for each; what is missing is drawn as a tree."""

    images: Path | None = None
    """Folder with the picture collections (COCO, Visual Genome, …)."""

    guards: Several = (AUTO,)
    """What is measured beside, so that a gain bought elsewhere is seen: coco_retrieval, flickr30k_retrieval,
    hard_positives, sugarcrepe_pp_text, world_nouns, world_retrieval, zero_shot; `auto` for those whose data are there,
    `none` for none."""

    zero_shot: Annotated[tuple[Path, ...], Parameter(consume_multiple=True, show_default=False)] = ()
    """Pictures to classify: a folder of class folders, such as ImageNet's validation pictures, or a .csv table with
    `filepath` and `label`; repeat it for several."""

    templates: Templates = ("IN80",)
    """What class names are put into for --zero-shot, as for `clipsight explain`; IN80 is what published accuracies on
    ImageNet use."""

    protocol: Literal["official", "macco", "vl_compo"] = "official"
    """Whose way of counting: the authors', MACCO's or vl_compo's."""

    limit: int | None = None
    """At most so many items of each split, evenly spaced: for a first look. Without one: all."""

    seeds: Seeds = (101, 102, 103)
    """Which scenes of the emoji world."""

    count: int = 100
    """How many scenes of each seed."""

    cache: Path | None = None
    """Folder for features: an interrupted run goes on where it was, and several processes may share it. Without one:
    nothing is kept."""

    view: Literal["model", "crop", "pad", "square", "native"] = "model"
    """What of a picture the model is shown; `model` is what it was evaluated with."""

    batch: int = 32
    """Pictures in one pass."""

    workers: int = 0
    """Processes that read pictures; 0 reads them in this one."""

    def chosen(self) -> ChosenBenchmarks:
        """The questions, checked.

        Raises:
            Misuse: an unknown id, a number that gives nothing, a folder that is not there.
        """
        check_scenes(self.seeds, self.count)
        for name, value, least in (
            ("limit", self.limit, 1), ("batch", self.batch, 1), ("workers", self.workers, 0),
        ):  # fmt: skip
            if value is not None and value < least:
                raise Misuse(f"--{name} {value}: give {least} or more.")
        for name, folder in (("annotations", self.annotations), ("images", self.images)):
            if folder is not None and not folder.is_dir():
                raise Misuse(f"--{name} {folder} is not a folder.")
        for path in self.zero_shot:
            if not path.exists():
                raise Misuse(
                    f"--zero-shot {path} does not exist; give a folder of class folders or a .csv table."
                )
        with side_terminal().status("starting ..."):
            from clipsight.bench.composition import ReadOptions, benchmarks_at_hand, guards_at_hand
        templates = read_templates([word for word in self.templates if word != AUTO] or ["IN80"])
        options = ReadOptions(
            world_seeds=tuple(dict.fromkeys(self.seeds)),
            world_count=self.count,
            zero_shot=self.zero_shot,
            templates=tuple(templates) if isinstance(templates, list) else templates,
        )
        sets = self._ids("sets", self.sets, benchmarks_at_hand(self.annotations, options))
        if not sets:
            raise Misuse("--sets names no benchmark; give ids, such as world.")
        words = _split(self.guards)
        auto, without = guards_at_hand(sets, self.annotations, options)
        if words == [AUTO]:
            return ChosenBenchmarks(benchmarks=sets, guards=auto, without=without, options=options)
        # A guard asked for by name is a benchmark like any other: that it cannot be measured is a failure.
        named = () if words == [NONE] else self._ids("guards", self.guards, ())
        sets = tuple(dict.fromkeys((*sets, *named)))
        return ChosenBenchmarks(benchmarks=sets, guards=(), without=(), options=options)

    def _ids(self, option: str, given: Sequence[str], all_ids: Sequence[str]) -> tuple[str, ...]:
        from clipsight.bench.composition import get_benchmark

        words = [one for word in _split(given) for one in (all_ids if word == ALL and all_ids else (word,))]
        try:
            return tuple(dict.fromkeys(get_benchmark(word).id for word in words))
        except ValueError as error:
            raise Misuse(f"--{option}: {error}") from error


DATA = BenchmarkOptions()


def _split(words: Sequence[str]) -> list[str]:
    return [part.strip() for word in words for part in word.split(",") if part.strip()]
