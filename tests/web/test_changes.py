"""What is changed or taken away from the page: runs, checkpoints, the machine's work; what it says would be lost."""
import shutil

import pytest

from harness import wait_until


@pytest.fixture
def ended(page, scenes):
    """A run that has ended, with three checkpoints."""
    run = page.submit(scenes, "over", params={"epochs": 3, "checkpoint_every_epochs": 1, "keep_checkpoints": 3})
    page.daemon.wait_for_state(run, "succeeded")
    page.go(f"#/{run}")
    page.wait_text(".run-head h1", "over")
    return run


def state_of(page, run):
    return [(item["id"], item["state"], item["pinned"]) for item in page.daemon.api("GET", f"/v1/runs/{run}/checkpoints").json()["items"]]


def test_a_run_is_renamed_and_what_is_wrong_is_said_in_the_form(page, ended):
    page.provoked.append("status of 422")
    page.click("[data-verb=edit]")
    page.set("#dialog-name", "not a name")
    page.click("dialog [data-answer=yes]")
    page.wait_text("dialog .error", "name")
    assert page.js("return document.querySelector('#dialog-name').value") == "not a name"
    page.set("#dialog-name", "renamed")
    page.set("#dialog-tags", "one, two")
    page.set("#dialog-notes", "<i>kept</i>")
    page.set("#dialog-priority", "7")
    page.answer("yes")
    page.wait_text(".run-head h1", "renamed")
    page.wait_text(".run-head .notes", "<i>kept</i>")
    run = page.daemon.run(ended)
    assert (run["name"], run["tags"], run["notes"], run["priority"]) == ("renamed", ["one", "two"], "<i>kept</i>", 7)


def test_a_run_is_deleted_after_a_question_that_says_what_goes(page, ended):
    page.click("[data-verb=delete]")
    page.wait_text("dialog", "Its 3 checkpoints, its logs, figures and results are gone for good, and ")
    assert page.answer("no") == f"Delete over ({ended})?"
    assert page.daemon.run(ended)["name"] == "over"
    page.click("[data-verb=delete]")
    page.answer("yes")
    page.wait_text("main h1", "Runs")
    assert page.daemon.api("GET", f"/v1/runs/{ended}").status_code == 404


def test_checkpoints_are_pinned_and_deleted_but_for_the_newest(page, ended):
    newest, middle, oldest = [one[0] for one in state_of(page, ended)]
    page.go(f"#/{ended}/checkpoints")
    page.click(f"[aria-label='pin {middle}']")
    page.wait_for(f"[aria-label='unpin {middle}']")
    assert (middle, "valid", True) in state_of(page, ended)
    assert page.count(f"[aria-label='delete {middle}']") == page.count(f"[aria-label='delete {newest}']") == 0
    page.click(f"[aria-label='delete {oldest}']")
    page.wait_text("dialog", "The weights and the optimiser of step ")
    assert page.answer("yes") == f"Delete {oldest} of over?"
    wait_until("it is gone", lambda: not page.count(f"[aria-label='delete {oldest}']"))
    assert not any(one == oldest and state == "valid" for one, state, _ in state_of(page, ended))


def test_a_kill_says_how_many_steps_are_lost_and_a_start_asks_whence(page, scenes):
    run = page.submit(scenes, "doomed", params={"epochs": 100000, "checkpoint_every_epochs": 0, "checkpoint_every_s": 0})
    page.daemon.wait_for_step(run, 3)
    page.go(f"#/{run}")
    page.click("[data-verb=kill]")
    page.wait_text("dialog", "and has saved nothing: all of it is lost.")
    assert page.answer("yes") == f"Kill doomed ({run})?"
    page.wait_text(".run-head .chip", "canceled")
    page.click("[data-verb=requeue]")
    assert page.answer("no") == f"Start doomed ({run}) again?"
    page.click("[data-verb=requeue]")
    page.answer("scratch")
    page.daemon.wait_for_state(run, "running")
    assert page.daemon.run(run)["attempts"] == 2
    page.end(run)


def test_the_machine_is_drained_and_takes_up_work_again(page, scenes):
    page.go("#/gpus")
    page.click("[data-verb=drain]")
    page.set("dialog input", "a <b>new</b> driver")
    assert page.answer("yes") == "Drain this machine?"
    page.wait_text("#page .note", "a <b>new</b> driver. Nothing new is started.")
    run = page.submit(scenes, "patient", params={"epochs": 1})
    page.go("#/queue")
    page.wait_text("[data-group=waiting]", "a <b>new</b> driver")
    page.go("#/gpus")
    page.click("[data-verb=undrain]")
    page.wait_for("[data-verb=drain]")
    page.daemon.wait_for_state(run, "succeeded")


