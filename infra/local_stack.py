"""The stack on an embedded AWS that keeps its state in a folder: found again, or made anew around its objects."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from infra.embedded_aws import embedded_aws
from infra.stack import Stack, StackError, deploy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.state_folder import StateFolder

BUCKET = "dermbatch-images"
"""The bucket named in the files of events/."""
PARAMETERS: dict[str, str | int] = {"BucketName": BUCKET}


@contextlib.contextmanager
def ephemeral_stack() -> Iterator[Stack]:
    """An empty stack, kept in memory only."""
    with embedded_aws() as endpoint:
        yield deploy(endpoint, parameters=PARAMETERS)


@contextlib.contextmanager
def kept_stack(folder: StateFolder) -> Iterator[Stack]:
    """The stack of `folder`. If only its objects were left, `folder.recordless` exists, and there are no messages.

    Raises:
        StackError: the folder's state cannot be used.
    """
    if not folder.ended_in_order():
        if folder.holds_objects():
            folder.recordless.touch()
        folder.forget_state()
        _deploy_beside_objects(folder)
    with embedded_aws(state=folder.state) as endpoint:
        try:
            stack = deploy(endpoint, parameters=PARAMETERS, exists=True)
        except StackError as error:
            raise StackError(
                f"{str(error).removesuffix('.')}. The state in {folder.state.everything_else} can't be used; remove "
                "that folder to classify the kept photographs again."
            ) from error
        folder.forget_state()  # from here on the objects may be ahead of it
        yield stack


def _deploy_beside_objects(folder: StateFolder) -> None:
    """Saves the state of an empty stack. CloudFormation refuses to create a bucket that has objects already."""
    with (
        tempfile.TemporaryDirectory(prefix="dermbatch-objects-") as nothing,
        embedded_aws(state=replace(folder.state, objects=Path(nothing))) as endpoint,
    ):
        deploy(endpoint, parameters=PARAMETERS)
