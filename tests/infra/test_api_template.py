"""The service in template.yaml: absent unless asked for, never anonymous, allowed what it does and nothing else."""

from __future__ import annotations

import json
import re

import pytest
from policy_simulator import Request, allowed
from transformed_template import default_template, resolved

from handler.pseudonyms import Pseudonyms
from handler.store.erasure import Marks
from infra.template import read_template

NONE = {}
IAM = {"Api": "iam"}
JWT = {"Api": "jwt", "ApiJwtIssuer": "https://issuer.example", "ApiJwtAudience": "dermbatch"}
KEY = "arn:aws:kms:eu-central-1:123456789012:key/0a1b"
BUCKET = "arn:aws:s3:::Images-name"
TABLE = "arn:aws:dynamodb:eu-central-1:123456789012:table/Predictions-name"
LEADING = "dynamodb:LeadingKeys"
MARK = Marks(None, "", Pseudonyms(b"secret")).partition("Images-name/a.jpg")


@pytest.fixture(scope="module")
def template():
    return default_template()


def _made(template, parameters):
    resources = resolved(template, **parameters)["Resources"]
    return {name: res for name, res in resources.items() if name.startswith(("Api", "HttpApi"))}


def test_by_default_nothing_of_it_is_there(template):
    assert read_template()["Parameters"]["Api"]["Default"] == "none"
    assert _made(template, NONE) == {}


@pytest.mark.parametrize(("parameters", "kind"), [(IAM, "AWS_IAM"), (JWT, "JWT")])
def test_every_route_asks_who_it_is(template, parameters, kind):
    made = _made(template, parameters)
    routes = [res["Properties"] for res in made.values() if res["Type"] == "AWS::ApiGatewayV2::Route"]
    assert [(route["RouteKey"], route["AuthorizationType"]) for route in routes] == [("$default", kind)]
    assert not [res for res in made.values() if res["Type"] == "AWS::Lambda::Url"]
    if kind == "JWT":
        assert routes[0]["AuthorizerId"] == "HttpApiAuthorizer-name"
        authorizer = made["HttpApiAuthorizer"]["Properties"]
        assert authorizer["JwtConfiguration"] == {"Issuer": "https://issuer.example", "Audience": ["dermbatch"]}
    else:
        assert "HttpApiAuthorizer" not in made


def test_tokens_without_an_issuer_or_an_audience_are_refused_before_anything_is_made():
    rule = read_template()["Rules"]["TokensNeedAnIssuer"]
    assert rule["RuleCondition"] == {"Fn::Equals": [{"Ref": "Api"}, "jwt"]}
    needed = {json.dumps(one["Assert"]) for one in rule["Assertions"]}
    assert needed == {
        json.dumps({"Fn::Not": [{"Fn::Equals": [{"Ref": name}, ""]}]}) for name in ("ApiJwtIssuer", "ApiJwtAudience")
    }


def test_the_http_api_and_nobody_else_invokes_the_function(template):
    permission = _made(template, IAM)["HttpApiPermission"]["Properties"]
    assert permission["Principal"] == "apigateway.amazonaws.com"
    assert permission["SourceArn"].endswith(":HttpApi-name/*")


def test_the_function_answers_before_the_http_api_gives_up(template):
    made = _made(template, IAM)
    function, integration = made["ApiFunction"]["Properties"], made["HttpApiIntegration"]["Properties"]
    assert function["Timeout"] * 1000 <= integration["TimeoutInMillis"] < 30_000
    assert integration["PayloadFormatVersion"] == "2.0"


def test_the_access_log_holds_no_path_and_no_query(template):
    """An image's key is in the query."""
    settings = _made(template, IAM)["HttpApiStage"]["Properties"]["AccessLogSettings"]
    logged = set(re.findall(r"\$context\.([A-Za-z.]+)", settings["Format"]))
    assert logged == {"requestId", "status", "httpMethod", "responseLatency", "error.message"}
    assert json.loads(settings["Format"])


def _role(template, **parameters):
    policies = _made(template, {**IAM, **parameters})["ApiRole"]["Properties"]["Policies"]
    return [policy["PolicyDocument"] for policy in policies]


