"""The log that goes to stderr, whatever Beam has set up before."""

from __future__ import annotations

import logging
import sys

__all__ = ["configure_logging"]


def configure_logging(verbose: int) -> None:
    """Log to stderr.

    Args:
        verbose: 0 for warnings, 1 for what happens, 2 for everything.
    """
    # Beam warns on the root logger of clients of clouds that the job does not use, whenever it is first imported.
    logging.getLogger().addFilter(_unless_about_clouds)
    # Importing it installs a root handler of its own, too; `force` takes its place whichever came first.
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(
        level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr, force=True
    )
    for noisy in ("apache_beam", "grpc", "urllib3", "botocore", "aiobotocore", "fsspec"):
        logging.getLogger(noisy).setLevel(
            level if verbose > 1 else logging.CRITICAL if not verbose else logging.ERROR
        )


def _unless_about_clouds(record: logging.LogRecord) -> bool:
    return "apitools not found" not in record.getMessage()
