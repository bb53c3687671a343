"""What template.yaml becomes on AWS: the same transformation that CloudFormation runs, in this process."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from transformed_template import default_template, resolved, transformed

from benchmarks.cost import facts
from handler.configuration import Settings
from handler.store.erasure import MARK_DAYS
from infra.template import TEMPLATE, read_template

KEPT = ("RetainExceptOnCreate", "Retain")
"""Outlives its stack, unless the stack's first deployment failed: then a second one could not use the same names."""
LANES = {"Live": "MaximumConcurrency", "Bulk": "BulkMaximumConcurrency"}


@pytest.fixture(scope="module")
def source() -> dict[str, Any]:
    return read_template()


@pytest.fixture(scope="module")
def stack() -> dict[str, Any]:
    """The transformed template, as plain JSON."""
    return default_template()


def _of_type(stack: dict[str, Any], *kinds: str) -> dict[str, dict[str, Any]]:
    """Without the shadow lane's, which test_shadow_lane.py is about."""
    resources = {name: res for name, res in stack["Resources"].items() if res.get("Condition") != "HasCandidate"}
    return {name: res for name, res in resources.items() if res["Type"] in kinds}


def _worker(stack: dict[str, Any]) -> dict[str, Any]:
    worker: dict[str, Any] = stack["Resources"]["Worker"]
    return worker


def _mappings(stack: dict[str, Any], function: str = "Worker") -> list[dict[str, Any]]:
    """The event sources of a function."""
    return [
        mapping["Properties"]
        for name, mapping in _of_type(stack, "AWS::Lambda::EventSourceMapping").items()
        if name.startswith(function)
    ]


