"""Checks a job's arguments against a method before any call, and prepares what all its requests have in common."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from clarifai_grpc.grpc.api import resources_pb2, service_pb2

from ....errors import EndpointError, MethodError
from ....job.config import StreamConfig
from ...arguments.expressions import ArgumentError, closest, holds_expression, is_expression
from ...arguments.sources import FromColumn, FromContent, FromTemplate, FromUri
from ..signatures import Field, Method
from .arguments import Argument
from .expressions import parse_constant, parse_source, source_parts
from .fitting import check_stream, content_field, example, located
from .framing import MEDIA, tag, varint
from .prompts import kind
from .sources import Constant, Source
from .values import MisfitError, encode_value

__all__ = ["Binding", "bind", "find_method"]

_METHOD_TYPES = ("UNARY_UNARY", "UNARY_STREAMING", "STREAMING_STREAMING")
_NO_STREAM = StreamConfig()


@dataclasses.dataclass(frozen=True)
class Binding:
    """A method with a source for each argument; plain data that pickles and hashes.

    It holds no secret other than constants of the job file.

    Attributes:
        method: what is called.
        arguments: those that are given, in the order of the signature.
        stream: how content is cut for the streaming argument.
        header: names the method, in every input's data.
        plan: an input's data in order: bytes that are the same for all inputs, and arguments that are not.
        params: fields of the request that a legacy model's parameters travel in; empty for others.
    """

    method: Method
    arguments: tuple[Argument, ...]
    stream: StreamConfig
    header: bytes
    plan: tuple[bytes | Argument, ...]
    params: bytes = b""

    def _sources(self) -> Iterator[Source]:
        for argument in self.arguments:
            yield from source_parts(argument.source)

    @functools.cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that arguments name, sorted."""
        names = {source.name for source in self._sources() if isinstance(source, FromColumn)}
        for source in self._sources():
            if isinstance(source, FromTemplate):
                names |= {column for _, column, _ in source.pieces if column is not None}
        return tuple(sorted(names))

    @functools.cached_property
    def reference_columns(self) -> tuple[str, ...]:
        """The columns that hold references to fetch like the content, sorted."""
        return tuple(
            sorted(
                {
                    source.name
                    for source in self._sources()
                    if isinstance(source, FromColumn) and source.fetched
                }
            )
        )

    @functools.cached_property
    def needs_content(self) -> bool:
        """False when no argument sends the fetched bytes, so that they need not be fetched."""
        return any(isinstance(source, FromContent) for source in self._sources())

    @functools.cached_property
    def passes_uri(self) -> bool:
        """Whether an argument of a medium passes the reference, so that the server fetches what lies there."""
        return any(
            isinstance(source, FromUri)
            for argument in self.arguments
            if {field.type for field in (argument.field, *argument.field.type_args)} & MEDIA.keys()
            for source in source_parts(argument.source)
        )

    @property
    def streaming_argument(self) -> Argument | None:
        """The argument that streams, of a STREAMING_STREAMING method."""
        return next((argument for argument in self.arguments if argument.field.iterator), None)


def find_method(methods: Mapping[str, Method], name: str) -> Method:
    """The method of that name.

    Raises:
        MethodError: the model has none; the message names a near one, or all.
    """
    if name not in methods:
        raise MethodError(
            f"model.method: the model has no method {name!r}; {closest(name, methods, 'methods')}"
        )
    return methods[name]


def bind(
    method: Method,
    arguments: Mapping[str, Any],
    *,
    media_type: str | None,
    columns: Collection[str] = (),
    stream: StreamConfig = _NO_STREAM,
) -> Binding:
    """Check a job's arguments against a method and prepare what is the same for every input.

    Args:
        method: from the model's signatures.
        arguments: `model.arguments` of the job file; where it is empty, the content goes to the one parameter
            of its type.
        media_type: what the source holds; None for a single call, whose arguments are all constants.
        columns: names that the source's rows have.
        stream: `model.stream` of the job file.

    Raises:
        MethodError: the arguments do not fit; nothing was sent.
        EndpointError: the server declares the method with an incomplete type.
    """
    if method.type not in _METHOD_TYPES:
        raise MethodError(
            f"model.method: {method.name!r} is of type {method.type}, which no call fits; choose a method of "
            f"type {', '.join(_METHOD_TYPES)}"
        )
    if method.malformed:
        raise EndpointError(
            f"model.method: the server declares {method.name!r} with {method.malformed!r} as a list, a tuple or named "
            f"fields of nothing ({method.signature_text}), so nothing can be sent to it; mend the model's "
            "annotations, as in list[str] in place of list"
        )
    if media_type is not None and not arguments:
        arguments = {content_field(method, media_type): "$content"}
    known = {field.name: field for field in method.inputs}
    params = {name: value for name, value in arguments.items() if method.legacy and name not in known}
    for name in arguments:
        if name not in known and name not in params:
            hint = closest(name, known, "parameters")
            raise MethodError(located(method, name, f"{method.name} has no such parameter; {hint}"))
    bound = tuple(_arguments(method, arguments, media_type, columns))
    check_stream(method, stream)
    streams = any(argument.field.iterator for argument in bound)
    if method.type == "STREAMING_STREAMING" and not streams:
        field = method.streaming_input
        raise MethodError(
            f"model.arguments: {method.name} streams, but nothing is bound to "
            f"{field.name if field else 'its stream'}; write $content, $column.NAME or a list there. The "
            f"signature is {method.signature_text}"
        )
    if media_type is not None and all(isinstance(argument.source, Constant) for argument in bound):
        raise MethodError(
            "model.arguments: no argument uses the input, so every call would be the same; write $content, "
            f"$uri, $column.NAME or a template in one of them. The signature is {method.signature_text}"
        )
    header = _header(method)
    return Binding(
        method, bound, stream, header, _plan(header, bound), _legacy_params(method, params, media_type)
    )


