#!/usr/bin/env bash
# Pins every set with hashes. The sets share one resolution (development's), so that what is tested is what ships.
set -euo pipefail
cd "$(dirname "$0")"
compile() { uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 "$@"; }
compile development.in -o development.txt
for set in worker work training fuzz bench browser parquet; do compile "$set.in" -c development.txt -o "$set.txt"; done
# On top of the worker's. pyproject.toml reads these .in files too, and no -r lines.
compile worker.in service.in -c development.txt -o service.txt
compile worker.in work.in command.in -c development.txt -o command.txt
compile template.in -o template.txt
compile audit.in -o audit.txt
