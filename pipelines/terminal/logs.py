"""Configures logging to stderr, and overrides what Beam has set up."""

from __future__ import annotations

import logging

from bulkinfer.transforms.storage.references import hide_secrets

from .console import LineHandler

__all__ = ["configure_logging"]


def configure_logging(verbose: int) -> None:
    """Log to stderr.

    Args:
        verbose: 0 for warnings, 1 for INFO, 2 for DEBUG.
    """
    # When it is imported, Beam warns on the root logger that cloud clients are missing which the job does not use.
    logging.getLogger().addFilter(_unless_about_clouds)
    # Its import also installs a root handler; `force` replaces it, whichever comes first.
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    handler = LineHandler()
    handler.setFormatter(_Discreet("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("apache_beam", "grpc", "urllib3", "botocore", "aiobotocore", "fsspec"):
        logging.getLogger(noisy).setLevel(
            level if verbose > 1 else logging.CRITICAL if not verbose else logging.ERROR
        )


class _Discreet(logging.Formatter):
    """Leaves out the secrets of references, which drivers log whole."""

    def format(self, record: logging.LogRecord) -> str:
        return hide_secrets(super().format(record))


def _unless_about_clouds(record: logging.LogRecord) -> bool:
    return "apitools not found" not in record.getMessage()
