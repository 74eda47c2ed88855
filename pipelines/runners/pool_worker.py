"""The main program of a worker pool's process: imports everything first, then waits for a runner to need it.

Started by `worker_pool` as `python -m bulkinfer.pipelines.runners.pool_worker`. It reads one line of JSON, its
environment variables from the runner; when the input ends before, the pool has ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Wait for the environment variables, then work for the runner that they name, until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the pool handles Ctrl-C, and ends waiting workers
    from apache_beam.runners.worker import sdk_worker_main  # noqa: PLC0415
    from bulkinfer.transforms import inference  # noqa: F401, PLC0415  (a job's main step)

    given = sys.stdin.readline()
    if not given:
        return
    os.environ.update(json.loads(given))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Beam ends a stuck worker by SIGINT
    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
