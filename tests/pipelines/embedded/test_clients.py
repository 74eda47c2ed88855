"""The vendor's own client calls every method of the embedded server: types and statuses are as it expects."""

from __future__ import annotations

import io
import wave
from typing import Any

import numpy as np
import pytest
from bulkinfer.pipelines.embedded.models.demo import METHODS
from bulkinfer.pipelines.embedded.server import EmbeddedServer
from clarifai.client.model import Model
from clarifai.client.model_client import ModelClient
from clarifai.runners.utils.data_types import Audio, Concept, Frame, Image, Region, Video
from clarifai.runners.utils.method_signatures import get_method_signature
from PIL import Image as Pillow
from support.embedded import port_of, running_server
from support.paths import PHOTOS
from support.videos import moving_object

COINS = (PHOTOS / "coins.jpg").read_bytes()
TEXT = (
    "The river rose after the storm. The storm flooded the lower town and the river port. People in the "
    "lower town left their houses. A cat slept. The river port stays closed until the flood is over."
)

server_fixture = pytest.fixture(scope="module", name="server")(running_server)


@pytest.fixture(scope="module", name="client")
def client_fixture(server: EmbeddedServer) -> ModelClient:
    return ModelClient.from_local_grpc(port_of(server))


def _mask(region: Region) -> np.ndarray:
    return np.asarray(Pillow.open(io.BytesIO(region.mask.bytes)))


def _wav(amplitude: float, seconds: float = 0.5, rate: int = 8000) -> bytes:
    times = np.arange(int(seconds * rate)) / rate
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((amplitude * 32767 * np.sin(2 * np.pi * 440 * times)).astype("<i2").tobytes())
    return buffer.getvalue()


def test_it_reads_every_signature(client: ModelClient) -> None:
    client.fetch()

    assert set(client._method_signatures) == set(METHODS)
    assert get_method_signature(client._method_signatures["predict"]) == (
        "def predict(image: data_types.Image, regions: List[data_types.Region] = None, "
        "dict_inputs: data_types.JSON = None, multimask_output: bool = False, return_type: str = all) "
        "-> List[data_types.Region]:"
    )


def test_segment_anything(client: ModelClient) -> None:
    regions = client.segment_anything(image=Image(bytes=COINS))

    assert len(regions) >= 24
    masks = [_mask(region) for region in regions]
    assert {mask.shape for mask in masks} == {(303, 384)}
    assert {mask.dtype for mask in masks} == {np.dtype("uint8")}
    assert set(np.unique(masks)) == {0, 255}


def test_predict_by_regions_and_by_dict(client: ModelClient) -> None:
    point = Region(point=(0.1, 0.15, 0.0), concepts=[Concept("1")])
    (by_point,) = client.predict(image=Image(bytes=COINS), regions=[point], return_type="mask")
    (by_dict,) = client.predict(image=Image(bytes=COINS), dict_inputs={"points": [[0.1, 0.15]]})
    (boxed,) = client.predict(
        Image(bytes=COINS), regions=[Region(box=[0.8, 0.05, 0.99, 0.28])], return_type="box"
    )

    assert np.array_equal(_mask(by_point), _mask(by_dict))
    assert not by_point.proto.region_info.HasField("bounding_box")
    assert not boxed.proto.region_info.HasField("mask")
    assert boxed.box == pytest.approx([0.82, 0.06, 0.94, 0.24], abs=0.05)


def test_generate(client: ModelClient) -> None:
    video = moving_object(frames=3)
    prompt = Frame(regions=[Region(box=list(video.boxes[0]), track_id="flower")])
    frames = list(client.generate(video=Video(bytes=video.data), frames=[prompt]))
    by_dict = list(
        client.generate(
            video=Video(bytes=video.data),
            list_dict_inputs=[{"frame_index": 1, "track_id": "f", "box": list(video.boxes[1])}],
        )
    )

    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [[region.track_id for region in frame.regions] for frame in frames] == [["flower"]] * 3
    assert [len(frame.regions) for frame in by_dict] == [0, 1, 1]


def test_texts(client: ModelClient) -> None:
    concepts = client.classify(text="Das ist ein kurzer deutscher Satz.")
    lines = list(
        client.classify_lines(lines=iter(["good morning to you all", "", "guten Morgen euch allen"]))
    )
    pieces = list(client.summarize(text=TEXT, sentences=2))

    assert (concepts[0].id, concepts[0].name) == ("de", "German")
    assert [line[0].id if line else None for line in lines] == ["en", None, "de"]
    assert len(pieces) == 2
    assert "".join(pieces) in TEXT or all(piece.strip() in TEXT for piece in pieces)
    assert "river" in client.keywords(text=TEXT, limit=3)
    measures = client.measure_text(text=TEXT)
    assert (measures.sentences, measures.words) == (5, 37)


@pytest.mark.parametrize(
    ("method", "arguments", "kind"),
    [
        ("describe", {}, dict),
        ("colors", {"limit": 2}, list),
        ("embed_image", {}, np.ndarray),
        ("fingerprint", {}, bytes),
        ("is_blurred", {"threshold": 1e9}, bool),
        ("picture_size", {}, tuple),
        ("sharpness", {}, float),
        ("thumbnail", {"side": 64}, Image),
    ],
)
def test_pictures(client: ModelClient, method: str, arguments: dict[str, Any], kind: type) -> None:
    value = getattr(client, method)(image=Image(bytes=COINS), **arguments)

    assert isinstance(value, kind)
    if method == "describe":
        assert (value["width"], value["height"]) == (384, 303)
    if method == "thumbnail":
        assert value.to_pil().size == (64, 50)
    if method == "embed_image":
        assert (value.shape, value.dtype) == ((1092,), np.float32)
        assert float((value**2).sum()) == pytest.approx(1, abs=1e-3)


def test_audio(client: ModelClient) -> None:
    measures = client.measure_audio(audio=Audio(bytes=_wav(0.5)))
    levels = list(client.levels(audio=iter([Audio(bytes=_wav(0.5)), Audio(bytes=_wav(0.05))])))

    assert measures["sample_rate"] == 8000
    assert measures["seconds"] == pytest.approx(0.5, abs=0.01)
    assert levels == pytest.approx([-9.0, -29.0], abs=0.2)


def test_a_batch_of_one_method(client: ModelClient) -> None:
    sizes = client.picture_size([{"image": Image(bytes=COINS)}, {"image": Image(bytes=COINS)}])

    assert sizes == [(384, 303)] * 2


def test_a_failure_is_told(client: ModelClient) -> None:
    with pytest.raises(Exception, match="cannot identify image file"):
        client.describe(image=Image(bytes=b"no picture"))


def test_the_vendors_model_finds_the_methods_by_its_url(server: EmbeddedServer) -> None:
    model = Model(url="https://clarifai.com/u/a/models/m", pat="any", base_url=server.endpoint)

    assert model.classify(text="Das ist ein kurzer deutscher Satz.")[0].id == "de"
