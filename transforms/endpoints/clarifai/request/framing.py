"""Nests bytes in protobuf messages without copying them."""

from __future__ import annotations

from typing import Any

from clarifai_grpc.grpc.api import resources_pb2

__all__ = ["MEDIA", "PART", "RAW", "TEXTUAL", "URL", "tag", "varint", "wrap"]

#: Types whose value is a file, and the media type that fits.
MEDIA = {"IMAGE": "image", "VIDEO": "video", "AUDIO": "audio"}
#: Types whose value is text.
TEXTUAL = ("STR", "TEXT")

_SINGLE = tuple(bytes((number,)) for number in range(128))


def varint(number: int) -> bytes:
    """A length as protobuf writes it: seven bits a byte, the lowest first.

    >>> varint(300).hex()
    'ac02'
    """
    if number < 0x80:
        return _SINGLE[number]
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    if number < 0x200000:
        return bytes((number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80, number >> 14))
    return bytes((number & 0x7F | 0x80,)) + varint(number >> 7)


def tag(message: Any, field: str) -> bytes:
    """The bytes before the length of a length-delimited field of a message type."""
    return varint(message.DESCRIPTOR.fields_by_name[field].number << 3 | 2)


def wrap(segments: list[bytes], prefixes: tuple[bytes, ...]) -> list[bytes]:
    """Nest segments in messages without copying them.

    Args:
        segments: the innermost bytes.
        prefixes: what stands before each length, innermost first: the tag, after fields that the message
            holds besides.
    """
    size = sum(map(len, segments))
    head = b""
    for prefix in prefixes:
        head = prefix + varint(size + len(head)) + head
    return [head, *segments]


#: From the `Data` of one item up to the `Data` that holds it as a part without an id.
PART = (tag(resources_pb2.Part, "data"), tag(resources_pb2.Data, "parts"))
#: Types that carry bytes as they are: the fields down from `Data`, innermost first.
RAW = {
    "STR": (tag(resources_pb2.Data, "string_value"),),
    "BYTES": (tag(resources_pb2.Data, "bytes_value"),),
    "TEXT": (tag(resources_pb2.Text, "raw"), tag(resources_pb2.Data, "text")),
    "IMAGE": (tag(resources_pb2.Image, "base64"), tag(resources_pb2.Data, "image")),
    "VIDEO": (tag(resources_pb2.Video, "base64"), tag(resources_pb2.Data, "video")),
    "AUDIO": (tag(resources_pb2.Audio, "base64"), tag(resources_pb2.Data, "audio")),
}
#: The same for a reference that the server fetches.
URL = {
    "STR": (tag(resources_pb2.Data, "string_value"),),
    "TEXT": (tag(resources_pb2.Text, "url"), tag(resources_pb2.Data, "text")),
    "IMAGE": (tag(resources_pb2.Image, "url"), tag(resources_pb2.Data, "image")),
    "VIDEO": (tag(resources_pb2.Video, "url"), tag(resources_pb2.Data, "video")),
    "AUDIO": (tag(resources_pb2.Audio, "url"), tag(resources_pb2.Data, "audio")),
}
