"""Where things are, and the build's context outside the work tree, so that a test leaves nothing in it."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SAM = ROOT / ".venv-sam" / "bin" / "sam"
EMULATOR = "samcli/local/rapid/aws-lambda-rie-x86_64"  # in aws-sam-cli's package
_NEEDED = (
    *("api", "cli", "handler", "infra", "model_layer", "models", "pictures", "template.yaml"),
    *("requirements/service.txt", "requirements/work.txt", "requirements/worker.txt"),
    ".dockerignore",
)


def write_context(root: Path, folder: Path, wheels: Path | None) -> Path:
    for name in _NEEDED:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (root / name).is_dir():
            shutil.copytree(root / name, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(root / name, target)
    if wheels:
        shutil.copytree(wheels, folder / "build" / "wheels")
    return folder
