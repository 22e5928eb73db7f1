"""Who may see what: the form, the session's end, roles, text that stays text."""
from harness import wait_until


def test_a_wrong_token_is_told(page):
    page.forget()
    page.sign_in("ijp_x_" + "a" * 43)
    page.wait_text("#sign-in-error", "does not know this token")
    assert page.js("return document.querySelector('#nav').hidden")
    page.sign_in()
    page.wait_text("#page", "Recent events")


def test_signing_out_ends_the_session(page):
    page.click("#sign-out")
    page.wait_for("#token")
    status = page.driver.execute_async_script("fetch('/v1/runs').then((r) => arguments[0](r.status))")
    assert status == 401


def test_a_viewer_gets_no_buttons_that_would_be_refused(page, daemon, scenes):
    run = page.submit(scenes, "viewed", hold=True)
    token = daemon.api("POST", "/v1/tokens", json={"user": "eve", "role": "viewer"}).json()["token"]
    page.forget()
    page.sign_in(token)
    page.wait_text("#who", "eve (viewer)")
    page.go(f"#/{run}")
    page.wait_text(".run-head h1", "viewed")
    assert page.count(".run-head .actions > *") == 0
    page.go("#/settings")
    page.wait_text("#page h1", "Settings")
    assert page.texts("[aria-label='Parts of the settings'] a") == ["You and the server"]
    page.go("#/settings/tokens")
    page.wait_text("#page h1", "Settings")
    assert "Make a token" not in page.text("#page")
    page.end(run)


def test_markup_stays_text(page, scenes):
    evil = "<img src=x onerror=window.hit=1><script>window.hit=1</script>"
    run = page.submit(scenes, "evil", hold=True, notes=evil)
    page.go(f"#/{run}")
    page.wait_text(".notes", evil)
    assert page.count("#page img") == page.count("#page script") == 0
    page.go(f"#/runs?tag={evil}")
    page.wait_text("#page", "No run is like that")
    assert page.js("return window.hit") is None
    page.end(run)


def test_a_token_is_made_shown_once_and_revoked(page, daemon):
    page.go("#/settings/tokens")
    page.set("#t-user", "ada")
    page.set("#t-role", "submitter")
    page.click(".settings form button[type=submit]")
    page.wait_for("dialog .token")
    token = page.text("dialog .token")
    assert daemon.api("GET", "/v1/session", headers={"Authorization": f"Bearer {token}"}).json()["user"] == "ada"
    page.answer("ok")
    page.js("[...document.querySelectorAll('.settings tbody tr')].find((r) => r.textContent.includes('ada')).querySelector('button').click()")
    assert "of ada?" in page.answer("yes")
    wait_until("it is revoked", lambda: daemon.api("GET", "/v1/session", headers={"Authorization": f"Bearer {token}"}).status_code == 401)
    page.wait_text(".settings table", "revoked")


def test_a_backup_is_made_where_it_was_asked_for(page, daemon):
    file = daemon.folder / "copy.db"
    page.go("#/settings/storage")
    page.set("#b-file", str(file))
    page.js("document.querySelector('#b-file').form.requestSubmit()")
    page.wait_text("#toast", "The state database is in")
    assert file.read_bytes().startswith(b"SQLite format 3")
