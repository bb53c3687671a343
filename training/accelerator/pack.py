"""Writes what an accelerator needs to train: parts of at most a given size, which can be sent one by one.

`index.npz` and `plan.json` say what there is; `weights-*.npz` has the first weights of each network, in half precision;
`images-*.npz` has the images of the training split and the calibration images that are judged, as JPEG files.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from training.accelerator.names import IMAGES, INDEX, PLAN, WEIGHTS
from training.config import TAUGHT
from training.data.dataset import LABELS
from training.data.sampling import draw_probabilities
from training.data.splits import CALIBRATION, TRAIN
from training.fit.first_weights import initial_network
from training.fit.judge import some_of_each
from training.fit.run_folder import identity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.config import Config
    from training.data.material import Material

QUALITY = 95


@dataclass(frozen=True)
class Job:
    """One network to train."""

    name: str
    config: Config
    weights: list[NDArray[np.float32]]
    """The first weights, as `keras.Model.get_weights` gives them."""
    teachers: tuple[str, ...] = ()
    """Names of earlier jobs whose networks teach this one."""
    without: tuple[str, ...] = ()
    """Data folders that it must not learn from, nor from other photographs of their lesions."""


def jobs_of(
    material: Material, weights: str, config: Config, cache: Path, teachers: int, left_out: Sequence[Sequence[str]]
) -> list[Job]:
    """The network, after its teachers if it has some, and one without each of `left_out`."""
    first = initial_network(weights, material, config, cache)[0].get_weights()
    jobs = [Job(f"teacher-{i + 1}", replace(config, variant=i), first) for i in range(teachers)]
    names = tuple(job.name for job in jobs)
    jobs.append(
        Job("network", replace(TAUGHT, seed=config.seed), first, names) if names else Job("network", config, first)
    )
    return jobs + [Job(f"without-{'-'.join(some)}", config, first, without=tuple(some)) for some in left_out]


def pack(material: Material, weights: str, jobs: Sequence[Job], out: Path, part_bytes: int) -> list[Path]:
    """Writes `jobs` with the images of `material` into `out`; returns the files, in the order in which to send them.

    `weights` are the published ones that all networks began with.
    """
    out.mkdir(parents=True, exist_ok=True)
    train, held = material.rows[TRAIN], material.rows[CALIBRATION]
    judged = held[some_of_each(material.sources(held), jobs[0].config.seed)]
    index: dict[str, Any] = {
        "classes": len(LABELS),
        "labels": material.labels(train),
        "judged_labels": material.labels(judged),
        "judged_sources": material.sources(judged),
    }
    kept: dict[str, str] = {}  # networks that start alike share a file
    for job in jobs:
        index[f"draws-{job.name}"] = _draws(material, train, job)
        kept[job.name] = WEIGHTS.format("-".join(map(str, sorted(set(job.config.channels)))))
        halves: dict[str, Any] = {f"{i:03}": values.astype(np.float16) for i, values in enumerate(job.weights)}
        np.savez(out / kept[job.name], **halves)
    plan = [
        {
            "name": job.name,
            "config": job.config.as_json(),
            "teachers": job.teachers,
            "weights": kept[job.name],
            "identity": identity(material, weights, job.config, job.without, []),
        }
        for job in jobs
    ]
    np.savez(out / INDEX, **index)
    (out / PLAN).write_text(json.dumps(plan, indent=1) + "\n", encoding="utf-8")
    parts = _write_images(material, [*train, *judged], out, part_bytes)
    return [out / PLAN, out / INDEX, *sorted(out / name for name in set(kept.values())), *parts]


def _draws(material: Material, train: NDArray[np.int64], job: Job) -> NDArray[np.float64]:
    """(n,) the probability that each training image is drawn next."""
    allowed = [i for i, row in enumerate(train) if not set(material.related[row]) & set(job.without)]
    images = [material.images[train[i]] for i in allowed]
    draws = np.zeros(len(train))
    draws[allowed] = draw_probabilities(images, job.config.class_power, job.config.source_share)
    return draws


def _write_images(material: Material, rows: Sequence[int], out: Path, part_bytes: int) -> list[Path]:
    parts: list[Path] = []
    files: list[bytes] = []
    length = 0
    for row in rows:
        file = _jpeg(material, row)
        if files and length + len(file) > part_bytes:
            parts.append(_write_part(files, out, len(parts)))
            files, length = [], 0
        files.append(file)
        length += len(file)
    return [*parts, _write_part(files, out, len(parts))]


def _write_part(files: Sequence[bytes], out: Path, number: int) -> Path:
    part = out / IMAGES.format(number)
    np.savez(part, bytes=np.frombuffer(b"".join(files), np.uint8), lengths=np.array([len(file) for file in files]))
    return part


def _jpeg(material: Material, row: int) -> bytes:
    """The image's own file if it holds exactly the square that is trained on; else the square, compressed a little."""
    square = material.squares[row]
    content = material.images[row].path.read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        if image.format == "JPEG" and image.mode == "RGB" and np.array_equal(np.asarray(image), square):
            return content
    stream = io.BytesIO()
    Image.fromarray(square).save(stream, "JPEG", quality=QUALITY, subsampling=0)
    return stream.getvalue()
