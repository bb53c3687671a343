"""Every command of the operators' pages runs: in a shell, by the AWS CLI, against the whole stack on an emulator.

What the emulator does not offer is listed in NOT_OFFERED, with the reason. A listed command that it does offer fails.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from emulator_template import for_emulator, placed

from handler.errors import TryAgainError
from handler.intake.messages import Upload
from handler.store.record import Finding, build_record
from handler.store.table import PredictionsTable
from infra.template import read_template
from model_layer import Heatmap, ImageFacts, Prediction, Reason, ReferralCode, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.embedded_aws import Endpoint

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform == "darwin", reason="the pages use GNU's date, and say what macOS takes"),
]

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("operations.md", "first-day.md", "security.md")
STACK = "runbooks"
LESION = "clinic/lesion.jpg"
_numbers = itertools.count(1)

NOT_OFFERED = {
    "sqs start-message-move-task": "the emulator has no redrive",
    "sqs list-message-move-tasks": "the emulator has no redrive",
    "ecr put-account-setting": "the emulator's registry has no settings",
}
"""Calls of the AWS CLI that are only noted, and why."""

ELSEWHERE = {
    "make deploy": "builds an image and asks an account; tests/docker/test_sam_local.py builds it",
    "make smoke": "needs a worker: tests/cli/test_smoke.py",
    "python -m infra": "runs until it is stopped: tests/infra/test_standing_stack.py",
    "dermbatch submit": "needs a worker: tests/cli/test_submission.py",
    "dermbatch adopt": "makes a stack of its own: tests/cli/test_adopt.py",
    "dermbatch classify": "needs a photograph: tests/cli/test_classify_command.py",
    "dermbatch compare": "needs records of two bundles: tests/cli/test_new_model.py",
    "dermbatch models": "needs records of two bundles: tests/cli/test_new_model.py",
    "dermbatch show": "needs a worker's record: tests/cli/test_submission.py",
}
"""Commands that are only noted, and what runs them."""

SHELL = r"""
set -euo pipefail
aws() {
    case "$1 $2" in
        NOT_OFFERED)
            local told
            if told=$("${AWS[@]}" --endpoint-url "$AWS_ENDPOINT_URL" "$@" 2>&1); then
                echo "The emulator offers aws $1 $2: take it out of NOT_OFFERED." >&2; return 1
            fi
            case "$told" in *"An error occurred ("*) return 0 ;; esac  # refused there, and not by the CLI itself
            echo "$told" >&2; return 1 ;;
        "logs tail")  # version 1 of the CLI has no such command; this is the call that version 2 makes
            local group=$3; shift 3
            while [ "$1" != --filter-pattern ]; do shift; [ $# -gt 0 ] || set -- --filter-pattern ""; done
            set -- logs filter-log-events --log-group-name "$group" "$@" ;;
    esac
    "${AWS[@]}" --endpoint-url "$AWS_ENDPOINT_URL" "$@"
}
make() { echo "make $1"; }
"""


def _sections() -> dict[str, str]:
    """The script of each section, by page and heading: blocks without a language, and commands of the AWS CLI in text.

    They run in the order of the page, in one shell, as a person would run them.
    """
    found: dict[str, str] = {}
    for page in PAGES:
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        heading = ""
        for line in SCRIPTS.finditer(text):
            if line["heading"]:
                heading = f"{page}: {line['heading']}"
                continue
            if line["kind"]:
                continue  # an output
            inline = " ".join((line["inline"] or "").split())
            named = len(inline.split()) <= 2 or inline.endswith(
                "..."
            )  # a service, or a command that is not written out
            if line["block"] or not named:
                found[heading] = f"{found.get(heading, '')}{textwrap.dedent(line['block'] or inline)}\n"
    return found


SCRIPTS = re.compile(
    r"^#+ (?P<heading>[^\n]+)$|^(?P<indent> *)```(?P<kind>\w*)\n(?P<block>.*?)^(?P=indent)```$|`(?P<inline>aws [^`]+)`",
    re.DOTALL | re.MULTILINE,
)
SECTIONS = _sections()
SETTING_UP = SECTIONS.pop("operations.md: Operations")


class Rig:
    """The whole stack on an emulator, and a shell that has the pages' variables."""

    def __init__(self, endpoint: Endpoint, stack: str, outputs: dict[str, str], folder: Path) -> None:
        self.outputs, self.folder, self.client = outputs, folder, endpoint.client
        worker, lambda_ = outputs["WorkerName"], self.client("lambda")
        (mapping, *_) = lambda_.list_event_source_mappings(FunctionName=f"{worker}:live")["EventSourceMappings"]
        self.former = lambda_.get_alias(FunctionName=worker, Name="live")["FunctionVersion"]
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self.environment = endpoint.environment() | {"PYTHONPATH": path}
        self.environment |= {"UUID": mapping["UUID"], "OLD": "1", "NEW": "2"}  # what the reader fills in
        (folder / ".venv" / "bin").mkdir(parents=True)
        noted = "|".join(name.removeprefix("dermbatch ") for name in ELSEWHERE if name.startswith("dermbatch "))
        ours = f'case "$1" in {noted}) exit 0 ;; esac\nexec "{sys.executable}" -m cli "$@"'
        for name, command in (("dermbatch", ours), ("python", "exit 0")):
            program = folder / ".venv" / "bin" / name
            program.write_text(f"#!/bin/sh\n{command}\n")
            program.chmod(0o755)
        self.prelude = ""
        told = self(
            SETTING_UP.replace("STACK=dermbatch", f"STACK={stack}") + "declare -p $(compgen -v)\ndeclare -f output"
        )
        names = "|".join(re.findall(r"\b([A-Z_]+)=", SETTING_UP))
        variables = re.findall(rf"^declare -- (?:{names})=.*$", told, re.MULTILINE)
        self.prelude = "\n".join([*variables, told[told.index("output ()") :]])

    def __call__(self, script: str) -> str:
        """Its standard output; fails the test if a command of it fails."""
        script = re.sub(r"(--function-version) \d+", rf"\1 {self.former}", script).replace("sleep 60", "sleep 0")
        if named := re.search(r"(?<=\$WORKER:)\d+", script):
            script = script.replace(f"$WORKER:{named[0]}", f"$WORKER:{self._unused_version()}")
        program = SHELL.replace("NOT_OFFERED)", "|".join(f'"{name}"' for name in NOT_OFFERED) + ")")
        ended = subprocess.run(
            ["bash", "-c", f"{program}AWS=({AWS})\n{self.prelude}\n{script}"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert ended.returncode == 0, f"{script}\n{ended.stderr}"
        return ended.stdout

    def _unused_version(self) -> str:
        lambda_, worker = self.client("lambda"), self.outputs["WorkerName"]
        lambda_.update_function_configuration(FunctionName=worker, Description=datetime.now(UTC).isoformat())
        return str(lambda_.publish_version(FunctionName=worker)["Version"])


AWS = f'"{sys.executable}" -m awscli' if importlib.util.find_spec("awscli") else shutil.which("aws") or "aws"


@pytest.fixture(scope="module")
def rig(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with _rig(endpoint, STACK, tmp_path_factory.mktemp("runbooks")) as one:
        yield one


@pytest.fixture
def rig_of_its_own(endpoint: Endpoint, tmp_path: Path) -> Iterator[Rig]:
    """For commands that delete the stack."""
    with _rig(endpoint, f"{STACK}-{next(_numbers)}", tmp_path) as one:
        yield one


@contextlib.contextmanager
def _rig(endpoint: Endpoint, stack: str, folder: Path) -> Iterator[Rig]:
    cloudformation = endpoint.client("cloudformation")
    for repository in _repositories(stack):
        endpoint.client("ecr").create_repository(repositoryName=repository)
    image = f"123456789012.dkr.ecr.eu-central-1.amazonaws.com/{_repositories(stack)[0]}:1"
    cloudformation.create_stack(
        StackName=stack,
        TemplateURL=placed(endpoint, for_emulator(read_template(), image=image)),
        Parameters=[
            {"ParameterKey": "Api", "ParameterValue": "iam"},
            {"ParameterKey": "ReconcileSchedule", "ParameterValue": "rate(1 day)"},
        ],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=stack, WaiterConfig={"Delay": 0.1, "MaxAttempts": 600}
    )
    (described,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
    yield Rig(endpoint, stack, outputs, folder)
    cloudformation.delete_stack(StackName=stack)


def _repositories(stack: str) -> list[str]:
    """As SAM names those of a stack."""
    return [f"{stack.replace('-', '')}0a1b2c3d/{function}9e8f7a6brepo" for function in ("worker", "check")]


def _seed(rig: Rig) -> None:
    """What the pages name: images, of which one has records of today, and a dead letter."""
    s3, bucket = rig.client("s3"), rig.outputs["BucketName"]
    table = PredictionsTable(rig.client("dynamodb"), rig.outputs["TableName"])
    if "Contents" in s3.list_objects_v2(Bucket=bucket, Prefix="clinic/") and [*table.history(f"{bucket}/{LESION}")]:
        return
    s3.put_object(Bucket=bucket, Key="lost.jpg", Body=b"image")
    put = s3.put_object(Bucket=bucket, Key=LESION, Body=b"image")
    upload = Upload(bucket, LESION, put["VersionId"], put["ETag"].strip('"'), None)
    for model, answer in (("1", TryAgainError("out_of_time", "There was no time.")), ("2", REFERRED)):
        bundle = SimpleNamespace(name="m", version=model, digest="sha256:0")
        table.put(build_record(Finding(upload, answer), bundle, "request", datetime.now(UTC)))
    rig.client("sqs").send_message(QueueUrl=rig.outputs["LiveDeadLettersUrl"], MessageBody='{"a": "dead letter"}')


REFERRED = Prediction(
    status=Status.REFERRED,
    label="nv",
    label_name="nevus",
    confidence=0.5,
    probabilities={"nv": 0.5, "mel": 0.5},
    prediction_set=("nv", "mel"),
    triage="urgent",
    reasons=(Reason(ReferralCode.UNCERTAIN, "It is uncertain."),),
    heatmap=Heatmap(1, 1, (0,)),
    facts=ImageFacts("jpeg", 10, 10),
)


def test_what_only_an_account_can_run_is_still_on_the_pages():
    scripts = "\n".join([SETTING_UP, *SECTIONS.values()])
    for command in (*(f"aws {name}" for name in NOT_OFFERED), *ELSEWHERE):
        assert command in scripts, command
    assert {f"make {target}" for target in re.findall(r"^make (\S+)", scripts, re.MULTILINE)} <= set(ELSEWHERE)


def _finds_the_record(_: Rig, told: str) -> None:
    assert "There was no time." in told


def _sees_the_letter_and_why(_: Rig, told: str) -> None:
    assert '"MessageId"' in told
    assert re.search(rf"{LESION} +failed +out_of_time", told)


def _sees_who_is_told(_: Rig, told: str) -> None:
    assert "LiveQueue" in told
    assert "s3:ObjectCreated:*" in told


def _counts_the_reason(_: Rig, told: str) -> None:
    assert '1 "code": "uncertain"' in told


def _leaves_no_version(rig: Rig, _: str) -> None:
    listed = rig.client("s3").list_object_versions(Bucket=rig.outputs["BucketName"], Prefix="clinic/")
    assert "Versions" not in listed


def _leaves_no_record(rig: Rig, _: str) -> None:
    items = rig.client("dynamodb").scan(TableName=rig.outputs["TableName"])["Items"]
    assert not [item for item in items if "status" in item]


def _finds_the_lost_upload(_: Rig, told: str) -> None:
    assert "1 objects of 0.0 MB would be sent" in told
    assert "Done: 1 messages are in the bulk lane" in told


def _replaces_the_secret(rig: Rig, _: str) -> None:
    read = rig.client("secretsmanager").get_secret_value
    now, former = (
        read(SecretId=rig.outputs["HashSecretArn"], VersionStage=f"AWS{stage}") for stage in ("CURRENT", "PREVIOUS")
    )
    assert now["SecretString"] != former["SecretString"]
    assert re.fullmatch(r"[A-Za-z0-9]{64}", now["SecretString"])


def _keeps_the_data(_: Rig, told: str) -> None:
    assert "clinic/" in told
    assert "ACTIVE" in told


def _has_rules_for_each_repository(rig: Rig, _: str) -> None:
    ecr = rig.client("ecr")
    for one in ecr.describe_repositories(repositoryNames=_repositories(STACK))["repositories"]:
        policy = ecr.get_lifecycle_policy(repositoryName=one["repositoryName"])["lifecyclePolicyText"]
        (rule,) = json.loads(policy)["rules"]
        assert rule["selection"]["countNumber"] == 20
        assert one["imageScanningConfiguration"] == {"scanOnPush": True}


SHOWS = {
    "operations.md: Images in the registry": _has_rules_for_each_repository,
    "operations.md: Look": _finds_the_record,
    "operations.md: Dead letters": _sees_the_letter_and_why,
    "operations.md: Uploads without a record": _sees_who_is_told,
    "operations.md: Referrals": _counts_the_reason,
    "operations.md: Erase": _leaves_no_version,
    "operations.md: What remains after erasure": _leaves_no_record,
    "security.md: Names in logs and marks": _replaces_the_secret,
    "first-day.md: 6. A lost upload": _finds_the_lost_upload,
    "first-day.md: 9. Delete, and deploy again": _keeps_the_data,
}
"""What the commands of a section must print or leave, besides running to the end."""


@pytest.mark.parametrize("section", SECTIONS)
def test_the_commands_of_a_section_run_from_top_to_bottom(section: str, request: pytest.FixtureRequest):
    deletes = "delete-stack" in SECTIONS[section]
    rig: Rig = request.getfixturevalue("rig_of_its_own" if deletes else "rig")
    _seed(rig)
    told = rig(SECTIONS[section])
    if section in SHOWS:
        SHOWS[section](rig, told)


def test_every_section_that_must_show_something_is_there():
    assert SHOWS.keys() <= SECTIONS.keys()
