"""One run: charts that grow and keep the user's zoom, commands with their questions, tabs, keys; two runs over each other."""
from harness import wait_until


def live(page, scenes, name="grows"):
    run = page.submit(scenes, name, params={"epochs": 100000})
    page.daemon.wait_for_state(run, "running")
    page.go(f"#/{run}")
    wait_until("points in the chart", lambda: (page.chart("train/loss") or (0,))[0] > 10)
    return run


def drag(page, key, start, end):
    """From one share of the chart's width to another."""
    from selenium.webdriver import ActionChains
    plot = page.driver.find_element("css selector", f'.chart[data-key="{key}"] .plot')
    page.js("arguments[0].scrollIntoView({block: 'center'})", plot)
    width = plot.size["width"] - 70
    at = lambda share: int(70 + share * width - plot.size["width"] / 2 - 5)  # noqa: E731
    (ActionChains(page.driver, duration=50).move_to_element_with_offset(plot, at(start), 0).click_and_hold()
     .move_to_element_with_offset(plot, at(end), 0).release().perform())


def test_the_loss_grows_and_the_zoom_stays(page, scenes):
    run = live(page, scenes)
    before = page.chart("train/loss")
    wait_until("the chart grows", lambda: page.chart("train/loss")[2] > before[2])
    page.wait_text(".chart[data-key='train/loss'] .readout", "at step")
    assert "points from step" in page.js("return document.querySelector('.plot').getAttribute('aria-label')")

    drag(page, "train/loss", 0.2, 0.6)
    wait_until("it is zoomed", lambda: not page.js("return document.querySelector('.toolbar button.plain').disabled"))
    zoom = page.chart("train/loss")[1:]
    wait_until("the others follow", lambda: page.chart("train/lr")[1:] == zoom)
    step = page.daemon.run(run)["step"]
    wait_until("the run went on", lambda: page.daemon.run(run)["step"] > step + 20)
    assert page.chart("train/loss")[1:] == zoom
    page.js("document.querySelector('.toolbar button.plain').click()")
    wait_until("all is shown", lambda: page.chart("train/loss")[2] > zoom[1])
    page.end(run)
    page.wait_text(".run-head .chip", "canceled")


def test_pause_resume_and_cancel(page, scenes):
    run = live(page, scenes, "steered")
    page.click("[data-verb=pause]")
    page.wait_text(".run-head .chip", "paused")
    assert page.daemon.run(run)["state"] == "paused"
    page.click("[data-verb=resume]")
    page.wait_text(".run-head .chip", "running")
    page.click("[data-verb=cancel]")
    assert page.answer("no") == f"Cancel steered ({run})?"
    assert page.daemon.run(run)["state"] == "running"
    page.click("[data-verb=cancel]")
    page.answer("yes")
    page.wait_text(".run-head .chip", "canceled")
    page.go(f"#/{run}/events")
    page.wait_text("#tab-panel", "Attempts")
    assert len(page.texts("#tab-panel tbody tr")) == 2
    page.go(f"#/{run}/checkpoints")
    page.wait_text("#tab-panel", "optimiser")
    link = page.js("return document.querySelector('#tab-panel .links a').href")
    size = page.driver.execute_async_script("fetch(arguments[0]).then((r) => r.blob()).then((b) => arguments[1](b.size))", link)
    assert size > 1000
    page.go(f"#/{run}/config")
    page.wait_text("#tab-panel", "weight_decay")
    page.go(f"#/{run}/logs")
    page.wait_for("pre.log")


def test_what_happens_while_the_page_is_made_is_shown(page, scenes):
    """The page has read the run, its charts are still being read, and the run ends."""
    run = page.submit(scenes, "overtaken", params={"epochs": 100000})
    page.daemon.wait_for_state(run, "running")
    page.js("""const ask = window.fetch; window.waiting = [];
        window.fetch = async (path, ...rest) => {
          const answer = await ask(path, ...rest);
          if (window.waiting && String(path).endsWith("/config")) await new Promise((go) => window.waiting.push(go));
          return answer;
        };
        new EventSource("/v1/events").addEventListener("run.state", (event) => { window.told = JSON.parse(event.data).state; });""")
    page.go(f"#/{run}")
    wait_until("the page reads its charts", lambda: page.js("return window.waiting.length"))
    page.daemon.api("POST", f"/v1/runs/{run}/kill")
    wait_until("the end is told", lambda: page.js("return window.told") == "canceled")
    page.js("const all = window.waiting; window.waiting = null; all.forEach((go) => go())")
    page.wait_text(".run-head .chip", "canceled")


def test_health_says_which_rule_fired(page, scenes):
    run = page.submit(scenes, "watched", params={"epochs": 3, "labels": "count", "eval_every_epochs": 1, "eval_images": 16})
    page.daemon.wait_for_state(run, "succeeded")
    health = page.daemon.run(run)["health"]
    page.go(f"#/{run}/health")
    page.wait_text(".verdict .chip", health["verdict"])
    page.wait_text(".verdict", health["rule"] if health["verdict"] != "healthy" else "different images stay apart")
    page.wait_text("[aria-label=Spectrum]", "At the last check")
    wait_until("its charts", lambda: page.chart("ssl/rankme"))


