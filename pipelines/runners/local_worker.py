"""A worker process of the local runner: Beam's own, with logs like the launcher's.

Started by `local_runner` as `python -m bulkinfer.pipelines.runners.local_worker LEVEL`.
"""

from __future__ import annotations

import logging
import sys

__all__ = ["main"]


def main(level: int) -> None:
    """Serve the launcher that the environment names, until it ends.

    Args:
        level: what is logged to stderr, as a number of `logging`.
    """
    logging.disable(logging.WARNING if level >= logging.WARNING else logging.NOTSET)
    from apache_beam.runners.worker import sdk_worker_main  # noqa: PLC0415  (what it warns about is held back)

    logging.disable(logging.NOTSET)
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr, force=True
    )
    # The handler's level and not the logger's: Beam sets that one, and sends the rest to the launcher's log.
    logging.getLogger().handlers[0].setLevel(level)
    if level >= logging.WARNING:
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main(int(sys.argv[1]))
