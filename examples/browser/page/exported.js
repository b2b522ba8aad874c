// What `cargo nomopoly export` wrote, as this page uses it: export.json and the files that it names.

import { Refusal } from "./refusal.js";

const SCHEMA = 2;

async function get(path) {
  const response = await fetch(path).catch(() => null);
  if (!response?.ok) throw new Refusal("file-missing", `${path} cannot be loaded`);
  return new Uint8Array(await response.arrayBuffer());
}

/** export.json, read and found to be of the schema that this page knows. */
export async function loadContract() {
  const text = new TextDecoder().decode(await get("exported/export.json"));
  let contract;
  try {
    contract = JSON.parse(text);
  } catch {
    throw new Refusal("unreadable", "export.json is not JSON");
  }
  if (contract?.schema !== SCHEMA) {
    const age = contract?.schema > SCHEMA ? "newer" : "older";
    throw new Refusal("schema", `export.json has schema ${contract?.schema}, ${age} than this page, which reads ${SCHEMA}`);
  }
  if (contract.secret) {
    throw new Refusal("secret-file", "verifier.onnx was exported with a key inside, and this page draws its own");
  }
  return contract;
}

/** A file that export.json names, found to be as it was exported. */
export async function loadFile(contract, name) {
  const bytes = await get(`exported/${name}`);
  if (crypto.subtle === undefined) {
    throw new Refusal("insecure", "Browsers compute digests for pages from https and localhost only: open this page there");
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const hex = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (hex !== contract.files?.[name]?.sha256) {
    throw new Refusal("file-altered", `${name} was changed after export: it is not the file that export.json names`);
  }
  return bytes;
}
