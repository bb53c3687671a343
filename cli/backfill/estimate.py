"""What a backfill will cost, and how long it will take. The assumptions are those of docs/capacity.md."""

from __future__ import annotations

SECONDS = (0.15, 1.3)
"""Of one vCPU that an image takes, with and without 8-bit multiply-add. Lambda does not say which processor it is."""
MEGABYTES_A_CORE = 1769
DOLLARS_A_GB_SECOND = {"x86_64": 0.0000166667, "arm64": 0.0000133334}  # us-east-1, 2026-11-23, as in template.yaml
DOLLARS_A_REQUEST = 0.20 / 1e6
IMAGES_A_REQUEST = 32


def dollars(images: int, architecture: str) -> tuple[float, float]:
    """Of Lambda: at least and at most."""
    price = DOLLARS_A_GB_SECOND[architecture]
    low, high = (
        images * (seconds * MEGABYTES_A_CORE / 1024 * price + DOLLARS_A_REQUEST / IMAGES_A_REQUEST)
        for seconds in SECONDS
    )
    return low, high


def minutes(images: int, workers: int, memory: int) -> tuple[float, float]:
    """With `workers` of the bulk lane, of `memory` MB each: at least and at most."""
    cores = workers * memory / MEGABYTES_A_CORE
    low, high = (images * seconds / cores / 60 for seconds in SECONDS)
    return low, high


def in_words(images: int, workers: int, memory: int, architecture: str = "x86_64") -> str:
    """One sentence. Seconds are x86's, since nobody has measured Arm's."""
    cost, time = dollars(images, architecture), minutes(images, workers, memory)
    return (
        f"About ${cost[0]:,.2f} to ${cost[1]:,.2f} of Lambda and {time[0]:,.0f} to {time[1]:,.0f} minutes with "
        f"{workers} workers, unless they have a record already; S3, SQS and DynamoDB come on top (docs/capacity.md)."
    )
