"""What a backfill will cost, and how long it will take. The assumptions are those of docs/cost.md."""

from __future__ import annotations

from infra.prices import PRICED_ON, REGION, dollars

SECONDS = (0.04, 0.22)
"""Of one vCPU that an image takes on the fastest and the slowest processor of docs/cost.md: Lambda promises neither."""
OTHERS = 3.0
"""Dollars of a million images for S3, SQS, DynamoDB, requests and logs, as docs/cost.md has them, rounded."""
MEGABYTES_A_CORE = 1769


def lambda_dollars(images: int, architecture: str) -> tuple[float, float]:
    """Of the worker's seconds: at least and at most."""
    price = dollars("lambda_gb_second_arm64" if architecture == "arm64" else "lambda_gb_second")
    low, high = (images * seconds * MEGABYTES_A_CORE / 1024 * price for seconds in SECONDS)
    return low, high


def minutes(images: int, workers: int, memory: int) -> tuple[float, float]:
    """With `workers` of the bulk lane, of `memory` MB each: at least and at most."""
    cores = workers * memory / MEGABYTES_A_CORE
    low, high = (images * seconds / cores / 60 for seconds in SECONDS)
    return low, high


def in_words(images: int, workers: int, memory: int, architecture: str = "x86_64") -> str:
    """One sentence. Seconds are x86's, since nobody has measured Arm's."""
    cost, time = lambda_dollars(images, architecture), minutes(images, workers, memory)
    return (
        f"About ${cost[0]:,.2f} to ${cost[1]:,.2f} of Lambda, ${images * OTHERS / 1e6:,.2f} of other services and "
        f"{time[0]:,.0f} to {time[1]:,.0f} minutes with {workers} workers, unless they have a record already "
        f"(prices of {PRICED_ON}, {REGION}; docs/cost.md)."
    )
