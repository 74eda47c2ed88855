"""Makes parts of the segments that a killed worker left, before its run is committed. See docs/design/resume.md."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from ...runs.parts import SEGMENT, OutputSpec, read_manifest, run_directory
from ...runs.record import RunRecord
from ...storage.store import Store
from ..input_index import IdLookup
from ..staging.part import write_part
from ..staging.segment import Piece, SegmentError, read_segment

__all__ = ["adopt_segments", "loose_segments"]

logger = logging.getLogger(__name__)

_PART_BYTES = 64_000_000  #: Arrow bytes after which an adopted part is written


def adopt_segments(store: Store, record: RunRecord, invalid: dict[str, str]) -> None:
    """Make parts of the rows that are in segments and in no part; segments that are damaged go into `invalid`.

    Killed and called again, it makes parts of the others; a worker that still lives may make parts of the same ones, of
    which the commit shows each input once.

    Raises:
        StoreError: the store fails.
        StoppedError: another process has committed the run.
    """
    spec = OutputSpec(
        store.uri,
        record.run_id,
        store.storage,
        partition_by=record.partition_by,
        file_bytes=record.file_bytes,
        keep_schema=record.keep_schema,
        model_url=record.model_url,
        model_version=record.model_version,
        fingerprint=record.fingerprint,
    )
    group: list[Piece] = []
    inputs = 0
    for piece in loose_segments(store, record.run_id, invalid):
        if group and (_is_full(group) or _meet(group, piece)):
            write_part(store, spec, group)
            group = []
        group.append(piece)
        inputs += len(piece.index)
    if group:
        write_part(store, spec, group)
    if inputs:
        logger.info("took in what was not in a part yet: run=%s inputs=%d", record.run_id, inputs)


def loose_segments(store: Store, run_id: str, invalid: dict[str, str]) -> Iterator[Piece]:
    """Read the segments of a run that no part holds; those that are damaged go into `invalid` by their id."""
    directory = run_directory(run_id)
    paths = [entry.path for entry in store.files(f"{directory}/staging") if entry.name.endswith(SEGMENT)]
    if not paths:
        return
    # Parts are listed after segments, and a segment is removed after its part was written: none falls in between.
    held = {
        segment
        for entry in store.files(f"{directory}/parts")
        for segment in read_manifest(store.read(entry.path), store.url(entry.path)).segments
    }
    for path in paths:
        segment = path.rpartition("/")[2].removesuffix(SEGMENT)
        if segment in held:
            continue
        try:
            yield read_segment(store, path)
        except FileNotFoundError:  # a worker that lives has made a part of it since
            continue
        except SegmentError as error:
            invalid[segment] = f"{path} is unreadable: {error}"


def _is_full(group: list[Piece]) -> bool:
    nbytes: int = sum(table.nbytes for piece in group for table in piece.tables[:3])
    return nbytes >= _PART_BYTES


def _meet(group: list[Piece], piece: Piece) -> bool:
    """An input has an outcome in both, of which a commit leaves out one by part."""
    lookup = IdLookup(piece.index.ids)
    return any(bool(lookup.find(other.index.ids).max(initial=-1) >= 0) for other in group)
