"""python -m infra.soak: see `--help`, and docs/faults.md."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from infra.embedded_aws import EmulatorError
from infra.soak.clouds import CLOUDS
from infra.soak.run import soak
from infra.soak.uploads import LEAST
from infra.soak.verdict import table
from infra.stack import StackError
from infra.template import TemplateError
from infra.tiny_bundle import write_tiny_bundle
from model_layer import BundleError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when every promise holds, 1 when one is broken or the soak could not be done, 130 after Ctrl-C."""
    options = _options(arguments)
    try:
        return _soak(options)
    except (BundleError, EmulatorError, StackError, TemplateError) as error:
        print(f"soak: {error}", file=sys.stderr)
    except OSError as error:  # the disk is full, say
        print(f"soak: {error.filename or options.out}: {error.strerror or error}.", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nsoak: stopped; nothing was counted.", file=sys.stderr)
        return 130
    return 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m infra.soak",
        description="Uploads small rendered images under injected faults, and counts what became of each.",
    )
    parser.add_argument("-n", type=int, default=10_000, help="uploads (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/soak"), help="for soak.json and the workers' log")
    parser.add_argument("--seed", type=int, default=0, help="of uploads and faults (default: %(default)s)")
    parser.add_argument("--cloud", choices=CLOUDS, default="ministack", help="the emulator (default: %(default)s)")
    parser.add_argument("--bundle", type=Path, help="the model; default: a tiny one whose labels mean nothing")
    options = parser.parse_args(arguments)
    if options.n < LEAST:
        parser.error(f"-n must be at least {LEAST}: each fault needs an upload of its own")
    return options


def _soak(options: argparse.Namespace) -> int:
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        bundle = options.bundle or write_tiny_bundle(Path(folder) / "tiny")
        print(f"{options.n} uploads on {options.cloud}, seed {options.seed}.", flush=True)
        verdict = soak(
            options.n,
            options.out,
            bundle,
            seed=options.seed,
            cloud=options.cloud,
            tell=lambda line: print(f"  {line}", flush=True),
        )
    print(f"\n{table(verdict)}\n\n{verdict.seconds:.0f} s; {options.out / 'soak.json'}")
    broken = verdict.broken()
    print("Every promise holds." if not broken else "Broken: " + "; ".join(broken) + ".")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
