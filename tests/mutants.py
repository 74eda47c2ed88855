"""Changes one operator of the core at a time, and lists the changes that none of its tests notices.

    make mutants [MUTANTS="calls/bisection rows/masks"]

A survivor is either equivalent to the original or asks for a test. It works on a copy below `build/`, so that a run
that is stopped leaves the source as it is. Needs `cosmic-ray`, which `make mutants` installs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
COPY = ROOT / "build" / "mutants"

#: Module of `transforms`, and the tests that must notice a change in it.
CORE = {
    "calls/backoff": ["calls/test_backoff.py"],
    "calls/batch_sender": ["calls/test_batch_sender.py"],
    "calls/bisection": ["calls/test_bisection.py"],
    "calls/limits/divided": ["calls/limits/test_divided.py"],
    "calls/limits/local": ["calls/limits/test_local.py"],
    "calls/limits/throttling": ["calls/limits/test_local.py"],
    "calls/limits/window": ["calls/limits/test_local.py"],
    "endpoints/clarifai/statuses": [
        "endpoints/clarifai/test_statuses.py",
        "endpoints/clarifai/test_session.py",
    ],
    "rows/masks": ["rows/test_masks.py"],
    "tables/commit/merge": ["tables/commit/test_commit.py", "tables/test_staging.py"],
    "tables/commit/plan": ["tables/commit/test_commit.py", "tables/commit/test_recovery.py"],
    "tables/commit/replace": ["tables/commit/test_commit.py"],
    "tables/completed": ["tables/test_completed.py"],
    "tables/input_index": ["tables/test_completed.py", "tables/commit/test_commit.py"],
}
#: One change of each kind is enough: `<` that becomes `<=`, not every operator that there is.
WANTED = (
    "ReplaceComparisonOperator_(Lt_LtE|LtE_Lt|Gt_GtE|GtE_Gt|Eq_NotEq|NotEq_Eq|Is_IsNot|IsNot_Is|In_NotIn|NotIn_In)",
    "ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul|FloorDiv_Mul|Mod_Mul)",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "ReplaceUnaryOperator_Delete_Not",
    "AddNot",
    "NumberReplacer",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
)
CONFIG = """\
[cosmic-ray]
module-path = "{module}"
timeout = {timeout}
excluded-modules = []
test-command = "{python} -m pytest -x -q -p no:cacheprovider -m 'not cluster' {tests}"

[cosmic-ray.distributor]
name = "local"

[cosmic-ray.filters.operators-filter]
exclude-operators = ["core/(?!({wanted})$).*"]
"""


class Survivor(NamedTuple):
    """A change that no test noticed."""

    place: str
    operator: str
    diff: str


def copied() -> dict[str, str]:
    """Copy the packages to where they may be changed; the environment in which the copy is imported."""
    shutil.rmtree(COPY, ignore_errors=True)
    for package in ("transforms", "pipelines"):
        shutil.copytree(
            ROOT / package, COPY / "bulkinfer" / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    # Two changes within a second may leave files of equal size and time, which compiled code is told apart by.
    return {**os.environ, "PYTHONPATH": str(COPY), "PYTHONDONTWRITEBYTECODE": "1"}


def survivors(name: str, env: dict[str, str], timeout: float) -> tuple[int, list[Survivor]]:
    """Try every change of a module; how many there were, and those that passed all tests."""
    session, config = COPY / "session.sqlite", COPY / "config.toml"
    session.unlink(missing_ok=True)
    tests = " ".join(str(ROOT / "tests" / "transforms" / test) for test in CORE[name])
    module = COPY / "bulkinfer" / "transforms" / f"{name}.py"
    config.write_text(
        CONFIG.format(
            module=module.relative_to(COPY),
            timeout=timeout,
            python=sys.executable,
            tests=tests,
            wanted="|".join(WANTED).replace("\\", "\\\\"),
        ),
        encoding="utf-8",
    )
    tools = Path(sys.executable).parent

    def run(tool: str, *arguments: object) -> str:
        done = subprocess.run(
            [tools / tool, *map(str, arguments)],
            cwd=COPY,
            env=env,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", *tests.split()],
        cwd=COPY, env=env, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    run("cosmic-ray", "init", config, session)
    run("cr-filter-operators", session, config)
    run("cosmic-ray", "exec", config, session)
    tried, found = 0, []
    for line in run("cosmic-ray", "dump", session).splitlines():
        work, result = json.loads(line)
        if result is None or result["worker_outcome"] == "skipped":
            continue
        tried += 1
        if result["test_outcome"] == "survived":
            (mutation,) = work["mutations"]
            place = f"transforms/{name}.py:{mutation['start_pos'][0]}"
            changed = [
                one
                for one in (result["diff"] or "").splitlines()
                if one[:1] in "+-" and one[:3] not in ("+++", "---")
            ]
            found.append(
                Survivor(
                    place,
                    mutation["operator_name"].removeprefix("core/"),
                    " -> ".join(x[1:].strip() for x in changed),
                )
            )
    return tried, found


def main() -> int:
    """Print every survivor; 1 when there are some."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", default=sorted(CORE), choices=sorted(CORE), metavar="MODULE")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for the tests of one change")
    options = parser.parse_args()
    env, alive = copied(), 0
    for name in options.modules:
        tried, found = survivors(name, env, options.timeout)
        alive += len(found)
        for one in found:
            sys.stdout.write(f"{one.place} {one.operator}: {one.diff}\n")
        sys.stdout.write(f"{name}: {tried} changes, {len(found)} alive\n")
        sys.stdout.flush()
    return alive > 0


if __name__ == "__main__":
    sys.exit(main())