NEEDED = [
    ("s3:GetObject", f"{BUCKET}/a/b.jpg"),
    ("s3:GetObjectVersion", f"{BUCKET}/a/b.jpg"),
    ("s3:DeleteObjectVersion", f"{BUCKET}/a/b.jpg"),
    ("s3:PutObject", f"{BUCKET}/uploads/2026/11/25/0a"),
    ("s3:ListBucketVersions", BUCKET),
    ("s3:ListBucket", BUCKET),
    ("dynamodb:Query", TABLE),
    ("dynamodb:Query", f"{TABLE}/index/by_label"),
    ("dynamodb:Query", f"{TABLE}/index/by_problem"),
    ("dynamodb:BatchGetItem", TABLE),
    ("dynamodb:PutItem", TABLE),
    ("dynamodb:DeleteItem", TABLE),
    ("secretsmanager:GetSecretValue", "HashSecret-name"),
]
FORBIDDEN = [
    ("s3:PutObject", f"{BUCKET}/clinic/a.jpg"),
    ("s3:PutObject", f"{BUCKET}/upload"),
    ("s3:DeleteObject", f"{BUCKET}/a.jpg"),
    ("s3:GetObject", "arn:aws:s3:::another/a.jpg"),
    ("s3:PutBucketPolicy", BUCKET),
    ("dynamodb:Scan", TABLE),
    ("dynamodb:UpdateItem", TABLE),
    ("dynamodb:BatchWriteItem", TABLE),
    ("dynamodb:DeleteTable", TABLE),
    ("sqs:SendMessage", "arn:aws:sqs:eu-central-1:123456789012:LiveQueue-name"),
    ("sqs:ReceiveMessage", "arn:aws:sqs:eu-central-1:123456789012:LiveQueue-name"),
    ("lambda:InvokeFunction", "*"),
    ("iam:PassRole", "arn:aws:iam::123456789012:role/ApiRole-name"),
    ("kms:Decrypt", KEY),
]


@pytest.mark.parametrize(("action", "resource"), NEEDED)
def test_the_role_allows_what_the_service_does(template, action, resource):
    assert allowed(Request(action, resource), _role(template))


def test_the_role_allows_nothing_else(template):
    own = {"logs:CreateLogStream", "logs:PutLogEvents"}
    granted = {
        action
        for policy in _role(template)
        for statement in policy["Statement"]
        for action in (statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]])
    }
    assert granted - own == {action for action, _ in NEEDED}


def test_it_writes_marks_only_and_deletes_records_only(template):
    """tests/api/test_calls.py has what the service really writes and deletes."""
    role, record = _role(template), "Images-name/uploads/a.jpg"
    for action, own in (("PutItem", MARK), ("DeleteItem", record)):
        for partition in (MARK, record, "another-bucket/a.jpg", "#models", "#reconciliation"):
            request = Request(f"dynamodb:{action}", TABLE, {LEADING: partition})
            assert allowed(request, role) is (partition == own), request


@pytest.mark.parametrize(("action", "resource"), FORBIDDEN)
def test_whoever_takes_over_the_service_may_not(template, action, resource):
    assert not allowed(Request(action, resource), _role(template))


def test_a_key_of_ones_own_is_used_through_the_services_and_guards_the_log(template):
    role = _role(template, EncryptionKey=KEY)
    through = {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}
    for action in ("kms:Decrypt", "kms:GenerateDataKey"):
        assert allowed(Request(action, KEY, through), role)
        assert not allowed(Request(action, KEY), role)
    assert _made(template, {**IAM, "EncryptionKey": KEY})["ApiLog"]["Properties"]["KmsKeyId"] == KEY


def test_the_service_is_told_the_stacks_own_names_and_no_endpoint_on_aws(template):
    variables = _made(template, IAM)["ApiFunction"]["Properties"]["Environment"]["Variables"]
    assert (variables["PREDICTIONS_TABLE"], variables["UPLOADS_BUCKET"]) == ("Predictions-name", "Images-name")
    assert "AWS_ENDPOINT_URL" not in variables
