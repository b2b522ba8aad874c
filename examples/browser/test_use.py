"""Tests of drawing, by mouse and keyboard, and of how the page looks. test_page.py runs them."""

import statistics

import host
import numpy
import safetensors
from case import PHONE, Case


class Drawing(Case):
    def sent(self):
        """What the page sends when asked, as levels from 0 to 16."""
        with self.page.expect_request("**/infer") as request:
            self.assertEqual(self.ask()[0], "accepted")
        tensors, _ = safetensors.decode(request.value.post_data_buffer)
        return (tensors["image"].reshape(8, 8) * 16).astype(int)

    def test_keyboard(self):
        self.open()
        self.page.focus("#grid [tabindex='0']")
        press = self.page.keyboard.press
        for key in ["ArrowRight"] * 4:
            press(key)
        for _ in range(8):
            press("Space")
            press("ArrowDown")
        press("Home")
        for key in ["+", "+", "+", "-", "ArrowRight", "Space", "Space", "ArrowUp", "End", "+", "ArrowRight"]:
            press(key)
        self.assertEqual(self.page.inner_text("#grid-status"), "Row 7, column 8: 2 of 16")
        expected = numpy.zeros((8, 8), int)
        expected[:, 4] = 16
        expected[7, 0], expected[6, 7] = 4, 2
        self.assertEqual(self.sent().tolist(), expected.tolist())
        self.assertEqual(self.page.locator("#grid [tabindex='0']").count(), 1)

    def test_all_by_keyboard(self):
        self.open()
        self.page.keyboard.press("Tab")
        for _ in range(40):
            if self.page.evaluate("document.activeElement.getAttribute('aria-label')?.startsWith('Load a 7')"):
                self.page.keyboard.press("Enter")
            if self.page.evaluate("document.activeElement.id") == "send":
                break
            self.page.keyboard.press("Tab")
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector("#verdict[data-state=accepted]")
        self.assertIn("says 7", self.verdict()[2])

    def test_mouse(self):
        self.open()
        box = self.page.locator("#pad").bounding_box()
        mouse = self.page.mouse
        mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 4)
        mouse.down()
        mouse.move(box["x"] + box["width"] * 0.45, box["y"] + box["height"] - 4, steps=5)
        mouse.up()
        mouse.move(box["x"], box["y"])
        levels = self.sent()
        self.assertTrue((levels.max(axis=1) > 4).all(), levels)
        self.assertFalse(levels[:, [0, 1, 6, 7]].any(), levels)
        self.assertIn("says 1,", self.verdict()[2])

    def test_samples_arrive_as_they_are(self):
        self.open()
        for label in range(10):
            self.load(label)
            self.assertEqual(self.sent().flatten().tolist(), self.server.samples[label]["levels"])

    def test_a_verdict_goes_with_its_image(self):
        self.open()
        self.load(0)
        self.ask()
        self.assertTrue(self.page.is_visible("#report"))
        self.page.click("#clear")
        self.assertFalse(self.page.is_visible("#report"))
        self.assertEqual(self.ask()[0], "idle", "an empty square is not sent")


class Presentation(Case):
    def assert_accessible(self):
        self.page.evaluate((host.BUILT / "axe/axe.min.js").read_text())
        found = self.page.evaluate("axe.run({rules: {'target-size': {enabled: true}}})")
        problems = [f"{v['id']}: {[n['target'] for n in v['nodes']]}" for v in found["violations"]]
        self.assertEqual(problems, [])

    def assert_no_sideways_scroll(self):
        widths = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        self.assertLessEqual(widths[0], widths[1])

    def test_desktop_and_dark(self):
        for scheme in ["light", "dark"]:
            self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            self.open()
            self.assert_accessible()
            for cheat, said in [("honest", "Accepted"), ("altered", "Refused")]:
                self.load(3)
                self.ask(cheat)
                self.assert_accessible()
                # What a screen reader is told without asking.
                spoken = self.page.locator("#verdict").aria_snapshot()
                self.assertRegex(spoken, rf"(?s)^- status:.*{said}.*")
                if scheme == "dark":
                    self.screenshot(f"dark-{cheat}")

    def test_phone(self):
        self.page.set_viewport_size(PHONE)
        self.open()
        self.assert_no_sideways_scroll()
        for cheat in ["honest", "lazy"]:
            self.load(5)
            self.ask(cheat)
            self.assert_no_sideways_scroll()
            self.assert_accessible()
            self.screenshot(f"phone-{cheat}")
        self.assertTrue(self.page.evaluate("""() => {
            const box = document.getElementById("verdict").getBoundingClientRect();
            return box.top >= 0 && box.bottom <= innerHeight;
        }"""), "the verdict is in view")

    def test_cannot_check(self):
        self.page.set_viewport_size(PHONE)
        self.replace_file("export.json", b'{"schema": 7}')
        self.open(until="failed")
        self.assert_no_sideways_scroll()
        self.assert_accessible()
        self.screenshot("phone-cannot-check")

    def test_time_of_a_check(self):
        self.open()
        checks, trips = [], []
        for run in range(50):
            self.load(run % 10)
            self.assertEqual(self.ask()[0], "accepted")
            checks.append(float(self.page.get_attribute("#times", "data-check-ms")))
            trips.append(float(self.page.get_attribute("#times", "data-round-trip-ms")))
        print(
            f"check in the page: median of 50 answers {statistics.median(checks):.3f} ms "
            f"({min(checks):.3f} to {max(checks):.3f}); asking and receiving: {statistics.median(trips):.1f} ms"
        )
