"""The checks of `clipsight doctor`: each is a function that returns findings and changes nothing."""

import os
import platform
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from clipsight.cli.options import BUNDLED
from clipsight.cli.outcome import one_line

Verdict = Literal["good", "info", "slow", "bad"]
LIBRARIES = ("torch", "open_clip_torch", "numpy", "pillow", "einops", "safetensors", "timm", "transformers")
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "neon", "asimd", "sve")
"""What processors call the instruction sets between which kernels choose."""
KERNEL_SWITCHES = (
    *("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS"),
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS"),
)
"""Environment variables that choose other kernels, or sums in another order."""
HUB = "https://huggingface.co"
LOW_DISK_GB = 5
ALLOCATOR_ADVICE = (
    "training on this CPU is several times slower than it could be: put MALLOC_MMAP_MAX_=0 "
    "MALLOC_TRIM_THRESHOLD_=-1 before the command, or preload jemalloc."
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the report: good, information, slower than necessary, or broken; `advice` says what to type."""

    name: str
    verdict: Verdict
    text: str
    advice: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def examine(*, network: bool = False) -> list[Finding]:
    """Every check, in the order of a report."""
    return [
        *check_versions(),
        check_devices(),
        check_kernels(),
        check_threads(),
        check_allocator(),
        check_bundled_model(),
        *check_caches(),
        check_hub(connect=network),
    ]


def check_versions() -> list[Finding]:
    """Python and the libraries that results depend on."""
    import clipsight

    found = {name: _version(name) for name in LIBRARIES}
    text = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    return [
        Finding(
            name="clipsight",
            verdict="info",
            text=f"{clipsight.__version__} on Python {platform.python_version()}, {platform.platform()}",
        ),
        Finding(name="libraries", verdict="info", text=text),
    ]


def check_devices() -> Finding:
    """Where torch can compute."""
    import torch

    names = [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    if names:
        return Finding(name="devices", verdict="good", text=", ".join([*names, "cpu"]))
    return Finding(
        name="devices",
        verdict="info",
        text="CPU only; explaining an image costs about as much as classifying it",
    )


def check_kernels(environ: Mapping[str, str] = os.environ) -> Finding:
    """Instruction set, kernels and threads that compute here; the last digits of every figure depend on them."""
    import torch

    name, flags = _processor()
    found = [one for one in INSTRUCTIONS if one in flags]
    libraries = {
        "MKL": r"oneAPI Math Kernel Library Version ([\d.]+)",
        "oneDNN": r"MKL-DNN v([\w.]+)",
    }
    built = torch.__config__.show()
    versions = [
        f"{library} {match[1]}"
        for library, pattern in libraries.items()
        if (match := re.search(pattern, built))
    ]
    blas = re.search(r"BLAS_INFO=(\w+)", built)
    parts = [
        f"{name} ({' '.join(found) or 'no vector instructions known'})",
        f"ATen {torch.backends.cpu.get_cpu_capability()}",
        *versions,
        f"BLAS {blas[1] if blas else 'unknown'}",
        f"threads {torch.get_num_threads()}",
        *(f"{switch}={environ[switch]}" for switch in KERNEL_SWITCHES if switch in environ),
    ]
    return Finding(name="kernels", verdict="info", text=", ".join(parts))


def check_threads() -> Finding:
    """Threads against the cores that this process may use."""
    import torch

    threads, cores = torch.get_num_threads(), _usable_cores()
    text = f"torch uses {threads} of {cores} cores"
    if threads < cores:
        return Finding(
            name="threads", verdict="slow", text=text, advice=f"set OMP_NUM_THREADS={cores} to use them all."
        )
    if threads > cores:
        return Finding(
            name="threads",
            verdict="slow",
            text=text,
            advice=f"set OMP_NUM_THREADS={cores}; more threads than cores slow each other down.",
        )
    return Finding(name="threads", verdict="good", text=text)


def check_allocator(
    environ: Mapping[str, str] = os.environ, maps: str | None = None, libc: str | None = None
) -> Finding:
    """Whether freed memory is kept for the next step; by default glibc returns it and has to fetch it again."""
    libc = platform.libc_ver()[0] if libc is None else libc
    maps = _loaded_libraries() if maps is None else maps
    for other in ("jemalloc", "tcmalloc", "mimalloc"):
        if other in maps:
            return Finding(name="allocator", verdict="good", text=f"{other}")
    if libc != "glibc":
        return Finding(name="allocator", verdict="info", text=f"{libc or platform.system()}'s own")
    tunables = dict(
        part.split("=", 1) for part in environ.get("GLIBC_TUNABLES", "").split(":") if "=" in part
    )
    mmap_max = environ.get("MALLOC_MMAP_MAX_", tunables.get("glibc.malloc.mmap_max"))
    trim = environ.get("MALLOC_TRIM_THRESHOLD_", tunables.get("glibc.malloc.trim_threshold"))
    if mmap_max == "0" and trim is not None:
        return Finding(name="allocator", verdict="good", text="glibc, set to keep freed memory")
    return Finding(
        name="allocator",
        verdict="slow",
        text="glibc, returns freed memory to the system after each step",
        advice=ALLOCATOR_ADVICE,
    )


def check_bundled_model() -> Finding:
    """Whether the bundled model loads, and which weights it has."""
    from clipsight.towers.loading import load_model

    try:
        fingerprint = load_model(BUNDLED, device="cpu").fingerprint
    except Exception as error:
        # Whatever is wrong belongs in the report, which goes on.
        return Finding(
            name=BUNDLED,
            verdict="bad",
            text=one_line(error),
            advice="reinstall: pip install --force-reinstall --no-deps clipsight",
        )
    return Finding(name=BUNDLED, verdict="good", text=f"loads; weights {fingerprint}")


def check_caches() -> list[Finding]:
    """Where downloads are kept, how much space is left there, and what clipsight itself keeps."""
    from huggingface_hub.constants import HF_HUB_CACHE

    findings = [_own_cache()]
    for name, folder in (
        ("hub cache", Path(HF_HUB_CACHE)),
        ("open_clip cache", Path("~/.cache/clip").expanduser()),
    ):
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free = shutil.disk_usage(there).free / 1e9
        text = f"{folder}{'' if folder.exists() else ' (does not exist yet)'}, {free:.0f} GB free"
        low = free < LOW_DISK_GB
        advice = (
            "free some disk space, or point HF_HOME to another disk before downloading weights."
            if low
            else ""
        )
        findings.append(Finding(name=name, verdict="slow" if low else "info", text=text, advice=advice))
    return findings


def _own_cache() -> Finding:
    from clipsight.store import VARIABLE, open_store

    cache = open_store()
    if cache is None:
        text = f"off ({VARIABLE}); every program encodes its prompt ensembles again"
    else:
        text = f"{cache.path}, {cache.size() / 1e6:.0f} of at most {cache.limit / 1e6:.0f} MB"
    return Finding(name="clipsight cache", verdict="info", text=text)


def check_hub(*, connect: bool) -> Finding:
    """Whether weights can be downloaded; it connects only if asked to."""
    from huggingface_hub.constants import HF_HUB_OFFLINE

    if HF_HUB_OFFLINE:
        return Finding(
            name="hub",
            verdict="info",
            text="HF_HUB_OFFLINE is set: only downloaded weights can be loaded",
        )
    if not connect:
        return Finding(name="hub", verdict="info", text="not tried; run clipsight doctor --network to try")
    from urllib.error import URLError
    from urllib.request import urlopen

    endpoint = os.environ.get("HF_ENDPOINT", HUB)
    try:
        urlopen(endpoint, timeout=10).close()
    except (URLError, OSError, ValueError) as error:
        advice = (
            f"use --model {BUNDLED}, or pass a local file to --pretrained; behind a proxy, set HTTPS_PROXY."
        )
        return Finding(
            name="hub",
            verdict="info",
            text=f"{endpoint} cannot be reached ({one_line(error)})",
            advice=advice,
        )
    return Finding(name="hub", verdict="good", text=f"{endpoint} answers")


def _version(distribution: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> tuple[str, frozenset[str]]:
    """Its name and its instruction sets; Linux tells the latter, elsewhere none are known."""
    name, flags, listing = platform.processor() or platform.machine(), frozenset[str](), Path("/proc/cpuinfo")
    for line in listing.read_text().splitlines() if listing.exists() else ():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() in ("flags", "Features"):
            flags = frozenset(value.split())
            break
    return name, flags


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _loaded_libraries() -> str:
    maps = Path("/proc/self/maps")
    return maps.read_text() if maps.exists() else os.environ.get("LD_PRELOAD", "")
