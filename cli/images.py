"""An image as a person names it on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model_layer.errors import UserError

if TYPE_CHECKING:
    from cli.deployed import Deployed


class ImageError(UserError):
    """There is no such image, or it cannot be shown."""


def bucket_and_key(text: str, stack: Deployed) -> tuple[str, str]:
    """From `s3://bucket/key`, `bucket/key` (of the stack's own bucket), or a key in the stack's bucket.

    Raises:
        ImageError: there is no key in it.
    """
    if text.startswith("s3://"):
        bucket, _, key = text.removeprefix("s3://").partition("/")
    elif text.startswith(f"{stack.bucket}/"):
        bucket, _, key = text.partition("/")
    else:
        bucket, key = stack.bucket, text
    if not bucket or not key:
        raise ImageError("The image has no name; give its key, or s3://BUCKET/KEY.")
    return bucket, key