def test_an_evaluation_shows_its_figures_beside_those_of_a_random_encoder(page, scenes):
    trained = page.submit(scenes, "trained", params={"epochs": 1, "labels": "count"})
    page.daemon.wait_for_state(trained, "succeeded")
    run = page.submit(scenes, "judged", kind="knn", params={"dataset": str(scenes), "labels": "count", "crop": 48, "checkpoint": trained, "threads": 1})
    page.daemon.wait_for_state(run, "succeeded")
    result = page.daemon.api("GET", f"/v1/runs/{run}/results").json()["items"][0]["result"]
    page.go(f"#/{run}/results")
    page.wait_text(".result", "Top-1")
    heads, rows = figures(page)
    assert heads == ["Figure", "Trained", "Random"] and list(rows)[0] == "Top-1"
    assert [float(cell) for cell in rows["Top-1"]] == pytest.approx([result["trained"]["top1"], result["random"]["top1"]], abs=1e-4)
    assert page.count("[aria-label='share that was right']") == 2 * len(result["data"]["classes"])
    confusion = page.js("return [...document.querySelectorAll('.confusion')][0].querySelectorAll('.heat').length")
    assert confusion == len(result["data"]["classes"]) ** 2


def figures(page):
    """{figure: [cells]} of the first table of a result, and its heads."""
    heads, rows = page.js("""const t = [...document.querySelectorAll('.result table')].find((one) => one.caption.textContent === 'Figures');
        return [[...t.tHead.rows[0].cells].map((c) => c.textContent), [...t.tBodies[0].rows].map((r) => [...r.cells].map((c) => c.textContent))]""")
    return heads, {row[0]: row[1:] for row in rows}


def test_a_check_of_a_dataset_shows_what_is_wrong_with_it(page, scenes, tmp_path):
    images = shutil.copytree(scenes, tmp_path / "images")
    broken = sorted(images.rglob("train*.jpg"))[3]
    broken.write_bytes(broken.read_bytes()[:300])
    run = page.submit(scenes, "check", kind="scan", params={"dataset": str(images)})
    page.daemon.wait_for_state(run, "succeeded")
    page.go(f"#/{run}/results")
    page.wait_text(".result", "Bad images, count")
    heads, rows = figures(page)
    splits = page.daemon.api("GET", f"/v1/runs/{run}/results").json()["items"][0]["result"]["splits"]
    assert heads == ["Figure", "Train", "Eval"] and rows["Bad images, count"] == ["1", "0"]
    assert rows["Images"] == [str(splits["train"]["images"]), str(splits["eval"]["images"])] and rows["Width, median"] == ["48", "48"]
    assert broken.name in page.text(".result") and "Checkpoints" not in page.texts("[role=tab]")


def test_a_benchmark_shows_its_rate_first(page, scenes):
    run = page.submit(scenes, "how-fast", kind="benchmark", params={"what": "step", "model": "vit_tiny", "crop": 48, "patch": 16, "batch": 2, "steps": 1,
                                                                  "min_keep": 0, "threads": 1})
    page.daemon.wait_for_state(run, "succeeded")
    page.go(f"#/{run}/results")
    page.wait_text(".result", "Images per second")
    _, rows = figures(page)
    names = list(rows)
    assert names.index("Images per second") < names.index("Width") and rows["Batch"] == ["2"]


def test_compared_runs_are_drawn_one_parameter_against_one_figure(page, scenes):
    runs = [page.submit(scenes, f"rate-{lr}", params={"epochs": 1, "lr": lr}) for lr in (0.001, 0.004)]
    for run in runs:
        page.daemon.wait_for_state(run, "succeeded")
    page.go(f"#/compare?runs={','.join(runs)}")
    page.set("[aria-label=Figure]", "train/loss")
    losses = [page.daemon.run(run)["last"]["train/loss"] for run in runs]
    page.wait_for(".scatter svg[aria-label^='Training loss by lr: rate-0.001 0.001,']")
    (x0, y0), (x1, y1) = page.js("return [...document.querySelectorAll('.scatter-point')].map((c) => [c.cx.baseVal.value, c.cy.baseVal.value])")
    assert x0 < x1 and (y0 > y1) == (losses[0] < losses[1])
