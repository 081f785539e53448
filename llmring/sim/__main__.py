"""`python -m llmring.sim`: reads the options, prints one line of JSON when it listens, serves until told to
end.

Exit codes: 0 told to end, 2 a wrong option or configuration, 1 the address cannot be bound.
"""

import argparse
import sys
from pathlib import Path

from llmring.sim.config import SimConfig, SimConfigError, load_config
from llmring.sim.server import announce, serve


def main(arguments: list[str]) -> int:
    options = _options().parse_args(arguments)
    try:
        config = SimConfig() if options.config is None else load_config(options.config)
    except SimConfigError as error:
        print(f"llmring sim: {error}", file=sys.stderr)
        return 2
    try:
        serve(config, options.host, options.port, announce, watch_stdin=options.watch_stdin)
    except OSError as error:
        print(f"llmring sim: cannot listen on {options.host}:{options.port}: {error}", file=sys.stderr)
        return 1
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="llmring sim", description="Simulate model providers over real sockets.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one (default)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML or JSON: providers, limits, latency, faults")
    parser.add_argument("--watch-stdin", action="store_true", help="end when standard input ends")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
