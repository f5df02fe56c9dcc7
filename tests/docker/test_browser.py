"""What a person sees of a sweep in MLflow, in a real browser, served by the stack in Docker."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.browser import ARGUMENTS, CHROMIUM
from tests.commands import settings
from tests.docking import Docked
from tests.patience import patience

SCREENSHOTS = Path(os.environ.get("GAPSWEEP_SCREENSHOTS", ".screenshots"))

pytestmark = [pytest.mark.docker, pytest.mark.browser]


@pytest.fixture(scope="module")
def sweep_id(stack: Docked) -> str:
    """The only sweep of the stack, which its own command line submitted."""
    small = settings(
        "budget.trials=6", "training.max_epochs=5", "confirm={top_k: 1, trainings: 10}"
    )
    stack.compose("run", "--rm", "-T", "cli", "submit", "/sweeps/digits.yaml", *small)
    (sweep,) = json.loads(stack.gapsweep("list", "--json"))["items"]
    stack.gapsweep("watch", sweep["sweep_id"])
    return str(sweep["sweep_id"])


@pytest.fixture(scope="module")
def page(stack: Docked) -> Iterator[Page]:
    """A browser that knows MLflow's password, which it would ask a person for."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        password = {"username": "admin", "password": stack.known_token}
        size = {"width": 1600, "height": 900}
        opened = browser.new_page(viewport=size, http_credentials=password)
        opened.set_default_timeout(1000 * patience(20))
        expect.set_options(timeout=1000 * patience(10))
        yield opened
        browser.close()


def keep(page: Page, name: str) -> None:
    """A picture of what is seen, for who looks after the tests."""
    SCREENSHOTS.mkdir(exist_ok=True)
    page.wait_for_timeout(1000)  # charts draw themselves in
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def test_a_person_sees_where_the_gap_is_and_what_closed_it(
    stack: Docked, sweep_id: str, page: Page
) -> None:
    children = stack.runs(sweep_id)[1:]
    page.goto(stack.mlflow)
    page.get_by_text("Model training", exact=True).click()
    page.get_by_role("link", name="Experiments").first.click()
    page.get_by_role("link", name="gapsweep", exact=True).click()

    expect(page.get_by_role("link", name=sweep_id)).to_be_visible()
    page.get_by_role("button", name="Close").click()  # MLflow's assistant, over the table
    page.locator("[data-component-id*=runnamecellrenderer]").first.click()
    newest = children[-1]["info"]["run_name"]
    expect(page.get_by_role("link", name=newest, exact=True)).to_be_visible()

    page.get_by_test_id("sort-select-dropdown").click()
    page.keyboard.type("gap/loss")
    page.get_by_test_id("sort-select-gap/loss").click()
    widest = sorted(children, key=lambda r: -metric(r, "gap/loss"))
    first = page.locator(".ag-row[row-index='0'] a").first
    expect(first).to_have_text(widest[0]["info"]["run_name"])
    expect(page.get_by_text("digits (", exact=False).first).to_be_visible()
    keep(page, "mlflow-runs")

    first.click()
    expect(page.get_by_role("heading", name=widest[0]["info"]["run_name"])).to_be_visible()
    page.get_by_role("tab", name="Model metrics").click()
    page.get_by_placeholder("Search metric charts").fill("^gap/loss")
    charts = page.get_by_test_id("experiment-view-compare-runs-card")
    expect(charts).to_have_count(1)
    expect(charts.locator("path.js-line").first).to_be_visible()
    keep(page, "mlflow-gap")

    page.go_back()
    page.get_by_role("link", name=sweep_id).first.click()
    expect(page.get_by_text("the control", exact=False).first).to_be_visible()  # the verdict
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("report.html", exact=True).first.click()
    report = page.frame_locator("iframe")
    expect(report.get_by_role("heading", name="Baseline, control and best")).to_be_visible()
    plots = report.locator("img, svg")
    expect(plots.first).to_be_attached()
    plots.first.scroll_into_view_if_needed()
    assert plots.count() >= 2
    keep(page, "mlflow-report")


def metric(run: dict[str, Any], name: str) -> float:
    return next(float(m["value"]) for m in run["data"]["metrics"] if m["key"] == name)
