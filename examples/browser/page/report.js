// Puts a verdict and what it rests on onto the page. Texts from the host go through textContent only.

const $ = (id) => document.getElementById(id);

function element(tag, text, ...children) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

/** `state`: idle, busy, accepted, refused or failed. `reason`: a word for programs, such as tests. */
export function showVerdict(state, word, text, reason = "") {
  const verdict = $("verdict");
  verdict.dataset.state = state;
  verdict.dataset.reason = reason;
  $("verdict-word").textContent = word;
  $("verdict-text").textContent = text;
}

export function hideReport() {
  $("report").hidden = true;
}

/** What verifier.onnx found. An answer that was refused before it ran has no report. */
export function showReport({ report, contract, sizes, roundTripMs }) {
  $("report").hidden = false;
  $("report").dataset.accepted = report.accepted;
  $("classes-title").textContent = report.accepted ? "What the host says" : "What the host claimed, refused";
  $("classes").tBodies[0].replaceChildren(...classes(softmax(report.logits)));
  $("operations").tBodies[0].replaceChildren(...report.operations.map(operation));
  list($("times"), [
    ["Check", milliseconds(report.checkMs), `in this page, median of ${report.runs} runs`],
    ["Inference by the host", milliseconds(report.inferenceMs), "as it says"],
    ["Asking and receiving", milliseconds(roundTripMs)],
  ]);
  Object.assign($("times").dataset, { checkMs: report.checkMs, roundTripMs });
  list($("bytes"), [
    ["The answer alone", bytes(report.logits.byteLength)],
    ["With its proof", bytes(sizes.answer)],
    ["verifier.onnx, loaded once", bytes(sizes.verifier)],
    ["prover.onnx, at the host", bytes(sizes.prover)],
  ]);
  $("meaning").textContent = meaning(report.accepted, contract);
}

function meaning(accepted, { options: { soundness_bits: bits }, operations }) {
  const holder = "The verdict convinces whoever holds the key, here this page, and nobody else; and nothing is hidden, since the host sees the image and the page sees the model.";
  if (!accepted) return `Do not use this answer: part of it is not what this model gives for this image. ${holder}`;
  const certified = operations.filter(({ checked_by: by }) => by === "sketch").map((o) => o.certified_deviation ?? Infinity);
  if (!certified.length) return `Every operation was computed again here. ${holder}`;
  // Rounded up: to the next hundredth of a percent.
  const share = `${Math.ceil(Math.max(...certified) * 1e4) / 100} %`;
  const odds = `2${superscript(-bits)}`;
  return `An operation checked by sketch that is wrong by ${share} of its output's norm or more passes with a probability of at most ${odds}, on inputs like those of its compilation and over a key that the host does not know. ${holder}`;
}

function softmax(logits) {
  const top = Math.max(...logits);
  const weights = Array.from(logits, (logit) => Math.exp(logit - top));
  const sum = weights.reduce((a, b) => a + b);
  return weights.map((weight) => weight / sum);
}

function classes(probabilities) {
  const top = probabilities.indexOf(Math.max(...probabilities));
  return probabilities.map((probability, digit) => {
    const head = element("th", String(digit));
    head.scope = "row";
    const row = element("tr", undefined, head, element("td", undefined, bar(probability), element("span", percent(probability))));
    if (digit === top) row.className = "top";
    return row;
  });
}

function operation({ name, kind, checked_by: by, certified_deviation: certified, score, residual, agrees }) {
  const head = element("th", undefined, element("b", name), element("small", kind));
  head.scope = "row";
  const checked = element("td", by);
  if (certified != null) checked.append(element("small", `to ${certified.toPrecision(2)}`));
  const row = element(
    "tr",
    undefined,
    head,
    checked,
    element("td", score.toFixed(3), element("small", agrees ? "agrees" : "differs")),
    element("td", undefined, element("span", units(residual)), bar(logarithmic(residual))),
  );
  row.dataset.agrees = agrees;
  return row;
}

/** A bar for the eye; the number beside it says the same. */
function bar(share) {
  const inner = element("span");
  inner.style.setProperty("--share", share);
  const outer = element("span", undefined, inner);
  outer.className = "bar";
  outer.setAttribute("aria-hidden", "true");
  return outer;
}

/** 0.1 at the left end, 10⁸ at the right. */
function logarithmic(residual) {
  const share = (Math.log10(residual) + 1) / 9;
  return Number.isNaN(share) ? 1 : Math.min(1, Math.max(0, share));
}

function units(residual) {
  if (!Number.isFinite(residual)) return "no number";
  if (residual < 1e4) return String(+residual.toPrecision(2));
  const exponent = Math.floor(Math.log10(residual));
  return `${(residual / 10 ** exponent).toFixed(1)} · 10${superscript(exponent)}`;
}

function superscript(n) {
  return String(n).replace(/./g, (c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]));
}

function percent(share) {
  return share > 0 && share < 0.001 ? "< 0.1 %" : `${(share * 100).toFixed(1)} %`;
}

function milliseconds(ms) {
  return Number.isFinite(ms) ? `${ms.toFixed(2)} ms` : "not said";
}

function bytes(count) {
  if (!Number.isFinite(count)) return "not said";
  return count < 10_000 ? `${count.toLocaleString("en")} bytes` : `${Math.round(count / 1000).toLocaleString("en")} kB`;
}

function list(place, rows) {
  place.replaceChildren(
    ...rows.map(([name, value, note]) => {
      const detail = element("dd", value);
      if (note) detail.append(element("small", note));
      return element("div", undefined, element("dt", name), detail);
    }),
  );
}
