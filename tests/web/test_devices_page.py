"""Devices and their cordons, webhooks, alerts."""
import http.server
import shutil
import threading

import pytest

from harness import BUILD, Daemon, wait_until
from page import Page


def test_a_device_is_cordoned_with_a_reason_and_used_again(page):
    page.press("g", "d")
    page.wait_text("#page h1", "Devices")
    page.click("[data-device=host-0] [data-verb=cordon]")
    page.set("dialog input", "<b>fan</b> noise")
    assert page.answer("yes") == "Cordon Host slot 0?"
    page.wait_text("[data-device=host-0] .note", "<b>fan</b> noise")
    assert page.text("[data-device=host-0] .chip") == "cordoned"
    assert page.daemon.api("GET", "/v1/gpus").json()["items"][0]["cordon"]["reason"] == "<b>fan</b> noise"
    page.click("[data-device=host-0] [data-verb=uncordon]")
    wait_until("it is free", lambda: page.text("[data-device=host-0] .chip") == "free")


def test_a_gpu_shows_what_it_does_and_did(chrome, tmp_path, monkeypatch):
    """Told by a stand-in for the driver's library: gauges now, curves of the last minutes, a foreign process."""
    library, script = BUILD / "tests" / "fake" / "nvml_fake.so", tmp_path / "gpus.txt"
    if not library.exists():
        pytest.skip("the stand-in for NVIDIA's library is not built: make test builds it")
    script.write_text(f"gpu GPU-aaaa {80 << 30} Big\nutil 0 91 50\nused 0 {60 << 30}\ntemperature 0 71\npower 0 300000\n")
    monkeypatch.setenv("IJEPAD_NVML", str(library))
    monkeypatch.setenv("IJEPAD_FAKE_NVML", str(script))
    daemon = Daemon(tmp_path, slots=1).start()
    wait_until("some samples", lambda: [table["rows"] > 2 for table in daemon.api("GET", "/v1/gpus/GPU-aaaa/samples").json()["tables"]] == [True])
    page = Page(chrome, daemon)
    page.sign_in()
    page.go("#/gpus")
    page.wait_text("[data-device=GPU-aaaa]", "71 °C")
    meters = page.js("return [...document.querySelectorAll('[data-device=GPU-aaaa] [role=meter]')].map((m) => [m.getAttribute('aria-label'), m.getAttribute('aria-valuetext')])")
    assert meters == [["Busy", "91 %"], ["Memory", "60 GiB of 80 GiB"]]
    assert page.count("[data-device=GPU-aaaa] .spark polyline") == 2
    with script.open("a") as told:
        told.write("xid 0 63\n")
    page.wait_text("[data-device=GPU-aaaa]", "63a memory row was marked for replacement (noted)1")
    page.go("#/")
    page.wait_text("[data-device=GPU-aaaa]", "60 GiB of 80 GiB")
    assert page.complaints() == []
    page.leave()
    daemon.stop()


def test_the_overview_has_a_tile_for_each_device_and_tells_what_needs_a_look(page, scenes, tmp_path):
    page.wait_text("[data-device=host-0]", "Waits for a run")
    images = shutil.copytree(scenes, tmp_path / "images")
    run = page.submit(images, "falls", hold=True)
    shutil.rmtree(images)
    page.daemon.api("POST", f"/v1/runs/{run}/release")
    page.daemon.wait_for_state(run, "failed")
    page.wait_text(".alerts", "falls failed")
    assert page.js("return document.querySelector('.alerts a').getAttribute('href')") == f"#/{run}"


def test_a_webhook_is_made_tested_switched_off_and_deleted(page):
    heard = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            heard.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page.go("#/settings/webhooks")
    page.set("#h-url", f"http://127.0.0.1:{server.server_port}/hook")
    page.js("document.querySelector('#h-url').form.requestSubmit()")
    page.wait_for("dialog .token")
    page.answer("ok")
    page.wait_text("[aria-label=Webhooks] tbody", "run.failed")
    page.click("[data-verb=test]")
    wait_until("the message came", lambda: heard)
    page.js("[...document.querySelectorAll('[aria-label=Webhooks] button')].find((b) => b.textContent === 'Switch off').click()")
    page.wait_text("[aria-label=Webhooks] tbody", "off")
    page.js("[...document.querySelectorAll('[aria-label=Webhooks] button')].find((b) => b.textContent === 'Delete').click()")
    assert page.answer("yes").startswith("Delete the webhook w")
    page.wait_text("[aria-label=Webhooks]", "None.")
    server.shutdown()
