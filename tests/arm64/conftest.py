"""An Arm machine for the worker: Debian's Python for arm64 and the pinned wheels for arm64, under qemu-user.

Made once in build/arm64 (about a minute). Debian's packages are only unpacked; no program of theirs runs at that time.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "build" / "arm64"
PROCESSOR = "neoverse-n1"
"""Graviton2's, the oldest that Lambda has: 8-bit dot products, neither SVE nor i8mm."""
CPUINFO = """processor\t: 0
BogoMIPS\t: 243.75
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp ssbs
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1
"""
"""What Linux says of that processor. Without it ONNX Runtime reads this machine's, takes it for Arm's, and crashes."""
_TAGS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")


@dataclass(frozen=True)
class Arm:
    """`python` runs as `[*prefix, python]`."""

    prefix: list[str]
    python: str


@pytest.fixture(scope="session")
def arm() -> Arm:
    """Skips, and says why, where it cannot be had."""
    qemu = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if not qemu:
        pytest.skip("no emulator of Arm: install qemu-user-static")
    if not (KEPT / "ready").exists():
        if not shutil.which("debootstrap") or os.geteuid() != 0:
            pytest.skip("Debian's Python for arm64 needs debootstrap and root")
        shutil.rmtree(KEPT, ignore_errors=True)
        _python(KEPT / "root")
        _wheels(KEPT / "site")
        (KEPT / "ready").touch()
    path = f"PYTHONPATH={KEPT / 'site'}{os.pathsep}{ROOT}"
    prefix = [qemu, "-cpu", PROCESSOR, "-L", str(KEPT / "root"), "-E", path]
    return Arm(prefix, str(KEPT / "root" / "usr" / "bin" / "python3.11"))


def _python(root: Path) -> None:
    options = ["--foreign", "--arch=arm64", "--variant=minbase", "--include=python3,libstdc++6"]
    _run("debootstrap", *options, "bookworm", str(root))
    for package in (root / "var" / "cache" / "apt" / "archives").glob("*.deb"):
        _run("dpkg-deb", "--extract", str(package), str(root))
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc" / "cpuinfo").write_text(CPUINFO)


def _wheels(site: Path) -> None:
    """The worker's pins with their hashes, and Lambda's runtime client with what it needs."""
    scratch = site.with_name("wheels")
    pinned = (ROOT / "requirements" / "development.txt").read_text(encoding="utf-8")
    client = [
        re.search(rf"^{name}==\S+", pinned, re.MULTILINE)
        for name in ("awslambdaric", "simplejson", "snapshot-restore-py")
    ]
    fitting = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", "3.11"]
    fitting += [part for tag in _TAGS for part in ("--platform", tag)]
    fitting += [part for abi in ("cp311", "abi3", "none") for part in ("--abi", abi)]
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(scratch), *fitting]
    _run(*download, "--require-hashes", "-r", str(ROOT / "requirements" / "worker.txt"))
    _run(*download, *(found[0] for found in client if found))
    for wheel in scratch.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{command[0]} could not prepare the Arm machine: {(done.stderr or done.stdout)[-300:]}")
