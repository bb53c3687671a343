"""Does the bundle give the same answers on a processor without AVX-512 and VNNI?

    python -m benchmarks.processors --bundle models/vgg16-skin [--data DIR] [--images 50] [--out FILE]

AWS promises x86 Lambdas only AVX2. 8-bit kernels differ between instruction sets, and careless ones overflow on AVX2
without an error. The same images are classified twice in fresh processes: on this machine as it is, and as on one with
AVX2 only. Where the processor can hide its other units (`hidden_units`), that takes as long; elsewhere an emulator
does (qemu-user or valgrind, both Debian packages; or another command with `--emulator`), about 50 times slower. The
child proves by its own CPUID that AVX-512 is hidden.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.hidden_units import hiding
from benchmarks.output import give

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[1]
EMULATORS = (["qemu-x86_64", "-cpu", "Haswell"], ["valgrind", "--tool=none", "--quiet"])
HIDDEN = ("AVX512F", "AVX512VNNI")


def emulator() -> list[str] | None:
    """A command that shows an AVX2-only processor to the command after it: the first that this machine has."""
    if hidden := hiding():
        return ["env", *(f"{name}={value}" for name, value in hidden.items())]
    return next((command for command in EMULATORS if shutil.which(command[0])), None)


def answers(
    bundle: Path, files: list[Path], prefix: list[str], threads: int, python: str = sys.executable
) -> dict[str, Any]:
    """Answers of a fresh process, run as `prefix` + `python`, for `files`, and the vector units that it saw."""
    child = [*prefix, python, "-m", "benchmarks.processors", "--answer", str(threads)]
    command = [*child, "--bundle", str(bundle), "--data", *map(str, files)]
    cwd = Path(__file__).parent.parent
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=cwd)  # noqa: S603 (own module)
    result: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return result


def compare(native: list[dict[str, Any]], masked: list[dict[str, Any]]) -> dict[str, Any]:
    """How many answers are the same, and the largest difference of a probability."""
    pairs = [(a, b) for a, b in zip(native, masked, strict=True) if "probabilities" in a]
    changes = [abs(a["probabilities"][k] - b["probabilities"][k]) for a, b in pairs for k in a["probabilities"]]
    return {
        "images": len(native),
        "same_label": sum(a.get("label") == b.get("label") for a, b in zip(native, masked, strict=True)),
        "same_status": sum(a["status"] == b["status"] for a, b in zip(native, masked, strict=True)),
        "largest_probability_change": max(changes, default=0.0),
    }


def _answer(bundle: Path, files: list[Path], threads: int) -> None:
    """The child: classifies, and prints one JSON line."""
    # NumPy reads CPUID itself; /proc/cpuinfo would show the real machine.
    from numpy._core._multiarray_umath import __cpu_features__  # type: ignore[import-not-found]  # noqa: PLC0415

    from model_layer import Classifier, Prediction, Status  # noqa: PLC0415

    found = []
    for answer in Classifier.load(bundle, threads=threads).classify([file.read_bytes() for file in files]):
        if isinstance(answer, Prediction):
            found.append({"status": answer.status, "label": answer.label, "probabilities": answer.probabilities})
        else:
            found.append({"status": Status.REJECTED, "label": answer.code})
    seen = {name: bool(__cpu_features__.get(name)) for name in ("AVX2", *HIDDEN)}
    print(json.dumps({"vector_units": seen, "answers": found}))


def _files(data: list[Path], count: int, folder: Path) -> list[Path]:
    """`count` images: a seeded choice of those under `data`, or rendered ones."""
    if data:
        every = sorted(file for path in data for file in path.rglob("*.jpg"))
        return sorted(random.Random(0).sample(every, min(count, len(every))))
    from demo.lesions import demo_images  # noqa: PLC0415

    files = []
    for name, content in demo_images(0, count):
        files.append(folder / name.replace("/", "_"))
        files[-1].write_bytes(content)
    return files


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="folders with images; default: rendered ones")
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--emulator", help="command that shows an AVX2-only processor to the command after it")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    parser.add_argument("--answer", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.answer:
        _answer(options.bundle, options.data, options.answer)
        return 0
    masking = options.emulator.split() if options.emulator else emulator()
    if not masking:
        print(
            "processors: this processor cannot hide its units, and neither qemu-x86_64 nor valgrind is "
            "installed: nothing was compared.",
            file=sys.stderr,
        )
        return 2
    with tempfile.TemporaryDirectory() as folder:
        files = _files(options.data, options.images, Path(folder))
        if not files:
            print(f"processors: no .jpg under {' '.join(map(str, options.data))}.", file=sys.stderr)
            return 1
        native = answers(options.bundle, files, [], threads=1)
        masked = answers(options.bundle, files, masking, threads=1)
    if any(masked["vector_units"][name] for name in HIDDEN):
        print(f"processors: {masking[0]} did not hide AVX-512: nothing was shown.", file=sys.stderr)
        return 2
    result = {
        "emulator": " ".join(masking).replace(f"{ROOT}/", ""),
        "native": native["vector_units"],
        "masked": masked["vector_units"],
        **compare(native["answers"], masked["answers"]),
    }
    give(result, options.out)
    return 0 if result["same_label"] == result["same_status"] == result["images"] else 1


if __name__ == "__main__":
    sys.exit(main())
