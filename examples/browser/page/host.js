// Asks the host. Nothing that it says is believed here; verifier.js judges it.

import { encode } from "./safetensors.js";

/** No answer: the host cannot be reached, or says why it does not answer. */
export class HostError extends Error {}

/** An answer about one digit has about a hundredth of this. */
const MOST_BYTES = 1_000_000;

/** What the host sends for `image`, `{shape, data}`, and how long it took. */
export async function infer(name, image, cheat) {
  const start = performance.now();
  try {
    const response = await fetch("infer", {
      method: "POST",
      headers: { "Content-Type": "application/octet-stream" },
      body: encode({ [name]: image }, { cheat }),
      signal: AbortSignal.timeout(15_000),
    });
    const bytes = await read(response);
    if (!response.ok) throw new HostError(reason(response.status, bytes));
    return { bytes, roundTripMs: performance.now() - start };
  } catch (error) {
    if (error instanceof HostError) throw error;
    throw new HostError(error.name === "TimeoutError" ? "It did not answer within 15 seconds" : "It cannot be reached");
  }
}

/** The body, unless it is longer than an answer can be: a host must not fill this page's memory. */
async function read(response) {
  const parts = [];
  let length = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    length += value.length;
    if (length > MOST_BYTES) {
      reader.cancel();
      throw new HostError(`It sent more than ${MOST_BYTES} bytes, which no answer has`);
    }
  }
  const bytes = new Uint8Array(length);
  parts.reduce((at, part) => (bytes.set(part, at), at + part.length), 0);
  return bytes;
}

/** Errors of the host are JSON, `{"error": "too_large", "message": "..."}`; those of a proxy may be anything. */
function reason(status, bytes) {
  try {
    const { error, message } = JSON.parse(new TextDecoder().decode(bytes));
    return `It refused the request: ${message} (${error})`;
  } catch {
    return `It answered with HTTP status ${status}`;
  }
}
