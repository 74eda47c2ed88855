"""References as text: what of them names the input, and what of them may be shown.

A reference may carry secrets (`user:password@`, the signature of a presigned URL) or, as a `data:` URI, the whole
content. Tables, logs and messages get it through these functions only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote, unquote_to_bytes

__all__ = [
    "LONGEST_SHOWN",
    "data_of",
    "hide_secrets",
    "identity",
    "is_data",
    "masked",
    "masked_value",
    "media_of_data",
    "recorded",
    "shortened",
    "shown",
    "told",
    "without_query",
]

LONGEST_SHOWN = 200  #: characters of a reference in a message
_LONGEST_HEAD = 1000
_DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w.+-]+(?:=[^;,\s]*)?)*),", re.IGNORECASE)
_QUERIES = ("http", "https")  #: elsewhere `?` and `#` are letters of a name
_NO_USERS = ("abfs", "abfss", "adl", "wasb", "wasbs")  #: what stands before their `@` is a container
#: Parameters whose values are secrets, wherever they stand.
_SECRET = (
    r"(?:[\w-]*signature|sig|x-\w+-credential|[\w-]*security-?token|(?:access|auth|id|session|refresh|bearer)[_-]?token"
    r"|token|\w*access_?key_?id|googleaccessid|password|passwd|pwd|[\w-]*secret|api[_-]?key|sas|jwt)"
)
_SECRET_NAME = re.compile(_SECRET, re.IGNORECASE)
#: Parameters that come and go with a signature: AWS, Google, Alibaba and others; CloudFront and the older ones; Azure.
_SIGNED = re.compile(r"x-(?:amz|goog|oss|obs|tos|cos|bce)-[\w-]+", re.IGNORECASE)
_BESIDE_SIGNATURE = frozenset({"expires", "policy", "key-pair-id"})
_BESIDE_SIG = frozenset(
    ("sv ss srt sp se st spr sip si sr sks skv sdd ses skoid sktid skt ske saoid suoid scid").split()  # noqa: SIM905
)
_USER = re.compile(r"(?<=://)[^/\s?#'\"<>]+@")
_IN_TEXT = re.compile(rf"([?&#;]{_SECRET}=)[^&\s'\"<>#]+", re.IGNORECASE)
_LONG = re.compile(rf"(?:data:|[\w+.-]+://)[^\s'\"<>]{{{LONGEST_SHOWN - 8},}}", re.IGNORECASE)
_URL = re.compile(r"[a-z][\w+.-]*://\S+", re.IGNORECASE)


def is_data(reference: str) -> bool:
    """Whether a reference is a `data:` URI (RFC 2397), which is the content itself.

    >>> is_data("data:text/plain;base64,aGk="), is_data("data/a.txt"), is_data("data:a.txt")
    (True, False, False)
    """
    return reference[:5].lower() == "data:" and _DATA.match(reference, 0, _LONGEST_HEAD) is not None


def media_of_data(reference: str) -> str:
    """The MIME type that a `data:` URI names, e.g. "image/jpeg"."""
    found = _DATA.match(reference, 0, _LONGEST_HEAD)
    return ((found and found[1]) or "text/plain").lower()


def data_of(reference: str) -> bytes:
    """The content of a `data:` URI.

    Raises:
        ValueError: it is not what its head says.

    >>> data_of("data:text/plain;base64,aGk="), data_of("data:,a%20b")
    (b'hi', b'a b')
    """
    found = _DATA.match(reference, 0, _LONGEST_HEAD)
    if found is None:
        raise ValueError("it has no comma behind its media type")
    body = reference[found.end() :]
    if not found[2].lower().endswith(";base64"):
        return unquote_to_bytes(body)
    plain = re.sub(r"\s", "", unquote(body)).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"its base64 is broken: {error}") from None


def identity(reference: str) -> str:
    """What of a reference names the input: no userinfo, and nothing that another signature would change.

    Content in a `data:` URI is named by its hash. A `token` may be all that tells two files apart, and is hashed.

    >>> identity("https://me:pw@h/a.jpg?w=1&X-Amz-Date=20260131&X-Amz-Signature=ab")
    'https://h/a.jpg?w=1'
    """
    if is_data(reference):
        return f"data:{media_of_data(reference)},blake2b:{_hash(reference, 16)}"
    if _is_plain(reference):
        return reference
    return "::".join(_named(bit) for bit in reference.split("::"))


def masked(reference: str) -> str:
    """A reference whose secrets are `***`; all else stands.

    >>> masked("https://me:pw@h/a.jpg?w=1&X-Amz-Date=20260131&X-Amz-Signature=ab")
    'https://***@h/a.jpg?w=1&X-Amz-Date=20260131&X-Amz-Signature=***'
    """
    if _is_plain(reference):
        return reference
    return "::".join(_masked(bit) for bit in reference.split("::"))


def masked_value(value: Any) -> Any:
    """A column's value in which each text that is a reference stands masked, however deep.

    >>> masked_value({"a": ["https://me:pw@h/a.jpg", "see https://h/?sig=1"]})
    {'a': ['https://***@h/a.jpg', 'see https://h/?sig=1']}
    """
    if isinstance(value, str):
        if _is_plain(value):
            return value
        if value[:1] in ("[", "{"):  # a list of references, as CSV holds one
            return hide_secrets(value, shorten=False)
        return masked(value) if _URL.fullmatch(value) else value
    if isinstance(value, Mapping):
        return {key: masked_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked_value(inner) for inner in value]
    return value


def recorded(reference: str) -> str:
    """A reference as the `uri` of a table has it: without secrets, and content by its hash."""
    return identity(reference) if is_data(reference) else masked(reference)


def shown(reference: str) -> str:
    """A reference as a message has it: without secrets and whatever else its query holds, and never long.

    >>> shown("https://me:pw@h/a.jpg?code=ab"), shown("data:text/plain," + "x" * 500)
    ('https://***@h/a.jpg?***', 'data:text/plain,... (516 characters)')
    """
    if is_data(reference):
        return shortened(reference)
    text = reference if _is_plain(reference) else "::".join(map(_without_values, reference.split("::")))
    return text if len(text) <= LONGEST_SHOWN else _cut(text)


def shortened(text: str) -> str:
    """Any text in which no reference is longer than a line or two, and content of a `data:` URI does not stand."""
    if len(text) <= LONGEST_SHOWN:
        return text
    return _LONG.sub(lambda found: _cut(found[0]), text)


def hide_secrets(text: str, *, shorten: bool = True) -> str:
    """Any text, such as a server's message, without the secrets and the content of references in it."""
    if "://" in text or "?" in text or "&" in text:
        text = _IN_TEXT.sub(r"\1***", _USER.sub("***@", text))
    return shortened(text) if shorten else text


