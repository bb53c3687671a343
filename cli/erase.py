"""Erases an image: every version of its object, and its records under every model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.deployed import Account, aws_calls, find
from cli.images import ImageError, bucket_and_key
from cli.output import confirm, count, say
from handler.errors import TryAgainError
from pictures.names import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

NOT_ERASED = 1


class ErasureError(ImageError):
    """Something is left; the same command erases the rest."""


def erase(images: Sequence[str], stack: str, account: Account, *, yes: bool) -> int:
    """Returns 0 when nothing is left of `images`; 1 if the person said no, or there was nothing to erase.

    Raises:
        UserError: an image is not in the stack's bucket, or the table or S3 failed.
    """
    with aws_calls(" The same command erases what is left."):
        deployed = find(stack, account)
        named = [bucket_and_key(image, deployed) for image in images]
        for bucket, _ in named:
            if bucket != deployed.bucket:
                raise ImageError(f"The bucket {bucket} is not this stack's ({deployed.bucket}); nothing was erased.")
        what = one_line(named[0][1]) if len(named) == 1 else count(len(named), "image")
        question = f"Erase {what} from s3://{deployed.bucket} at {account.place}, all versions and records, for good?"
        if not yes and not confirm(question):
            say("Nothing was erased. Answer yes, or give --yes.")
            return NOT_ERASED
        s3, erasure = deployed.client("s3"), deployed.erasure()
        missing = 0
        for bucket, key in named:
            try:
                versions, records = erasure.remove_image(s3, bucket, key)
            except TryAgainError as error:
                raise ErasureError(f"{error.sentence} The same command erases what is left.") from error
            if versions or records:
                print(
                    f"{one_line(key)}: {count(versions, 'version')} and {count(records, 'record')} erased", flush=True
                )
            else:
                missing += 1
                say(f"erase: there is neither an object nor a record of {one_line(key)}.")
    return NOT_ERASED if missing else 0
