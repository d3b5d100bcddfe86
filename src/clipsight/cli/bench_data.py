"""What compositional benchmarks are asked, and where their data are: the options of `bench composition` and `audit`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from clipsight.cli.bench import Seeds, check_scenes
from clipsight.cli.bench_models import NONE, SeveralShown
from clipsight.cli.options import read_templates
from clipsight.cli.outcome import UsageError
from clipsight.cli.progress import waiting

if TYPE_CHECKING:
    from clipsight.bench.composition import ReadOptions

ALL, AUTO = "all", "auto"


@dataclass(frozen=True, kw_only=True)
class ChosenBenchmarks:
    """What is measured: benchmarks, their guards, guards that have no data, and options for the readers."""

    benchmarks: tuple[str, ...]
    guards: tuple[str, ...]
    without: tuple[str, ...]
    options: "ReadOptions"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """Which benchmarks to run, on what data."""

    sets: SeveralShown = ("world",)
    """Benchmarks by id, separated by blanks or commas: aro, cola, colorswap, crepe, eqben, hard_positives, mmvp_vlm,
    negbench, sugarcrepe, sugarcrepe_pp, svo_probes, valse, vl_checklist, whatsup, winoground, world; `all` for those
    whose files are present. Only `world` needs no files."""

    annotations: Path | None = None
    """Folder with the benchmarks' annotation files, one folder per benchmark. If files are missing, the expected tree
    is printed."""

    images: Path | None = None
    """Folder with the image collections (COCO, Visual Genome, …)."""

    guards: SeveralShown = (AUTO,)
    """Measurements that reveal whether a gain was bought elsewhere: coco_retrieval, flickr30k_retrieval,
    hard_positives, sugarcrepe_pp_text, world_nouns, world_retrieval, zero_shot; `auto` for those whose data are
    present, `none` for none."""

    zero_shot: Annotated[tuple[Path, ...], Parameter(show_default=False)] = ()
    """Images to classify: a folder of class folders, such as ImageNet's validation images, or a .csv table with
    `filepath` and `label`."""

    templates: SeveralShown = ("IN80",)
    """Prompt templates for the class names of --zero-shot, as for `clipsight explain`. Published accuracies on ImageNet
    use IN80."""

    protocol: Literal["official", "macco", "vl_compo"] = "official"
    """Scoring protocol: the benchmark authors', MACCO's or vl_compo's."""

    limit: int | None = None
    """Maximum number of items per split, evenly spaced, for a first look. Defaults to all."""

    seeds: Seeds = (101, 102, 103)
    """Seeds of the emoji-world scenes."""

    count: int = 100
    """Number of scenes per seed."""

    cache: Path | None = None
    """Folder for features, so that an interrupted run continues. Several processes may share it. By default nothing is
    kept."""

    view: Literal["model", "crop", "pad", "square", "native"] = "model"
    """How an image is fitted to the model's input; `model` is how the model was evaluated."""

    batch: int = 32
    """Images per pass."""

    workers: int = 0
    """Processes that read images; 0 reads them in the main process."""

    def chosen(self) -> ChosenBenchmarks:
        """The questions, checked.

        Raises:
            UsageError: an unknown id, a number that gives nothing, a folder that is not there.
        """
        check_scenes(self.seeds, self.count)
        for name, value, least in (
            ("limit", self.limit, 1), ("batch", self.batch, 1), ("workers", self.workers, 0),
        ):  # fmt: skip
            if value is not None and value < least:
                raise UsageError(f"--{name} {value} is too low; give {least} or more.")
        for name, folder in (("annotations", self.annotations), ("images", self.images)):
            if folder is not None and not folder.is_dir():
                raise UsageError(f"--{name} {folder} is not a folder.")
        for path in self.zero_shot:
            if not path.exists():
                raise UsageError(
                    f"--zero-shot {path} does not exist; give a folder of class folders or a .csv table."
                )
        with waiting():
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
            raise UsageError("--sets names no benchmark; give ids, such as world.")
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
            raise UsageError(f"--{option}: {error}") from error


DATA = BenchmarkOptions()


def _split(words: Sequence[str]) -> list[str]:
    return [part.strip() for word in words for part in word.split(",") if part.strip()]
