"""The laws of the house, read off the code's own imports; CONTRIBUTING.md says why each of them stands."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support.paths import ROOT, TESTS

#: Rooms from the ground up: a module imports from rooms of lower floors, and from its own.
FLOORS = {
    "transforms": (
        ("errors", "records", "metrics", "windows"),
        ("storage", "job", "kept"),
        ("runs", "rows"),
        ("content",),
        ("sources",),
        ("calls",),
        ("endpoints",),
        ("tables",),
        ("exports",),
        ("worker",),
        ("inference",),
        ("preparation",),
        ("__init__",),
    ),
    "pipelines": (
        ("embedded", "runners"),
        ("terminal",),
        ("report",),
        ("compare",),
        ("jobs",),
        ("commands",),
        ("cli", "worker_pool", "__init__"),
        ("__main__",),
    ),
}
#: Who else may import Beam: what starts a pipeline, and what runs it.
BEAM_STARTERS = {"pipelines/jobs/pipeline.py"}
BEAM_RUNNERS = "pipelines/runners/"
#: A vendor's package, and where it may be imported.
VENDORS = {
    "clarifai_grpc": ("transforms/endpoints/clarifai/", "pipelines/embedded/"),
    "clarifai": ("transforms/endpoints/clarifai/", "pipelines/embedded/"),
    "grpc": ("transforms/endpoints/", "pipelines/embedded/", "pipelines/runners/"),
    "tritonclient": ("transforms/endpoints/",),
    "httpx": ("transforms/endpoints/",),
    "openai": ("transforms/endpoints/",),
}
EMBEDDED_STARTERS = {"pipelines/jobs/preflight.py", "pipelines/commands/serve.py"}
MOST_FILES, MOST_LINES = 12, 330


class Import(NamedTuple):
    """One import: where it stands, and the module, a dotted name from the repository or a package's."""

    file: str
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def imports_of(file: str, text: str) -> Iterator[Import]:
    """Every import of a file, those inside functions and under TYPE_CHECKING too."""
    package = file.removesuffix(".py").split("/")[:-1]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (Import(file, node.lineno, _ours(alias.name)) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = _ours(f"{module}.{alias.name}")
                known = (ROOT / (whole.replace(".", "/") + ".py")).exists()
                yield Import(file, node.lineno, whole if known else _ours(module))


def _ours(module: str) -> str:
    return module.removeprefix("bulkinfer.")


FILES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for package in FLOORS
    for path in sorted((ROOT / package).rglob("*.py"))
}
IMPORTS = [one for file, text in FILES.items() for one in imports_of(file, text)]


def room_of(module: str) -> tuple[str, str]:
    """The package and its room: ("transforms", "calls") of transforms.calls.limits.local."""
    package, _, rest = module.partition(".")
    return package, rest.partition(".")[0] or "__init__"


def module_of(file: str) -> str:
    return file.removesuffix(".py").replace("/", ".")


def floor_of(module: str) -> int:
    package, room = room_of(module)
    floors = [number for number, rooms in enumerate(FLOORS[package]) if room in rooms]
    assert floors, f"{module} stands on no floor; name its room in FLOORS of tests/test_laws.py"
    return floors[0]


def against_the_arrows(imports: Iterable[Import]) -> list[str]:
    """Imports that lead up, or across to another room of the same floor."""
    found = []
    for one in imports:
        mine, theirs = module_of(one.file), one.module
        if theirs.partition(".")[0] != mine.partition(".")[0] or theirs.partition(".")[0] not in FLOORS:
            continue
        ground = floor_of(mine) == floor_of(theirs) == 0 and mine.startswith("transforms")
        if room_of(mine) != room_of(theirs) and floor_of(theirs) >= floor_of(mine) and not ground:
            found.append(str(one))
    return found


def circles(imports: Iterable[Import]) -> list[str]:
    """Circles of modules, each as the line that closes it."""
    arrows: dict[str, list[Import]] = {}
    for one in imports:
        if one.module.partition(".")[0] in FLOORS:
            arrows.setdefault(module_of(one.file), []).append(one)
    found: list[str] = []
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        for one in arrows.get(module, []):
            if one.module in path:
                found.append(f"{one}: a circle {' -> '.join([*path[path.index(one.module) :], one.module])}")
            elif one.module not in done:
                visit(one.module, (*path, one.module))
        done.add(module)

    for module in arrows:
        if module not in done:
            visit(module, (module,))
    return found


