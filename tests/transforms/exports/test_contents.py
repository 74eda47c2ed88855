"""Pictures beside their labels: copied, linked, taken out of videos and manifests; what cannot be read is counted."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bulkinfer.transforms.errors import ConfigError
from bulkinfer.transforms.exports.contents import Contents, Origin
from bulkinfer.transforms.exports.export import ExportOptions, export
from bulkinfer.transforms.exports.reading.items import Picture
from bulkinfer.transforms.job.config import SourceConfig
from PIL import Image
from support.exports import SOLID, output_of, picture
from support.videos import moving_object


def photo(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (16, 12), colour).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def photos(tmp_path: Path) -> list[Any]:
    found = []
    for name in ("red", "blue"):
        path = tmp_path / "photos" / name / "1.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(photo(name))
        found.append(picture(f"{name}/1.png", ("cat", 0.5, SOLID), uri=f"photos/{name}/1.png"))
    return found


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("coco", "images/{}"),
        ("yolo", "images/train/{}"),
        ("voc", "JPEGImages/{}"),
        ("sa1b", "{}"),
        ("png", "images/{}"),
    ],
)
@pytest.mark.parametrize("mode", ["copy", "link", "none"])
def test_pictures_lie_beside_their_labels(
    tmp_path: Path, photos: list[Any], name: str, place: str, mode: str
) -> None:
    store, origin = output_of(tmp_path, photos), Origin(folder=str(tmp_path))
    made = export(store, name, str(tmp_path / "made"), ExportOptions(images=mode), origin=origin)
    for colour in ("red", "blue"):
        path = tmp_path / "made" / place.format(f"{colour}/1.png")
        assert path.is_symlink() == (mode == "link")
        assert path.exists() == (mode != "none")
        assert mode == "none" or path.read_bytes() == photo(colour)
    assert "inputs that cannot be read, whose file is not there" not in made["notes"]


def test_what_cannot_be_read_is_counted_and_nothing_at_all_is_refused(
    tmp_path: Path, photos: list[Any]
) -> None:
    origin = Origin(folder=str(tmp_path))
    gone = [picture(f"{number}.png", ("cat", 0.5, SOLID), uri=f"gone/{number}.png") for number in range(12)]
    made = export(
        output_of(tmp_path / "1", [*photos, *gone]),
        "coco",
        str(tmp_path / "made"),
        ExportOptions(images="copy"),
        origin=origin,
    )
    assert made["notes"] == {"inputs that cannot be read, whose file is not there": 12}
    with pytest.raises(ConfigError, match=r"the first 8 inputs cannot be read .* name the job file"):
        export(
            output_of(tmp_path / "2", gone),
            "coco",
            str(tmp_path / "none"),
            ExportOptions(images="copy"),
            origin=origin,
        )
    assert not (tmp_path / "none").exists()


def of(name: str, **changes: Any) -> Picture:
    return Picture(1, name, name, name, "image", None, None, None, None)._replace(**changes)


def test_frames_of_a_video_are_pictures(tmp_path: Path) -> None:
    video = moving_object(frames=12, rate=12)
    (tmp_path / "a.mp4").write_bytes(video.data)
    contents = Contents(Origin(folder=str(tmp_path)), tmp_path)
    times = [0, 250, 250, 500, 83]
    frames = [
        Image.open(io.BytesIO(contents.read(of("a.mp4", media_type="video", frame=at, time_ms=time))))
        for at, time in enumerate(times)
    ]
    assert {frame.format for frame in frames} == {"JPEG"}
    pixels = [np.asarray(frame.convert("L"), np.int16) for frame in frames]
    assert (pixels[1] == pixels[2]).all()
    # The flower has gone on, so that its first place shows the scene again.
    first = video.masks[0] & ~video.masks[6]
    assert np.abs(pixels[0] - pixels[3])[first].mean() > 10
    assert np.abs(pixels[0] - pixels[4])[~(video.masks[0] | video.masks[1])].mean() < 10


def test_what_a_manifest_holds_itself_is_found_there(tmp_path: Path) -> None:
    rows = [{"id": "a", "body": "some text"}, {"id": "b", "body": "another"}]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = SourceConfig.model_validate(
        {"manifest": "m.jsonl", "columns": {"id": "id", "content": "body"}, "media": "text"}
    )
    contents = Contents(Origin(source, str(tmp_path)), tmp_path / "scratch")
    assert contents.read(of("b", uri=None, media_type="text")) == b"another"
    assert contents.read(of("a", uri=None, media_type="text")) == b"some text"


def test_a_link_stays_on_this_machine(tmp_path: Path, photos: list[Any]) -> None:
    store = output_of(tmp_path, photos)
    with pytest.raises(ConfigError, match="--to is another store, which has no links; use copy"):
        export(store, "coco", "memory://made-by-a-test", ExportOptions(images="link"))
    with pytest.raises(ConfigError, match="--images copy: csv knows none"):
        export(store, "csv", str(tmp_path / "csv"), ExportOptions(images="copy"))
