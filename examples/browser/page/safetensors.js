// Tensors as bytes, in the layout of safetensors: a length, a JSON header, raw values.
// Only the types that outputs of models usually have. `safetensors.py` is the same for the host.

import { Refusal } from "./refusal.js";

const ARRAYS = { F32: Float32Array, I32: Int32Array, I64: BigInt64Array, U8: Uint8Array };

/** Bytes of f32 `tensors`, `{name: {shape, data}}`, and of `metadata`, `{name: string}`. */
export function encode(tensors, metadata) {
  const header = { __metadata__: metadata };
  let size = 0;
  for (const [name, { shape, data }] of Object.entries(tensors)) {
    header[name] = { dtype: "F32", shape, data_offsets: [size, size + data.byteLength] };
    size += data.byteLength;
  }
  const json = JSON.stringify(header);
  const text = new TextEncoder().encode(json + " ".repeat((8 - (json.length % 8)) % 8));
  const bytes = new Uint8Array(8 + text.length + size);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  let at = 8 + text.length;
  for (const { data } of Object.values(tensors)) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return bytes;
}

/**
 * The tensors in `bytes`, a Map from name to `{dtype, shape, data}`, and the metadata.
 * The bytes come from a host that is not trusted: whatever is not exactly this layout is a Refusal.
 */
export function decode(bytes) {
  const refuse = (why) => {
    throw new Refusal("unreadable", `The answer is not in safetensors layout: ${why}`);
  };
  if (bytes.length < 8) refuse("shorter than its length field");
  const size = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  if (size > BigInt(bytes.length - 8)) refuse("the header is longer than the answer");
  let body = 8 + Number(size);
  let header;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(8, body)));
  } catch {
    refuse("the header is not JSON");
  }
  if (header === null || typeof header !== "object") refuse("the header is not an object");
  const whole = (n) => Number.isSafeInteger(n) && n >= 0;
  const entries = Object.entries(header).filter(([name]) => name !== "__metadata__");
  const described = entries.map(([name, entry]) => {
    const { dtype, shape, data_offsets: span } = entry ?? {};
    const Values = Object.hasOwn(ARRAYS, dtype) ? ARRAYS[dtype] : refuse(`${name} has no known type`);
    if (!Array.isArray(shape) || !shape.every(whole)) refuse(`${name} has no shape`);
    if (!Array.isArray(span) || span.length !== 2 || !span.every(whole)) refuse(`${name} has no place`);
    return { name, dtype, shape, span, Values };
  });
  // In the order of their bytes: JavaScript lists names that are numbers before all others.
  described.sort((a, b) => a.span[0] - b.span[0] || a.span[1] - b.span[1]);
  const tensors = new Map();
  for (const { name, dtype, shape, span, Values } of described) {
    const length = shape.reduce((product, n) => product * n, 1) * Values.BYTES_PER_ELEMENT;
    // One tensor after the other, without gaps: so no two of them share bytes.
    const start = body;
    body += length;
    if (start !== 8 + Number(size) + span[0] || span[1] - span[0] !== length || body > bytes.length) {
      refuse(`${name} is not where its shape says`);
    }
    // A copy, since a view of larger values must begin at a multiple of their size.
    tensors.set(name, { dtype, shape, data: new Values(bytes.slice(start, body).buffer) });
  }
  if (body !== bytes.length) refuse("bytes that belong to no tensor");
  return { tensors, metadata: header.__metadata__ ?? {} };
}
