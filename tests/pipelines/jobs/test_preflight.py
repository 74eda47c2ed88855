"""A job that cannot work is refused before anything is read: exit 2 and one message with location and fix."""

from __future__ import annotations

import json
import os
import socket

import pytest
from bulkinfer.pipelines.embedded.server import serve
from support.jobs import photo, run_cli, write_job

MODEL = "https://clarifai.com/bulkinfer/embedded/models/demo"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.txt").write_text("This is a text about nothing in particular.")
    return tmp_path


def refused(folder, *words, env=None, command="run", **sections):
    sections.setdefault("source", {"files": "*.txt"})
    ran = run_cli(command, write_job(folder, **sections), cwd=folder, env=env)
    assert ran.code == 2, ran.err + ran.out
    assert ran.out == ""
    for word in words:
        assert word in ran.err, ran.err
    assert "Traceback" not in ran.err
    assert len(ran.err.strip().splitlines()) <= 3, ran.err
    return ran


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_source_that_matches_nothing(folder, endpoint, command):
    refused(
        folder,
        "none/*.txt",
        source={"files": "none/*.txt"},
        model={"url": MODEL, "endpoint": endpoint, "method": "classify"},
        command=command,
    )


def test_a_manifest_that_is_not_there(folder, endpoint):
    refused(
        folder,
        "refs.csv",
        source={"manifest": "refs.csv", "columns": {"uri": "uri"}},
        model={"url": MODEL, "endpoint": endpoint, "method": "classify"},
    )


def test_a_manifest_without_a_column(folder, endpoint):
    (folder / "refs.csv").write_text("url,city\na.txt,b\n")
    refused(
        folder,
        "uri",
        "url",
        source={"manifest": "refs.csv", "columns": {"uri": "uri"}},
        model={"url": MODEL, "endpoint": endpoint, "method": "classify"},
    )


def test_a_method_that_does_not_exist(folder, endpoint):
    refused(folder, "classifi", "classify", model={"url": MODEL, "endpoint": endpoint, "method": "classifi"})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"text": "$content", "nope": 1}, ["nope", "classify"]),
        ({"text": 5}, ["model.arguments.text", "str"]),
        ({"text": "$column.body"}, ["body"]),
    ],
)
def test_arguments_that_do_not_fit(folder, endpoint, arguments, words):
    model = {"url": MODEL, "endpoint": endpoint, "method": "classify", "arguments": arguments}
    refused(folder, *words, model=model)


def test_a_required_argument_that_is_missing(folder, endpoint):
    model = {"url": MODEL, "endpoint": endpoint, "method": "predict", "arguments": {"return_type": "all"}}
    refused(folder, "image", model=model)


def test_no_credentials_for_the_public_api(folder):
    refused(folder, "CLARIFAI_PAT", model={"url": "https://clarifai.com/a/b/models/c"})


@pytest.mark.parametrize("env", [{}, {"CLARIFAI_PAT": "wrong-key-1234"}])
def test_credentials_that_the_endpoint_refuses(folder, monkeypatch, env):
    monkeypatch.setenv("SERVER_KEY", "right-key-5678")
    with serve(required_key_env="SERVER_KEY") as server:
        ran = refused(
            folder,
            "CLARIFAI_PAT",
            model={"url": MODEL, "endpoint": server.endpoint, "method": "classify"},
            env=env,
        )
    assert "wrong-key" not in ran.err


def test_the_right_credentials_work_and_appear_nowhere(folder, monkeypatch):
    monkeypatch.setenv("SERVER_KEY", "right-key-5678")
    with serve(required_key_env="SERVER_KEY") as server:
        job = write_job(
            folder,
            source={"files": "*.txt"},
            model={"url": MODEL, "endpoint": server.endpoint, "method": "classify"},
        )
        ran = run_cli("run", job, "-v", cwd=folder, env={"CLARIFAI_PAT": "right-key-5678"})
    assert ran.code == 0, ran.err
    written = b"".join(path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file())
    assert "right-key" not in ran.err + ran.out
    assert b"right-key" not in written


