"""Submitting, the table, the queue: from the form to an ended run; also by keys alone, on a small screen, in the dark."""
from harness import wait_until
from page import PARAMS


def test_submit_from_the_form(page, scenes):
    page.provoked.append("status of 422")
    page.go("#/new")
    page.set("#c-name", "from-form")
    page.set("#p-batch", "-1")
    page.set("#p-dataset", str(scenes))
    page.wait_text("#p-batch-error", "must be between 1 and 65536")
    page.set("#p-batch", "16")
    for key, value in PARAMS.items():
        page.set(f"#p-{key}", str(value))
    page.set("#p-epochs", "1")
    page.wait_text(".new-side", "parameters")
    assert page.text("#p-batch-error") == ""
    assert '"epochs":1' in page.text(".new-side pre")
    page.click("[data-submit]")
    page.wait_text(".run-head h1", "from-form")
    page.wait_text(".run-head .chip", "succeeded")


def test_masks_follow_the_parameters(page):
    page.provoked.append("status of 422")
    page.go("#/new")
    page.wait_text(".new-side", "Sample 0: the encoder sees")
    assert page.count(".masks .patch") == 14 * 14 and page.count(".masks .target") == 4
    page.set("#p-targets", "2")
    page.set("#p-patch", "14")
    wait_until("new masks", lambda: page.count(".masks .patch") == 16 * 16 and page.count(".masks .target") == 2)
    first = page.js("return document.querySelector('.masks').innerHTML")
    page.click("[aria-label='next sample']")
    page.wait_text(".new-side", "Sample 1:")
    wait_until("another draw", lambda: page.js("return document.querySelector('.masks').innerHTML") != first)


def test_clone_with_an_edit(page, scenes):
    run = page.submit(scenes, "parent", params={"epochs": 2}, hold=True)
    page.provoked.append("status of 422")
    page.go(f"#/new?clone={run}")
    page.wait_text("h1", "New run from parent")
    assert page.count(".field.edited") == 0
    page.set("#p-lr", "0.002")
    page.wait_text(".field.edited .was", "was the default")
    page.set("#p-epochs", "1")
    wait_until("both edits", lambda: page.count(".field.edited") == 2)
    page.click("[data-submit]")
    page.wait_text(".run-head h1", "parent-2")
    child = page.daemon.api("GET", "/v1/runs?name=parent-2").json()["items"][0]["id"]
    submitted = page.daemon.api("GET", f"/v1/runs/{child}/config").json()["submitted"]
    submitted = submitted.get("params", submitted)
    assert submitted["lr"] == 0.002 and submitted["epochs"] == 1 and submitted["width"] == 32
    page.end(run, child)


def test_runs_show_up_filter_and_sort(page, scenes):
    page.go("#/runs")
    page.wait_text("h1", "Runs")
    runs = [page.submit(scenes, f"table-{i}", hold=True, priority=i, tags=["web"]) for i in range(3)]
    page.wait_text(".virtual tbody", "table-2")
    page.set("[aria-label=Tag]", "web")
    wait_until("the view is in the address", lambda: "tag=web" in page.js("return location.hash"))
    wait_until("three rows", lambda: page.count(".virtual tbody tr[data-id]") == 3)
    page.click(".col-priority button")
    wait_until("by priority", lambda: page.texts(".virtual .run-name")[0] == "table-2")
    page.click(".col-priority button")
    wait_until("the other way", lambda: page.texts(".virtual .run-name")[0] == "table-0")
    assert "tag=web" in page.js("return location.hash")
    page.press("j", "x", "j", "x")
    page.wait_text(".bulk", "2 selected")
    page.js("[...document.querySelectorAll('.bulk button')].find((b) => b.textContent === 'Cancel').click()")
    assert page.answer("yes") == "Cancel 2 runs?"
    wait_until("both", lambda: page.text(".virtual tbody").count("canceled") == 2)
    page.end(*runs)


def test_reorder_the_queue(page, scenes):
    first = page.submit(scenes, "holds-the-slot", params={"epochs": 100000})
    page.daemon.wait_for_state(first, "running")
    runs = [page.submit(scenes, f"queued-{i}") for i in range(3)]
    order = lambda: [one["name"] for one in page.daemon.api("GET", "/v1/queue").json()["waiting"]]  # noqa: E731
    page.go("#/queue")
    page.wait_text("[data-group=waiting]", "queued-2")
    page.click("[aria-label='start queued-2 earlier']")
    wait_until("one up", lambda: order() == ["queued-0", "queued-2", "queued-1"])
    wait_until("in the page too", lambda: page.texts("[data-group=waiting] .run-name") == order())
    page.click("[aria-label='start queued-0 later']")
    wait_until("one down", lambda: order() == ["queued-2", "queued-0", "queued-1"])
    page.end(*runs, first)


def test_the_main_path_by_keys_alone(page, scenes):
    run = page.submit(scenes, "by-keys", params={"epochs": 100000})
    page.daemon.wait_for_state(run, "running")
    page.press("?")
    page.wait_text("dialog h2", "Keyboard")
    page.press("\ue00c")
    page.press("g", "r")
    page.wait_text("h1", "Runs")
    page.wait_text(".virtual tbody", "by-keys")
    page.press("j", "\ue007")
    page.wait_text(".run-head h1", "by-keys")
    page.press("p")
    page.wait_text(".run-head .chip", "paused")
    page.press("4")
    page.wait_for("pre.log")
    page.press("g", "q")
    page.wait_text("[data-group=parked]", "by-keys")
    page.end(run)


def test_a_lost_stream_is_told_and_recovers(page, daemon, scenes):
    run = page.submit(scenes, "survives", hold=True)
    page.wait_text("#link", "live")
    page.provoked.append("net::ERR_")
    daemon.kill()
    page.wait_text("#banner", "No connection to the server for")
    wait_until("its age", lambda: "for 3 s" in page.text("#banner"))
    daemon.start()
    page.wait_text("#sign-in-error", "The session has ended")
    assert page.js("return document.querySelector('#banner').hidden")
    page.sign_in()
    daemon.api("POST", f"/v1/runs/{run}/cancel")
    page.wait_text(".events", "canceled")
    page.end(run)
