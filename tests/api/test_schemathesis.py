"""Whatever the description allows, and whatever it does not: schemathesis asks, and finds nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from sample_images import encoded, jpeg, picture, png
from test_classify import heic

from api.openapi import FILE

if TYPE_CHECKING:
    import httpx

IMAGES = st.one_of(
    st.builds(jpeg, st.integers(0, 50)),
    st.sampled_from([png(1), heic(), encoded(picture(1), "TIFF"), encoded(picture(2), "GIF"), jpeg(1)[:900], b""]),
    st.binary(max_size=2000),
)
schemathesis.openapi.format("binary", IMAGES)
for kind in ("application/octet-stream", "image/*"):
    schemathesis.openapi.media_type(kind, IMAGES)

# A schema cannot say everything: an image may be damaged, a cursor be of another question, days be too many.
_MAY_BE_REFUSED = ["POST /v1/classify", "POST /v1/uploads/relay", "GET /v1/predictions"]
_REFUSED = {"positive_data_acceptance": {"expected-statuses": ["2xx", 400, 401, 403, 404, 413, 422]}}
CONFIG = schemathesis.Config.from_dict(
    {"operations": [{"include-name": name, "checks": _REFUSED} for name in _MAY_BE_REFUSED]}
)
schema = schemathesis.openapi.from_path(FILE, config=CONFIG)


@pytest.mark.slow
@schema.parametrize()
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_nothing_is_found(case, client: httpx.Client):
    case.call_and_validate(base_url=str(client.base_url))
