"""`python -m training train ...` and `python -m training evaluate ...`: what `make train` and `make evaluate` run."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from model_layer import BundleError
from training.errors import TrainingError


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status. What a person did wrong is one sentence on stderr."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up remarks help nobody here
    try:
        return int(options.run(options))
    except (TrainingError, BundleError) as error:
        print(f"{options.command}: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"\n{options.command}: interrupted; the same command goes on from the last checkpoint.", file=sys.stderr)
    except OSError as error:
        print(f"{options.command}: {error.filename or 'a file'}: {error.strerror}.", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)

    train = commands.add_parser("train", help="a model bundle from labelled images", allow_abbrev=False)
    train.add_argument("--data", nargs="+", type=Path, required=True, help="folders with metadata.csv and images/")
    train.add_argument("--weights", required=True, help="'imagenet' (downloads them), a file, or 'none' with --tiny")
    train.add_argument("--out", type=Path, required=True, help="the bundle appears in OUT/bundle")
    train.add_argument("--no-augmentation", action="store_true", help="train on the images as they are, to compare")
    train.add_argument("--accelerator", action="store_true", help="train all blocks on freshly augmented images")
    train.add_argument("--tiny", action="store_true", help="a tiny VGG for trying the pipeline out")
    train.add_argument("--precision", choices=["float32", "mixed_bfloat16"], help="default: what this processor has")
    train.add_argument("--seed", type=int, help="another split, other draws, other views")
    train.set_defaults(run=_train)

    evaluate = commands.add_parser("evaluate", help="metrics of a bundle on labelled images", allow_abbrev=False)
    evaluate.add_argument("--data", nargs="+", type=Path, required=True, help="folders with metadata.csv and images/")
    evaluate.add_argument("--bundle", type=Path, required=True)
    evaluate.add_argument("--out", type=Path, required=True)
    evaluate.add_argument(
        "--split",
        choices=["unseen", "all"],
        default="unseen",
        help="unseen: leave out what the bundle was trained and calibrated on (default)",
    )
    evaluate.set_defaults(run=_evaluate)
    return parser


def _train(options: argparse.Namespace) -> int:
    from training.config import ACCELERATOR, TINY, Config  # noqa: PLC0415 (TensorFlow loads only once options fit)
    from training.evaluate import evaluate  # noqa: PLC0415
    from training.model_card import complete_bundle  # noqa: PLC0415
    from training.plots import draw_training  # noqa: PLC0415
    from training.train import train  # noqa: PLC0415

    config = TINY if options.tiny else ACCELERATOR if options.accelerator else Config()
    if options.no_augmentation:
        config = replace(config, augmentation=0.0)
    if options.seed is not None:
        config = replace(config, seed=options.seed)
    folders = " ".join(folder.name for folder in options.data)
    command = f"make train DATA={shlex.quote(folders)} WEIGHTS={Path(options.weights).name} OUT=DIR"
    precision = options.precision or _fastest_precision()
    manifest = train(options.data, options.weights, options.out, config, command, precision)
    bundle, evaluation = options.out / "bundle", options.out / "evaluation"
    metrics = evaluate(options.data, bundle, evaluation, unseen_only=True)
    draw_training(manifest["training"]["history"], evaluation / "curves.png")
    complete_bundle(bundle, evaluation, manifest, metrics)
    print(f"The bundle is {bundle}: {manifest['name']} {manifest['version']}.")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from training.evaluate import evaluate  # noqa: PLC0415

    evaluate(options.data, options.bundle, options.out, unseen_only=options.split == "unseen")
    print(f"Written: {options.out / 'metrics.json'}, tables and plots beside it.")
    return 0


def _fastest_precision() -> str:
    """Half-width floats where the processor multiplies them natively: 1.7 times as fast on block 5."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return "float32"
    return "mixed_bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


if __name__ == "__main__":
    sys.exit(main())
