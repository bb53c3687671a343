"""`make audit`: checks the template, our own code and every pinned package, and prints one line for each check.

A check that needs the internet and has none is reported as not run, never as passed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent
TOOLS = Path(sys.executable).parent  # .venv-audit/bin
OURS = ("handler", "model_layer", "infra", "cli", "api", "demo", "pictures", "proof", "training", "benchmarks")
PINNED = sorted((ROOT / "requirements").glob("*.txt"))
RECIPES = ("infra/Dockerfile", "infra/Dockerfile.api")
SHIPPED = ("worker", "service")
"""The sets that the images hold."""
BILLS = ROOT / "build" / "sbom"


@dataclass(frozen=True, slots=True)
class Result:
    """`verdict` is clean, FINDINGS or NOT RUN; `told` lists the findings, or the reason why it did not run."""

    verdict: str
    told: str = ""


def code() -> Result:
    """Our own code, by bandit. pyproject.toml lists the exceptions with their reasons."""
    return _clean_if_silent(str(TOOLS / "bandit"), "--quiet", "--configfile", "pyproject.toml", "--recursive", *OURS)


def template() -> Result:
    """template.yaml, by checkov. The template explains each accepted finding in place."""
    return _checkov("cloudformation", "template.yaml")


def recipe() -> Result:
    """The images' recipes, by checkov."""
    results = [_checkov("dockerfile", name) for name in RECIPES]
    return next((result for result in results if result.verdict != "clean"), results[0])


def base() -> Result:
    """Both recipes name the same base image, by a digest."""
    bases = {name: re.findall(r"^ARG BASE_IMAGE=(\S+)$", _text(name), re.MULTILINE) for name in RECIPES}
    if len({tuple(named) for named in bases.values()}) > 1:
        return Result("FINDINGS", f"the recipes name different bases: {bases}")
    (image,) = next(iter(bases.values()))
    if "@" not in image:
        return Result("NOT RUN", f"{image} is named by a tag; only its registry knows the digest: make base")
    fits = re.fullmatch(r"[^\s@]+:[\w.-]+@sha256:[0-9a-f]{64}", image)
    return Result("clean") if fits else Result("FINDINGS", f"{image} is no tag with a digest")


def materials() -> Result:
    """Writes what the images hold into build/sbom, in CycloneDX's format, by cyclonedx-py; every pin must be in it."""
    BILLS.mkdir(parents=True, exist_ok=True)
    missing: list[str] = []
    for name in SHIPPED:
        pinned, bill = ROOT / "requirements" / f"{name}.txt", BILLS / f"{name}.cdx.json"
        options = ["--of", "JSON", "--output-reproducible", "-o", str(bill)]
        done = _run(str(TOOLS / "cyclonedx-py"), "requirements", str(pinned), *options)
        if done.returncode:
            return Result("FINDINGS", done.stdout + done.stderr)
        listed = {part["purl"] for part in json.loads(bill.read_text(encoding="utf-8"))["components"]}
        expected = re.findall(r"^([\w.-]+)==(\S+)", pinned.read_text(encoding="utf-8"), re.MULTILINE)
        missing += [
            f"{name}: {one}=={version}" for one, version in expected if f"pkg:pypi/{one}@{version}" not in listed
        ]
    return Result("FINDINGS", "\n".join(missing)) if missing else Result("clean")


def pins() -> Result:
    """Every package of every set has one version and its hashes, which pip checks at each install."""
    wrong = [f"{file.name}: {fault}" for file in PINNED for fault in unpinned(file.read_text(encoding="utf-8"))]
    return Result("FINDINGS", "\n".join(wrong)) if wrong else Result("clean")


def unpinned(text: str) -> list[str]:
    """Lines of a compiled set that do not pin a package to one version with a hash."""
    entries = re.sub(r"\\\n", " ", text).splitlines()
    named = [entry for entry in entries if entry.strip() and not entry.lstrip().startswith("#")]
    return [
        entry.split(" ")[0] for entry in named if not re.match(r"[\w.-]+(\[[\w,.-]+\])?==\S+.*--hash=sha256:", entry)
    ]


def vulnerabilities() -> Result:
    """Every pinned package against PyPI's vulnerability database, by pip-audit.

    Findings of one set are reported even if there is no answer for another.
    """
    found: list[str] = []
    unanswered: list[str] = []
    for file in PINNED:
        options = ["--require-hashes", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
        done = _run(str(TOOLS / "pip-audit"), *options, "--requirement", str(file))
        try:
            packages = json.loads(done.stdout)["dependencies"]
        except (ValueError, KeyError):
            unanswered.append(f"no vulnerability database can be reached ({_last_line(done.stderr)})")
            continue
        if unknown := [package["name"] for package in packages if "skip_reason" in package]:
            unanswered.append(f"the package index here does not answer for {len(unknown)} of {file.name}")
        found += [
            f"{package['name']} {package['version']}: {flaw['id']}, mended in {flaw['fix_versions'] or 'none'}"
            for package in packages
            for flaw in package.get("vulns", ())
        ]
    reasons = list(dict.fromkeys(unanswered))
    if found:
        return Result("FINDINGS", "\n".join([*sorted(set(found)), *reasons]))
    return Result("NOT RUN", "; ".join(reasons)) if reasons else Result("clean")


def main() -> int:
    """Runs every check; returns 1 if one found something."""
    looks: dict[str, Callable[[], Result]] = {
        "code (bandit)": code,
        "template (checkov)": template,
        "image recipe (checkov)": recipe,
        "base image": base,
        "bill of materials (cyclonedx-py)": materials,
        "pins and hashes": pins,
        "known vulnerabilities (pip-audit)": vulnerabilities,
    }
    found = False
    for name, look in looks.items():
        result = look()
        found = found or result.verdict == "FINDINGS"
        print(f"{name:<34} {result.verdict}{': ' if result.verdict == 'NOT RUN' else ''}", end="")
        print(result.told if result.verdict == "NOT RUN" else f"\n{result.told}".rstrip(), flush=True)
    return int(found)


def _checkov(framework: str, file: str) -> Result:
    given = ["--framework", framework, "--file", file, "--skip-download", "--compact", "--output", "json"]
    done = _run(str(TOOLS / "checkov"), *given)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        return Result("FINDINGS", done.stdout + done.stderr)
    if done.returncode:
        failed = report.get("results", {}).get("failed_checks", [])
        return Result(
            "FINDINGS", "\n".join(f"{one['check_id']} {one['resource']}: {one['check_name']}" for one in failed)
        )
    if not report.get("summary", {}).get("passed"):
        return Result("FINDINGS", f"checkov looked at nothing in {file}.")
    return Result("clean")


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _clean_if_silent(*command: str) -> Result:
    done = _run(*command)
    return Result("FINDINGS", done.stdout + done.stderr) if done.returncode else Result("clean")


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1][-120:]


if __name__ == "__main__":
    sys.exit(main())