def transforms_in(file: str) -> list[str]:
    """The PTransforms that a file defines."""
    classes = [node for node in ast.walk(ast.parse(FILES[file])) if isinstance(node, ast.ClassDef)]
    return [one.name for one in classes if any("PTransform" in ast.unparse(base) for base in one.bases)]


def test_arrows_run_one_way() -> None:
    assert not against_the_arrows(IMPORTS)


def test_no_module_is_in_a_circle() -> None:
    assert not circles(IMPORTS)


def test_transforms_never_import_pipelines() -> None:
    assert not [
        str(one) for one in IMPORTS if one.file.startswith("transforms/") and "pipelines" in one.module
    ]


def test_beam_is_imported_by_transforms_of_its_own_and_by_what_runs_them_alone() -> None:
    holders = {one.file for one in IMPORTS if one.module.partition(".")[0] == "apache_beam"}
    holders = {file for file in holders if file not in BEAM_STARTERS and not file.startswith(BEAM_RUNNERS)}
    assert not [
        f"{file} imports Beam and defines no PTransform" for file in holders if not transforms_in(file)
    ]


def test_a_room_has_one_module_of_transforms_named_after_one_of_them() -> None:
    rooms: dict[str, list[str]] = {}
    for file in FILES:
        if names := transforms_in(file):
            rooms.setdefault(str(Path(file).parent), []).append(file)
            snakes = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name in names}
            assert Path(file).stem in snakes, f"{file} defines {', '.join(names)}"
    assert not {room: files for room, files in rooms.items() if len(files) > 1}


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_vendors_package_stays_in_its_endpoints_room(vendor: str) -> None:
    users = [one for one in IMPORTS if one.module.partition(".")[0] == vendor]
    assert not [str(one) for one in users if not one.file.startswith(VENDORS[vendor])]


@pytest.mark.parametrize("room", ["records.py", "calls/", "rows/", "tables/", "runs/"])
def test_what_is_behind_the_door_names_no_vendor(room: str) -> None:
    named = [
        f"{file}:{number}"
        for file, text in FILES.items()
        if file.startswith(f"transforms/{room}")
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(r"clarifai|openai", line, re.IGNORECASE)
    ]
    assert not named


def test_the_embedded_server_is_imported_by_who_starts_it_alone() -> None:
    users = [one for one in IMPORTS if one.module.startswith("pipelines.embedded")]
    outside = [one for one in users if not one.file.startswith("pipelines/embedded/")]
    assert not [str(one) for one in outside if one.file not in EMBEDDED_STARTERS]


def test_rooms_and_files_stay_small() -> None:
    rooms: dict[str, int] = {}
    for file in FILES:
        rooms[str(Path(file).parent)] = rooms.get(str(Path(file).parent), 0) + (
            not file.endswith("__init__.py")
        )
    assert not {room: count for room, count in rooms.items() if count > MOST_FILES}
    assert not {file: lines for file, text in FILES.items() if (lines := text.count("\n")) > MOST_LINES}


def test_every_room_says_what_it_is() -> None:
    rooms = {Path(file).parent for file in FILES}
    said = {room: FILES.get(f"{room}/__init__.py", "") for room in rooms}
    assert not [str(room) for room, text in said.items() if not ast.get_docstring(ast.parse(text))]


def test_tests_mirror_the_rooms() -> None:
    for package in FLOORS:
        folders = {path.parent.relative_to(TESTS) for path in (TESTS / package).rglob("test_*.py")}
        assert not [str(folder) for folder in folders if not (ROOT / folder / "__init__.py").exists()]


def test_a_breach_names_its_line() -> None:
    """The readers of imports find what they are for: else the laws above could not fail."""
    up = list(
        imports_of("transforms/storage/store.py", "import os\n\nfrom ..tables.files import write_ipc\n")
    )
    assert against_the_arrows(up) == ["transforms/storage/store.py:3 imports transforms.tables.files"]
    across = list(imports_of("transforms/runs/parts.py", "from ..rows.schemas import errors_schema\n"))
    assert against_the_arrows(across) == ["transforms/runs/parts.py:1 imports transforms.rows.schemas"]
    ours = list(
        imports_of(
            "transforms/calls/engine.py", "def f():\n    from bulkinfer.transforms import preparation\n"
        )
    )
    assert against_the_arrows(ours) == ["transforms/calls/engine.py:2 imports transforms.preparation"]
    there = list(imports_of("transforms/calls/engine.py", "from .backoff import Backoff\n"))
    back = list(imports_of("transforms/calls/backoff.py", "from . import engine\n"))
    assert circles([*there, *back])[0].startswith(
        "transforms/calls/backoff.py:1 imports transforms.calls.engine"
    )
