"""Which of S3's refusals stay until the object's owner acts, and which may pass. Pure.

| what S3 answers to GetObject | meaning |
|---|---|
| `InvalidObjectState` | the object is in an archive storage class or tier, and not restored: `archived` |
| `InvalidRequest`, of server-side encryption | encrypted with a key that its uploader kept (SSE-C): `not_readable` |
| `AccessDenied`, of a KMS key of another account, or one that KMS does not show to us | `not_readable` |
| `KMS.NotFoundException` | the key was deleted: `not_readable` |
| every other denial, every other error of KMS | a policy or key that may be mended: it passes |

https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

import re

from botocore.exceptions import ClientError

from handler.aws import error_code

_CALLER = re.compile(r"arn:[a-z-]+:(?:sts|iam)::([0-9]{12}):")
_KEY = re.compile(r"arn:[a-z-]+:kms:[a-z0-9-]+:([0-9]{12}):")
_HIDDEN_KEY = "resource associated with this ciphertext"  # KMS names a key only to its own account


def lasting_refusal(error: Exception) -> str | None:
    """The code of a refusal that stays, a key of `handler.errors.REFUSALS`; None where `error` may pass."""
    code, message = error_code(error), _message(error)
    if code == "InvalidObjectState":
        return "archived"
    if code == "KMS.NotFoundException":
        return "not_readable"
    if code == "InvalidRequest" and re.search(r"server[ -]side encryption", message, re.IGNORECASE):
        return "not_readable"
    if code == "AccessDenied" and "kms:" in message and _is_of_another_account(message):
        return "not_readable"
    return None


def _is_of_another_account(message: str) -> bool:
    caller, key = _CALLER.search(message), _KEY.search(message)
    if caller and key:
        return caller[1] != key[1]
    return _HIDDEN_KEY in message


def _message(error: Exception) -> str:
    """Looked into here, and written nowhere: it may hold names."""
    return str(error.response.get("Error", {}).get("Message", "")) if isinstance(error, ClientError) else ""
