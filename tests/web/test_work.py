"""Submitting, the table, the queue: from the form to an ended run; also by keys alone, on a small screen, in the dark."""
import pytest

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
    page.wait_text(".kept-box", "Of 1000 images: ")
    assert page.count(".kept-box rect") > 5
    page.set("#p-masking", "random")
    page.wait_text(".kept-box", "103 to 103 patches seen, 103 in the mean")


def test_a_new_run_is_told_its_place_in_the_queue(page, waiting, scenes):
    page.provoked.append("status of 422")
    page.go("#/new")
    for key, value in {**PARAMS, "dataset": scenes}.items():
        page.set(f"#p-{key}", str(value))
    page.wait_text(".plan", "3 runs wait before it.")
    page.set("#c-priority", "5")
    page.wait_text(".plan", "It would pass 3 of the 3 that wait, to place 1.")


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


@pytest.fixture
def waiting(page, scenes):
    """Three runs that wait behind one, on the page of the queue; their order as the server has it."""
    first = page.submit(scenes, "holds-the-slot", params={"epochs": 100000})
    page.daemon.wait_for_state(first, "running")
    runs = [page.submit(scenes, f"queued-{i}") for i in range(3)]
    page.go("#/queue")
    page.wait_text("[data-group=waiting]", "queued-2")
    yield lambda: [one["name"][-1] for one in page.daemon.api("GET", "/v1/queue").json()["waiting"]]
    page.end(*runs, first)


def shown_order(page):
    return [name[-1] for name in page.texts("[data-group=waiting] .run-name")]


def test_reorder_the_queue_by_buttons_and_keys(page, waiting):
    page.click("[aria-label='start queued-2 earlier']")
    wait_until("one up", lambda: waiting() == ["0", "2", "1"])
    page.click("[aria-label='start queued-0 later']")
    wait_until("one down", lambda: waiting() == ["2", "0", "1"])
    wait_until("in the page too", lambda: shown_order(page) == waiting())
    page.js("document.querySelectorAll('[data-group=waiting] .queue-item')[2].focus()")
    page.chord("\ue00a", "\ue013")
    wait_until("one up by keys", lambda: waiting() == ["2", "1", "0"])
    wait_until("the focus went along", lambda: "queued-1" in page.js("return document.activeElement.textContent"))
    page.chord("\ue00a", "\ue015")
    wait_until("and down", lambda: waiting() == ["2", "0", "1"])


def drag_row(page, kind, held, row, below, *then):
    """Presses `held` in one row, goes below the middle of another and does what `then` says: a pointer as the browser sees it."""
    from selenium.webdriver.common.actions.action_builder import ActionBuilder
    from selenium.webdriver.common.actions.pointer_input import PointerInput
    item = lambda n: f"[data-group=waiting] .queue-item:nth-child({n + 1})"  # noqa: E731
    middle = lambda selector: page.js("""const e = document.querySelector(arguments[0]); e.scrollIntoView({block: "nearest"});
        const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2].map(Math.round)""", selector)  # noqa: E731
    x, y = middle(f"{item(row)} {held}")
    goal = middle(item(below))[1]
    actions = ActionBuilder(page.driver, mouse=PointerInput(kind, f"{kind}-drag"), duration=40)
    pointer = actions.pointer_action
    pointer.move_to_location(x, y).pointer_down()
    for part in (0.3, 0.7, 1):
        pointer.move_to_location(x, round(y + (goal - y) * part + (30 if goal > y else -30)))
    if not then:
        pointer.pointer_up()
    actions.perform()
    for one in then:
        page.wait_for(".queue-item.dragged")
        page.press(one)
    if then:
        actions.clear_actions()


@pytest.mark.parametrize("kind, held", [("mouse", "p"), ("touch", ".grip")])
def test_reorder_the_queue_by_dragging(page, waiting, kind, held):
    drag_row(page, kind, held, 2, 0)
    wait_until("the last is the first", lambda: waiting() == ["2", "0", "1"])
    wait_until("in the page too", lambda: shown_order(page) == ["2", "0", "1"] and not page.count(".dragged"))
    drag_row(page, kind, held, 0, 1)
    wait_until("one down", lambda: waiting() == ["0", "2", "1"])


def test_escape_puts_a_dragged_row_back(page, waiting):
    asked = "return performance.getEntriesByType('resource').filter((e) => e.name.endsWith('/v1/queue/move')).length"
    before = page.js(asked)
    drag_row(page, "mouse", "p", 2, 0, "\ue00c")
    wait_until("it is put down", lambda: not page.count(".dragged"))
    assert shown_order(page) == ["0", "1", "2"] == waiting() and page.js(asked) == before


def test_the_main_path_by_keys_alone(page, scenes):
    run = page.submit(scenes, "by-keys", params={"epochs": 100000})
    page.daemon.wait_for_state(run, "running")
    page.press("?")
    page.wait_text("dialog h2", "Keyboard")
    page.press("\ue00c")
    wait_until("the dialog is gone", lambda: not page.count("dialog"))
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
