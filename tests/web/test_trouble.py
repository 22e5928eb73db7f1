"""The server in trouble, as its users see it: a database that came from a backup, a stream that is lost."""
import json

import pytest

from harness import Daemon, wait_until
from page import Page


@pytest.fixture
def degraded(tmp_path):
    """A daemon whose database was found damaged and restored from its backup."""
    daemon = Daemon(tmp_path, slots=1).start()
    wait_until("a backup", lambda: daemon.api("GET", "/v1/admin/backups").json()["items"])
    daemon.stop()
    (daemon.state / "degraded.json").write_text(json.dumps({"pending": ["state.db"], "reason": "state.db was <b>damaged</b>"}))
    daemon.start()
    yield daemon
    daemon.stop()


def test_a_restored_database_is_told_on_every_page_until_it_is_acknowledged(chrome, degraded):
    page = Page(chrome, degraded)
    page.size(1300, 900)
    page.sign_in()
    page.wait_text("#notice", "Restored from a backup, takes no new runs. state.db was <b>damaged</b>")
    assert page.count("#notice b") == 1, "the reason stays text"
    for key, title in (("r", "Runs"), ("q", "Queue"), ("s", "Settings")):
        page.press("g", key)
        page.wait_text("main h1", title)
        assert "takes no new runs" in page.text("#notice")
    viewer = degraded.api("POST", "/v1/tokens", json={"user": "eve", "role": "viewer"}).json()["token"]
    page.forget()
    page.sign_in(viewer)
    page.wait_text("#notice", "takes no new runs")
    assert page.count("#notice button") == 0
    page.forget()
    page.sign_in()
    page.wait_text("#notice", "takes no new runs")
    page.click("#notice button")
    assert page.answer("no") == "Take submissions again?"
    assert degraded.api("GET", "/v1/status").json()["status"] == "degraded"
    page.click("#notice button")
    page.answer("yes")
    wait_until("the notice is gone", lambda: page.js("return document.querySelector('#notice').hidden"))
    assert degraded.api("GET", "/v1/status").json()["degraded"] is None
    assert page.complaints() == []
    page.leave()


def test_the_banner_of_a_lost_stream_covers_and_does_not_move(page):
    """What is under the pointer stays there; the age counts on; it goes when the stream is back."""
    place = "return document.querySelector('main').getBoundingClientRect().y"
    before = page.js(place)
    page.provoked.append("net::ERR_")
    page.driver.execute_cdp_cmd("Network.enable", {})
    page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1})
    try:
        page.daemon.stop()
        page.daemon.start()
        page.wait_text("#banner", "No connection to the server for 2 s. What you see is that old.")
        assert page.js("return getComputedStyle(document.querySelector('#banner')).position") == "fixed" and page.js(place) == before
        page.wait_text("#banner", "for 4 s")
        assert page.text("#link") == "offline"
    finally:
        page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1})
    wait_until("it is gone", lambda: page.js("return document.querySelector('#banner').hidden"))
