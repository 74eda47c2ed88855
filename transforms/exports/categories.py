"""Numbers labels: from 1, the same in every export of an output, and as a person's own list has them.

The numbers stand in `_categories.json` beside the tables. The list only grows, so that what was trained on an older
export still fits: other tools renumber when a label comes or goes (voxel51/fiftyone#4162).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import ConfigError, StoreError
from ..storage.store import Store

__all__ = ["UNNAMED", "Categories"]

FILE = "_categories.json"
#: Of regions to which the model gave no label.
UNNAMED = "object"


class Categories:
    """Ids of labels.

    Args:
        ids: by label; each from 1 and once.
        fixed: a label that is not there is refused, as a person has named them all.
    """

    def __init__(self, ids: Mapping[str, int], *, fixed: bool = False) -> None:
        self.ids, self._fixed = dict(ids), fixed

    @classmethod
    def of_file(cls, path: Path) -> Categories:
        """Read a person's own: JSON, a list of names, of {"id", "name"} or a mapping of names to ids; or a name a line.

        Raises:
            ConfigError: the file cannot be read, or ids or names come twice.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--categories {path}: cannot be read: {error}") from None
        if text.lstrip()[:1] not in ("[", "{"):
            return cls(
                _numbered(path, [line.strip() for line in text.splitlines() if line.strip()]), fixed=True
            )
        try:
            listed = json.loads(text)
        except ValueError as error:
            raise ConfigError(f"--categories {path}: no JSON: {error}") from None
        if isinstance(listed, dict):
            listed = [{"id": number, "name": name} for name, number in listed.items()]
        return cls(_numbered(path, listed), fixed=True)

    @classmethod
    def of_output(cls, store: Store) -> Categories:
        """Those that earlier exports have numbered.

        Raises:
            StoreError: the list cannot be read, or is none.
        """
        if not store.exists(FILE):
            return cls({})
        try:
            listed = json.loads(store.read(FILE))["categories"]
            return cls({one["name"]: one["id"] for one in listed})
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{store.url(FILE)} is no list of categories ({type(error).__name__}); remove it, and ids begin anew"
            ) from None

    def learn(self, labels: Iterable[str | None]) -> bool:
        """Number the labels that have no id yet, in their alphabetic order; True when there were any.

        Raises:
            ConfigError: a person's own list lacks one.
        """
        new = sorted({label or UNNAMED for label in labels} - set(self.ids))
        if new and self._fixed:
            raise ConfigError(
                f"--categories: the list lacks {', '.join(map(repr, new[:5]))}; add what it lacks, or "
                "leave such regions out by --where"
            )
        first = max(self.ids.values(), default=0) + 1
        self.ids.update({label: first + number for number, label in enumerate(new)})
        return bool(new)

    def keep(self, store: Store) -> None:
        """Write the list beside the tables.

        Raises:
            StoreError: the store takes none.
        """
        store.write(FILE, json.dumps({"format": 1, "categories": self.listed}, indent=1).encode())

    def id_of(self, label: str | None) -> int:
        """The id of a region's label."""
        return self.ids[label or UNNAMED]

    @property
    def listed(self) -> list[dict[str, object]]:
        """All of them as COCO lists them, by their ids."""
        by_id = sorted(self.ids.items(), key=lambda pair: pair[1])
        return [{"id": number, "name": name, "supercategory": ""} for name, number in by_id]


def _numbered(path: Path, listed: list[object]) -> dict[str, int]:
    ids: dict[str, int] = {}
    for position, one in enumerate(listed, 1):
        name, number = (one.get("name"), one.get("id")) if isinstance(one, dict) else (one, position)
        if not isinstance(name, str) or not isinstance(number, int) or number < 1:
            raise ConfigError(
                f"--categories {path}: entry {position} is no name, or its id is no number from 1; write "
                '[{"id": 1, "name": "cat"}], or a name a line'
            )
        if name in ids or number in ids.values():
            raise ConfigError(f"--categories {path}: {name!r} or its id {number} comes twice")
        ids[name] = number
    return ids
