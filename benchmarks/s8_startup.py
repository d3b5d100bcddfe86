"""S8: whole processes: `clipsight --help` <= 0.6 s and `import clipsight` <= 0.3 s."""

import statistics
import subprocess
import sys
import time

from timing import report

rows = []
for work, command, target in (
    ("clipsight --help", [sys.executable, "-m", "clipsight.cli", "--help"], 0.6),
    ("import clipsight", [sys.executable, "-c", "import clipsight"], 0.3),
    ("python alone", [sys.executable, "-c", "pass"], None),
):
    times = []
    for _ in range(8):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    rows.append({"work": work, "median_s": statistics.median(times[1:]), "target": target or "-"})
report("S8", rows)
