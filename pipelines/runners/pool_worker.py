"""A worker process of the pool, which has imported everything before a runner asks for it.

Started by `worker_pool` as `python -m bulkinfer.pipelines.runners.pool_worker`. One line of JSON on its standard input
is the environment that the runner gives to its worker; the end of the input is the end of the pool.
"""

from __future__ import annotations

import json
import os
import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Wait for an environment, then serve the runner that it names, until that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the pool's, which ends those that wait
    from apache_beam.runners.worker import sdk_worker_main  # noqa: PLC0415
    from bulkinfer.transforms import LoadContent, Predict, ReadReferences, WriteTables  # noqa: F401, PLC0415  (a job's steps)

    given = sys.stdin.readline()
    if not given:
        return
    os.environ.update(json.loads(given))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # by which Beam ends a worker that is stuck
    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
