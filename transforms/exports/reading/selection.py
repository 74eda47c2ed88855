"""Reads the rows of an output that an export is about: all of them, or those that a condition in SQL picks.

Nothing here grows with the inputs but some bytes a row: what is read twice is read twice from the tables.
"""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...errors import ConfigError, StoreError
from ...runs.parts import TABLES
from ...storage.references import shown
from ...storage.store import Store
from ...tables.input_index import IdLookup, Pairs, hash_column
from ..categories import UNNAMED
from .items import Facts, Picture, Region
from .joined import Shapes
from .names import Names, path_of
from .table import Table, open_table

__all__ = ["Selection"]

#: Of one answer: two runs may have left an answer each to one input.
_KEY = ("input_id", "output_index", "run_id")
_ROWS = 4096  #: of DuckDB's at a time
_PICTURE = (*_KEY, "uri", "frame_index", "frame_time_ms", "media_type", "width", "height", "regions")
_SURVEY = (*_PICTURE, "label", "model_url", "model_version")
_REGION = (
    *_KEY,
    "region_index",
    "track_id",
    "label",
    "score",
    "bbox",
    "area",
    "segmentation",
    "polygon",
    "keypoints",
)


class Selection:
    """The rows of an output, or those for which a condition holds.

    Args:
        store: of the output.
        where: a condition in DuckDB's SQL on the columns of `predictions`; `masks` and `errors` can be named in it.

    Raises:
        StoreError: there are no tables.
        ConfigError: the condition is no SQL, or names what is not there.
        ImportError: a condition is given and DuckDB is not installed.
    """

    def __init__(self, store: Store, where: str | None = None) -> None:
        self._store = store
        self.scratch: Path | None = None  #: a folder for files that are needed meanwhile
        self._tables: dict[str, Table | None] = {name: open_table(store, name) for name in TABLES}
        self._predictions = self._tables["predictions"]
        if self._predictions is None:
            raise StoreError(
                f"{shown(store.url())} holds no table `predictions`; name the directory that output.uri names"
            )
        self._picked = None if where is None else IdLookup(self._find(where))
        self._names = Names()
        self._pairs: list[Pairs] = []

    @property
    def schema(self) -> Any:
        """Of `predictions`, with the keys of its partitions."""
        assert self._predictions is not None
        return self._predictions.dataset.schema

    def batches(self, table: str, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """The chosen rows of a table as record batches, in the order of its files; some columns or all."""
        found = self._tables[table]
        if found is None:
            return
        for batch in found.batches(None if columns is None else (*columns, *_KEY)):
            kept = self._kept(table, batch)
            if kept.num_rows:
                yield kept

    @functools.cached_property
    def facts(self) -> Facts:
        """What the rows hold; reads the tables but for their shapes."""
        facts = Facts()
        labels: Counter[str | None] = Counter()
        for batch in self.batches("predictions", _SURVEY):
            self._pairs.append(_pairs(batch))
            self._survey(batch, facts)
            labels.update(_counted(pc.struct_field(pc.list_flatten(batch.column("regions")), "label")))
        self._names.close()
        self._lookup = IdLookup(np.concatenate(self._pairs) if self._pairs else np.empty((0, 2), np.uint64))
        self._pairs = []
        for batch in self.batches("masks", (*_KEY, "label", "area", "keypoints")):
            masks = batch.num_rows - batch.column("area").null_count
            facts.masks += masks
            known = pc.list_value_length(batch.column("keypoints"))
            facts.keypoints = max(facts.keypoints, (pc.max(known).as_py() or 0) // 3)
            # Regions stand in `predictions` too; a label that only a mask has still needs a number.
            for label in pc.unique(batch.column("label")).to_pylist():
                labels.setdefault(label, 0)
        for label, count in labels.items():
            facts.regions[label or UNNAMED] += count
        return facts

    def items(
        self, columns: Sequence[str] = (), *, regions: bool = True
    ) -> Iterator[tuple[Picture, list[Region], dict[str, Any]]]:
        """Each chosen row as a picture, with its regions by their positions, and with these columns of its own.

        Args:
            columns: of `predictions`, further ones.
            regions: read them; else the lists are empty.
        """
        _ = self.facts
        number = 0
        asked = [name for name in _PICTURE if regions or name != "regions"]
        with contextlib.ExitStack() as stack:
            shapes = stack.enter_context(self._shapes()) if regions else None
            for batch in self.batches("predictions", (*asked, *columns)):
                for row in batch.to_pylist():
                    found = _regions(row["regions"] or (), shapes.of(number)) if shapes else []
                    number += 1
                    yield self._picture(number, row), found, row

    def pictures(self) -> Iterator[Picture]:
        """Each chosen row as a picture."""
        return (picture for picture, _, _ in self.items(regions=False))

    def _shapes(self) -> Shapes:
        return Shapes(
            lambda: self.batches("masks", _KEY),
            lambda: self.batches("masks", _REGION),
            lambda batch: self._lookup.find(_pairs(batch)),
            self.scratch,
        )

    def _picture(self, number: int, row: dict[str, Any]) -> Picture:
        name = self._names.of(row["input_id"], row["uri"], row["frame_index"], row["output_index"])
        return Picture(
            number,
            row["input_id"],
            name,
            row["uri"],
            row["media_type"],
            row["width"] or None,
            row["height"] or None,
            row["frame_index"],
            row["frame_time_ms"],
        )

    def _survey(self, batch: Any, facts: Facts) -> None:
        columns = {
            name: batch.column(name).to_pylist()
            for name in ("input_id", "uri", "frame_index", "output_index", "media_type", "width", "height")
        }
        keys = ("input_id", "uri", "frame_index", "output_index")
        self._names.add(zip(*(columns[name] for name in keys), strict=True))
        facts.rows += batch.num_rows
        facts.runs.update(pc.unique(batch.column("run_id")).to_pylist())
        models = (pc.fill_null(batch.column(name).cast(pa.string()), "") for name in _SURVEY[-2:])
        pairs = set(zip(*(column.to_pylist() for column in models), strict=True))
        facts.versions.update((url or None, version or None) for url, version in pairs)
        facts.media.update(media or "unknown" for media in columns["media_type"])
        facts.labels.update(filter(None, pc.unique(batch.column("label")).to_pylist()))
        facts.frames += batch.num_rows - batch.column("frame_index").null_count
        counts = pc.fill_null(pc.list_value_length(batch.column("regions")), 0).to_pylist()
        for at, (media, width, height) in enumerate(
            zip(columns["media_type"], columns["width"], columns["height"], strict=True)
        ):
            if width and height:
                facts.sized += 1
            elif not facts.unsized and (counts[at] or media in ("image", "video")):
                facts.unsized = path_of(columns["uri"][at], columns["input_id"][at])

    def _kept(self, table: str, batch: Any) -> Any:
        """The rows of a batch that are chosen."""
        if self._picked is None or table == "errors":
            return batch
        return batch.filter(pa.array(self._picked.find(_pairs(batch)) >= 0))

    def _find(self, where: str) -> Pairs:
        import duckdb  # noqa: PLC0415  (an extra, which most exports do without)

        connection = duckdb.connect()
        for name, table in self._tables.items():
            if table is not None:
                connection.register(name, table.dataset)
        found = [np.empty((0, 2), np.uint64)]
        try:
            rows = connection.execute(f"SELECT {', '.join(_KEY)} FROM predictions WHERE ({where})")
            while some := rows.fetchmany(_ROWS):
                found.append(
                    _pairs(pa.RecordBatch.from_arrays([*map(pa.array, zip(*some, strict=True))], _KEY))
                )
        except duckdb.Error as error:
            said = " ".join(str(error).split())[:300]
            raise ConfigError(
                f"--where {where}: {said}; write a condition on the columns of predictions"
            ) from None
        return np.concatenate(found)


def _pairs(batch: Any) -> Pairs:
    """The keys of a batch's rows, hashed; shape (n, 2)."""
    pairs = hash_column(batch.column("input_id"))
    outputs = batch.column("output_index").to_numpy(zero_copy_only=False).astype(np.uint64) + np.uint64(1)
    mixed: Pairs = pairs ^ hash_column(batch.column("run_id"))[:, ::-1]
    mixed[:, 1] ^= outputs * np.uint64(0x9E3779B97F4A7C15)
    return mixed


def _counted(column: Any) -> dict[str | None, int]:
    return {one["values"]: one["counts"] for one in pc.value_counts(column).to_pylist()}


def _regions(light: Sequence[dict[str, Any]], shaped: Sequence[dict[str, Any]]) -> list[Region]:
    """The regions of a row: those of `masks`, and those that have a box at most."""
    found = {
        row["region_index"]: Region(
            row["region_index"],
            row["label"],
            row["score"],
            row["bbox"],
            row["track_id"],
            row["area"],
            row["segmentation"],
            row["polygon"],
            row["keypoints"],
        )
        for row in shaped
    }
    for one in light:
        at = one["region_index"]
        if at not in found:
            found[at] = Region(at, one["label"], one["score"], one["bbox"], one["track_id"])
    return [found[at] for at in sorted(found)]
