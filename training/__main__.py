"""`python -m training train|evaluate|quality ...`: what `make train`, `make evaluate` and `make quality` run."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_layer.errors import run_command
from training.errors import TrainingError

if TYPE_CHECKING:
    from training.config import Config


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status. What a person did wrong is one sentence on stderr."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up remarks help nobody here
    stopped = "stopped; the same command goes on from the last checkpoint."
    return run_command(options.command, lambda: int(options.run(options)), stopped)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)

    train = commands.add_parser("train", help="a model bundle from labelled images", allow_abbrev=False)
    train.add_argument("--data", nargs="+", type=Path, required=True, help="folders with metadata.csv and images/")
    train.add_argument("--weights", required=True, help="'imagenet' (downloads them), a file, or 'none' with --tiny")
    train.add_argument("--out", type=Path, required=True, help="the bundle appears in OUT/bundle")
    train.add_argument("--no-augmentation", action="store_true", help="train on the images as they are, to compare")
    train.add_argument("--tiny", action="store_true", help="a tiny VGG for trying the pipeline out")
    train.add_argument("--backbone", help="another network of keras.applications under the same head; give its WEIGHTS")
    train.add_argument("--precision", choices=["float32", "mixed_bfloat16"], help="default: what this processor has")
    train.add_argument(
        "--views",
        type=_some,
        nargs="+",
        metavar="N",
        help="of each stage; a run may be given more while it is under way",
    )
    train.add_argument("--seed", type=int, help="another split, other draws, other views")
    train.add_argument(
        "--lesions",
        type=_number,
        metavar="N",
        help="of each class and folder to degrade for limits of quality (25; 0: none)",
    )
    _add_extent(train)
    train.set_defaults(run=_train)

    status = commands.add_parser("status", help="how far a run has come", allow_abbrev=False)
    status.add_argument("folder", type=Path, metavar="DIR", help="the run's OUT")
    status.set_defaults(run=_status)

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
    _add_extent(evaluate)
    evaluate.set_defaults(run=_evaluate)

    unlike = commands.add_parser("unlike", help="what is said of images that show no lesion", allow_abbrev=False)
    unlike.add_argument("--data", nargs="+", type=Path, required=True, help="folders with metadata.csv and images/")
    unlike.add_argument("--bundle", type=Path, required=True)
    unlike.add_argument("--out", type=Path, required=True)
    unlike.add_argument("--others", type=Path, help="a folder of photographs of anything but skin")
    unlike.add_argument("--diseases", type=Path, help="a folder of photographs of skin diseases that no label names")
    unlike.add_argument("--images", type=_some, default=500, metavar="N", help="real ones of each folder (500)")
    unlike.set_defaults(run=_unlike)

    complete = commands.add_parser(
        "complete", help="an evaluation's tables and plots into its bundle, and the card anew", allow_abbrev=False
    )
    complete.add_argument("--bundle", type=Path, required=True)
    complete.add_argument("--evaluation", type=Path, required=True, help="what `evaluate` wrote of this very bundle")
    complete.set_defaults(run=_complete)

    quality = commands.add_parser(
        "quality", help="thresholds of image quality, from degrading real images", allow_abbrev=False
    )
    quality.add_argument("--data", nargs="+", type=Path, required=True, help="folders with metadata.csv and images/")
    quality.add_argument("--bundle", type=Path, required=True)
    quality.add_argument("--out", type=Path, required=True)
    quality.add_argument(
        "--lesions", type=_count, default=40, metavar="N", help="of each class and folder to degrade (40, or 'all')"
    )
    quality.add_argument("--seed", type=int, default=0, help="another draw of lesions")
    quality.add_argument("--set", action="store_true", help="put the thresholds into the bundle's manifest")
    quality.set_defaults(run=_quality)
    _add_original(commands)
    return parser


def _add_original(commands: Any) -> None:
    original = commands.add_parser("original", help="the recipe that this began with, to compare", allow_abbrev=False)
    original.add_argument("--data", nargs="+", type=Path, required=True, help="folders with metadata.csv and images/")
    original.add_argument("--weights", required=True, help="'imagenet' (downloads them), or a file")
    original.add_argument("--out", type=Path, required=True, help="its row is added to OUT/configurations.csv")
    original.add_argument("--views", type=_number, default=7_000, metavar="N", help="views to learn from (7000)")
    original.set_defaults(run=_original)


def _add_extent(command: argparse.ArgumentParser) -> None:
    """The two checks that ask the network about each image several times."""
    command.add_argument(
        "--robustness",
        type=_count,
        default=30,
        metavar="N",
        help="lesions of each class and folder to change in ten ways (30; 'all', or 0 to leave it out)",
    )
    command.add_argument(
        "--explained",
        type=_count,
        default=100,
        metavar="N",
        help="images of each folder whose heat map is put to the test (100; 'all', or 0 to leave it out)",
    )


def _train(options: argparse.Namespace) -> int:
    # TensorFlow loads only once options fit.
    from training.bundle_writer import add_quality, copy_quality  # noqa: PLC0415
    from training.configurations import add, configuration_name, row  # noqa: PLC0415
    from training.dataset import ALL  # noqa: PLC0415
    from training.evaluate import Extent, evaluate  # noqa: PLC0415
    from training.model_card import complete_bundle  # noqa: PLC0415
    from training.plots import draw_training  # noqa: PLC0415
    from training.quality_report import limits, study  # noqa: PLC0415
    from training.splits import CALIBRATION, VALIDATION  # noqa: PLC0415
    from training.train import train  # noqa: PLC0415

    config = _config(options)
    folders = " ".join(folder.name for folder in options.data)
    command = f"make train DATA={shlex.quote(folders)} WEIGHTS={Path(options.weights).name} OUT=DIR"
    if options.views:
        command += f" TRAIN_OPTIONS='--views {' '.join(map(str, options.views))}'"
    extent = Extent(options.robustness, options.explained)
    precision = options.precision or _fastest_precision()
    manifest = train(options.data, options.weights, options.out, config, command, precision)
    bundle, evaluation = options.out / "bundle", options.out / "evaluation"
    if config.degraded:
        proposed = study(options.data, bundle, options.out / "quality", config.degraded, config.seed)
        manifest = add_quality(bundle, limits(proposed))
        copy_quality(options.out / "quality", bundle)
    metrics = evaluate(options.data, bundle, evaluation, unseen_only=True, extent=extent)
    learned = manifest["training"]
    draw_training(learned["history"], evaluation / "curves.png")
    figures = {CALIBRATION: learned["calibration_split"], VALIDATION: {k: v for k, v in metrics.items() if k != ALL}}
    cells = row(configuration_name(config), learned["commit"], config.seed, learned["seconds"] / 60, figures)
    add(options.out / "configurations.csv", cells)
    complete_bundle(bundle, evaluation, manifest, metrics)
    print(f"The bundle is {bundle}: {manifest['name']} {manifest['version']}.")
    return 0


def _status(options: argparse.Namespace) -> int:
    from training.status import status  # noqa: PLC0415

    print(status(options.folder))
    return 0


def _config(options: argparse.Namespace) -> Config:
    """The run's configuration, as the options change it."""
    from training.backbones import application  # noqa: PLC0415
    from training.config import TINY, VGG16_CHANNELS, Config  # noqa: PLC0415

    config = TINY if options.tiny else Config()
    if options.backbone:
        application(options.backbone)
        config = replace(config, backbone=options.backbone, channels=VGG16_CHANNELS)
    if options.no_augmentation:
        config = replace(config, augmentation=0.0)
    if options.seed is not None:
        config = replace(config, seed=options.seed)
    if options.views:
        if len(options.views) != len(config.stages):
            raise TrainingError(
                f"There are {len(config.stages)} stages, and --views gives {len(options.views)} numbers."
            )
        stages = zip(config.stages, options.views, strict=True)
        config = replace(config, stages=tuple(replace(stage, views=views) for stage, views in stages))
    if options.lesions is not None:
        config = replace(config, degraded=options.lesions)
    return config


