"""What reaches in from outside, and what reaches out: browsers' uploads, signed forms, functions in a VPC."""

from __future__ import annotations

import base64
import json
import re
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from emulator_template import for_emulator, placed
from policy_simulator import Request, allowed
from sample_images import jpeg
from transformed_template import default_template, resolved

from api.records import upload_origin
from infra.template import TEMPLATE, read_template

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.embedded_aws import Endpoint
    from infra.stack import Stack

UPLOADS = (TEMPLATE.parent / "docs" / "uploads.md").read_text(encoding="utf-8")
PAGE = "https://upload.clinic.example"
_template = cache(default_template)


def _made(**parameters: str) -> dict[str, Any]:
    made: dict[str, Any] = resolved(_template(), **parameters)["Resources"]
    return made


class TestPagesOfOtherHosts:
    def test_by_default_the_bucket_has_no_rule(self):
        assert "CorsConfiguration" not in _made()["Images"]["Properties"]

    def test_pages_may_send_and_not_read(self):
        (rule,) = _made(AllowedOrigins=f"{PAGE},https://b.example")["Images"]["Properties"]["CorsConfiguration"][
            "CorsRules"
        ]
        assert rule["AllowedOrigins"] == [PAGE, "https://b.example"]
        assert set(rule["AllowedMethods"]) == {"POST", "PUT"}

    @pytest.mark.integration
    def test_the_bucket_that_is_deployed_has_the_rule(self, fresh_stack: Callable[..., Stack]):
        """The emulator answers no browser by it, but keeps it as S3 does."""
        stack = fresh_stack(AllowedOrigins=f"{PAGE},https://b.example")
        (rule,) = stack.endpoint.client("s3").get_bucket_cors(Bucket=stack.bucket)["CORSRules"]
        assert rule["AllowedOrigins"] == [PAGE, "https://b.example"]
        assert sorted(rule["AllowedMethods"]) == ["POST", "PUT"]


@pytest.mark.integration
def test_the_form_of_the_docs_takes_one_image_and_nothing_larger(
    fresh_stack: Callable[..., Stack], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
):
    stack = fresh_stack()
    for name, value in (stack.endpoint.environment({}) | {"BUCKET": stack.bucket}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lesion.jpg").write_bytes(jpeg(1))
    sign, send = re.findall(r"```python\n(.*?)```", UPLOADS, re.DOTALL)
    told: dict[str, Any] = {}
    exec(sign, told)
    exec(send, told)
    key = told["form"]["fields"]["key"]
    stored = stack.endpoint.client("s3").get_object(Bucket=stack.bucket, Key=key)
    assert stored["Body"].read() == jpeg(1)
    assert "lesion" not in key
    policy = json.loads(base64.b64decode(told["form"]["fields"]["policy"]))
    assert ["content-length-range", 1, read_template()["Parameters"]["MaxImageBytes"]["Default"]] in policy[
        "conditions"
    ]


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_a_form_of_the_docs_and_one_of_the_service_go_to_the_address_that_the_stack_names(region, monkeypatch):
    """In a page's Content-Security-Policy; S3 answers at its global address with a redirect. New buckets want SigV4."""
    bucket = "dermbatch-0a1b"
    given = {"AWS_DEFAULT_REGION": region, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "BUCKET": bucket}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    address = resolved(_template())["Outputs"]["UploadUrl"]
    address = address.replace("Images-name", bucket).replace("eu-central-1", region)
    told: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", UPLOADS, re.DOTALL)[0], told)
    assert told["form"]["url"] == f"{address}/"
    assert told["form"]["fields"]["x-amz-algorithm"] == "AWS4-HMAC-SHA256"
    assert upload_origin(SimpleNamespace(worker=SimpleNamespace(aws_endpoint_url=None), bucket=bucket)) == address


IN_A_VPC = {
    "SubnetIds": "subnet-1a,subnet-2b",
    "SecurityGroupIds": "sg-3c",
    "Api": "iam",
    "ReconcileSchedule": "rate(1 day)",
}
INTERFACES = [
    f"ec2:{action}"
    for action in (
        "CreateNetworkInterface", "DescribeNetworkInterfaces", "DescribeSubnets", "DeleteNetworkInterface",
        "AssignPrivateIpAddresses", "UnassignPrivateIpAddresses")
]  # fmt: skip
"""https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html"""

FUNCTIONS = {
    "Worker": "WorkerRole", "Housekeeper": "HousekeeperRole", "Reconciler": "ReconcilerRole", "ApiFunction": "ApiRole",
}  # fmt: skip
ALL_OF_THEM = {"Api": "iam", "ReconcileSchedule": "rate(1 day)"}


class TestInAVpc:
    def test_by_default_no_function_is_in_one_and_no_role_makes_interfaces(self):
        made = _made(**ALL_OF_THEM)
        for function, role in FUNCTIONS.items():
            assert "VpcConfig" not in made[function]["Properties"]
            assert "ec2:" not in json.dumps(made[role])

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_the_functions_are_in_the_subnets_that_are_named(self, function):
        config = _made(**IN_A_VPC)[function]["Properties"]["VpcConfig"]
        assert config == {"SubnetIds": ["subnet-1a", "subnet-2b"], "SecurityGroupIds": ["sg-3c"]}

    @pytest.mark.parametrize("role", FUNCTIONS.values())
    @pytest.mark.parametrize("action", INTERFACES)
    def test_lambda_makes_the_interfaces_and_code_in_the_function_cannot(self, role, action):
        policies = [p["PolicyDocument"] for p in _made(**IN_A_VPC)[role]["Properties"]["Policies"]]
        by_code = {
            "lambda:SourceFunctionArn": "arn:aws:lambda:eu-central-1:123456789012:function:dermbatch-Worker-0a1b"
        }
        assert allowed(Request(action, "*"), policies)
        assert not allowed(Request(action, "*", by_code), policies)

    def test_the_docs_name_an_endpoint_for_every_service_that_the_functions_call(self):
        """Lambda itself takes messages, writes the log and sends traces, outside of the VPC."""
        text = (TEMPLATE.parent / "docs" / "security.md").read_text(encoding="utf-8")
        listed = set(re.findall(r"^\| `com\.amazonaws\.REGION\.(\w+)`", text, re.MULTILINE))
        called = {
            action.partition(":")[0]
            for role in FUNCTIONS.values()
            for policy in _made(**ALL_OF_THEM)[role]["Properties"]["Policies"]
            for statement in policy["PolicyDocument"]["Statement"]
            for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
        }
        assert called - {"logs", "xray"} == listed


@pytest.mark.integration
@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"SubnetIds": "subnet-1a,subnet-2b"}, "SubnetIds needs SecurityGroupIds"),
        ({"BatchWindowSeconds": "0"}, "no BatchSize over 10 with BatchWindowSeconds=0"),
        ({"SubnetIds": "subnet-1a,vpc-2b", "SecurityGroupIds": "sg-3c"}, "SubnetIds"),
        *(
            ({"AllowedOrigins": f"{PAGE},{origin}"}, "AllowedOrigins")
            for origin in ("*", "https://*.example", "https://a.example/page", "a.example")
        ),
        ({"Notify": "everything"}, "Notify"),
        *(({"ReconcileSchedule": text}, "ReconcileSchedule") for text in ("daily", "rate(1 day", "17 3 * * *")),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_made(endpoint: Endpoint, parameters, reason):
    with pytest.raises(ClientError, match=reason):
        endpoint.client("cloudformation").create_stack(
            StackName="refused-outside",
            TemplateURL=placed(endpoint, for_emulator(read_template(), image="worker:1")),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
