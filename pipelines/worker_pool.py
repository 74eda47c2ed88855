"""The command `python -m bulkinfer.pipelines.worker_pool`: starts Beam workers on a host of a cluster."""

from .runners.worker_pool import main

if __name__ == "__main__":
    main()
