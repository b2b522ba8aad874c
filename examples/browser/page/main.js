// Draw, ask, check, show: what happens when on this page.

import { Bitmap } from "./bitmap.js";
import { showGrid, showPad } from "./draw.js";
import { HostError, infer } from "./host.js";
import { Refusal } from "./refusal.js";
import { hideReport, showReport, showVerdict } from "./report.js";
import { showSamples } from "./samples.js";
import { Verifier } from "./verifier.js";

const $ = (id) => document.getElementById(id);
const SHAPE = [1, 1, 8, 8];

let verifier = null;
let busy = false;

const bitmap = new Bitmap();
showPad($("pad"), bitmap);
showGrid($("grid"), $("grid-status"), bitmap);
showSamples($("samples"), $("others"), (levels) => (bitmap.levels = levels));
$("clear").addEventListener("click", () => bitmap.clear());
bitmap.addEventListener("change", () => verifier && !busy && showChanged());

try {
  verifier = await Verifier.load(SHAPE);
  $("send").disabled = false;
  showVerdict("idle", "Ready", "Draw a digit or load one, then ask the host.");
  showKey();
} catch (error) {
  fail(error);
}

$("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (busy || !verifier) return;
  const levels = bitmap.levels;
  if (levels.every((level) => level === 0)) {
    hideReport();
    showVerdict("idle", "Nothing to ask", "The square is empty: draw a digit or load one first.");
    return;
  }
  busy = true;
  $("send").setAttribute("aria-disabled", "true");
  const slow = setTimeout(() => showVerdict("busy", "Asking", "The host has not answered yet."), 400);
  await ask(Float32Array.from(levels, (level) => level / 16), new FormData(event.target).get("cheat")).catch(fail);
  if (!verifier?.ready) {
    verifier = null;
    $("send").disabled = true;
    $("key-note").textContent = "This page has no key that it could check with: nothing is asked until it is loaded again.";
  }
  clearTimeout(slow);
  $("send").removeAttribute("aria-disabled");
  busy = false;
  $("verdict").scrollIntoView({ block: "nearest" });
  if (verifier && bitmap.levels.some((level, i) => level !== levels[i])) showChanged();
});

/** A verdict is about one image: it goes when the image does. */
function showChanged() {
  hideReport();
  showVerdict("idle", "Ready", "Ask the host about this image.");
}

async function ask(values, cheat) {
  const { contract } = verifier;
  const { bytes, roundTripMs } = await infer(verifier.input.name, { shape: SHAPE, data: values }, cheat);
  const report = await verifier.check(values, SHAPE, bytes);
  const size = (name) => contract.files[name]?.bytes + (contract.files[`${name}.data`]?.bytes ?? 0);
  const sizes = { answer: bytes.length, verifier: size("verifier.onnx"), prover: size("prover.onnx") };
  showReport({ report, contract, sizes, roundTripMs });
  if (report.accepted) {
    const digit = report.logits.indexOf(Math.max(...report.logits));
    showVerdict("accepted", "Accepted", `The host says ${digit}, and its work agrees with this page's key.`);
  } else {
    showRefused(...reasonOf(report));
  }
}

function reasonOf({ sameModel, sameShapes, operations }) {
  if (!sameModel) return ["other-model", "This is the proof of another model, or of another version of it"];
  if (!sameShapes) return ["wrong-shape", "What the host sent does not have the shapes that this image gives"];
  const wrong = operations.filter(({ agrees }) => !agrees).map(({ name }) => name);
  if (!wrong.length) return ["verdict", "verifier.onnx does not accept it"];
  const names = new Intl.ListFormat("en").format(wrong);
  return ["operations", `${names} ${wrong.length > 1 ? "do" : "does"} not follow from what comes before`];
}

function showRefused(reason, text) {
  showVerdict("refused", "Refused", `${text}.`, reason);
  showKey();
}

/** What is not an answer of this model is refused; anything else that goes wrong is said as it is. */
function fail(error) {
  hideReport();
  const ours = verifier === null || error.reason === "other-key";
  if (error instanceof Refusal && !ours) {
    showRefused(error.reason, error.message);
  } else if (error instanceof Refusal) {
    // A page that has no verifier, or a key that does not fit it, accepts nothing.
    verifier = null;
    showVerdict("failed", "Cannot check", `${error.message}.`, error.reason);
  } else if (error instanceof HostError) {
    showVerdict("failed", "No answer from the host", `${error.message}.`, "host");
  } else {
    showVerdict("failed", "Cannot check", `This page failed: ${error.message}.`, "error");
    console.error(error);
  }
}

function showKey() {
  $("key-note").textContent =
    `Key number ${verifier.keys} of this page, drawn here in ${verifier.keyMs.toFixed(1)} ms and never sent; ` +
    `a new one follows every refusal. Model ${verifier.contract.model?.name}; the digests of its files were checked.`;
}
