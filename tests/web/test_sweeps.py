"""Sweeps from the form to the table of their runs, kinds of runs, what a run takes, clean-up, audit."""
from harness import wait_until
from page import PARAMS


def fill(page, scenes, **more):
    for key, value in {**PARAMS, "dataset": str(scenes), **more}.items():
        page.set(f"#p-{key}", str(value))


def test_a_sweep_from_the_form_and_its_runs_best_first(page, scenes):
    page.provoked.append("status of 422")
    page.go("#/new?sweep=grid")
    page.set("#c-name", "rates")
    fill(page, scenes, epochs=1)
    page.set("[aria-label='values of parameter 1']", "0.001, 0.1, 0.01")
    page.wait_text(".sweep-fields", "3 runs, 1 at a time.")
    assert '"grid":{"lr":[0.001,0.1,0.01]}' in page.text(".new-side pre")
    page.click("[data-submit]")
    page.wait_text("#page h1", "rates")
    wait_until("all have ended", lambda: page.texts("[aria-label=Runs] .chip") == ["succeeded"] * 3)
    page.set("[aria-label=Runs] select", "train/loss")
    rows = page.js("return [...document.querySelectorAll('[aria-label=Runs] tbody tr')].map((r) => [r.cells[1].textContent, r.cells[3].textContent])")
    losses = {run["name"]: run["last"]["train/loss"] for run in page.daemon.api("GET", "/v1/runs?name=rates-").json()["items"]}
    assert [name for name, _ in rows] == sorted(losses, key=losses.get)
    assert sorted(float(lr) for _, lr in rows) == [0.001, 0.01, 0.1]
    page.press("g", "w")
    page.wait_text("[aria-label=Sweeps] tbody", "3 of 3")


def test_random_draws_and_what_is_wrong_with_them(page, scenes):
    page.provoked.append("status of 422")
    page.go("#/new?sweep=random")
    fill(page, scenes)
    page.set("[aria-label='drawn how, parameter 1']", "log")
    page.set("[aria-label='values of parameter 1']", "0.1, 0.001")
    page.wait_text(".sweep-fields .error", "/random/space/lr")
    page.set("[aria-label='values of parameter 1']", "0.001, 0.1")
    page.wait_text(".sweep-fields", "8 runs, 1 at a time.")
    assert page.text(".sweep-fields .error") == ""


def test_the_form_has_every_kind_and_takes_values_from_the_address(page):
    page.provoked.append("status of 422")
    document = page.daemon.api("GET", "/v1/openapi.json").json()
    kinds = [one["properties"]["kind"]["const"] for one in document["components"]["schemas"]["Submission"]["oneOf"]]
    for kind in kinds:
        page.go(f"#/new?kind={kind}&seed=7")
        wait_until(kind, lambda: f'"kind":"{kind}"' in page.text(".new-side pre"))
        fields = page.js("return [...document.querySelectorAll('.groups .field')].map((e) => e.dataset.key)")
        known = page.daemon.api("GET", f"/v1/schema/{kind}").json()["properties"]
        assert sorted(fields) == sorted(known)
        assert "seed" not in known or page.js("return document.querySelector('#p-seed').value") == "7"
        assert page.count(".kinds a") == len(kinds)


def test_how_long_a_run_will_take_comes_from_one_that_was_there(page, scenes):
    run = page.submit(scenes, "measured", params={"epochs": 2})
    page.daemon.wait_for_state(run, "succeeded")
    page.provoked.append("status of 422")
    page.go(f"#/new?clone={run}")
    page.wait_text(".new-side", "Time, about")
    assert page.js("return document.querySelector('.new-side a').textContent") == "measured"


def test_a_clean_up_says_what_would_go_and_then_does_it(page, scenes):
    run = page.submit(scenes, "cluttered", params={"epochs": 3, "checkpoint_every_epochs": 1, "keep_checkpoints": 3})
    page.daemon.wait_for_state(run, "succeeded")
    left = lambda: [c["id"] for c in page.daemon.api("GET", f"/v1/runs/{run}/checkpoints").json()["items"] if c["state"] == "valid"]  # noqa: E731
    before = left()
    assert len(before) == 3
    page.go("#/settings/storage")
    page.wait_text("[aria-label='Checkpoints by run']", "cluttered")
    page.js("document.querySelector('#gc-keep').form.requestSubmit()")
    page.wait_text("[aria-label='Clean-up']", "would go")
    assert left() == before
    page.click("[data-verb=gc]")
    title = page.answer("yes")
    assert title.startswith("Delete") and run in title
    wait_until("one is left", lambda: len(left()) == 1)
    page.go("#/settings/audit")
    page.wait_text("[aria-label=Audit] tbody", "run.submit")
    assert page.count("[aria-label=Disk]") == 0


def test_the_disk_has_a_gauge_and_its_forecast_is_honest(page):
    page.go("#/settings/storage")
    page.wait_text("[aria-label=Disk]", "known after five minutes")
    assert 0 < float(page.js("return document.querySelector('[role=meter]').getAttribute('aria-valuenow')")) < 1
    page.js("""const now = Date.now(), free = Number(await (await fetch('/metrics')).text().then((t) => t.match(/^ijepad_disk_free_bytes (\\S+)$/m)[1]));
        localStorage.setItem('ijepad.disk', JSON.stringify([[now - 3600e3, free + 10 * 2 ** 30]]));""")
    page.go("#/settings")
    page.wait_text("#page", "Theme")
    page.go("#/settings/storage")
    page.wait_text("[aria-label=Disk]", "at the rate of the last 1 h 00 min")
