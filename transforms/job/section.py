"""What all sections of a job file have in common, and the kinds of media."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = ["MediaType", "Section"]

MediaType = Literal["image", "text", "video", "audio"]


class Section(BaseModel):
    """Keys of a job file; unknown ones are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), use_attribute_docstrings=False
    )
