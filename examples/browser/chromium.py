"""The system's Chromium, for the tests of the page and for its measurements."""

import contextlib
import os
import shutil

try:
    from playwright.sync_api import sync_playwright
except ImportError:
    sync_playwright = None

BROWSERS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]


def skip(what):
    """Where there is no browser: says that `what` was skipped and gives the exit status. Else None."""
    if sync_playwright is None:
        reason = "Playwright is not installed: run examples/browser/setup.sh --test"
    elif not any(map(shutil.which, BROWSERS)):
        reason = f"no Chromium on the PATH ({', '.join(BROWSERS)})"
    else:
        return None
    print(f"browser example: {what} skipped: {reason}")
    return 1 if os.environ.get("REQUIRE_BROWSER") == "1" else 0


@contextlib.contextmanager
def launch():
    """A browser without a window."""
    # Chromium does not run as root inside its sandbox.
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    path = next(filter(None, map(shutil.which, BROWSERS)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()