def test_a_model_that_the_endpoint_does_not_know(folder):
    with serve(model_url=MODEL) as server:
        refused(
            folder,
            "other",
            model={
                "url": "https://clarifai.com/bulkinfer/embedded/models/other",
                "endpoint": server.endpoint,
                "method": "classify",
            },
        )


def test_no_server_at_the_address(folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    ran = refused(folder, address, model={"url": MODEL, "endpoint": address, "method": "classify"})
    assert ran.seconds < 15


def test_an_output_that_cannot_be_written(folder, endpoint):
    (folder / "out").write_text("a file where the directory should be")
    refused(folder, "out", model={"url": MODEL, "endpoint": endpoint, "method": "classify"})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_without_permission(folder, endpoint):
    (folder / "locked").mkdir(mode=0o500)
    refused(
        folder,
        "locked",
        model={"url": MODEL, "endpoint": endpoint, "method": "classify"},
        output={"uri": "locked/out"},
    )


def test_a_url_that_names_no_model(folder, endpoint):
    refused(
        folder,
        "https://clarifai.com/USER/APP/models/MODEL",
        model={"url": "https://clarifai.com/a/b/workflows/c", "endpoint": endpoint},
    )


def test_plan_writes_nothing_and_sends_no_input(folder, endpoint):
    job = write_job(
        folder, source={"files": "*.txt"}, model={"url": MODEL, "endpoint": endpoint, "method": "classify"}
    )
    before = sorted(path.name for path in folder.iterdir())

    ran = run_cli("plan", job, "--json", cwd=folder)

    assert ran.code == 0, ran.err
    assert (ran.json["inputs"], ran.json["calls"]) == (1, 1)
    assert ran.json["bytes"] == (folder / "a.txt").stat().st_size
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize(
    ("uri", "told"), [("out", "decided by the store"), ("memory://plan-out", "decided by timed claims")]
)
def test_plan_says_how_a_commit_is_decided(folder, endpoint, uri, told):
    job = write_job(
        folder,
        source={"files": "*.txt"},
        model={"url": MODEL, "endpoint": endpoint, "method": "classify"},
        output={"uri": uri},
    )

    assert f"\ncommits   {told}" in run_cli("plan", job, cwd=folder).out


def test_a_faulty_job_file_is_answered_at_once(folder):
    (folder / "job.yaml").write_text(
        "source: {files: '*.txt'}\nmodel: {endpoint: embedded}\noutput: {uri: o}\nrnner: 1\n"
    )

    ran = run_cli("run", "job.yaml", cwd=folder)

    assert ran.code == 2
    assert ran.err == "bulkinfer: job.yaml:4: rnner: unknown key; did you mean runner?\n"


def test_neither_help_nor_a_faulty_job_file_imports_beam(folder):
    import subprocess
    import sys

    (folder / "job.yaml").write_text("zzz: 1\n")
    probe = (
        "import sys; from bulkinfer.pipelines.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print('apache_beam' in sys.modules, 'pyarrow' in sys.modules)"
    )
    for arguments in (["--help"], ["run", "job.yaml"]):
        done = subprocess.run(
            [sys.executable, "-c", probe, *arguments], cwd=folder, capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "False False"


def test_a_faulty_runner_is_answered_before_beam_is_imported(folder):
    import subprocess
    import sys

    (folder / "job.yaml").write_text(
        "source: {files: 's3://in/*.txt'}\nmodel: {url: 'https://clarifai.com/u/a/models/m'}\n"
        "output: {uri: 's3://out'}\n"
        "runner: {name: spark, options: {spark_job_server_jar: none.jar}}\n"
    )
    probe = (
        "import sys; from bulkinfer.pipelines.cli import main\n"
        "try: main(['run', 'job.yaml'])\n"
        "except SystemExit as end: print(end.code, 'apache_beam' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["2", "False"]
    assert "spark_job_server_jar: there is no file none.jar" in done.stderr


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_kept_column_with_a_name_that_is_taken(folder, endpoint, command):
    (folder / "refs.csv").write_text("uri,label\na.txt,cat\n")
    refused(
        folder,
        "'label', which is a column of the predictions table itself",
        source={"manifest": "refs.csv", "columns": {"uri": "uri", "keep": ["label"]}},
        model={"url": MODEL, "endpoint": endpoint, "method": "classify"},
        command=command,
    )


def test_pictures_that_the_server_fetches_cannot_be_turned(folder, endpoint):
    (folder / "refs.csv").write_text("uri\nhttps://example.org/a.jpg\n")
    refused(
        folder,
        "source.image.orientation",
        "$uri",
        source={"manifest": "refs.csv", "columns": {"uri": "uri"}, "image": {"orientation": "apply"}},
        model={
            "url": MODEL,
            "endpoint": endpoint,
            "method": "segment_anything",
            "arguments": {"image": "$uri"},
        },
        command="plan",
    )


@pytest.fixture(scope="module")
def elsewhere():
    """A server that is reached by an address of this machine that is none of loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; it only chooses an interface
        except OSError:
            pytest.skip("this machine has no network")
        host = probe.getsockname()[0]
    with serve(host="0.0.0.0") as server:
        yield server.endpoint.replace("0.0.0.0", host).replace("127.0.0.1", host)


@pytest.mark.parametrize(
    ("references", "argument", "reached"),
    [
        (["a.jpg"], "$uri", False),
        (["file:///data/a.jpg", "http://127.0.0.1:1/a.jpg"], "$uri", False),
        (["zip://a.jpg::photos.zip"], "$uri", False),
        (["a.jpg", "https://example.org/a.jpg"], "$uri", True),  # the others are rows of `errors`
        (["s3://bucket/a.jpg"], "$uri", True),
        (["data:image/png;base64,aaaa"], "$uri", True),  # it is content
        (["a.jpg"], "$content", True),
    ],
)
def test_a_server_elsewhere_gets_no_reference_that_only_this_machine_reaches(
    folder, elsewhere, references, argument, reached
):
    (folder / "refs.jsonl").write_text("".join(json.dumps({"uri": one}) + "\n" for one in references))
    model = {"url": MODEL, "method": "segment_anything", "arguments": {"image": argument}}
    source = {"manifest": "refs.jsonl", "columns": {"uri": "uri"}}
    job = write_job(folder, source=source, model={**model, "endpoint": elsewhere})
    ran = run_cli("plan", job, cwd=folder)

    assert ran.code == (0 if reached else 2), ran.err
    assert reached or (elsewhere in ran.err and "pass $content" in ran.err)


def test_nor_files_of_this_machine(folder, elsewhere, endpoint):
    (folder / "a.jpg").write_bytes(photo())
    model = {"url": MODEL, "method": "segment_anything", "arguments": {"image": "$uri"}}
    refused(
        folder,
        "pass $uri",
        "*.jpg",
        source={"files": "*.jpg"},
        model={**model, "endpoint": elsewhere},
    )
    assert not (folder / "out").exists()
    here = write_job(folder, source={"files": "*.jpg"}, model={**model, "endpoint": endpoint})
    assert run_cli("plan", here, cwd=folder).code == 0


@pytest.mark.parametrize(
    ("files", "output", "within"),
    [(".", "out", True), ("**/*.json", "./out", True), ("**/*.txt", "out", False), ("*", "out", False)],
)
def test_an_output_among_the_inputs(folder, endpoint, files, output, within):
    sections = {
        "source": {"files": files, "media": "text"},
        "model": {"url": MODEL, "endpoint": endpoint, "method": "classify"},
        "output": {"uri": output},
    }
    (folder / "b.json").write_text("{}")
    if within:
        refused(folder, "output.uri", "for inputs", command="plan", **sections)
    else:
        assert run_cli("plan", write_job(folder, **sections), cwd=folder).code == 0
