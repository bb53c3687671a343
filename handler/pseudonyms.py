"""What stands for an image's name in logs and marks, where the name itself must not be kept.

A key may hold a person's name, and names can be guessed: whoever tries `<bucket>/<surname>.jpg` for all surnames finds
a plain hash. So these are HMACs (RFC 2104) with SHA-256 and a secret of the stack. The two uses differ in what is
hashed, so that nobody without the secret can tell that a log line and a mark are about one image:

    log    the first 12 hex digits of HMAC(secret, "log <bucket>/<key>")
    mark   HMAC(secret, "mark <bucket>/<key>")
"""

from __future__ import annotations

import contextlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from handler import aws
from handler.errors import ConfigurationError

if TYPE_CHECKING:
    from handler.configuration import Settings


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Of images, under one secret."""

    secret: bytes = field(repr=False)

    @classmethod
    def of(cls, settings: Settings) -> Pseudonyms:
        """Those of the stack that `settings` name; where they name no secret, as on a laptop, without one.

        Raises:
            ConfigurationError: the secret cannot be read.
        """
        if not settings.hash_secret_arn:
            return cls(b"")
        # Closed, so that a snapshot of this process holds no open connection.
        with contextlib.closing(aws.client("secretsmanager", settings)) as client:
            try:
                return cls.read(client, settings.hash_secret_arn)
            except aws.AWS_ERRORS as error:
                sentence = f"HASH_SECRET_ARN cannot be used: GetSecretValue failed with {aws.aws_code(error)}."
                raise ConfigurationError(sentence) from error

    @classmethod
    def read(cls, client: Any, secret: str) -> Pseudonyms:
        """Those under a secret of Secrets Manager, by its ARN; raises what boto3 raises."""
        return cls(client.get_secret_value(SecretId=secret)["SecretString"].encode())

    def in_log(self, image: str) -> str:
        """12 hex digits."""
        return self._digest("log", image)[:12]

    def in_mark(self, image: str) -> str:
        """64 hex digits."""
        return self._digest("mark", image)

    def _digest(self, use: str, image: str) -> str:
        return hmac.digest(self.secret, f"{use} {image}".encode(), "sha256").hex()
