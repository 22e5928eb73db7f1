"""What the tests do with the page: go, look, click, type. Waiting is always for something that can be seen."""
from harness import DEADLINE_S, wait_until

PARAMS = dict(labels="none", crop=48, patch=8, model="custom", width=32, depth=1, heads=2, pred_width=16, pred_depth=1,
              pred_heads=2, batch=16, warmup_epochs=0, min_keep=0, sampler="unbiased", threads=1, loader_threads=1, eval_every_epochs=0)


class Page:
    def __init__(self, driver, daemon):
        self.driver = driver
        self.daemon = daemon
        self.provoked = []

    # ---- Looking ----

    def js(self, script, *values):
        return self.driver.execute_script(script, *values)

    def text(self, selector):
        return self.js("const e = document.querySelector(arguments[0]); return e ? e.textContent : ''", selector)

    def texts(self, selector):
        return self.js("return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)", selector)

    def count(self, selector):
        return self.js("return document.querySelectorAll(arguments[0]).length", selector)

    def wait_text(self, selector, text, deadline_s=DEADLINE_S):
        try:
            wait_until(f"{text!r} in {selector}", lambda: text in self.text(selector), deadline_s, 0.05)
        except AssertionError as error:
            raise AssertionError(f"{error}; it holds {self.text(selector)[:400]!r}; {self.where()}") from None

    def where(self):
        """For people: which page, what has the focus, what it complained of."""
        return self.js("""const e = document.activeElement; return `at ${location.hash}, focus on ${e && e.tagName}#${e && e.id}, ` +
            `${document.querySelectorAll("dialog").length} dialogs, toast ${JSON.stringify(document.querySelector("#toast")?.textContent)}`""")

    def wait_for(self, selector, deadline_s=DEADLINE_S):
        wait_until(selector, lambda: self.count(selector), deadline_s, 0.05)

    def settled(self, quiet_ms=700):
        """Nothing under way: a page is there and for a while no request has ended."""
        return self.js("""return document.readyState === "complete" && document.querySelector("main h1, main form") &&
            performance.now() - Math.max(0, ...performance.getEntriesByType("resource").map((e) => e.responseEnd || performance.now())) > arguments[0]""", quiet_ms)

    def complaints(self):
        """What the console holds beyond the 401 that leads to the form, and what a test said it would provoke."""
        return [row["message"] for row in self.driver.get_log("browser")
                if row["level"] in ("SEVERE", "WARNING") and not any(text in row["message"] for text in ("401 (", *self.provoked))]

    # ---- Doing ----

    def size(self, width, height, mobile=False):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                    {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile})

    def scheme(self, name):
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
            {"name": "prefers-color-scheme", "value": name}, {"name": "prefers-reduced-motion", "value": "reduce"}]})

    def sign_in(self, token=None):
        self.driver.get(self.daemon.url + "/")
        self.wait_for("#token")
        self.set("#token", token or self.daemon.token)
        self.click("#sign-in-form button")
        if token is None:
            self.wait_text("#link", "live")

    def go(self, address):
        self.js("location.hash = arguments[0]", address)

    def click(self, selector):
        self.wait_for(selector)
        self.js("document.querySelector(arguments[0]).click()", selector)

    def set(self, selector, value):
        """Into a field, with the events that typing has."""
        self.wait_for(selector)
        self.js("""const e = document.querySelector(arguments[0]); e.value = arguments[1];
            e.dispatchEvent(new Event("input", {bubbles: true})); e.dispatchEvent(new Event("change", {bubbles: true}));""", selector, value)

    def press(self, *keys):
        from selenium.webdriver import ActionChains
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def chord(self, held, key):
        from selenium.webdriver import ActionChains
        ActionChains(self.driver).key_down(held).send_keys(key).key_up(held).perform()

    def answer(self, value="yes"):
        """The question in a dialog; returns its title."""
        self.wait_for("dialog[open]")
        title = self.text("dialog h2")
        self.click(f"dialog [data-answer={value}]")
        wait_until("the dialog is gone", lambda: not self.count("dialog"))
        return title

    def forget(self):
        """Cookies and what the page remembers."""
        self.driver.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": self.daemon.url, "storageTypes": "all"})
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})

    def leave(self):
        self.forget()
        self.driver.get("about:blank")
        self.scheme("light")

    # ---- Runs ----

    def submit(self, scenes, name, kind="pretrain", params=None, **extra):
        given = {**PARAMS, "dataset": str(scenes), **(params or {})} if kind == "pretrain" else params
        answer = self.daemon.api("POST", "/v1/runs", json={"kind": kind, "name": name, **extra, "params": given})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def end(self, *runs):
        for run in runs:
            self.daemon.api("POST", f"/v1/runs/{run}/kill")
        for run in runs:
            self.daemon.wait_for_state(run, "canceled", "succeeded", "failed")

    def chart(self, key):
        """(points, first x, last x) of a chart as it is drawn; None: it is not."""
        drawn = self.js("""const plot = document.querySelector(`.chart[data-key="${arguments[0]}"] .plot`);
            return plot && plot.dataset.points ? plot.dataset.points + " " + plot.dataset.range : null""", key)
        return tuple(int(word) for word in drawn.split()) if drawn else None