def told(message: str, reference: str | None) -> str:
    """A message about an input: a server may repeat its reference, or a secret of it alone."""
    if reference and (len(reference) > LONGEST_SHOWN or not _is_plain(reference)):
        message = message.replace(reference, shown(reference))
        for secret in () if is_data(reference) else _secrets_of(reference):
            message = message.replace(secret, "***")
    return hide_secrets(message)


def without_query(reference: str) -> str:
    """What a reference names, without the query that a URL of HTTP may have; elsewhere `?` is part of a name.

    >>> without_query("https://h/a/b.csv?sig=x/y"), without_query("s3://b/what?.jpg")
    ('https://h/a/b.csv', 's3://b/what?.jpg')
    """
    head, sep, rest = reference.partition("::")
    parts = _parts(head)
    return f"{parts.protocol}://{parts.authority}{parts.path}{sep}{rest}" if parts.query else reference


class _Parts(NamedTuple):
    """A URL taken apart; the query has its `?` and whatever fragment follows, or is the fragment."""

    protocol: str
    authority: str
    path: str
    query: str


def _is_plain(reference: str) -> bool:
    """The fast way out of nearly all references."""
    return "://" not in reference or ("@" not in reference and "?" not in reference)


def _parts(url: str) -> _Parts:
    protocol, _, rest = url.partition("://")
    if protocol.lower() not in _QUERIES:
        authority, slash, path = rest.partition("/")
        return _Parts(protocol, authority, slash + path, "")
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    stop = min((at for at in (rest.find("?", end), rest.find("#", end)) if at >= 0), default=len(rest))
    return _Parts(protocol, rest[:end], rest[end:stop], rest[stop:])


