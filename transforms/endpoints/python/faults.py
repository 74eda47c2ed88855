"""Maps what a callable raises to verdicts, in one table."""

from __future__ import annotations

import re
import traceback

from ...calls.endpoint import Fault, Verdict

__all__ = ["fault_of", "fault_of_one", "mismatch", "wrong_answer"]

#: Verdicts by the name of a class, the error's own or one that it derives from: libraries have classes of their own
#: that are named alike. Any other error may be the fault of one input.
VERDICTS: dict[str, Verdict] = {
    "MemoryError": Verdict.TOO_LARGE,
    "OutOfMemoryError": Verdict.TOO_LARGE,  # torch
    "ResourceExhaustedError": Verdict.TOO_LARGE,  # tensorflow
    "ConnectionError": Verdict.TRANSPORT,
    "TimeoutError": Verdict.TRANSPORT,
}
#: The words that an error's attribute `verdict` may have, in place of its class.
WORDS: dict[str, Verdict] = {
    verdict.name.lower(): verdict
    for verdict in Verdict
    if verdict not in (Verdict.OK, Verdict.MIXED, Verdict.DEADLINE, Verdict.TOO_SLOW)
}


def fault_of(error: BaseException) -> Fault:
    """The fault of a whole call that raised this."""
    verdict = _verdict(error)
    return Fault(
        verdict,
        error_type="too_large" if verdict is Verdict.TOO_LARGE else _snake(type(error).__name__),
        message=f"the callable raised {described(error)}",
        retry_after_s=_seconds(error),
    )


def fault_of_one(error: BaseException) -> Fault:
    """The fault of one input, whose answer this error is; it needs no further call to stand alone."""
    fault = fault_of(error)
    verdict = Verdict.BAD_INPUT if fault.verdict is Verdict.SPLIT else fault.verdict
    return Fault(
        verdict,
        fault.error_type,
        f"the callable answered with {described(error)}",
        retry_after_s=fault.retry_after_s,
    )


def mismatch(message: str) -> Fault:
    """The fault of a call whose answers cannot be paired with its inputs."""
    return Fault(Verdict.MISMATCH, "output_count", message)


def wrong_answer(message: str) -> Fault:
    """The fault of one input whose answer cannot become a row."""
    return Fault(Verdict.MISMATCH, "answer_type", message)


def described(error: BaseException) -> str:
    """An error in one line: its class, what it says, and where it was raised."""
    text = " ".join(str(error).split())
    text = text if len(text) <= 500 else text[:497] + "..."
    frames = traceback.extract_tb(error.__traceback__)
    place = ""
    if frames:
        last = next((one for one in reversed(frames) if "site-packages" not in one.filename), frames[-1])
        place = f" ({last.filename.rpartition('/')[2]}:{last.lineno} in {last.name})"
    return f"{type(error).__name__}{': ' if text else ''}{text}{place}"


def _verdict(error: BaseException) -> Verdict:
    word = getattr(error, "verdict", None)
    if isinstance(word, str) and word in WORDS:
        return WORDS[word]
    for kind in type(error).__mro__:
        if kind.__name__ in VERDICTS:
            return VERDICTS[kind.__name__]
    return Verdict.SPLIT


def _seconds(error: BaseException) -> float | None:
    value = getattr(error, "retry_after", None)
    return float(value) if isinstance(value, (int, float)) and value >= 0 else None


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
