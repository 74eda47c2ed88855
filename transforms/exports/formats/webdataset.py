"""WebDataset's shards (https://github.com/webdataset/webdataset): tar files of inputs, each followed by its labels."""

from __future__ import annotations

import io
import tarfile
from typing import Any, ClassVar

from ..export import Export, Format
from ..reading.names import suffix_of
from ..writing.json_file import dumped, plain
from .rows import filled_columns

__all__ = ["WebDataset"]

_SHARD_BYTES = 1_000_000_000
_SUFFIXES = {"image": ".jpg", "text": ".txt", "audio": ".wav", "video": ".mp4"}


class WebDataset(Format):
    """`SPLIT-000000.tar` and so on, of a gigabyte each: `000000001.jpg` as it came, `000000001.json` with its row."""

    image_modes: ClassVar[tuple[str, ...]] = ("copy",)

    def write(self, export: Export) -> None:
        columns = [name for name in filled_columns(export) if name not in ("regions", "raw")]
        shards = {split: _Shards(export, split or "shard") for split in export.split_names}
        try:
            for picture, regions, row in export.selection.items(columns):
                data = export.images.read(picture)
                if data is None:
                    continue
                suffix = suffix_of(picture.name).lower() or _SUFFIXES.get(picture.media_type or "", ".bin")
                labels = {name: plain(row[name]) for name in columns if row[name] is not None}
                labels["file_name"] = picture.name
                labels["regions"] = [
                    {**region._asdict(), "category_id": export.categories.id_of(region.label)}
                    for region in regions
                ]
                # A key ends at its first dot, so that it is a number and no name.
                key = f"{picture.number:09d}"
                shards[export.splits.of(picture.input_id)].add(
                    {f"{key}{suffix}": data, f"{key}.json": dumped(labels).encode()}
                )
        finally:
            for shard in shards.values():
                shard.close()


class _Shards:
    """Tar files of about one size, with no time or owner in them."""

    def __init__(self, export: Export, name: str) -> None:
        self._folder, self._name = export.folder, name
        self._count, self._bytes = 0, 0
        self._file: Any = None

    def add(self, members: dict[str, bytes]) -> None:
        """Add a sample, all of whose members go into one shard."""
        if self._file is None or self._bytes > _SHARD_BYTES:
            self.close()
            path = self._folder / f"{self._name}-{self._count:06d}.tar"
            self._file = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115  (closed by `close`)
            self._count, self._bytes = self._count + 1, 0
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            self._file.addfile(info, io.BytesIO(data))
            self._bytes += len(data)

    def close(self) -> None:
        """End the open shard."""
        if self._file is not None:
            self._file.close()
            self._file = None