def _named(url: str) -> str:
    if _is_plain(url):
        return url
    protocol, authority, path, query = _parts(url)
    user, sep, host = authority.rpartition("@")
    if sep and _hides_user(protocol, user):
        authority = host
    if query.startswith("?"):
        body, hash_, fragment = query[1:].partition("#")
        kept = "&".join(_lasting(body.split("&")))
        query = ("?" + kept if kept else "") + hash_ + fragment
    return f"{protocol}://{authority}{path}{query}"


def _lasting(parameters: list[str]) -> Iterator[str]:
    """The parameters that stay the same when the URL is signed anew."""
    names = [unquote(parameter.partition("=")[0]).lower() for parameter in parameters]
    beside: frozenset[str] = frozenset()
    if "signature" in names:
        beside = _BESIDE_SIGNATURE
    elif "sig" in names and "sv" in names:
        beside = _BESIDE_SIG
    for name, parameter in zip(names, parameters, strict=True):
        if name == "token":
            yield f"token=~{_hash(parameter, 8)}"
        elif not (name in beside or _SECRET_NAME.fullmatch(name) or _SIGNED.fullmatch(name)):
            yield parameter


def _masked(url: str) -> str:
    if _is_plain(url):
        return url
    protocol, authority, path, query = _parts(url)
    user, sep, host = authority.rpartition("@")
    if sep and _hides_user(protocol, user):
        authority = "***@" + host
    if query.startswith("?"):
        body, hash_, fragment = query[1:].partition("#")
        query = "?" + "&".join(map(_hidden, body.split("&"))) + hash_ + fragment
    return f"{protocol}://{authority}{path}{query}"


def _without_values(url: str) -> str:
    protocol, authority, path, query = _parts(_masked(url))
    return f"{protocol}://{authority}{path}?***" if query else _masked(url)


def _hidden(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    return f"{name}=***" if equals and value and _SECRET_NAME.fullmatch(unquote(name)) else parameter


def _hides_user(protocol: str, user: str) -> bool:
    """Whether what stands before `@` is a secret: a name alone is none on SFTP, and a token on the web."""
    protocol = protocol.lower()
    return protocol not in _NO_USERS and (":" in user or user == "***" or protocol in _QUERIES)


def _secrets_of(reference: str) -> Iterator[str]:
    """The secrets in a reference, as they stand in it and as a server reads them."""
    for url in reference.split("::"):
        protocol, authority, _, query = _parts(url)
        user = authority.rpartition("@")[0]
        found = [user, user.partition(":")[2]] if user and _hides_user(protocol, user) else []
        for parameter in query[1:].partition("#")[0].split("&"):
            name, _, value = parameter.partition("=")
            if _SECRET_NAME.fullmatch(unquote(name)):
                found.append(value)
        for secret in found:
            for form in (secret, unquote(secret)):
                if len(form) >= 4:
                    yield form


def _cut(text: str) -> str:
    if is_data(text):
        return f"{text[: text.index(',') + 1][:100]}... ({len(text)} characters)"
    return f"{text[:120]}...{text[-40:]} ({len(text)} characters)"


def _hash(text: str, size: int) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()
