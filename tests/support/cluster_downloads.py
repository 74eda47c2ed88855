"""What a cluster is made of, from the package registries into a cache: Flink, job servers, Prism, our own wheel.

All of it goes to `.cluster/` in the repository, by coordinates: pip, Maven and Go know their registries. Tests fetch
what they lack; `python -m support.cluster_downloads` fetches it all beforehand.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from apache_beam.version import __version__ as beam_version

__all__ = ["CACHE", "FLINK_VERSION", "flink_classpath", "job_server_jar", "our_wheel_site", "prism_binary"]

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("BULKINFER_CLUSTER_CACHE", REPOSITORY / ".cluster"))
FLINK_VERSION = "1.19.3"
_JOB_SERVERS = {"flink": "beam-runners-flink-1.19-job-server", "spark": "beam-runners-spark-3-job-server"}
_PRISM = "github.com/apache/beam/sdks/v2/go/cmd/prism"
_POM = Path(__file__).parent / "job_server" / "pom.xml"


def flink_classpath() -> str:
    """The jars of a Flink distribution, out of PyPI's `apache-flink-libraries`."""
    home = CACHE / f"flink-{FLINK_VERSION}"
    if not home.exists():
        downloads = CACHE / "downloads"
        source = f"apache-flink-libraries=={FLINK_VERSION}"
        _run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"],
            ["--dest", str(downloads), source],
        )
        partial = home.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        archive = downloads / f"apache-flink-libraries-{FLINK_VERSION}.tar.gz"
        with tarfile.open(archive) as packed:
            for member in packed:
                path = Path(member.name)
                if path.parent.name == "lib" and path.name.startswith(("flink-dist", "log4j")):
                    file = packed.extractfile(member)
                    assert file is not None
                    (partial / path.name).write_bytes(file.read())
        partial.rename(home)
        archive.unlink()
    return os.pathsep.join(map(str, sorted(home.glob("*.jar"))))


def job_server_jar(runner: str) -> Path:
    """Beam's job server for "flink" or "spark".

    Of our own Beam version where the registry carries it; otherwise built from the parts of another version.
    """
    artifact = _JOB_SERVERS[runner]
    ready = CACHE / "jars" / f"{artifact}-{beam_version}.jar"
    built = CACHE / "jars" / f"{artifact}-parts.jar"
    for jar in (ready, built):
        if jar.exists():
            return jar
    ready.parent.mkdir(parents=True, exist_ok=True)
    copied = subprocess.run(
        [
            *("mvn", "--batch-mode", "--quiet", "dependency:copy"),
            f"-Dartifact=org.apache.beam:{artifact}:{beam_version}",
            f"-DoutputDirectory={ready.parent}",
        ],
        capture_output=True,
        check=False,
    )
    if copied.returncode == 0 and ready.exists():
        return ready
    directory = CACHE / "build" / runner
    _run(
        ["mvn", "--batch-mode", "--quiet", "--file", str(_POM), f"-P{runner}"],
        [f"-Doutput.folder={directory}", "package"],
    )
    shutil.move(str(directory / "job-server-1.jar"), built)
    shutil.rmtree(directory)
    return built


def prism_binary() -> Path | None:
    """Prism of our own Beam version, built by Go; None where there is none yet and no Go to build it."""
    binary = CACHE.absolute() / f"prism-{beam_version}" / "prism"
    if not binary.exists():
        if shutil.which("go") is None:
            return None
        partial = binary.parent.with_suffix(".partial")  # a build that was broken off is no binary
        _run(["env", f"GOBIN={partial}", "go", "install"], [f"{_PRISM}@v{beam_version}"])
        partial.rename(binary.parent)
    return binary


def our_wheel_site() -> Path:
    """A folder with our built wheel and nothing else, as it is installed in a worker's environment."""
    site = CACHE / "site"
    shutil.rmtree(site, ignore_errors=True)
    pip = [sys.executable, "-m", "pip"]
    with tempfile.TemporaryDirectory() as temporary:
        # From a copy: setuptools builds in the source tree, and what an earlier build left there goes along.
        source = Path(temporary) / "source"
        source.mkdir()
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(REPOSITORY / name, source / name)
        for package in ("pipelines", "transforms"):
            shutil.copytree(
                REPOSITORY / package, source / package, ignore=shutil.ignore_patterns("__pycache__")
            )
        _run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", temporary], [str(source)])
        wheels = [str(path) for path in Path(temporary).glob("*.whl")]
        _run([*pip, "install", "--quiet", "--no-deps", "--target", str(site)], wheels)
    return site


def main() -> None:
    """Fetch all of it, from the three registries at once, and tell how long each took."""
    begun = time.monotonic()

    def timed(name: str, *fetches: Callable[[], object]) -> str:
        for fetch in fetches:
            fetch()
        return f"{name}: ready after {time.monotonic() - begun:.0f} s\n"

    with ThreadPoolExecutor() as pool:
        jars = [functools.partial(job_server_jar, runner) for runner in _JOB_SERVERS]
        fetched = [
            pool.submit(timed, "Flink", flink_classpath),
            pool.submit(timed, "job servers", *jars),  # one after the other: both fill Maven's repository
            pool.submit(timed, "Prism", prism_binary),
        ]
        for one in as_completed(fetched):
            sys.stderr.write(one.result())


def _run(command: list[str], arguments: list[str]) -> None:
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"{' '.join([*command, *arguments])} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )


if __name__ == "__main__":
    main()
