"""`python -m bulkinfer.pipelines.worker_pool` starts a worker pool beside a cluster's hosts."""

from .runners.worker_pool import main

if __name__ == "__main__":
    main()
