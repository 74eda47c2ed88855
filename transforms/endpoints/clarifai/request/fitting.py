"""Checks whether content and stream settings of a job fit a method, and words the errors when they do not."""

from __future__ import annotations

from ....errors import MethodError
from ....job.config import StreamConfig
from ..signatures import Field, Method
from .framing import MEDIA, RAW, TEXTUAL

__all__ = ["check_stream", "content_field", "example", "located", "takes"]


def content_field(method: Method, media_type: str) -> str:
    """The one parameter that takes the content.

    Of several, those count that are no settings (`Param` in the vendor's SDK), then those that are required.

    Raises:
        MethodError: none does, or several do.
    """
    fits = [field for field in method.inputs if takes(field, media_type)]
    fits = fits or [
        field
        for field in method.inputs
        if field.type == "LIST" and MEDIA.get(field.type_args[0].type) == media_type
    ]
    fits = fits or [field for field in method.inputs if field.type == "BYTES"]
    for keep in (lambda field: not field.is_param, lambda field: field.required):
        if len(fits) > 1:
            fits = [field for field in fits if keep(field)] or fits
    if len(fits) == 1:
        return fits[0].name
    found = "no parameter takes" if not fits else f"{', '.join(field.name for field in fits)} all could take"
    raise MethodError(
        f"model.arguments: {found} the source's {media_type}, so it is not clear where the content goes; "
        f"write NAME: $content. The signature is {method.signature_text}"
    )


def takes(field: Field, media_type: str) -> bool:
    """True where the parameter takes content of the media type as it is."""
    return field.type in TEXTUAL if media_type == "text" else MEDIA.get(field.type) == media_type


def example(field: Field, media_type: str | None) -> str:
    """What to write for a parameter that is missing."""
    content = media_type is not None and takes(field, media_type)
    return f"{field.name}: $content" if content else f"a value of type {field.type_text}"


def located(method: Method, name: str, fault: str) -> str:
    """A message with the key of the job file before it and the signature after it."""
    return f"model.arguments.{name}: {fault}. The signature is {method.signature_text}"


def check_stream(method: Method, stream: StreamConfig) -> None:
    """Check that there is something to cut, and that it can be cut that way.

    Raises:
        MethodError: there is not, or it cannot.
    """
    if stream.piece_bytes is None and stream.piece_seconds is None:
        return
    key = "piece_bytes" if stream.piece_bytes is not None else "piece_seconds"
    field = method.streaming_input
    if field is None:
        raise MethodError(
            f"model.stream.{key}: {method.name} has no argument that streams, so there is nothing to cut; "
            f"remove model.stream. The signature is {method.signature_text}"
        )
    fits = RAW if key == "piece_bytes" else ("AUDIO", "BYTES")
    if field.type not in fits:
        raise MethodError(
            f"model.stream.{key}: {field.name} streams {field.item_text}, which is not cut that way; remove "
            f"model.stream. The signature is {method.signature_text}"
        )
