"""The cost of a million images on AWS Lambda, from seconds an image.

The prices are those of `infra.prices`. A function of 1,769 MB has one vCPU, one of 3,538 MB two
(https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html). So a million images cost

    1,000,000 x seconds an image x memory / 1,024 x price of a GB-second
    + 1,000,000 / 32 images a request x price of a request

The seconds are this machine's, with a core counted as a vCPU, which is not exact: read the ratio. The network time
between Lambda and S3 is left out for both; the usual handler would wait for it, ours overlaps it. S3, SQS and DynamoDB
cost both workers the same and are left out; docs/cost.md has the whole bill.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.prices import dollars

if TYPE_CHECKING:
    from collections.abc import Mapping

MEMORY_OF_CORES = {1: 1769, 2: 3538}
IMAGES_A_REQUEST = 32


def dollars_per_million(seconds_per_image: float, memory_mb: int) -> float:
    """Dollars for a million images at `memory_mb` (MiB, as Lambda counts)."""
    compute = seconds_per_image * memory_mb / 1024 * dollars("lambda_gb_second")
    return 1e6 * (compute + dollars("lambda_request") / IMAGES_A_REQUEST)


def bill(seconds_per_image: Mapping[tuple[str, int], float]) -> list[dict[str, Any]]:
    """One line for each memory size, from seconds by (kind, cores)."""
    lines = []
    for cores, memory in MEMORY_OF_CORES.items():
        if ("ours", cores) in seconds_per_image:
            line: dict[str, Any] = {"memory_mb": memory, "cores": cores}
            for name, kind in (("ours", "ours"), ("baseline", "keras")):
                line[f"{name}_seconds"] = round(seconds_per_image[kind, cores], 4)
                line[f"{name}_dollars"] = round(dollars_per_million(seconds_per_image[kind, cores], memory), 2)
            lines.append(line)
    return lines
