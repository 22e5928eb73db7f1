"""The status page in a real browser: sign-in, live table, charts, small screens, no way in for markup."""
import shutil

import pytest

from harness import Daemon, wait_until

webdriver = pytest.importorskip("selenium.webdriver", reason="python3-selenium is not installed")
from selenium.webdriver.common.by import By  # noqa: E402

pytestmark = pytest.mark.skipif(not shutil.which("chromedriver"), reason="chromium-driver is not installed")

PARAMS = dict(labels="none", crop=32, patch=8, model="custom", width=32, depth=1, heads=2, pred_width=16, pred_depth=1,
              pred_heads=2, batch=8, warmup_epochs=1, min_keep=0, sampler="unbiased", threads=1, loader_threads=1,
              eval_every_epochs=0)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    daemon = Daemon(tmp_path_factory.mktemp("page"), slots=1).start()
    yield daemon
    daemon.stop()


@pytest.fixture
def browser():
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1300,900", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options)
    yield driver
    driver.quit()


def sign_in(browser, daemon, token=None):
    browser.get(daemon.url + "/")
    wait_until("the form", lambda: browser.find_element(By.ID, "sign-in").is_displayed())
    browser.find_element(By.ID, "token").send_keys(token or daemon.token)
    browser.find_element(By.CSS_SELECTOR, "#sign-in-form button").click()


def text_of(browser, selector):
    return browser.execute_script("const e = document.querySelector(arguments[0]); return e ? e.textContent : ''", selector)


def submit(daemon, images, name, **extra):
    answer = daemon.api("POST", "/v1/runs", json={"kind": "pretrain", "name": name, **extra,
                                                  "params": {**PARAMS, "dataset": str(images), "epochs": 100000}})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def unexpected(browser):
    """What the console holds beyond the 401 that leads to the form."""
    return [row["message"] for row in browser.get_log("browser")
            if row["level"] in ("SEVERE", "WARNING") and "401" not in row["message"]]


def test_a_wrong_token_is_told(browser, daemon):
    sign_in(browser, daemon, "ijp_x_" + "a" * 43)
    wait_until("the error", lambda: "token" in text_of(browser, "#sign-in-error"))
    assert not browser.find_element(By.ID, "app").is_displayed()
    sign_in(browser, daemon)
    wait_until("the page", lambda: browser.find_element(By.ID, "app").is_displayed())


def test_states_and_charts_are_live(browser, daemon, images):
    running = submit(daemon, images, "page-live")
    sign_in(browser, daemon)
    wait_until("the stream is open", lambda: text_of(browser, "#link") == "live")
    waiting = submit(daemon, images, "page-waiting", hold=True)
    wait_until("the new run shows up by itself", lambda: "page-waiting" in text_of(browser, "#runs tbody"))
    assert "held" in text_of(browser, "#runs tbody tr")
    daemon.api("POST", f"/v1/runs/{waiting}/cancel")
    wait_until("its new state too", lambda: "canceled" in text_of(browser, "#runs tbody tr"))

    browser.get(f"{daemon.url}/#/{running}")
    wait_until("the chart has points", lambda: "step" in text_of(browser, ".chart .readout"), deadline_s=60)
    painted = browser.execute_script("""
        const c = document.querySelector(".chart canvas");
        return c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some((v) => v > 0);""")
    assert painted
    before = text_of(browser, ".chart .readout")
    wait_until("the chart moves on", lambda: text_of(browser, ".chart .readout") != before, deadline_s=60)

    def button(name):
        return next(b for b in browser.find_elements(By.CSS_SELECTOR, "#detail button") if b.text == name)
    button("pause").click()
    wait_until("it is paused", lambda: "paused" in text_of(browser, "#detail .chip"))
    assert daemon.run(running)["state"] == "paused"
    daemon.api("POST", f"/v1/runs/{running}/cancel")
    assert unexpected(browser) == []


def test_markup_from_a_run_stays_text(browser, daemon, images):
    run = submit(daemon, images, "page-text", hold=True, notes="<img src=x onerror=alert(1)>")
    sign_in(browser, daemon)
    wait_until("the table", lambda: "page-text" in text_of(browser, "#runs tbody"))
    before = browser.execute_script("return document.querySelectorAll('img, script').length")
    browser.execute_script("""
        return import("/dom.js").then(({make}) => document.querySelector("#tiles").append(
            make("div", {}, "<img src=x onerror='window.hit=1'><script>window.hit=1</script>")))""")
    assert browser.execute_script("return document.querySelectorAll('img, script').length") == before
    assert browser.execute_script("return window.hit") is None
    daemon.api("POST", f"/v1/runs/{run}/cancel")


def test_360_pixels_are_enough(browser, daemon, images):
    run = submit(daemon, images, "a-name-that-is-rather-long-for-a-small-screen-0123456789", hold=True)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                            {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True})
    sign_in(browser, daemon)
    wait_until("the table", lambda: "small-screen" in text_of(browser, "#runs tbody"))
    browser.get(f"{daemon.url}/#/{run}")
    wait_until("the run", lambda: "small-screen" in text_of(browser, "#detail h2"))
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    daemon.api("POST", f"/v1/runs/{run}/cancel")


def test_signing_out_ends_the_session(browser, daemon):
    sign_in(browser, daemon)
    wait_until("the page", lambda: browser.find_element(By.ID, "sign-out").is_displayed())
    browser.find_element(By.ID, "sign-out").click()
    wait_until("the form", lambda: browser.find_element(By.ID, "sign-in").is_displayed())
    status = browser.execute_async_script("fetch('/v1/runs').then((r) => arguments[0](r.status))")
    assert status == 401
