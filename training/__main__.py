"""`python -m training COMMAND`: parses the command line and calls what the command does.

`make train`, `make evaluate` and `make quality` run this.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from model_layer.errors import run_command
from training.config import TAUGHT, TINY, VGG16_CHANNELS, Config, channels_of
from training.errors import TrainingError

if TYPE_CHECKING:
    from training.evaluate import Extent

# Commands import what they run only when they run it: TensorFlow takes seconds, and a wrong option should fail at once.


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status. A mistake of the user is one sentence on stderr."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides TensorFlow's start-up messages

    def command() -> int:
        options.run(options)
        return 0

    return run_command(options.command, command, "stopped; the same command continues from the last checkpoint.")


def _train(options: argparse.Namespace) -> None:
    from training.train import train  # noqa: PLC0415

    config = _config(options)
    folders = " ".join(folder.name for folder in options.data)
    command = f"make train DATA={shlex.quote(folders)} WEIGHTS={Path(options.weights).name} OUT=DIR"
    runs = [run.resolve().name for run in options.taught_by]
    start = [options.start.resolve().name] if options.start else []
    single = [("--variant", options.variant), ("--channels", options.channels)]
    extra = [(name, [value] if value is not None else []) for name, value in single]
    extra += [("--views", options.views), ("--without", options.without), ("--taught-by", runs), ("--start", start)]
    if given := " ".join(f"{name} {' '.join(map(str, values))}" for name, values in extra if values):
        command += f" TRAIN_OPTIONS={shlex.quote(given)}"
    precision = options.precision or _fastest_precision()
    manifest = train(
        options.data,
        options.weights,
        options.out,
        config,
        command=command,
        precision=precision,
        extent=_extent(options),
        without=options.without,
        taught_by=options.taught_by,
        start=options.start,
    )
    print(f"The bundle is {options.out / 'bundle'}: {manifest['name']} {manifest['version']}.")


def _pack(options: argparse.Namespace) -> None:
    from training.accelerator.pack import jobs_of, pack  # noqa: PLC0415
    from training.data.material import Material  # noqa: PLC0415

    config, cache = _config(options), options.out / "cache"
    material = Material.read(options.data, config.size, config.seed, cache)
    jobs = jobs_of(material, options.weights, config, cache, options.teachers, options.leave_out or ())
    for file in pack(material, options.weights, jobs, options.out / "pack", options.part * 1_000_000):
        print(f"{file.stat().st_size / 1e6:6.1f} MB  {file}")


def _status(options: argparse.Namespace) -> None:
    from training.fit.run_folder import status  # noqa: PLC0415

    print(status(options.folder))


def _evaluate(options: argparse.Namespace) -> None:
    from training.evaluate import evaluate  # noqa: PLC0415

    unseen_only = options.split == "unseen"
    evaluate(options.data, options.bundle, options.out, unseen_only=unseen_only, extent=_extent(options))
    print(f"Written: {options.out / 'metrics.json'}, tables and plots beside it.")


def _compare(options: argparse.Namespace) -> None:
    from training.compare import compare  # noqa: PLC0415

    compare(options.data, options.bundles, options.out, mirrored=options.mirrored)
    print(f"Written: {options.out / 'comparison.csv'}.")


def _calibrate(options: argparse.Namespace) -> None:
    from training.calibrate import calibrate  # noqa: PLC0415

    folders = " ".join(folder.resolve().name for folder in options.data)
    command = f"python -m training calibrate --data {folders} --bundle {options.bundle.resolve().name}"
    manifest = calibrate(options.data, options.bundle, options.out, command)
    print(f"The bundle is {options.out / 'bundle'}: {manifest['name']} {manifest['version']}.")


def _quality(options: argparse.Namespace) -> None:
    from training.fit.bundle_writer import add_quality, copy_quality  # noqa: PLC0415
    from training.quality import limits, study  # noqa: PLC0415

    proposed = study(options.data, options.bundle, options.out, options.lesions, options.seed)
    print(f"Written: {options.out / 'quality.csv'}, tables and a plot beside it.")
    if options.set:
        manifest = add_quality(options.bundle, limits(proposed))
        copy_quality(options.out, options.bundle)
        print(f"{options.bundle} is now {manifest['name']} {manifest['version']}, with these thresholds.")


def _unlike(options: argparse.Namespace) -> None:
    from training.unlike import unlike  # noqa: PLC0415

    unlike(options.data, options.bundle, options.others, options.diseases, options.out, images=options.images)
    print(f"Written: {options.out / 'unlike.csv'} and unlikeness_scores.csv beside it.")


def _shortcuts(options: argparse.Namespace) -> None:
    from training.shortcuts import shortcuts  # noqa: PLC0415

    shortcuts(options.data, options.bundle, options.out)
    print(f"Written: {options.out / 'shortcuts.csv'}.")


def _complete(options: argparse.Namespace) -> None:
    from training.report.model_card import complete_bundle  # noqa: PLC0415

    manifest = json.loads((options.bundle / "manifest.json").read_text(encoding="utf-8"))
    metrics = json.loads((options.evaluation / "metrics.json").read_text(encoding="utf-8"))
    complete_bundle(options.bundle, options.evaluation, manifest, metrics)
    print(f"{options.bundle} has the figures of {options.evaluation}, and a card that quotes them.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)

    _add_train(commands)
    _add_pack(commands)

    status = commands.add_parser("status", help="show the progress of a run", allow_abbrev=False)
    status.add_argument("folder", type=Path, metavar="DIR", help="the run's OUT")
    status.set_defaults(run=_status)

    evaluate = commands.add_parser("evaluate", help="measure a bundle on labelled images", allow_abbrev=False)
    _add_data(evaluate)
    _add_bundle_and_out(evaluate)
    evaluate.add_argument(
        "--split", choices=["unseen", "all"], default="unseen",
        help="unseen: without the images that the bundle was trained or calibrated on (default)",
    )  # fmt: skip
    _add_extent(evaluate)
    evaluate.set_defaults(run=_evaluate)

    compare = commands.add_parser(
        "compare", help="compare bundles, and means of several, on their calibration images", allow_abbrev=False
    )
    _add_data(compare)
    compare.add_argument(
        "--bundles", nargs="+", type=Path, required=True, metavar="BUNDLE", help="the first is the base"
    )
    compare.add_argument("--out", type=Path, required=True)
    compare.add_argument("--mirrored", action="store_true", help="also show each bundle the mirror images")
    compare.set_defaults(run=_compare)

    calibrate = commands.add_parser(
        "calibrate", help="choose a bundle's thresholds again on images of your own", allow_abbrev=False
    )
    _add_data(calibrate)
    calibrate.add_argument("--bundle", type=Path, required=True)
    calibrate.add_argument("--out", type=Path, required=True, help="the new bundle is written to OUT/bundle")
    calibrate.set_defaults(run=_calibrate)

    quality = commands.add_parser(
        "quality", help="find thresholds of image quality by degrading images", allow_abbrev=False
    )
    _add_data(quality)
    _add_bundle_and_out(quality)
    quality.add_argument(
        "--lesions", type=_count, default=40, metavar="N", help="of each class and folder to degrade (40, or 'all')"
    )
    quality.add_argument("--seed", type=int, default=0, help="changes which lesions are drawn")
    quality.add_argument("--set", action="store_true", help="write the thresholds into the bundle's manifest")
    quality.set_defaults(run=_quality)

    unlike = commands.add_parser("unlike", help="classify images that show no lesion", allow_abbrev=False)
    _add_data(unlike)
    _add_bundle_and_out(unlike)
    unlike.add_argument("--others", type=Path, help="a folder of photographs of anything except skin")
    unlike.add_argument("--diseases", type=Path, help="a folder of photographs of skin diseases without a label")
    unlike.add_argument("--images", type=_some, default=500, metavar="N", help="real images of each folder (500)")
    unlike.set_defaults(run=_unlike)

    shortcuts = commands.add_parser(
        "shortcuts", help="guess the collection of an image from the network's features", allow_abbrev=False
    )
    _add_data(shortcuts)
    _add_bundle_and_out(shortcuts)
    shortcuts.set_defaults(run=_shortcuts)

    complete = commands.add_parser(
        "complete", help="copy an evaluation's figures into its bundle and rewrite the card", allow_abbrev=False
    )
    complete.add_argument("--bundle", type=Path, required=True)
    complete.add_argument("--evaluation", type=Path, required=True, help="the OUT of `evaluate` for this bundle")
    complete.set_defaults(run=_complete)
    return parser


def _add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    train = commands.add_parser("train", help="train a model bundle on labelled images", allow_abbrev=False)
    _add_data(train)
    train.add_argument("--out", type=Path, required=True, help="the bundle is written to OUT/bundle")
    train.add_argument("--precision", choices=["float32", "mixed_bfloat16"], help="default: by the processor")
    train.add_argument(
        "--without", nargs="+", default=[], metavar="NAME",
        help="folders that nothing is learned from, nor from other images of their lesions; they are evaluated",
    )  # fmt: skip
    train.add_argument(
        "--taught-by", nargs="+", default=[], type=Path, metavar="RUN",
        help="finished runs on the same images, whose networks take the place of the labels",
    )  # fmt: skip
    train.add_argument(
        "--start", type=Path, metavar="RUN",
        help="a finished run on the same images to start from, pruned if it is wider (the first of --taught-by)",
    )  # fmt: skip
    _add_configuration(train)
    train.add_argument(
        "--lesions", type=_number, metavar="N",
        help="lesions of each class and folder to degrade for limits of image quality (25; 0: none)",
    )  # fmt: skip
    _add_extent(train)
    train.set_defaults(run=_train)


def _add_pack(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    pack = commands.add_parser("pack", help="write what an accelerator needs to train", allow_abbrev=False)
    _add_data(pack)
    pack.add_argument("--out", type=Path, required=True, help="the parts are written to OUT/pack")
    pack.add_argument("--teachers", type=_number, default=0, metavar="N", help="train so many first, to teach one (0)")
    pack.add_argument("--part", type=_some, default=45, metavar="MB", help="the size of a part (45)")
    pack.add_argument(
        "--leave-out", nargs="+", action="append", metavar="NAME",
        help="also a network that learns nothing from these folders; may be given several times",
    )  # fmt: skip
    _add_configuration(pack)
    pack.set_defaults(run=_pack)


def _add_data(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", nargs="+", type=Path, required=True, help="folders with metadata.csv and images/")


def _add_configuration(command: argparse.ArgumentParser) -> None:
    command.add_argument("--weights", required=True, help="'imagenet' (downloaded), a file, or 'none' with --tiny")
    command.add_argument("--no-augmentation", action="store_true", help="train on the images as they are, to compare")
    command.add_argument("--tiny", action="store_true", help="a tiny VGG, to try the pipeline out")
    command.add_argument(
        "--backbone", help="another network of keras.applications under the same head; give its WEIGHTS"
    )
    command.add_argument("--channels", type=_share, metavar="SHARE", help="of VGG16's channels to keep (0.5)")
    command.add_argument(
        "--views", type=_some, nargs="+", metavar="N", help="for each stage; a run may be given more later"
    )
    command.add_argument("--seed", type=int, help="changes splits, draws and views")
    command.add_argument("--variant", type=_number, help="changes draws and views only: for another teacher")


def _add_bundle_and_out(command: argparse.ArgumentParser) -> None:
    command.add_argument("--bundle", type=Path, required=True)
    command.add_argument("--out", type=Path, required=True)


def _add_extent(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--robustness", type=_count, default=30, metavar="N",
        help="lesions of each class and folder to change in ten ways (30; 'all', or 0 for none)",
    )  # fmt: skip
    command.add_argument(
        "--explained", type=_count, default=100, metavar="N",
        help="images of each folder whose heat map is tested (100; 'all', or 0 for none)",
    )  # fmt: skip


def _extent(options: argparse.Namespace) -> Extent:
    from training.evaluate import Extent  # noqa: PLC0415

    return Extent(options.robustness, options.explained)


def _config(options: argparse.Namespace) -> Config:
    """The run's configuration, changed by the options."""
    taught = bool(getattr(options, "taught_by", None))
    config = TINY if options.tiny else TAUGHT if taught else Config()
    if options.backbone:
        from training.network.architecture import application  # noqa: PLC0415

        application(options.backbone)  # an unknown name fails now, not after reading the images
        config = replace(config, backbone=options.backbone, channels=VGG16_CHANNELS)
    if options.channels is not None and options.backbone:
        raise TrainingError("--channels is of VGG16: leave it out, or --backbone.")
    if options.channels is not None:
        config = replace(config, channels=channels_of(options.channels))
    if options.no_augmentation:
        config = replace(config, augmentation=0.0)
    if options.seed is not None:
        config = replace(config, seed=options.seed)
    if options.variant is not None:
        config = replace(config, variant=options.variant)
    if options.views:
        if len(options.views) != len(config.stages):
            raise TrainingError(f"There are {len(config.stages)} stages, but --views has {len(options.views)} numbers.")
        stages = zip(config.stages, options.views, strict=True)
        config = replace(config, stages=tuple(replace(stage, views=views) for stage, views in stages))
    if getattr(options, "lesions", None) is not None:
        config = replace(config, degraded=options.lesions)
    return config


def _fastest_precision() -> str:
    """Half-width floats if the processor multiplies them natively: 1.7 times as fast on block 5."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return "float32"
    return "mixed_bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


def _count(text: str) -> int | None:
    """A number from 0 on, or None for `all`."""
    if text != "all" and not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor 'all'")
    return None if text == "all" else int(text)


def _share(text: str) -> float:
    """More than 0, at most 1."""
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and up to 1")
    return share


def _some(text: str) -> int:
    """A number from 1 on."""
    if _number(text) == 0:
        raise argparse.ArgumentTypeError("must be at least 1")
    return int(text)


def _number(text: str) -> int:
    """A number from 0 on."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
