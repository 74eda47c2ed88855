"""The error object of the OpenAI-compatible API, as an exception that the service turns into an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["ApiError", "invalid"]


class ApiError(Exception):
    """A request that is refused.

    Attributes:
        status: the HTTP status.
        message: what is wrong with the request.
        kind: the object's `type`.
        param: the parameter at fault, such as "messages[0].content".
        code: a stable word for the fault.
        headers: headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind = status, message, kind
        self.param, self.code, self.headers = param, code, dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The answer's JSON."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


def invalid(param: str, message: str, code: str = "invalid_value") -> ApiError:
    """The error of a parameter's value."""
    return ApiError(400, message, param=param, code=code)
