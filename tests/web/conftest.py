"""A browser and a daemon for the tests of the dashboard. Without Chromium or selenium they are skipped, with the reason."""
import pathlib
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "e2e"))
from harness import BUILD, DEADLINE_S, Daemon  # noqa: E402

import page as page_module  # noqa: E402


def missing():
    try:
        import selenium.webdriver  # noqa: F401
    except ImportError:
        return "python3-selenium is not installed"
    if not shutil.which("chromedriver"):
        return "chromium-driver is not installed"
    return "" if shutil.which("chromium") else "chromium is not installed"


def pytest_collection_modifyitems(items):
    here, why = pathlib.Path(__file__).parent, missing()
    for item in items:
        if why and here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """96 rendered scenes with labels."""
    folder = tmp_path_factory.mktemp("web-scenes")
    subprocess.run([BUILD / "ijepad-worker", "scenes", folder, "--count", "96", "--size", "48"], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    daemon = Daemon(tmp_path_factory.mktemp("web"), slots=1, webhook_allow_local="yes").start()
    yield daemon
    daemon.stop()


def browser(*more):
    from selenium import webdriver
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1300,900", "--disable-dev-shm-usage", *more):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options)
    driver.set_page_load_timeout(DEADLINE_S)
    driver.set_script_timeout(DEADLINE_S)
    return driver


@pytest.fixture(scope="session")
def chrome():
    driver = browser()
    yield driver
    driver.quit()


@pytest.fixture
def page(chrome, daemon):
    """Signed in, on the overview; afterwards neither an error nor a report of the content security policy is in the console."""
    one = page_module.Page(chrome, daemon)
    one.size(1300, 900)
    one.sign_in()
    yield one
    complaints = one.complaints()
    one.leave()
    one.end(*(run["id"] for run in daemon.api("GET", "/v1/runs?state=live").json()["items"]))
    assert complaints == []
