"""`python -m api`: the service on one machine, over what the environment names."""

from __future__ import annotations

import argparse
import sys

try:
    from api.serving import PORT, serve
    from api.settings import Settings
    from handler.errors import ConfigurationError
except ModuleNotFoundError as error:
    name = str(error.name).partition(".")[0]
    sys.exit(f"api: The service needs the package {name}; install requirements/service.txt.")


def main() -> int:
    """Parses the options and serves."""
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__, allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; all except loopback demand the key")
    parser.add_argument("--port", type=int, default=PORT, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--name", action="append", default=[], help="host name under which others reach it; repeatable")
    parser.add_argument("--no-key", action="store_true", help="let every program of this machine in; loopback only")
    options = parser.parse_args()
    try:
        return serve(
            Settings.from_environment(),
            host=options.host,
            port=options.port,
            names=frozenset(name.lower() for name in options.name),
            key=not options.no_key,
            tell=lambda line: print(line, flush=True),
        )
    except ConfigurationError as error:
        print(f"api: {error.sentence}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
