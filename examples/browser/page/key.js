// The page's secret: drawn here, kept in memory, never stored and never sent.

const TWO_PI = 2 * Math.PI;

/**
 * `count` independent standard normal numbers from the browser's cryptographic generator, by the method
 * of Box and Muller (1958), in double precision and rounded to f32 at the end.
 */
export function standardNormals(count) {
  const normals = new Float32Array(count);
  const words = new Uint32Array(1024 * 4); // getRandomValues gives at most 65,536 bytes a call
  for (let i = 0; i < count; i += 2) {
    const at = (i * 2) % words.length;
    if (at === 0) crypto.getRandomValues(words);
    // 53 bits each, all that a double holds. The first is in (0, 1]: never 0, of which there is no
    // logarithm. The largest number that can come out is √(2·53·ln 2) = 8.57.
    const radius = Math.sqrt(-2 * Math.log(bits53(words[at], words[at + 1], 1)));
    const angle = TWO_PI * bits53(words[at + 2], words[at + 3], 0);
    normals[i] = radius * Math.cos(angle);
    if (i + 1 < count) normals[i + 1] = radius * Math.sin(angle);
  }
  words.fill(0);
  return normals;
}

/** (the upper 21 bits of `high` and all of `low`, as an integer, + `offset`) / 2⁵³. */
function bits53(high, low, offset) {
  return ((high >>> 11) * 2 ** 32 + low + offset) / 2 ** 53;
}

/**
 * A fresh key for verifier.onnx: the outputs of key.onnx on new random numbers, by name.
 * `random` says what it takes, as export.json does.
 */
export async function drawKey(ort, session, random) {
  const feeds = {};
  for (const { name, shape } of random) {
    const count = shape.reduce((product, n) => product * n, 1);
    feeds[name] = new ort.Tensor("float32", standardNormals(count), shape);
  }
  const key = await session.run(feeds);
  // The numbers themselves are not needed again.
  for (const tensor of Object.values(feeds)) tensor.data.fill(0);
  return key;
}