def _only(stack: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = _of_type(stack, kind).values()
    return found


def test_no_message_is_handed_out_twice_while_a_worker_may_still_hold_it(source, stack):
    longest_window = source["Parameters"]["BatchWindowSeconds"]["MaxValue"]
    for function, window in (("Worker", longest_window), ("Housekeeper", 0)):
        timeout = stack["Resources"][function]["Properties"]["Timeout"]
        for mapping in _mappings(stack, function):
            assert ("MaximumBatchingWindowInSeconds" in mapping) == bool(window)
            queue = stack["Resources"][mapping["EventSourceArn"]["Fn::GetAtt"][0]]["Properties"]
            assert queue["VisibilityTimeout"] >= 6 * timeout + window


def test_the_worker_knows_how_long_its_queues_hide_what_a_dead_one_held(stack):
    """By that it tells a death from a hand-back."""
    told = _worker(stack)["Properties"]["Environment"]["Variables"]["VISIBILITY_TIMEOUT"]
    queues = {mapping["EventSourceArn"]["Fn::GetAtt"][0] for mapping in _mappings(stack)}
    assert {stack["Resources"][queue]["Properties"]["VisibilityTimeout"] for queue in queues} == {int(told)}


def test_a_dead_letter_outlives_its_queue(stack):
    """Or lives as long, where a backfill's messages may stay for SQS's longest."""
    queues = _of_type(stack, "AWS::SQS::Queue")
    lanes = {name: queue["Properties"] for name, queue in queues.items() if "RedrivePolicy" in queue["Properties"]}
    assert lanes, "no queue has a dead-letter queue"
    for queue in lanes.values():
        letters = queue
        while "RedrivePolicy" in letters:  # by way of the housekeeper's queue
            earlier, target = letters, letters["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
            letters = queues[target]["Properties"]
            assert letters["MessageRetentionPeriod"] >= earlier["MessageRetentionPeriod"]
        assert letters["MessageRetentionPeriod"] == 14 * 86_400
    assert lanes["LiveQueue"]["MessageRetentionPeriod"] < 14 * 86_400
    assert lanes["BulkQueue"]["MessageRetentionPeriod"] == 14 * 86_400, "dropped without a dead letter"


def test_every_queue_that_feeds_the_worker_has_a_dead_letter_queue(stack):
    for mapping in _mappings(stack):
        queue = stack["Resources"][mapping["EventSourceArn"]["Fn::GetAtt"][0]]["Properties"]
        assert queue["RedrivePolicy"]["maxReceiveCount"] == {"Ref": "MaxReceives"}


@pytest.mark.parametrize("lane", LANES)
def test_what_is_spent_passes_the_housekeeper_on_its_way_to_the_dead_letters(stack, lane):
    """And SQS itself moves on what the housekeeper cannot settle, so nothing is lost to it."""
    fed = {mapping["EventSourceArn"]["Fn::GetAtt"][0] for mapping in _mappings(stack, "Housekeeper")}
    assert fed == {"RemovalsQueue", "LiveSpent", "BulkSpent"}
    assert _redrive(stack, f"{lane}Queue")["deadLetterTargetArn"] == {"Fn::GetAtt": [f"{lane}Spent", "Arn"]}
    assert _redrive(stack, f"{lane}Spent")["deadLetterTargetArn"] == {"Fn::GetAtt": [f"{lane}DeadLetters", "Arn"]}
    for queue in fed:
        waited = stack["Resources"][queue]["Properties"]["VisibilityTimeout"]
        assert _redrive(stack, queue)["maxReceiveCount"] * waited >= 7200, "an outage of two hours"


def test_the_housekeeper_is_the_workers_image_with_another_entry_point(source):
    """It knows of the settings that decide what is an upload, and what is kept."""
    worker, keeper = (source["Resources"][name] for name in ("Worker", "Housekeeper"))
    built = ("Dockerfile", "DockerContext", "DockerBuildTarget", "DockerTag")
    assert [worker["Metadata"][part] for part in built] == [keeper["Metadata"][part] for part in built]
    assert keeper["Properties"]["ImageConfig"] == {"Command": ["handler.housekeeping.lambda_handler"]}
    given, own = (one["Properties"]["Environment"]["Variables"] for one in (worker, keeper))
    assert own.items() <= given.items()
    assert {"ERASE_REMOVED", "IGNORE_SYSTEM_FILES", "RECORD_TTL_DAYS", "UPLOADS_BUCKET"} <= set(own)


def test_each_property_of_the_housekeepers_events_reaches_lambda(source, stack):
    for name, event in source["Resources"]["Housekeeper"]["Properties"]["Events"].items():
        mapping = stack["Resources"][f"Housekeeper{name}"]["Properties"]
        assert mapping["EventSourceArn"] == event["Properties"]["Queue"]
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert set(event["Properties"]) - set(mapping) == {"Queue"}


@pytest.mark.parametrize(("lane", "limit"), LANES.items())
def test_each_property_of_the_sqs_event_reaches_lambda(source, stack, lane, limit):
    """`sam validate --lint` lets a misspelt property of an event pass, and batches would then fail as a whole."""
    event = source["Resources"]["Worker"]["Properties"]["Events"][lane]["Properties"]
    mapping = stack["Resources"][f"Worker{lane}"]["Properties"]
    assert mapping["EventSourceArn"] == {"Fn::GetAtt": [f"{lane}Queue", "Arn"]}
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": {"Ref": limit}}
    assert set(event) - set(mapping) == {"Queue"}
    assert set(mapping) - set(event) == {"EventSourceArn", "FunctionName"}


def test_the_lanes_share_nothing_but_the_worker(stack):
    queues = [mapping["EventSourceArn"]["Fn::GetAtt"][0] for mapping in _mappings(stack)]
    letters = [_redrive(stack, queue)["deadLetterTargetArn"]["Fn::GetAtt"][0] for queue in queues]
    assert len({*queues, *letters}) == 2 * len(LANES)


def _redrive(stack: dict[str, Any], queue: str) -> dict[str, Any]:
    policy: dict[str, Any] = stack["Resources"][queue]["Properties"]["RedrivePolicy"]
    return policy


def test_both_lanes_invoke_the_alias_and_every_change_publishes_a_version(source, stack):
    """So that one call goes back to what ran before (docs/operations.md), and SnapStart has a version to apply to."""
    alias = _only(stack, "AWS::Lambda::Alias")["Properties"]
    (version,) = _of_type(stack, "AWS::Lambda::Version")
    assert (alias["Name"], alias["FunctionVersion"]) == ("live", {"Fn::GetAtt": [version, "Version"]})
    assert stack["Resources"][version]["DeletionPolicy"] == "Retain"
    function = resolved(stack)["Resources"]["Worker"]["Properties"]
    assert function["SnapStart"] == {"ApplyOn": "None"}, "the default (docs/decisions.md)"
    chosen = resolved(stack, SnapStart="PublishedVersions")["Resources"]["Worker"]["Properties"]
    assert chosen["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    for mapping in _mappings(stack):
        assert mapping["FunctionName"] == {"Ref": "WorkerAliaslive"}
    changed = json.loads(json.dumps(source))
    changed["Resources"]["Worker"]["Properties"]["Timeout"] = 119
    (other,) = _of_type(transformed(changed), "AWS::Lambda::Version")
    assert other != version, "a change of a setting alone must publish a version too"


OTHER_TEXTS = {
    "BucketName": "old-bucket", "TableName": "old-table", "ReconcileSchedule": "rate(1 day)", "EncryptionKey": "create",
    "AllowedOrigins": "https://clinic.example", "SubnetIds": "subnet-1a,subnet-3c", "SecurityGroupIds": "sg-4d",
    "AlarmEmail": "duty@example.org", "Candidate": "next", "ApiJwtIssuer": "https://tokens.example",
    "ApiJwtAudience": "clinic",
}  # fmt: skip
NAMES = {"BucketName", "TableName"}
"""The worker's settings hold them as references, which `resolved` answers with names of its own."""
IN_A_VPC = {"SubnetIds": "subnet-1a,subnet-2b", "SecurityGroupIds": "sg-3c"}


def _other_value(name: str, parameter: dict[str, Any]) -> str:
    if name in OTHER_TEXTS:
        return OTHER_TEXTS[name]
    default = str(parameter["Default"])
    permitted = [str(value) for value in parameter.get("AllowedValues", (parameter.get("MinValue"), default + "1"))]
    return next(value for value in permitted if value != default)


def test_a_parameter_publishes_a_version_exactly_if_it_changes_the_worker(source, stack):
    """Else the alias would stay with the old settings; and Lambda publishes no version of an unchanged function."""

    def made(**parameters: str) -> tuple[Any, Any]:
        resources = resolved(stack, **{**IN_A_VPC, **parameters})["Resources"]
        (version,) = (res for res in resources.values() if res["Type"] == "AWS::Lambda::Version")
        return resources["Worker"], version

    worker, version = made()
    changes_worker, publishes = set(), set()
    for name, parameter in source["Parameters"].items():
        if name == "EndpointUrl":  # none on AWS
            continue
        other_worker, other_version = made(**{name: _other_value(name, parameter)})
        changes_worker |= {name} if other_worker != worker else set()
        publishes |= {name} if other_version != version else set()
    assert {"MemorySize", "MaxImagePixels", "EraseRemoved", "LogLevel", "SubnetIds"} <= changes_worker
    assert publishes == changes_worker | NAMES


def test_a_version_with_another_description_is_another_version_and_the_former_one_stays(stack):
    """By AWS's own schema, which cfn-lint carries. The former one is the way back (docs/operations.md)."""
    schemas = pytest.importorskip("cfnlint.schema.manager")
    schema = schemas.PROVIDER_SCHEMA_MANAGER.get_resource_schema("eu-central-1", "AWS::Lambda::Version").schema
    assert "/properties/Description" in schema["createOnlyProperties"]
    version = _only(stack, "AWS::Lambda::Version")
    assert (version["DeletionPolicy"], version["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert "DeletionPolicy" not in _worker(stack), "the function itself goes with the stack"
    longest = schema["properties"]["Description"]["maxLength"]
    subnets = ",".join(f"subnet-{number:017x}" for number in range(3))
    chosen = {"SubnetIds": subnets, "SecurityGroupIds": f"sg-{1:017x}", "BucketName": "b" * 63, "TableName": "t" * 40}
    filled = resolved(stack, **chosen, MemorySize="10240", MaxImagePixels="500000000", EraseRemoved="false")
    (told,) = (res["Properties"] for res in filled["Resources"].values() if res["Type"] == "AWS::Lambda::Version")
    assert len(told["Description"]) <= longest


def test_what_snapstart_does_not_go_with_is_not_there(source):
    """EFS, more than 512 MB of /tmp and provisioned concurrency; and the base must be AWS's Python of 3.12 or newer."""
    worker = source["Resources"]["Worker"]["Properties"]
    assert not {"FileSystemConfigs", "EphemeralStorage", "ProvisionedConcurrencyConfig"} & set(worker)
    recipe = (TEMPLATE.parent / "infra" / "Dockerfile").read_text(encoding="utf-8")
    (base,) = re.findall(r"^ARG BASE_IMAGE=public\.ecr\.aws/lambda/python:3\.(\d+)(?:@.*)?$", recipe, re.MULTILINE)
    assert int(base) >= 12


def test_a_batch_that_lambda_accepts_only_with_a_window_is_refused_without_one(source, stack):
    """Over 10 messages Lambda wants a window of at least a second. Only CloudFormation's rules compare parameters."""
    batch, window = (source["Parameters"][name] for name in ("BatchSize", "BatchWindowSeconds"))
    assert (batch["Default"] > 10, window["Default"] >= 1) == (True, True)
    rule = stack["Rules"]["OnlySmallBatchesNeedNoWindow"]
    assert rule["RuleCondition"] == {"Fn::Equals": [{"Ref": "BatchWindowSeconds"}, str(window["MinValue"])]}
    (assertion,) = rule["Assertions"]
    small = [str(size) for size in range(batch["MinValue"], 11)]
    assert assertion["Assert"] == {"Fn::Contains": [small, {"Ref": "BatchSize"}]}


def test_the_largest_batch_is_done_within_the_timeout_on_the_slowest_processor_that_was_measured(source):
    """With a fifth of the time to spare, for a start and for throttled writes."""
    results = TEMPLATE.parent / "benchmarks" / "results"
    slowest = max(json.loads(file.read_text()).get("seconds", 0) for file in (results / "cost").glob("*.json"))
    assert slowest > 0.5, "an older processor was measured too"
    timeout = source["Resources"]["Worker"]["Properties"]["Timeout"]
    assert source["Parameters"]["BatchSize"]["MaxValue"] * slowest <= 0.8 * timeout


def test_every_permitted_limit_fits_into_some_permitted_memory(source):
    """Which ones go together, the worker calculates at its start: tests/handler/test_configuration.py."""
    parameters = source["Parameters"]
    variables = {"MAX_IMAGE_BYTES": "MaxImageBytes", "MAX_IMAGE_PIXELS": "MaxImagePixels"}
    given = {"PREDICTIONS_TABLE": "predictions"}
    for which, memory in (("Default", "MinValue"), ("MaxValue", "MaxValue")):
        limits = {variable: str(parameters[name][which]) for variable, name in variables.items()}
        megabytes = str(parameters["MemorySize"][memory])
        assert Settings.from_environment({**given, **limits, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": megabytes})


def test_the_bucket_is_private_encrypted_versioned_and_notifies_its_two_queues(stack):
    bucket = _only(stack, "AWS::S3::Bucket")
    properties = bucket["Properties"]
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(properties["PublicAccessBlockConfiguration"]) == 4
    assert properties["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    told = {
        "LiveQueue": ("s3:ObjectCreated:*", "s3:ObjectRestore:Completed"),
        "RemovalsQueue": ("s3:ObjectRemoved:*", "s3:LifecycleExpiration:*"),
    }
    assert resolved(stack)["Resources"]["Images"]["Properties"]["NotificationConfiguration"] == {
        "QueueConfigurations": [
            {"Event": event, "Queue": f"arn:aws:sqs:eu-central-1:123456789012:{queue}-name"}
            for queue, events in told.items()
            for event in events
        ]
    }
    policies = ["LiveQueuePolicy", "RemovalsQueuePolicy"]
    assert bucket["DependsOn"] == policies, "S3 tests the notification when the bucket is created"


def test_deleted_and_overwritten_images_are_forgotten_after_some_days_unless_told_otherwise(stack):
    def rules(days: str) -> list[dict[str, Any]]:
        bucket = resolved(stack, NoncurrentDays=days)["Resources"]["Images"]["Properties"]
        return [rule for rule in bucket["LifecycleConfiguration"]["Rules"] if "NoncurrentVersionExpiration" in rule]

    (rule,) = rules("30")
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": "30"}
    assert rule["ExpiredObjectDeleteMarker"] is True
    assert "ExpirationInDays" not in rule, "what is neither deleted nor overwritten stays"
    assert rules("0") == []


def test_everything_at_rest_is_encrypted_with_the_key_that_was_chosen(stack):
    own = "arn:aws:kms:eu-central-1:123456789012:key/0a1b"
    made = "arn:aws:kms:eu-central-1:123456789012:key/DataKey-name"
    for choice, key in (("", None), ("create", made), (own, own)):
        resources = resolved(stack, EncryptionKey=choice)["Resources"]
        assert ("DataKey" in resources) == (choice == "create")
        bucket, table = resources["Images"]["Properties"], resources["Predictions"]["Properties"]
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        queues = [res["Properties"] for res in resources.values() if res["Type"] == "AWS::SQS::Queue"]
        assert len(queues) == 3 * len(LANES) + 2, "and two of removals"
        topic, secret = resources["AlarmTopic"]["Properties"], resources["HashSecret"]["Properties"]
        logs = [res["Properties"] for res in resources.values() if res["Type"] == "AWS::Logs::LogGroup"]
        assert {one.get("KmsKeyId") for one in (*logs, secret)} == {key}
        if key:
            encryption = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
            assert rule == {"ServerSideEncryptionByDefault": encryption, "BucketKeyEnabled": True}
            assert table["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}
            assert {queue["KmsMasterKeyId"] for queue in queues} == {key}
            assert topic["KmsMasterKeyId"] == key
        else:
            assert rule == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
            assert "SSESpecification" not in table, "DynamoDB's own key then, which it always uses"
            assert {queue["SqsManagedSseEnabled"] for queue in queues} == {True}
            assert not {"KmsMasterKeyId"} & {name for queue in queues for name in queue}


def test_a_key_of_the_stack_lets_in_only_who_must_and_outlives_the_stack(stack):
    key = stack["Resources"]["DataKey"]
    assert (key["DeletionPolicy"], key["UpdateReplacePolicy"]) == KEPT
    properties = resolved(stack, EncryptionKey="create")["Resources"]["DataKey"]["Properties"]
    assert properties["EnableKeyRotation"] is True
    services = {}
    for statement in properties["KeyPolicy"]["Statement"]:
        assert statement["Principal"] != "*"
        if "Service" in statement["Principal"]:
            named = statement["Principal"]["Service"]
            services |= dict.fromkeys([named] if isinstance(named, str) else named, statement["Condition"])
        else:
            assert statement["Principal"] == {"AWS": "arn:aws:iam::123456789012:root"}
    assert set(services) == {"s3.amazonaws.com", "cloudwatch.amazonaws.com", "logs.eu-central-1.amazonaws.com"}
    assert all("123456789012" in json.dumps(condition) for condition in services.values())
    # As AWS's page on encrypted log groups has them.
    (logs,) = (one for one in properties["KeyPolicy"]["Statement"] if "logs." in str(one["Principal"]))
    verbs = ("Encrypt", "Decrypt", "ReEncrypt*", "GenerateDataKey*", "DescribeKey")
    assert logs["Action"] == [f"kms:{verb}" for verb in verbs]
    security = (TEMPLATE.parent / "docs" / "security.md").read_text(encoding="utf-8")
    assert [verb for verb in verbs if f"`kms:{verb}`" not in security] == []


@pytest.mark.parametrize("kind", ["AWS::S3::Bucket", "AWS::DynamoDB::Table"])
def test_deleting_the_stack_keeps_the_data(stack, kind):
    kept = _only(stack, kind)
    assert (kept["DeletionPolicy"], kept["UpdateReplacePolicy"]) == KEPT


def test_what_keeps_others_out_of_what_is_kept_is_kept_too(stack):
    kept = {name for name, resource in stack["Resources"].items() if resource.get("DeletionPolicy") == KEPT[0]}
    policies = [
        policy
        for policy in _of_type(stack, "AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy").values()
        for guarded in policy["Properties"].get("Queues", [policy["Properties"].get("Bucket")])
        if guarded["Ref"] in kept
    ]
    assert policies
    for policy in policies:
        assert (policy.get("DeletionPolicy"), policy.get("UpdateReplacePolicy")) == KEPT


def test_nobody_deletes_the_table_by_mistake_and_a_taken_bucket_name_leaves_none_behind(stack):
    """A rollback cannot delete a protected table, so the bucket, whose name may be taken, comes first."""
    table = _only(stack, "AWS::DynamoDB::Table")
    assert table["Properties"]["DeletionProtectionEnabled"] is True
    assert table["DependsOn"] == "ImagesPolicy"
    assert stack["Resources"]["ImagesPolicy"]["Properties"]["Bucket"] == {"Ref": "Images"}


def test_bucket_and_table_take_the_names_that_are_given_so_that_a_stack_can_adopt_them(stack):
    made = resolved(stack, BucketName="old-bucket", TableName="old-table")["Resources"]
    assert made["Images"]["Properties"]["BucketName"] == "old-bucket"
    assert made["Predictions"]["Properties"]["TableName"] == "old-table"
    assert "TableName" not in resolved(stack)["Resources"]["Predictions"]["Properties"]


@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
def test_both_functions_run_on_the_processor_that_was_chosen(architecture):
    stack = resolved(transformed(read_template(), Architecture=architecture), Architecture=architecture, Api="iam")
    functions = _of_type(stack, "AWS::Lambda::Function")
    assert set(functions) >= {"Worker", "ApiFunction"}
    assert all(function["Properties"]["Architectures"] == [architecture] for function in functions.values())


def test_bucket_and_queues_refuse_plain_http_and_other_accounts(stack):
    http = {"Bool": {"aws:SecureTransport": "false"}}
    foreign = {
        "StringNotEquals": {"aws:PrincipalAccount": {"Ref": "AWS::AccountId"}},
        "BoolIfExists": {"aws:PrincipalIsAWSService": "false"},  # S3 itself has no account
    }
    guarded: dict[str, list[Any]] = {}
    for policy in _of_type(stack, "AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy").values():
        properties = policy["Properties"]
        names = [reference["Ref"] for reference in properties.get("Queues", [properties.get("Bucket")])]
        for statement in properties["PolicyDocument"]["Statement"]:
            if statement["Effect"] == "Deny":
                assert statement["Principal"] == "*"
                assert statement["Action"] in {"s3:*", "sqs:*"}
                covered = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
                assert all({"Fn::GetAtt": [name, "Arn"]} in covered for name in names)
                for name in names:
                    guarded.setdefault(name, []).append(statement["Condition"])
    assert set(guarded) == set(_of_type(stack, "AWS::S3::Bucket")) | set(_of_type(stack, "AWS::SQS::Queue"))
    assert all(conditions == [http, foreign] for conditions in guarded.values())


def test_only_this_stacks_bucket_may_fill_the_queues(stack):
    allowed = [
        statement
        for policy in _of_type(stack, "AWS::SQS::QueuePolicy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]
    statement, other = allowed
    assert statement["Resource"] == {"Fn::GetAtt": ["LiveQueue", "Arn"]}
    assert other == {**statement, "Resource": {"Fn::GetAtt": ["RemovalsQueue", "Arn"]}}
    assert statement["Principal"] == {"Service": "s3.amazonaws.com"}
    assert statement["Action"] == "sqs:SendMessage"
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    # Both branches of the name are the bucket's own, so that the policy can't drift away from the bucket.
    bucket_name = _only(stack, "AWS::S3::Bucket")["Properties"]["BucketName"]["Fn::If"]
    source_arn = statement["Condition"]["ArnEquals"]["aws:SourceArn"]["Fn::If"]
    prefix = "arn:${AWS::Partition}:s3:::"
    assert source_arn[0] == bucket_name[0] == "NamesBucket"
    assert source_arn[1] == {"Fn::Sub": prefix + "${" + bucket_name[1]["Ref"] + "}"}
    assert source_arn[2] == {"Fn::Sub": [prefix + bucket_name[2]["Fn::Sub"][0], bucket_name[2]["Fn::Sub"][1]]}


def test_the_table_answers_both_questions_and_can_be_restored(stack):
    table = _only(stack, "AWS::DynamoDB::Table")["Properties"]
    keys = {index["IndexName"]: _keys(index) for index in table["GlobalSecondaryIndexes"]}
    assert _keys(table) == ["image", "version"]
    assert keys == {"by_label": ["label_shard", "confidence_rank"], "by_problem": ["problem_shard", "predicted_at"]}
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}


def _keys(table_or_index: dict[str, Any]) -> list[str]:
    return [key["AttributeName"] for key in sorted(table_or_index["KeySchema"], key=lambda key: key["KeyType"])]


def test_the_worker_logs_into_a_group_that_forgets(stack):
    function = _worker(stack)["Properties"]
    assert function["LoggingConfig"] == {"LogGroup": {"Ref": "WorkerLog"}}
    for group in _of_type(stack, "AWS::Logs::LogGroup").values():
        assert group["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_on_aws_the_worker_has_no_endpoint(stack):
    variables = _worker(stack)["Properties"]["Environment"]["Variables"]
    assert variables["AWS_ENDPOINT_URL"] == {
        "Fn::If": ["UsesEmulator", {"Ref": "EndpointUrl"}, {"Ref": "AWS::NoValue"}]
    }
    assert stack["Parameters"]["EndpointUrl"]["Default"] == ""


def test_every_parameter_is_explained_bounded_and_has_a_default(source):
    grouped = [
        name
        for group in source["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
        for name in group["Parameters"]
    ]
    assert sorted(grouped) == sorted(source["Parameters"])
    for name, parameter in source["Parameters"].items():
        assert {"Default", "Description"} <= set(parameter), name
        assert set(parameter) & {"AllowedValues", "AllowedPattern", "MinValue"}, name


@pytest.mark.parametrize(("mode", "allowed"), [("PassThrough", False), ("Active", True)])
def test_traces_and_the_permission_to_send_them_come_only_on_demand(source, mode, allowed):
    changed = json.loads(json.dumps(source))
    changed["Parameters"]["Tracing"]["Default"] = mode
    changed["Parameters"]["Api"]["Default"] = "iam"
    resources = resolved(transformed(changed))["Resources"]
    for function, role in (("Worker", "WorkerRole"), ("ApiFunction", "ApiRole")):
        assert resources[function]["Properties"]["TracingConfig"] == {"Mode": mode}
        assert ("xray:PutTraceSegments" in json.dumps(resources[role])) is allowed


def test_every_suppressed_finding_is_explained(source):
    skips = [
        skip
        for resource in source["Resources"].values()
        for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", [])
    ]
    assert skips
    for skip in skips:
        assert len(skip["comment"]) > 40, skip
    hidden = {name: res["Metadata"]["cfn-lint"] for name, res in source["Resources"].items() if "cfn-lint" in str(res)}
    assert hidden == {"Worker": {"config": {"ignore_checks": ["W3011"]}}}, "nothing else is hidden from cfn-lint"


def test_a_mark_of_an_erasure_outlives_every_message_that_may_still_speak_of_the_image(stack):
    """Twice through a lane with the housekeeper's queue and its dead-letter queue, by way of one redrive."""
    queues = [queue["Properties"] for queue in _of_type(stack, "AWS::SQS::Queue").values()]
    longest = max(queue["MessageRetentionPeriod"] for queue in queues if "RedrivePolicy" in queue)
    letters = max(queue["MessageRetentionPeriod"] for queue in queues if "RedrivePolicy" not in queue)
    assert 2 * (longest + letters) <= MARK_DAYS * 86_400


GB_SECOND, SNAPSHOT_GB_SECOND, RESTORED_GB = 0.0000166667, 0.0000015046, 0.0001397998
"""Dollars on 2026-11-23 in us-east-1 (https://aws.amazon.com/lambda/pricing/)."""


def test_the_reasons_against_snapstart_are_calculated_from_prices_and_measured_starts(source):
    """From the starts that docs/cost.md counts with."""
    text = " ".join((TEMPLATE.parent / "docs" / "decisions.md").read_text(encoding="utf-8").split())
    gigabytes = source["Parameters"]["MemorySize"]["Default"] / 1024
    measured = [processor.cold_start for processor in facts.processors()]
    seconds = min(measured), max(measured)
    starts = [second * gigabytes * GB_SECOND for second in seconds]
    restore = gigabytes * RESTORED_GB
    assert f"{seconds[0]:.2f} to {seconds[1]:.2f} s x {gigabytes:.4f} GB" in text
    assert f"| {starts[0]:.6f} to {starts[1]:.6f} |" in text
    assert f"| {restore:.6f} |" in text
    assert f"| {gigabytes * 30 * 86_400 * SNAPSHOT_GB_SECOND:.2f} |" in text
    assert f"as much as {restore / starts[1]:.0f} to {restore / starts[0]:.0f} starts" in text
    for price in (GB_SECOND, SNAPSHOT_GB_SECOND, RESTORED_GB):
        assert f"${price:.10f}".rstrip("0") in text
