"""The keys below `model`: what answers, and what it is asked."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from .section import Section
from .units import Duration, Size

__all__ = ["DeploymentConfig", "ModelConfig", "NodepoolConfig", "PixelsConfig", "StreamConfig"]


class DeploymentConfig(Section):
    """A dedicated deployment."""

    id: str = Field(min_length=1)
    user_id: str = Field(min_length=1)


class NodepoolConfig(Section):
    """A dedicated nodepool of a compute cluster."""

    id: str = Field(min_length=1)
    compute_cluster_id: str = Field(min_length=1)
    user_id: str = Field(min_length=1)


class StreamConfig(Section):
    """How content is cut for a method whose argument streams."""

    piece_bytes: Size | None = Field(None, description="Bytes of one piece.")
    piece_seconds: Duration | None = Field(None, description="Length of one piece of audio.")

    @model_validator(mode="after")
    def _one_way(self) -> StreamConfig:
        if self.piece_bytes and self.piece_seconds:
            raise ValueError("piece_bytes and piece_seconds both say where to cut; keep one of them")
        return self


class PixelsConfig(Section):
    """How the samples of a picture, 0 to 255, become numbers: (sample * scale - mean) / std."""

    scale: float = Field(1 / 255, description="Factor of each sample.")
    mean: tuple[float, ...] = Field((), description="Subtracted from each channel.")
    std: tuple[float, ...] = Field((), description="Divisor of each channel.")

    @model_validator(mode="after")
    def _a_number_for_each_channel(self) -> PixelsConfig:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (0, 1, 3):
                raise ValueError(
                    f"{name} has {len(values)} numbers; write one, or one for each of three channels"
                )
        if 0 in self.std:
            raise ValueError("std holds 0, by which nothing can be divided")
        return self


#: What a tensor of an answer is, with kind inference_v2.
Role = Literal["text", "json", "embedding", "ndarray", "image", "label", "score", "box", "box_rel", "mask"]
#: The kinds that know a key; a key that is not here is every kind's.
_KINDS = {
    **dict.fromkeys(
        ("user_id", "app_id", "model_id", "version_id", "deployment", "nodepool", "stream"),
        ("clarifai",),
    ),
    "url": ("clarifai", "openai"),
    **dict.fromkeys(("endpoint", "allow_plaintext"), ("clarifai", "inference_v2", "openai")),
    **dict.fromkeys(("name", "key_env"), ("inference_v2", "openai")),
    **dict.fromkeys(("version", "outputs", "pixels"), ("inference_v2",)),
    **dict.fromkeys(("callable", "setup", "executor", "folder"), ("python",)),
}
#: The method of a job that names none.
_METHODS = {"inference_v2": "infer", "openai": "chat"}


class ModelConfig(Section):
    """Which model, where, and how its method is called."""

    kind: Literal["clarifai", "openai", "inference_v2", "python"] = Field(
        "clarifai",
        description="The API that the endpoint speaks; openai is any OpenAI-compatible HTTP API, inference_v2 the Open "
        "Inference Protocol over gRPC, python a class or function in the worker.",
    )
    url: str | None = Field(None, description="https://clarifai.com/USER/APP/models/MODEL[/versions/VERSION]")
    user_id: str | None = Field(None, description="Owner of the model, in place of url.")
    app_id: str | None = Field(None, description="App of the model, in place of url.")
    model_id: str | None = Field(None, description="Id of the model, in place of url.")
    version_id: str | None = Field(None, description="Version of the model; latest by default.")
    endpoint: str | None = Field(
        None,
        description="Address of the API; default $CLARIFAI_API_BASE, with kind openai $OPENAI_BASE_URL, else the "
        "public API; `embedded` starts our own.",
    )
    allow_plaintext: bool = Field(
        False, description="Allow sending the key unencrypted to a host that is not this one."
    )
    deployment: DeploymentConfig | None = Field(None, description="Dedicated deployment to send to.")
    nodepool: NodepoolConfig | None = Field(None, description="Dedicated nodepool to send to.")
    method: str = Field("predict", min_length=1, description="Name of the model's method.")
    arguments: dict[str, Any] = Field(
        {},
        description="The method's parameters by name: $content, $uri, $column.NAME, {template: ...}, constants, and "
        "lists and mappings with these inside, which a parameter of text gets as JSON.",
    )
    stream: StreamConfig = Field(StreamConfig(), description="How content is cut for a streaming argument.")
    name: str | None = Field(None, min_length=1, description="kinds openai and inference_v2: the model.")
    version: str | None = Field(
        None, min_length=1, description="kind inference_v2: its version; by default the server chooses."
    )
    key_env: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Environment variable that holds the key. kind openai: by default OPENAI_API_KEY, CLARIFAI_PAT for "
        "Clarifai's API, and none for this machine; kind inference_v2: by default none.",
    )
    outputs: tuple[str, ...] | dict[str, Role] = Field(
        (),
        description="kind inference_v2: the tensors to ask for, by default all; or what each is, as in {scores: score, "
        "names: label}.",
    )
    pixels: PixelsConfig = Field(
        PixelsConfig(), description="kind inference_v2: how pictures become tensors of floats."
    )
    callable: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$",
        description="kind python: MODULE:NAME of a class or function.",
    )
    setup: dict[str, Any] | None = Field(
        None,
        description="kind python: arguments with which the class, or a factory, is called once a process.",
    )
    executor: Literal["thread", "process"] = Field(
        "thread", description="kind python: calls run in threads, or each in a process of its own."
    )
    folder: str | None = Field(
        None,
        description="kind python: where the module lies, before PYTHONPATH; default: the job file's folder.",
    )

    @model_validator(mode="before")
    @classmethod
    def _method_of_its_kind(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("kind") in _METHODS and "method" not in value:
            return {**value, "method": _METHODS[value["kind"]]}
        return value

    @model_validator(mode="after")
    def _keys_of_its_kind(self) -> ModelConfig:
        odd = sorted(
            name for name in self.model_fields_set if self.kind not in _KINDS.get(name, (self.kind,))
        )
        if odd:
            kinds = sorted({kind for name in odd for kind in _KINDS[name]})
            raise ValueError(
                f"{', '.join(odd)} {'is no key' if len(odd) == 1 else 'are no keys'} of kind {self.kind}; leave "
                f"{'it' if len(odd) == 1 else 'them'} out, or write kind: {' or '.join(kinds)}"
            )
        if self.kind == "python" and self.callable is None:
            raise ValueError("kind: python calls a class or function; add callable: MODULE:NAME")
        if self.kind == "inference_v2":
            self._check_inference()
        if self.kind == "openai":
            self._check_openai()
        return self

    def _check_openai(self) -> None:
        if (self.name is None) == (self.url is None):
            raise ValueError(
                "the model is named once: by name as the server has it, or by url for Clarifai's API"
            )
        if self.method not in ("chat", "responses", "embeddings"):
            raise ValueError(
                f"method: {self.method!r} is none of the API's; write chat, responses or embeddings"
            )

    def _check_inference(self) -> None:
        if self.name is None:
            raise ValueError("no model is named; add name, as the server has it")
        if self.method not in ("infer", "stream"):
            raise ValueError(f"method: {self.method!r} is none of the protocol's; write infer or stream")
        if isinstance(self.outputs, dict) and len(set(self.outputs.values())) < len(self.outputs):
            raise ValueError("outputs gives one role to two tensors; give each a role of its own, or none")

    @model_validator(mode="after")
    def _named_once(self) -> ModelConfig:
        if self.kind != "clarifai":
            return self
        ids = [key for key in ("user_id", "app_id", "model_id") if getattr(self, key)]
        if self.url and ids:
            raise ValueError(f"url and {', '.join(ids)} both name the model; keep one of them")
        if ids and len(ids) < 3:
            missing = [key for key in ("user_id", "app_id", "model_id") if key not in ids]
            raise ValueError(f"a model named by ids also needs {', '.join(missing)}")
        if not self.url and not ids and self.endpoint != "embedded":
            raise ValueError("no model is named; add url, or user_id with app_id and model_id")
        if self.deployment and self.nodepool:
            raise ValueError("deployment and nodepool both say where to send; keep one of them")
        return self