def test_values_as_table_csv_and_on_a_logarithmic_axis(page, scenes):
    run = page.submit(scenes, "exported", params={"epochs": 4})
    page.daemon.wait_for_state(run, "succeeded")
    page.go(f"#/{run}")
    wait_until("the chart", lambda: page.chart("train/loss"))
    chart = ".chart[data-key='train/loss'] "
    page.click(chart + "[data-tool=table]")
    page.wait_for(chart + ".chart-table tbody tr")
    assert page.count(chart + ".chart-table tbody tr") == page.daemon.run(run)["step"]
    page.click(chart + "[data-tool=table]")
    page.click(chart + "[data-tool=log]")
    assert page.js("return document.querySelector(arguments[0]).getAttribute('aria-pressed')", chart + "[data-tool=log]") == "true"
    page.js("""window.saved = []; URL.createObjectURL = (blob) => { window.saved.push(blob); return "blob:none"; };
        HTMLAnchorElement.prototype.click = function () { window.saved.push(this.download); };""")
    page.js("[...document.querySelector(arguments[0]).querySelectorAll('.tool')].slice(-2).forEach((b) => b.dispatchEvent(new Event('click')))", chart)
    wait_until("both files", lambda: page.js("return window.saved.length") == 4)
    names = page.js("return window.saved.filter((one) => typeof one === 'string').sort()")
    assert names == [f"{run}_train-loss.csv", f"{run}_train-loss.png"]
    text = page.driver.execute_async_script("window.saved.find((b) => b.type === 'text/csv').text().then(arguments[0])")
    assert text.startswith("run,stream,step,key,") and len(text.splitlines()) == page.daemon.run(run)["step"] + 1


def test_a_restart_is_marked_and_what_it_replaced_can_be_shown(page, scenes):
    run = page.submit(scenes, "restarted", params={"epochs": 100000, "checkpoint_every_epochs": 1, "keep_checkpoints": 2})
    page.daemon.wait_for_state(run, "running")
    wait_until("a checkpoint", lambda: page.daemon.api("GET", f"/v1/runs/{run}/checkpoints").json()["items"])
    page.daemon.api("POST", f"/v1/runs/{run}/pause")
    page.daemon.wait_for_state(run, "paused")
    page.daemon.api("POST", f"/v1/runs/{run}/resume")
    page.daemon.wait_for_state(run, "running")
    page.go(f"#/{run}")
    wait_until("its marks", lambda: "1 restart" in (page.js("return document.querySelector('.chart[data-key=\"train/loss\"] .plot')?.getAttribute('aria-label')") or ""))
    assert page.count("[data-tool=superseded]") == 1
    asked = page.js("return performance.getEntriesByType('resource').filter((e) => e.name.includes('superseded=1')).length")
    page.click("[data-tool=superseded]")
    wait_until("it is asked for", lambda: page.js("return performance.getEntriesByType('resource').filter((e) => e.name.includes('superseded=1')).length") > asked)
    page.end(run)


def test_the_x_axis_can_be_wall_time(page, scenes):
    run = page.submit(scenes, "timed", params={"epochs": 30})
    page.daemon.wait_for_state(run, "succeeded")
    clock = page.daemon.api("GET", f"/v1/runs/{run}/clock").json()
    page.go(f"#/{run}")
    wait_until("by step", lambda: page.chart("train/loss"))
    page.set(".toolbar select", "time")
    wait_until("by time", lambda: abs(page.chart("train/loss")[2] - clock["elapsed_s"][-1]) <= 1 + 0.1 * clock["elapsed_s"][-1])
    page.wait_text(".chart[data-key='train/loss'] .readout", "at wall time")
    page.set(".toolbar select", "images")
    wait_until("by images", lambda: page.chart("train/loss")[2] >= clock["step"][-1] * 16)


def test_compare_two_runs(page, scenes):
    runs = [page.submit(scenes, f"pair-{lr}", params={"epochs": 3, "lr": lr}) for lr in (0.001, 0.003)]
    for run in runs:
        page.daemon.wait_for_state(run, "succeeded")
    page.go(f"#/compare?runs={','.join(runs)}")
    page.wait_text("[aria-label=Differences] tbody", "0.003")
    assert page.texts("[aria-label=Differences] tbody tr td:first-child") == ["lr"]
    wait_until("curves", lambda: page.chart("train/loss"))
    by_step = page.chart("train/loss")
    assert page.count(".chart[data-key='train/loss'] .readout-run") == 2
    page.set(".toolbar select", "epoch")
    wait_until("by epoch", lambda: page.chart("train/loss")[2] < by_step[2])
    assert "x=epoch" in page.js("return location.hash")


def test_a_run_keeps_the_colour_that_it_was_given_and_latest_leads_to_it(page, scenes):
    run = page.submit(scenes, "painted", params={"epochs": 1})
    page.daemon.wait_for_state(run, "succeeded")
    page.go("#/latest")
    page.wait_text(".run-head h1", "painted")
    colour = "return [...document.querySelector(arguments[0]).classList].find((name) => name.startsWith('series-'))"
    before = page.js(colour, ".run-head .swatch")
    page.click("[aria-label='another colour for painted']")
    after = page.js(colour, ".run-head .swatch")
    assert after != before and int(after[-1]) == (int(before[-1]) + 1) % 8
    page.driver.refresh()
    page.wait_text(".run-head h1", "painted")
    assert page.js(colour, ".run-head .swatch") == after
    page.go("#/runs")
    page.wait_text(".virtual tbody", "painted")
    assert page.js(colour, f".virtual tr[data-id={run}] .swatch") == after
