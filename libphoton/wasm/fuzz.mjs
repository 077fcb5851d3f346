// Feed damaged chunks to libphoton as WebAssembly: node fuzz.mjs SECONDS SEED CHUNK...
// A trap (memory out of bounds, an aborted program) ends it with an error.

import fs from "node:fs";

const [seconds, seed, ...chunks] = process.argv.slice(2);
const code = fs.readFileSync(new URL("./fuzz.wasm", import.meta.url));
const { malloc, fuzz_add, fuzz_run, memory, _initialize } = (await WebAssembly.instantiate(code, {})).instance.exports;
_initialize?.();
for (const chunk of chunks) {
  const bytes = fs.readFileSync(chunk), at = malloc(bytes.length);
  new Uint8Array(memory.buffer, at, bytes.length).set(bytes);
  fuzz_add(at, bytes.length);
}
const until = Date.now() + 1000 * Number(seconds), statuses = 7;
let at = fuzz_run(BigInt(seed), 1000);
while (Date.now() < until) at = fuzz_run(0n, 1000);
const counts = Array.from(new BigUint64Array(memory.buffer, at, statuses), Number);
console.log(`executions ${counts.reduce((a, b) => a + b)} seed ${seed}; of each status: ${counts.join(" ")}`);
