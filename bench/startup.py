"""What a start costs, in CPU seconds of a process of its own: `python -m bench.startup`.

Each command runs in turn with the bare interpreter, and the difference of the medians is reported, because a shared
machine drifts. Bounds: `import llmring` 60 ms, `llmring --help` 300 ms.
"""

import resource
import statistics
import subprocess
import sys

from bench.machine import headline

RUNS = 15
COMMANDS = {
    "import llmring": [sys.executable, "-c", "import llmring"],
    "import llmring; llmring.open_router": [sys.executable, "-c", "import llmring; llmring.open_router"],
    "llmring --help": [sys.executable, "-m", "llmring", "--help"],
}
BARE = [sys.executable, "-c", "pass"]


def cpu_seconds(command: list[str]) -> float:
    """User and system time of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    print(headline("CPU beyond the bare interpreter, median of 15"))
    for name, command in COMMANDS.items():
        pairs = [(cpu_seconds(BARE), cpu_seconds(command)) for _ in range(RUNS)]
        bare = statistics.median(pair[0] for pair in pairs)
        whole = statistics.median(pair[1] for pair in pairs)
        print(f"{name:40} {1000 * (whole - bare):7.1f} ms   (interpreter alone {1000 * bare:.1f} ms)")


if __name__ == "__main__":
    main()
