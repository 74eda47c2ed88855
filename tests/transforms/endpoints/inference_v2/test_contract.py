"""The contract of endpoints for the Open Inference Protocol, against a gRPC server that speaks it."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from bulkinfer.transforms.calls.endpoint import Verdict
from bulkinfer.transforms.endpoints.inference_v2.endpoint import InferenceEndpoint
from bulkinfer.transforms.endpoints.inference_v2.kind import InferenceV2Kind
from bulkinfer.transforms.job.config import CallsConfig, ModelConfig, StopConfig
from contract import EndpointContract
from support.inference_server import InferenceServer, Model, Playing, Refused, Spec, running, texts_of

FAULTS = {
    Verdict.WAIT: Refused("INVALID_ARGUMENT", "Model reverse is not ready yet."),
    Verdict.THROTTLED: Refused("RESOURCE_EXHAUSTED", "too many requests"),
    Verdict.SERVER_FULL: Refused("UNAVAILABLE", "Exceeds maximum queue size"),
    Verdict.TRANSPORT: Refused("UNAVAILABLE", "gone"),
    Verdict.BAD_INPUT: Refused("INVALID_ARGUMENT", "a bad one"),
    Verdict.SPLIT: Refused("INTERNAL", "CUDA error"),
    Verdict.CREDENTIALS: Refused("UNAUTHENTICATED", "no such token"),
    Verdict.NO_MODEL: Refused("NOT_FOUND", "Model reverse not found"),
    Verdict.NO_METHOD: Refused(
        "UNIMPLEMENTED", "ModelInfer RPC doesn't support models with decoupled transaction policy"
    ),
    Verdict.NO_API: Refused("UNIMPLEMENTED", "Method not implemented!"),
}
TEXT = (Spec("text", "BYTES", (-1,)),)


class ProtocolKind:
    """Two servers that can be told to fail; the second takes small messages only."""

    small_bytes = 6_000

    def __init__(self, *servers: InferenceServer) -> None:
        self.servers = servers
        self.play()

    @staticmethod
    def models(kind: list[ProtocolKind]) -> dict[str, Model]:
        def reverse(arrays: Mapping[str, Any]) -> dict[str, Any]:
            texts = [text.decode() for text in arrays["text"]]
            extra = [text for text in texts if kind[0].playing.bad.get(text) == "mismatch"]
            return {"reversed": texts_of([text[::-1] for text in [*texts, *extra]])}

        def outline(arrays: Mapping[str, Any]) -> dict[str, Any]:
            masks = np.zeros((len(arrays["text"]), 8, 8), np.uint8)
            masks[:, :4, :4] = 1
            return {"outline": masks}

        def pieces(arrays: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
            number = kind[0].playing.count
            for piece in arrays["text"][0].split():
                yield {"piece": texts_of([piece.decode()])}
                if number <= kind[0].playing.breaks:
                    raise Refused("INTERNAL", "broken")

        return {
            "reverse": Model(reverse, TEXT, (Spec("reversed", "BYTES", (-1,)),)),
            "outline": Model(outline, TEXT, (Spec("outline", "UINT8", (-1, 8, 8)),)),
            "pieces": Model(pieces, TEXT, (Spec("piece", "BYTES", (-1,)),), decoupled=True),
        }

    def endpoint(self, method: str, *, small: bool = False) -> InferenceEndpoint:
        keys: dict[str, Any] = {
            "text": {"name": "reverse"},
            "masks": {"name": "outline", "outputs": {"outline": "mask"}},
            "stream": {"name": "pieces", "method": "stream"},
        }[method]
        model = ModelConfig(kind="inference_v2", endpoint=self.servers[small].endpoint, **keys)
        kind = InferenceV2Kind()
        call = kind.prepare(
            model, CallsConfig(), StopConfig(), address=kind.address(model), media_type="text", columns=()
        )
        assert isinstance(call.endpoint, InferenceEndpoint)
        return call.endpoint

    def play(
        self,
        *,
        first: Verdict | None = None,
        bad: Mapping[str, Verdict] | None = None,
        odd: Mapping[str, Verdict] | None = None,
        breaks: int = 0,
        seconds: float = 0.0,
        calls_per_second: int | None = None,
    ) -> None:
        faults: dict[str, Refused | str] = {
            name: FAULTS.get(verdict, "mismatch") for name, verdict in (bad or {}).items()
        }
        self.playing = Playing(
            first=FAULTS[first] if first is not None else None,
            bad=faults,
            breaks=breaks,
            seconds=seconds,
            rate=calls_per_second,
        )
        for server in self.servers:
            server.before = self.playing

    def inputs(self) -> collections.Counter[str]:
        return self.playing.seen

    def calls(self) -> int:
        return self.playing.count

    def answer(self, method: str, text: str) -> str:
        return "".join(text.split()) if method == "stream" else text[::-1]


class TestInferenceV2(EndpointContract):
    @pytest.fixture
    def kind(self) -> Iterator[ProtocolKind]:
        kinds: list[ProtocolKind] = []
        with contextlib.ExitStack() as stack:
            servers = [
                stack.enter_context(running(InferenceServer(ProtocolKind.models(kinds)), max_message=most))
                for most in (None, ProtocolKind.small_bytes + 600)
            ]
            kinds.append(ProtocolKind(*servers))
            yield kinds[0]

    # A call of this protocol fails or succeeds as a whole.
    test_an_input_with_a_fault_of_its_own_costs_the_others_no_call = None