def _evaluate(options: argparse.Namespace) -> int:
    from training.evaluate import Extent, evaluate  # noqa: PLC0415

    extent = Extent(options.robustness, options.explained)
    evaluate(options.data, options.bundle, options.out, unseen_only=options.split == "unseen", extent=extent)
    print(f"Written: {options.out / 'metrics.json'}, tables and plots beside it.")
    return 0


def _original(options: argparse.Namespace) -> int:
    from training.bundle_writer import commit  # noqa: PLC0415
    from training.config import Config  # noqa: PLC0415
    from training.configurations import add, by_folder, row  # noqa: PLC0415
    from training.material import Material  # noqa: PLC0415
    from training.original_recipe import original_recipe  # noqa: PLC0415

    config, started, cache = Config(), time.monotonic(), options.out / "cache"
    material = Material.read(options.data, config.size, config.seed, cache)
    logits = original_recipe(material, options.weights, size=config.size, views=options.views, seed=config.seed)
    figures = {split: by_folder(values, material.rows[split], material) for split, values in logits.items()}
    minutes = (time.monotonic() - started) / 60
    name = f"original recipe: frozen base, dense head, {options.views:,} views"
    cells = row(name, commit(), config.seed, minutes, figures)
    add(options.out / "configurations.csv", cells)
    print("\n".join(f"{name}: {value}" for name, value in cells.items()))
    return 0


def _unlike(options: argparse.Namespace) -> int:
    from training.unlike import unlike  # noqa: PLC0415

    unlike(options.data, options.bundle, options.others, options.diseases, options.out, images=options.images)
    print(f"Written: {options.out / 'unlike.csv'} and unlikeness_scores.csv beside it.")
    return 0


def _quality(options: argparse.Namespace) -> int:
    from training.bundle_writer import add_quality, copy_quality  # noqa: PLC0415
    from training.quality_report import limits, study  # noqa: PLC0415

    proposed = study(options.data, options.bundle, options.out, options.lesions, options.seed)
    print(f"Written: {options.out / 'quality.csv'}, tables and a plot beside it.")
    if options.set:
        manifest = add_quality(options.bundle, limits(proposed))
        copy_quality(options.out, options.bundle)
        print(f"The manifest of {options.bundle} holds them: {manifest['name']} {manifest['version']}.")
    return 0


def _complete(options: argparse.Namespace) -> int:
    from training.model_card import complete_bundle  # noqa: PLC0415

    manifest = json.loads((options.bundle / "manifest.json").read_text(encoding="utf-8"))
    metrics = json.loads((options.evaluation / "metrics.json").read_text(encoding="utf-8"))
    complete_bundle(options.bundle, options.evaluation, manifest, metrics)
    print(f"{options.bundle} holds its figures, and its card quotes them.")
    return 0


def _count(text: str) -> int | None:
    """A number from 0 on, or None for `all`."""
    if text != "all" and not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor 'all'")
    return None if text == "all" else int(text)


def _some(text: str) -> int:
    """A number from 1 on."""
    if _number(text) == 0:
        raise argparse.ArgumentTypeError("1 is the least")
    return int(text)


def _number(text: str) -> int:
    """A number from 0 on."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return int(text)


def _fastest_precision() -> str:
    """Half-width floats where the processor multiplies them natively: 1.7 times as fast on block 5."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return "float32"
    return "mixed_bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


if __name__ == "__main__":
    sys.exit(main())
