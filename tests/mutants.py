"""Changes one operator of the core at a time, and lists the changes that none of its tests notices.

    make mutants [MUTANTS="calls/bisection rows/masks"]

A survivor is either equivalent to the original or asks for a test. It works on a copy below `build/`, so that a run
that is stopped leaves the source as it is. Needs `cosmic-ray`, which `make mutants` installs.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).parents[1]
COPY = ROOT / "build" / "mutants"

#: Module of `transforms`, and the tests that must notice a change in it.
CORE = {
    "calls/backoff": ["calls/test_backoff.py"],
    "calls/batch_sender": ["calls/test_batch_sender.py"],
    "calls/bisection": ["calls/test_bisection.py"],
    "calls/limits/divided": ["calls/limits/test_divided.py"],
    "calls/limits/local": ["calls/limits/test_places.py", "calls/limits/test_local.py"],
    "calls/limits/throttling": ["calls/limits/test_places.py", "calls/limits/test_local.py"],
    "calls/limits/window": ["calls/limits/test_window.py", "calls/limits/test_local.py"],
    "endpoints/clarifai/statuses": [
        "endpoints/clarifai/test_statuses.py",
        "endpoints/clarifai/test_text_faults.py",
        "endpoints/clarifai/test_session.py",
    ],
    "rows/masks": ["rows/test_masks.py"],
    "tables/commit/merge": ["tables/commit/test_commit.py", "tables/test_staging.py"],
    "tables/commit/plan": ["tables/commit/test_commit.py", "tables/commit/test_recovery.py"],
    "tables/commit/replace": ["tables/commit/test_commit.py"],
    "tables/completed": [
        "tables/test_completed.py",
        "tables/test_difference.py",
        "tables/test_lost.py",
        "tables/test_revalidation.py",
    ],
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
#: What the core and its tests import of others.
LIBRARIES = (
    "apache_beam",
    "clarifai_grpc.grpc.api.service_pb2_grpc",
    "fsspec",
    "hypothesis",
    "pyarrow.dataset",
)


class Survivor(NamedTuple):
    """A change that no test noticed."""

    place: str
    operator: str
    diff: str


def copied() -> None:
    """Copy the packages to where they may be changed, and let every process import the copy."""
    shutil.rmtree(COPY, ignore_errors=True)
    for package in ("transforms", "pipelines"):
        shutil.copytree(
            ROOT / package, COPY / "bulkinfer" / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    # Two changes within a second may leave files of equal size and time, which compiled code is told apart by.
    os.environ |= {"PYTHONPATH": str(COPY), "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(COPY))
    # What takes seconds to import and never changes; each change is tried in a fork of this process.
    for library in LIBRARIES:
        importlib.import_module(library)


def changes(source: str) -> Iterator[tuple[str, int, str]]:
    """Every wanted change of a module: its operator, the line, and the changed source."""
    wanted = re.compile(f"core/({'|'.join(WANTED)})$")
    tree = get_ast(source)
    for name in filter(wanted.match, sorted(operator_names())):
        operator = get_operator(name)()
        places = [place for node in ast_nodes(tree) for place in operator.mutation_positions(node)]
        for occurrence, place in enumerate(places):
            changed = mutate_code(source, operator, occurrence)
            line, column = place[0]
            if source.splitlines()[line - 1][column : column + 2] == "*,":
                continue  # no product: it begins the parameters that are named
            if changed is not None and changed != source:
                yield name, line, changed


def passes(tests: Sequence[str], timeout: float) -> bool:
    """Whether these tests pass, in a fork; tests that take too long have noticed something."""
    child = os.fork()
    if child == 0:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        os._exit(
            pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-m", "not cluster and not slow", *tests])
        )
    ends = time.monotonic() + timeout
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def survivors(name: str) -> tuple[int, list[Survivor]]:
    """Try every change of a module; how many there were, and those that passed all tests."""
    module = COPY / "bulkinfer" / "transforms" / f"{name}.py"
    source = module.read_text(encoding="utf-8")
    tests = [str(ROOT / "tests" / "transforms" / test) for test in CORE[name]]
    began = time.monotonic()
    if not passes(tests, 600):
        raise SystemExit(f"the tests of {name} fail without any change")
    timeout = 20 + 5 * (time.monotonic() - began)
    tried, found = 0, []
    for operator, line, changed in changes(source):
        module.write_text(changed, encoding="utf-8")
        tried += 1
        if passes(tests, timeout):
            differs = difflib.unified_diff(source.splitlines(), changed.splitlines(), n=0, lineterm="")
            lines = [one for one in differs if one[:1] in "+-" and one[:3] not in ("+++", "---")]
            diff = " -> ".join(one[1:].strip() for one in lines)
            found.append(Survivor(f"transforms/{name}.py:{line}", operator.removeprefix("core/"), diff))
    module.write_text(source, encoding="utf-8")
    return tried, found


def main() -> int:
    """Print every survivor; 1 when there are some."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", default=sorted(CORE), choices=sorted(CORE), metavar="MODULE")
    options = parser.parse_args()
    alive = 0
    copied()
    for name in options.modules:
        tried, found = survivors(name)
        alive += len(found)
        for one in found:
            sys.stdout.write(f"{one.place} {one.operator}: {one.diff}\n")
        sys.stdout.write(f"{name}: {tried} changes, {len(found)} alive\n")
        sys.stdout.flush()
    return alive > 0


if __name__ == "__main__":
    sys.exit(main())
