"""The main program of a local runner's worker process: Beam's worker with the launcher's log format and level.

Started by `local_runner` as `python -m bulkinfer.pipelines.runners.local_worker LEVEL`.
"""

from __future__ import annotations

import logging
import sys

__all__ = ["main"]


def main(level: int) -> None:
    """Work for the launcher that the environment variables name, until it ends.

    Args:
        level: lowest level that is logged to stderr, as in `logging`.
    """
    logging.disable(logging.WARNING if level >= logging.WARNING else logging.NOTSET)
    from apache_beam.runners.worker import (  # noqa: PLC0415  (after its warnings are disabled)
        sdk_worker,
        sdk_worker_main,
    )

    logging.disable(logging.NOTSET)
    # Where the launcher shows a bar, a line of another process takes the bar's place, and the bar goes on below it.
    clear = "\r\x1b[2K" if sys.stderr.isatty() else ""
    logging.basicConfig(
        format=clear + "%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr, force=True
    )
    # The handler's level, because Beam sets the logger's, and sends everything else to the launcher's log.
    logging.getLogger().handlers[0].setLevel(level)
    if level >= logging.WARNING:
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
        # Beam also prints the traceback of a failed bundle, whose fault the launcher tells in one line.
        sdk_worker.print = lambda *_, **__: None
    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main(int(sys.argv[1]))
