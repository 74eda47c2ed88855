"""Reads the rows of an output that an export is about: all of them, or those that a condition in SQL picks."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pyarrow.dataset as ds
from pyarrow.fs import FSSpecHandler, PyFileSystem

from ..errors import ConfigError, StoreError
from ..storage.references import shown
from ..storage.store import Store

__all__ = ["KEY", "Key", "Picture", "Region", "Selection"]

Key = tuple[str, int | None, int]  #: an input, a frame of it and an output: a row of `predictions`

KEY = ("input_id", "frame_index", "output_index")
_ROWS = 4096
_PICTURE = (*KEY, "uri", "media_type", "width", "height", "label", "score", "num_regions")
_REGION = (*KEY, "region_index", "track_id", "label", "score", "bbox", "area", "segmentation", "keypoints")


class Picture(NamedTuple):
    """A row of `predictions` that may have regions.

    Attributes:
        number: from 1, in the order of the rows.
        key: of the row.
        name: the file's path below the folder that all have in common; of a frame with its number.
        uri: of the file; None where the source holds its content itself.
        width: in pixels; None when unknown.
        height: in pixels; None when unknown.
        label: of the whole picture.
        score: of that label.
    """

    number: int
    key: Key
    name: str
    uri: str | None
    width: int | None
    height: int | None
    label: str | None
    score: float | None


class Region(NamedTuple):
    """A region of a picture.

    Attributes:
        picture: it is part of.
        position: in its picture, from 0.
        label: of its best concept; None where the model gave none.
        score: of that concept, or the region's own.
        bbox: x, y, width and height in pixels; None where it has no box.
        area: in pixels, of its mask.
        rle: the mask as COCO's compressed run lengths; None without one.
        keypoints: x, y and visibility of each, in turn.
        track_id: of the object that it shows, in a video.
    """

    picture: Picture
    position: int
    label: str | None
    score: float | None
    bbox: list[float] | None
    area: int | None = None
    rle: dict[str, Any] | None = None
    keypoints: list[float] | None = None
    track_id: str | None = None


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
        self._tables = {name: self._dataset(name) for name in ("predictions", "masks", "errors")}
        if self._tables["predictions"] is None:
            raise StoreError(
                f"{shown(store.url())} holds no table `predictions`; name the directory that output.uri names"
            )
        self._keys = None if where is None else self._picked(where)
        self._pictures: dict[Key, Picture] | None = None

    @property
    def predictions(self) -> Any:
        """The table as a PyArrow dataset."""
        return self._tables["predictions"]

    def rows(self) -> Iterator[list[dict[str, Any]]]:
        """All columns of the chosen rows of `predictions`, some rows at a time."""
        yield from self._read("predictions", None)

    def pictures(self) -> dict[Key, Picture]:
        """The chosen rows as pictures, by their keys and in their order."""
        if self._pictures is None:
            rows = [row for some in self._read("predictions", _PICTURE) for row in some]
            named = [_path(row["uri"] or row["input_id"]) for row in rows]
            common = _common_folder(named)
            self._pictures = {
                _key(row): Picture(
                    number,
                    _key(row),
                    _name(path[len(common) :], row["frame_index"]),
                    row["uri"],
                    row["width"],
                    row["height"],
                    row["label"],
                    row["score"],
                )
                for number, (row, path) in enumerate(zip(rows, named, strict=True), 1)
            }
        return self._pictures

    def regions(self) -> Iterator[Region]:
        """The regions of the chosen rows: those with a mask or another shape, then those with a box alone."""
        pictures, shaped = self.pictures(), set()
        for some in self._read("masks", _REGION):
            for row in some:
                picture = pictures.get(_key(row))
                if picture is None:
                    continue
                shaped.add((picture.number, row["region_index"]))
                yield Region(
                    picture,
                    row["region_index"],
                    row["label"],
                    row["score"],
                    row["bbox"],
                    row["area"],
                    row["segmentation"],
                    row["keypoints"],
                    row["track_id"],
                )
        for some in self._read("predictions", (*KEY, "regions")):
            for row in some:
                picture = pictures[_key(row)]
                for one in row["regions"] or ():
                    if (picture.number, one["region_index"]) not in shaped:
                        yield Region(
                            picture,
                            one["region_index"],
                            one["label"],
                            one["score"],
                            one["bbox"],
                            track_id=one["track_id"],
                        )

    def labels(self) -> list[str | None]:
        """The labels of the chosen regions, each once."""
        return sorted({region.label for region in self.regions()}, key=lambda label: label or "")

    def versions(self) -> list[tuple[str | None, str | None]]:
        """Models and their versions among the chosen rows."""
        found = {
            (row["model_url"], row["model_version"])
            for some in self._read("predictions", (*KEY, "model_url", "model_version"))
            for row in some
        }
        return sorted(found, key=lambda pair: (pair[0] or "", pair[1] or ""))

    def runs(self) -> list[str]:
        """Ids of the runs that wrote the chosen rows."""
        return sorted({row["run_id"] for some in self._read("predictions", (*KEY, "run_id")) for row in some})

    def _read(self, table: str, columns: Sequence[str] | None) -> Iterator[list[dict[str, Any]]]:
        dataset = self._tables[table]
        if dataset is None:
            return
        names = dataset.schema.names
        asked = list(columns) if columns is not None else names
        for batch in dataset.to_batches(columns=[name for name in asked if name in names], batch_size=_ROWS):
            rows = batch.to_pylist()
            for name in asked:
                if name not in names:  # files of an older version
                    for row in rows:
                        row[name] = None
            yield [row for row in rows if self._keys is None or _key(row) in self._keys]

    def _dataset(self, table: str) -> Any:
        """The files of a table in the order of their names; None without any."""
        paths = sorted(entry.path for entry in self._store.find(table) if entry.path.endswith(".parquet"))
        if not paths:
            return None
        filesystem = PyFileSystem(FSSpecHandler(self._store.filesystem))
        return ds.dataset(
            [self._store.full_path(path) for path in paths],
            filesystem=filesystem,
            format="parquet",
            partitioning="hive",
            partition_base_dir=self._store.full_path(table),
        )

    def _picked(self, where: str) -> set[Key]:
        import duckdb  # noqa: PLC0415  (an extra, which most exports do without)

        connection = duckdb.connect()
        for name, dataset in self._tables.items():
            if dataset is not None:
                connection.register(name, dataset)
        try:
            found = connection.execute(f"SELECT {', '.join(KEY)} FROM predictions WHERE ({where})").fetchall()
        except duckdb.Error as error:
            said = " ".join(str(error).split())[:300]
            raise ConfigError(
                f"--where {where}: {said}; write a condition on the columns of predictions"
            ) from None
        return set(found)


def _key(row: dict[str, Any]) -> Key:
    return row["input_id"], row["frame_index"], row["output_index"]


def _path(uri: str) -> str:
    """The path of a reference, without its scheme and host."""
    inner = uri.split("::", maxsplit=1)[0]
    parts = urlsplit(inner)
    return (parts.path if parts.scheme and parts.netloc else inner).lstrip("/")


def _common_folder(paths: Sequence[str]) -> str:
    folders = {posixpath.dirname(path) for path in paths}
    if not folders or "" in folders:
        return ""
    common = posixpath.commonpath(folders)
    return f"{common}/" if common else ""


def _name(path: str, frame: int | None) -> str:
    return path if frame is None else f"{path}_frame{frame:06d}"
