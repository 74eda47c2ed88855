"""A nightly run by Airflow's Beam operator (apache-airflow-providers-apache-beam).

The operator starts configs/launch.py with these options; the job file's runner.name says where it runs. The key is
in the environment of the Airflow worker and of the Beam workers, never in the options, which Airflow shows.
"""

from __future__ import annotations

import datetime

from airflow import DAG
from airflow.providers.apache.beam.operators.beam import BeamRunPythonPipelineOperator

with DAG(
    dag_id="bulkinfer",
    schedule="15 2 * * *",
    start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
    catchup=False,
    max_active_runs=1,
    # The same command goes on where the failed one ended.
    default_args={"retries": 3, "retry_delay": datetime.timedelta(minutes=5)},
) as dag:
    BeamRunPythonPipelineOperator(
        task_id="segment",
        runner="FlinkRunner",
        py_file="configs/launch.py",
        py_interpreter="python3",
        py_system_site_packages=True,
        pipeline_options={
            "job_file": "configs/cluster/flink.yaml",
            # One output for all nights: what it holds is not sent again. partition_by: [date] tells them apart.
            "set": "output.uri=s3://lake/photos",
            # The operator fails a task for any code but 0, and 3 is a finished job with some inputs in `errors`.
            "errors_are_fine": True,
        },
    )
