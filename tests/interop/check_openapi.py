#!/usr/bin/env python3
"""Has schemathesis check a real daemon against the OpenAPI document that it serves.

    check_openapi.py SCHEMATHESIS [--build build] [--examples 40] [--seed 1]

SCHEMATHESIS is the program from PyPI. The daemon gets a folder of its own, workers that never report, and a few runs to
be asked about. Two rounds: ids made up, and ids that exist. The stream of events never ends, so it is left out.
Exit status: schemathesis's own, 0 where nothing was found.
"""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent

# positive_data_acceptance is left out: what a field may say can depend on other fields, on the file system and on the
# state of runs, which a schema cannot tell.
CHECKS = ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
          "response_schema_conformance", "negative_data_rejection", "missing_required_header", "unsupported_method",
          "allow_header_conformance", "use_after_free", "ensure_resource_availability", "ignored_auth"]
KNOWN = {"/v1/runs/{id}": "r1", "/v1/gpus/{id}": "host-0", "/v1/sweeps/{id}": "s1", "/v1/webhooks/{id}": "w1", "/v1/checkpoints/{id}": "c1"}


def pinned(document):
    """schemathesis.toml with an id that exists for each path that takes one."""
    rows = []
    for path in document["paths"]:
        for prefix, value in KNOWN.items():
            if path.startswith(prefix):
                rows.append(f'[[operations]]\ninclude-path = "{path}"\nparameters = {{"path.id" = "{value}"}}\n')
    return "\n".join(rows)


def prepare(daemon, images):
    body = {"kind": "pretrain", "params": {"dataset": str(images), "labels": "none", "batch": 4}}
    for hold in (True, True, False, False):
        assert daemon.api("POST", "/v1/runs", json={**body, "hold": hold}).status_code == 201
    assert daemon.api("POST", "/v1/sweeps", json={**body, "hold": True, "grid": {"seed": [1, 2]}}).status_code == 201
    hook = daemon.api("POST", "/v1/webhooks", json={"url": "https://hooks.test/x", "events": ["run.failed"]})
    assert hook.status_code == 201, hook.text


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("schemathesis")
    parser.add_argument("--build", default="build")
    parser.add_argument("--examples", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.environ["IJEPAD_BUILD"] = options.build
    sys.path.insert(0, str(HERE.parent / "e2e"))
    from harness import Daemon
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        worker, images = folder / "worker", folder / "images"
        worker.write_text("#!/bin/sh\nexec sleep 6000\n")
        worker.chmod(0o755)
        images.mkdir()
        for i in range(8):
            (images / f"{i}.jpg").write_bytes(b"\xff\xd8\xff\xd9")
        daemon = Daemon(folder, worker=worker, start_timeout_s=6000, stop_grace_s=1, pause_grace_s=1, webhook_program="/bin/false").start()
        try:
            prepare(daemon, images)
            document = daemon.api("GET", "/v1/openapi.json").json()
            worst = 0
            for name, text in (("made up", ""), ("known", pinned(document))):
                print(f"==== ids: {name} ====", flush=True)
                (folder / "schemathesis.toml").write_text(text)
                done = subprocess.run([
                    options.schemathesis, "--config-file", folder / "schemathesis.toml", "run", f"{daemon.url}/v1/openapi.json",
                    "--header", f"Authorization: Bearer {daemon.token}", "--exclude-path", "/v1/events", "--checks", ",".join(CHECKS),
                    "--max-examples", str(options.examples), "--seed", str(options.seed), "--continue-on-failure", "--no-color",
                    "--request-timeout", "20", "--warnings", "off"], cwd=folder)
                worst = max(worst, done.returncode)
            assert daemon.process.poll() is None, daemon.log()[-2000:]
            assert daemon.api("GET", "/readyz").status_code == 200
        finally:
            daemon.stop()
    sys.exit(worst)


if __name__ == "__main__":
    main()
