"""Pages for people are run as they stand: every block, in order, in one folder, on a local stack with its service."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from dicom_objects import photograph
from doc_blocks import OUTPUT, blocks, certain_lines, normalised, outside
from sample_images import encoded, jpeg, picture

from demo.lesions import demo_images
from infra.standing import standing_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from doc_blocks import Block

    from infra.embedded_aws import Endpoint

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "docs" / name for name in ("tutorial.md", "command.md", "how-to.md")]
"""`api.md` has tests of its own in tests/api, for it is about the service alone."""
PHOTOS = 10


@pytest.mark.parametrize("page", [*PAGES, ROOT / "docs" / "api.md"], ids=lambda page: page.stem)
def test_every_block_runs_or_says_why_not(page):
    found = blocks(page)
    assert len([block for block in found if not block.not_run]) > 3
    assert [(block.line, block.marker) for block in found if not block.says_what_happens] == []
    assert not re.search(r"^```|^ {4}\S", outside(page), re.MULTILINE), "blocks are fenced, or nothing would run them"


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.timeout(600)
@pytest.mark.skipif(not shutil.which("bash") or not shutil.which("curl"), reason="NOT RUN: needs bash and curl")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_of_the_page_run(page, tmp_path, tiny_bundle):
    left_out = []
    with desk(tmp_path, tiny_bundle) as environment:
        printed = ""
        for block in blocks(page):
            where = f"{page.name}:{block.line}"
            if block.not_run:
                continue
            if missing := [name for name in block.needs if not importlib.util.find_spec(name)]:
                left_out.append(f"{where} needs {', '.join(missing)}")
            elif block.language == OUTPUT:
                lines = normalised(printed)
                assert [line for line in certain_lines(block.text) if line not in lines] == [], f"{where}\n{printed}"
            else:
                printed = run(block, tmp_path / "desk", environment, where)
    if left_out:
        pytest.skip(f"NOT RUN: {'; '.join(left_out)}. All other blocks of {page.name} passed.")


def run(block: Block, folder: Path, environment: dict[str, str], where: str) -> str:
    command = ["bash", "-euo", "pipefail", "-c"] if block.language == "sh" else [sys.executable, "-c"]
    done = subprocess.run(
        [*command, block.text], cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    printed = done.stderr + done.stdout
    assert done.returncode == block.exit_code, f"{where}\n{printed}"
    return printed


@contextlib.contextmanager
def desk(scratch: Path, bundle: Path) -> Iterator[dict[str, str]]:
    """A folder `desk` with what the pages take for granted, and the environment of a person who has started `serve`."""
    folder, state = scratch / "desk", scratch / "state"
    programs = scratch / "bin"
    programs.mkdir()
    (programs / "dermbatch").write_text(f'#!/bin/sh\nexec {sys.executable} -m cli "$@"\n')
    (programs / "dermbatch").chmod(0o755)
    _write_files(folder, bundle)
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "DERMBATCH_"))}
    environment = inherited | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "DERMBATCH_STATE": str(state),
        "COLUMNS": "120",
    }
    environment.pop("MODEL_BUNDLE", None)
    with _service(environment, scratch) as (address, key), pytest.MonkeyPatch.context() as patch:
        patch.setenv("DERMBATCH_STATE", str(state))
        endpoint: Endpoint = standing_endpoint()
        yield endpoint.environment(environment) | {"SERVICE": address, "KEY": key}


@contextlib.contextmanager
def _service(environment: dict[str, str], scratch: Path) -> Iterator[tuple[str, str]]:
    """`dermbatch serve --local`: its address and key."""
    command = [sys.executable, "-m", "cli", "serve", "--local", "--port", "0"]
    with (scratch / "err").open("w") as err:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True, env=environment, cwd=scratch)
    try:
        assert process.stdout
        lines = [process.stdout.readline(), process.stdout.readline()]
        found = re.match(r"(http://127\.0\.0\.1:\d+)/\?token=", lines[0])
        assert found, (scratch / "err").read_text()
        _wait_for_the_model(found[1])
        yield found[1], lines[1].split()[-1]
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        process.kill()
        process.wait()


def _wait_for_the_model(address: str) -> None:
    import httpx

    deadline = time.monotonic() + 60
    while httpx.get(f"{address}/readyz", trust_env=False).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _write_files(folder: Path, bundle: Path) -> None:
    for name in ("photos", "clinic/images", "pacs"):
        (folder / name).mkdir(parents=True)
    for name, content in demo_images(0, PHOTOS):
        (folder / "photos" / name).write_bytes(content)
    shutil.copytree(bundle, folder / "build" / "train" / "bundle")
    (folder / "clinic" / "metadata.csv").write_text("image_id,dx,lesion_id\na,nv,1\nb,mel,2\nc,mel,2\n")
    for name in "abc":
        (folder / "clinic" / "images" / f"{name}.jpg").write_bytes(jpeg(ord(name)))
    size = (320, 240)
    (folder / "pacs" / "1.dcm").write_bytes(photograph(encoded(picture(1, size), "JPEG"), size))
