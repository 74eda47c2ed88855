"""The models of the OpenAI-compatible API by name, and how they are run."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import unquote

import fsspec
from numpy.typing import NDArray

from ..methods import ModelMethod
from ..types import Audio, Image
from ..workers import Workers
from .api_error import ApiError, invalid
from .reading import Ask, Medium, medium_of
from .telling import CHAT_MODELS, Found

__all__ = ["EMBEDDING_MODELS", "Catalogue"]

#: By the model's name, what it embeds; the name is the method's too.
EMBEDDING_MODELS = {"embed_text": "text", "embed_image": "image"}
_MEDIA: dict[str, Callable[[bytes], Any]] = {"image": Image, "audio": Audio}
_THREADS = 8
_T = TypeVar("_T")


class Catalogue:
    """Finds models by their names and runs them.

    Args:
        methods: the server's methods by name.
        workers: runs the heavy ones.
        only: the names of the one model to answer for, the first of which is told; None answers for all.
    """

    def __init__(
        self, methods: Mapping[str, ModelMethod], workers: Workers, only: Sequence[str] | None = None
    ) -> None:
        self._methods, self._workers, self._only = methods, workers, only
        self._threads = concurrent.futures.ThreadPoolExecutor(_THREADS, "embedded-http")

    def names(self) -> list[str]:
        """The models to choose from."""
        return [self._only[0]] if self._only else [*CHAT_MODELS, *EMBEDDING_MODELS]

    def model(self, name: str) -> str:
        """The name in the tables above of a model that is asked for; a model's URL is its last part.

        Raises:
            ApiError: there is no such model.
        """
        if self._only is not None and name in self._only:
            return "demo"
        last = unquote(name.rstrip("/").rsplit("/models/", 1)[-1])
        if self._only is not None or (last not in CHAT_MODELS and last not in EMBEDDING_MODELS):
            raise ApiError(
                404,
                f"The model `{name}` does not exist or you do not have access to it.",
                code="model_not_found",
            )
        return last

    async def find(self, ask: Ask) -> Found:
        """What a chat model finds in what it is asked.

        It looks at the latest picture or recording of the conversation; where there is none, at the user's last text.

        Raises:
            ApiError: there is no such model, or it takes no such content.
        """
        name = self.model(ask.model)
        if name not in CHAT_MODELS:
            raise invalid(
                "model", f"This is not a chat model: `{ask.model}` is for v1/embeddings.", "unsupported_model"
            )
        medium = next((one for turn in reversed(ask.turns) for one in reversed(turn.media)), None)
        kind = medium.kind if medium is not None else "text"
        method = CHAT_MODELS[name].get(kind)
        if method is None:
            takes = " or ".join(CHAT_MODELS[name])
            raise invalid(
                ask.param,
                f"The model `{ask.model}` takes {takes}, and {kind} was sent.",
                "unsupported_content",
            )
        if medium is not None:
            content = _MEDIA[kind](await self._content(medium))
            return method.tell(await self._run(method.name, {kind: content}, medium.param))
        said = next((turn for turn in reversed(ask.turns) if turn.role == "user"), ask.turns[-1])
        result = await self._run(method.name, {kind: said.text}, ask.param) if method.name else said.text
        return method.tell(result)

    async def embed(self, model: str, inputs: Sequence[str], size: int | None, at: str) -> list[NDArray[Any]]:
        """A vector of each input: of a text, or of the picture that a URL names.

        Raises:
            ApiError: there is no such model, it has no vectors of that size, or an input is no picture.
        """
        name = self.model(model)
        if name == "demo" and self._only is not None:
            name = "embed_text"
        if name not in EMBEDDING_MODELS:
            raise invalid(
                "model", f"This is not an embedding model: `{model}` is for chat.", "unsupported_model"
            )
        if EMBEDDING_MODELS[name] == "image":
            if size is not None:
                raise invalid("dimensions", f"The model `{model}` does not support specifying dimensions.")
            return list(await asyncio.gather(*(self._embed_picture(one, at) for one in inputs)))
        extra = {} if size is None else {"dimensions": size}
        function = self._methods[name].function
        try:
            return await self._in_thread(lambda: [function(text, **extra) for text in inputs])
        except ValueError as error:
            raise invalid("dimensions" if extra else at, f"Invalid value: {error}.") from None

    async def _embed_picture(self, url: str, at: str) -> NDArray[Any]:
        content = await self._content(medium_of("image", url, at))
        vector: NDArray[Any] = await self._run("embed_image", {"image": Image(content)}, at)
        return vector

    def close(self) -> None:
        """Drop what has not begun."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, method: str, arguments: dict[str, Any], param: str) -> Any:
        called = self._methods[method]
        try:
            if called.heavy:
                return await asyncio.wrap_future(self._workers.compute(method, arguments))
            return await self._in_thread(lambda: _whole(called.function(**arguments)))
        except (ValueError, TypeError) as error:  # what a method says of content that it cannot use
            raise invalid(param, str(error)[:300], "invalid_content") from None

    async def _in_thread(self, function: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)

    async def _content(self, medium: Medium) -> bytes:
        if not medium.url:
            return medium.data

        def read() -> bytes:
            with fsspec.open(medium.url, "rb") as file:
                return bytes(file.read())

        try:
            return await self._in_thread(read)
        except Exception as error:  # noqa: BLE001 (whatever the store raises, the URL is at fault)
            reason = type(error).__name__  # its text may hold the URL's secrets
            raise invalid(
                medium.param, f"Error while downloading the {medium.kind}: {reason}.", "invalid_image_url"
            ) from None


def _whole(value: Any) -> Any:
    """A stream's items as a list, so that they are made here and now."""
    return list(value) if hasattr(value, "__next__") else value