def _arguments(
    method: Method, given: Mapping[str, Any], media_type: str | None, columns: Collection[str]
) -> Iterator[Argument]:
    for position, field in enumerate(method.inputs):
        value = given.get(field.name)
        absent = _absent(field) if position == 0 and not method.legacy else b""
        if value is None:
            if field.name in given and not field.required and field.default is not None:
                raise MethodError(
                    located(
                        method, field.name, "null cannot be sent; leave it out to get the model's default"
                    )
                )
            if field.required:
                missing = example(field, media_type)
                raise MethodError(
                    located(
                        method, field.name, f"it is missing, but {method.name} requires it; add {missing}"
                    )
                )
            if absent:
                yield Argument(field, Constant(encode_value(field, field.default)), _prefixes(field))
            continue
        try:
            if media_type is None:
                source: Source = parse_constant(field, value)
            else:
                source = parse_source(field, value, media_type, columns)
        except ArgumentError as fault:
            raise MethodError(located(method, field.name, str(fault))) from None
        yield Argument(field, source, () if method.legacy else _prefixes(field), absent)


def _prefixes(field: Field) -> tuple[bytes, ...]:
    """From an argument's `Data` up to the input's: a part with the argument's name as its id."""
    name = field.name.encode()
    part_id = tag(resources_pb2.Part, "id") + varint(len(name)) + name
    return (part_id + tag(resources_pb2.Part, "data"), tag(resources_pb2.Data, "parts"))


def _absent(field: Field) -> bytes:
    """The first parameter's default as a part, for types whose absence the vendor's server misreads.

    It looks for an absent first parameter inline in the data (`deserialize` in `method_signatures.py`), and
    takes 0.0 for a float, all other arguments' parts for a list, and fails for a tuple or named fields. None
    cannot be sent.
    """
    if (
        field.required
        or field.default is None
        or field.type not in ("FLOAT", "LIST", "TUPLE", "NAMED_FIELDS")
    ):
        return b""
    try:
        data = encode_value(field, field.default)
    except MisfitError:
        return b""  # a default that is no JSON is known to the server alone
    return Argument(field, Constant(data), _prefixes(field)).constant()


def _header(method: Method) -> bytes:
    data = resources_pb2.Data()
    if not method.legacy:  # the vendor's client names no method to a model without signatures
        data.metadata.update({"_method_name": method.name})
    return bytes(data.SerializeToString())


def _plan(header: bytes, bound: tuple[Argument, ...]) -> tuple[bytes | Argument, ...]:
    plan: list[bytes | Argument] = [header]
    for argument in bound:
        if not isinstance(argument.source, Constant) or argument.field.iterator:
            plan.append(argument)
            continue
        last = plan[-1]
        if isinstance(last, bytes):
            plan[-1] = last + argument.constant()
        else:
            plan.append(argument.constant())
    return tuple(plan)


def _legacy_params(method: Method, params: Mapping[str, Any], media_type: str | None) -> bytes:
    if not params:
        return b""
    request = service_pb2.PostModelOutputsRequest()
    struct = request.model.model_version.output_info.params
    for name, value in params.items():
        if media_type is not None and (is_expression(value) or holds_expression(value)):
            raise MethodError(
                located(
                    method, name, "a model without signatures takes it once a call, so it must be a constant"
                )
            )
        try:
            struct.update({name: value})
        except (TypeError, ValueError, AttributeError):
            raise MethodError(located(method, name, f"{kind(value)} is no JSON value; write one")) from None
    return bytes(request.SerializeToString())
