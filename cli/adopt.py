"""Takes a bucket, and a table, that exist already into a new stack.

CloudFormation imports resources into a stack that holds nothing else (a change set of the type IMPORT). The next
deployment of the whole template then makes everything around them, and gives the bucket its settings: whatever the
import's template leaves out counts as new.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources.html
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, WaiterError

from cli.deployed import Account, DeployedError, aws_calls
from cli.output import confirm, say
from infra.template import read_template

if TYPE_CHECKING:
    from collections.abc import Mapping

NOT_ADOPTED = 1
BUCKET, POLICY, TABLE = "Images", "ImagesPolicy", "Predictions"  # in template.yaml
_FIXED = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")
"""Properties of the table that the import states, since a deployment cannot change them, or would make them again."""


class AdoptionError(DeployedError):
    """The stack exists already, or what it should take over is missing or does not fit."""


def adopt(stack: str, bucket: str, table: str | None, account: Account, *, yes: bool) -> int:
    """Returns 0 when `stack` holds `bucket` and `table`; 1 if the person said no.

    Raises:
        DeployedError: one of them is missing or does not fit, belongs to a stack, or AWS refused.
    """
    with aws_calls():
        cloudformation = account.client("cloudformation")
        _refuse_existing(cloudformation, stack)
        template = import_template(bucket, table)
        if table:
            _refuse_other_table(account.client("dynamodb"), table, template["Resources"][TABLE]["Properties"])
        policy = _policy_of_a_former_stack(account.client("s3"), bucket)
        question = (
            f"Put {bucket}{f' and {table}' if table else ''} into the stack {stack} at {account.place}? The next"
            " deployment replaces the bucket's notifications, lifecycle, encryption, access settings and policy."
        )
        if not yes and not confirm(question):
            say("Nothing was changed. Answer yes, or give --yes.")
            return NOT_ADOPTED
        change_set = _proposed(cloudformation, stack, template)
        if policy:  # CloudFormation makes no second one; until the deployment, only IAM says who may do what
            account.client("s3").delete_bucket_policy(Bucket=bucket)
        cloudformation.execute_change_set(ChangeSetName=change_set)
        _wait(cloudformation, "stack_import_complete", StackName=stack)
    names = f"BucketName={bucket}" + (f" TableName={table}" if table else "")
    print(f"The stack {stack} holds them. Now: make deploy STACK={stack} PARAMETERS='{names}'")
    return 0


def import_template(bucket: str, table: str | None) -> dict[str, Any]:
    """What CloudFormation imports: of template.yaml, the bucket and the table by their names."""
    declared = read_template()["Resources"]
    kept = {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}
    resources: dict[str, Any] = {}
    resources[BUCKET] = {"Type": declared[BUCKET]["Type"], **kept, "Properties": {"BucketName": bucket}}
    if table:
        fixed = {name: declared[TABLE]["Properties"][name] for name in _FIXED}
        resources[TABLE] = {"Type": declared[TABLE]["Type"], **kept, "Properties": {"TableName": table, **fixed}}
    return {"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}


def _refuse_existing(cloudformation: Any, stack: str) -> None:
    try:
        (described,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except ClientError:  # there is none; another refusal comes again at the next call
        return
    if described["StackStatus"] != "REVIEW_IN_PROGRESS":  # an earlier try that ended before it changed anything
        raise AdoptionError(
            f"The stack {stack} exists ({described['StackStatus']}); only a new stack adopts. Choose another name, or"
            " delete that one: its data are kept."
        )


def _refuse_other_table(dynamodb: Any, table: str, wanted: Mapping[str, Any]) -> None:
    found = dynamodb.describe_table(TableName=table)["Table"]
    indexes = {one["IndexName"]: one["KeySchema"] for one in found.get("GlobalSecondaryIndexes", [])}
    expected = {one["IndexName"]: one["KeySchema"] for one in wanted["GlobalSecondaryIndexes"]}
    if found["KeySchema"] != wanted["KeySchema"] or indexes != expected:
        raise AdoptionError(f"{table} is no table of records: its keys or indexes are not those of template.yaml.")


def _policy_of_a_former_stack(s3: Any, bucket: str) -> bool:
    """Whether the bucket has the template's policy, which the next deployment makes again; False if it has none."""
    try:
        statements = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchBucketPolicy":
            return False
        raise
    declared = read_template()["Resources"][POLICY]["Properties"]["PolicyDocument"]["Statement"]
    if {one.get("Sid") for one in statements} - {one["Sid"] for one in declared}:
        raise AdoptionError(
            f"{bucket} has a policy of its own, which the stack's would replace: save it, delete it (aws s3api"
            f" delete-bucket-policy --bucket {bucket}), and allow by IAM what it allowed."
        )
    return True


def _proposed(cloudformation: Any, stack: str, template: Mapping[str, Any]) -> str:
    """The id of a change set that CloudFormation is ready to carry out. It refuses what belongs to another stack."""
    identifiers = {BUCKET: "BucketName", TABLE: "TableName"}
    entries = [
        {
            "ResourceType": resource["Type"],
            "LogicalResourceId": name,
            "ResourceIdentifier": {identifiers[name]: resource["Properties"][identifiers[name]]},
        }
        for name, resource in template["Resources"].items()
    ]
    made = cloudformation.create_change_set(
        StackName=stack,
        ChangeSetName=f"adopt-{secrets.token_hex(4)}",  # one of an interrupted try may be there
        ChangeSetType="IMPORT",
        TemplateBody=json.dumps(template),
        ResourcesToImport=entries,
    )
    try:
        _wait(cloudformation, "change_set_create_complete", ChangeSetName=made["Id"])
    except AdoptionError:
        cloudformation.delete_stack(StackName=stack)  # the empty one that the change set began
        raise
    return str(made["Id"])


def _wait(cloudformation: Any, state: str, **what: str) -> None:
    try:
        cloudformation.get_waiter(state).wait(**what, WaiterConfig={"Delay": 2, "MaxAttempts": 150})
    except WaiterError as error:
        response: Any = error.last_response
        why = response.get("StatusReason") or response.get("Stacks", [{}])[0].get("StackStatusReason") or str(error)
        raise AdoptionError(f"CloudFormation does not import them: {why.removesuffix('.')}.") from error
