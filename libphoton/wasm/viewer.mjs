// Page that scrubs through a stored movie by HTTP range requests. viewer.html?url=https://.../movie.ome.zarr

import * as zarr from "zarrita";
import { zarritaCodec } from "./photon.mjs";

const KEPT_BYTES = 512 * 2 ** 20; // of decoded chunks
const DARKEST = 0.01, BRIGHTEST = 0.998; // quantiles of a frame that become black and white
const element = (id) => document.getElementById(id);

const codec = zarritaCodec(decodingWorker());
for (const name of ["photon_gpu.photon", "numcodecs.photon"]) zarr.registry.set(name, async () => codec);

/** What decodes chunks as `Photon` does, in a worker. */
function decodingWorker() {
  const worker = new Worker(new URL("./decode_worker.mjs", import.meta.url), { type: "module" });
  const waiting = new Map();
  let last = 0;
  worker.onmessage = ({ data: { id, chunk, error } }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) resolve(chunk);
    else reject(new Error(error));
  };
  worker.onerror = ({ message }) => {
    for (const { reject } of waiting.values()) reject(new Error(`photon.wasm was not loaded: ${message}`));
    waiting.clear();
  };
  return {
    decode: (bytes, options) =>
      new Promise((resolve, reject) => {
        waiting.set(++last, { resolve, reject });
        worker.postMessage({ id: last, bytes, options });
      }),
  };
}

/** A stored movie: its facts, and its frames as they are asked for. */
export class Movie {
  requests = 0;
  bytes = 0;
  #chunks = new Map(); // number to promise, the one that was used last at the end

  /** Open an OME-Zarr movie or the folder of a movie; a name without .ome.zarr is tried as a folder first. */
  static async open(url) {
    const movie = new Movie();
    const store = new zarr.FetchStore(url, { fetch: (request) => movie.#fetch(request) });
    const ways = [() => movie.#openFolder(store), () => movie.#openOmeZarr(store)];
    if (/\.ome\.zarr\/*$/.test(new URL(url).pathname)) ways.reverse();
    await ways[0]().catch((error) => ways[1]().catch(() => Promise.reject(error)));
    return movie;
  }

  async #openOmeZarr(store) {
    const root = zarr.root(store);
    const { attrs } = await zarr.open.v3(root, { kind: "group" });
    const [{ axes, datasets: [level] }] = attrs.ome.multiscales;
    const { scale } = level.coordinateTransformations.find(({ type }) => type === "scale");
    if (axes[0].unit === "second") this.frameRate = 1 / scale[0];
    this.#describe(await zarr.open.v3(root.resolve(level.path), { kind: "array" }), axes.map(({ name }) => name));
  }

  async #openFolder(store) {
    const array = await zarr.open.v2(store, { kind: "array" });
    this.frameRate = array.attrs.photon_recording?.frame_rate;
    this.#describe(array, array.attrs._ARRAY_DIMENSIONS);
  }

  #describe(array, axes) {
    this.array = array;
    this.shape = array.shape;
    this.axes = axes ?? array.shape.map((_, axis) => `axis ${axis}`);
    this.values = array.attrs.layout === "plain" ? "stabilized values" : "counts";
  }

  get chunkFrames() {
    return this.array.chunks[0];
  }

  /** Values of an image: a frame, and its place along the axes between time and rows. */
  async image(frame, place = []) {
    const { data, stride } = await this.chunk(Math.floor(frame / this.chunkFrames));
    const at = [frame % this.chunkFrames, ...place].reduce((sum, index, axis) => sum + index * stride[axis], 0);
    const [rows, columns] = this.shape.slice(-2);
    return data.subarray(at, at + rows * columns);
  }

  /** Decoded chunk of this number, kept for the frames beside it. */
  chunk(number) {
    const place = [number, ...this.shape.slice(1).map(() => 0)];
    const chunk = this.#chunks.get(number) ?? this.array.getChunk(place);
    chunk.catch(() => this.#chunks.delete(number));
    this.#chunks.delete(number);
    this.#chunks.set(number, chunk);
    const bytes = this.array.chunks.reduce((a, b) => a * b, Number(/\d+$/.exec(this.array.dtype)) / 8);
    const kept = Math.max(2, Math.floor(KEPT_BYTES / bytes));
    for (const old of this.#chunks.keys()) if (this.#chunks.size > kept) this.#chunks.delete(old);
    return chunk;
  }

  async #fetch(request) {
    this.requests += 1;
    let response;
    try {
      response = await fetch(request);
    } catch {
      throw new Error(`No answer from ${request.url}: is the address right, and does the server allow this page (CORS)?`);
    }
    if (this.array && response.status === 404) throw new Error(`${request.url} is missing; photon-gpu verify lists what is lost`);
    if (response.status === 403) throw new Error(`${request.url} is not public (status 403)`);
    if (request.headers.has("Range") && response.status === 200) {
      throw new Error(`${request.url}: the server sends whole files, not ranges; use one that knows Range`);
    }
    this.bytes += request.method === "HEAD" ? 0 : Number(response.headers.get("Content-Length"));
    return response;
  }
}

/** What the page shows. */
export const shown = { movie: null, frame: 0, place: [], values: null };
let drawing = null, playing = null;

export async function open(url) {
  stop();
  shown.movie = shown.values = null;
  element("movie").hidden = true;
  element("error").textContent = "";
  try {
    shown.movie = await Movie.open(url);
    makeControls(shown.movie);
    await show();
    autoContrast();
    element("movie").hidden = false;
  } catch (error) {
    fail(error);
  }
}

function makeControls({ shape, axes, frameRate }) {
  const [rows, columns] = shape.slice(-2);
  Object.assign(element("canvas"), { width: columns, height: rows });
  Object.assign(element("frame"), { max: shape[0] - 1, value: 0 });
  element("rate").value = Number((frameRate ?? 30).toPrecision(4));
  const labels = shape.slice(1, -2).map((size, axis) => {
    const name = { c: "channel", z: "plane" }[axes[axis + 1]] ?? axes[axis + 1];
    const input = Object.assign(document.createElement("input"), { type: "range", max: size - 1, value: 0 });
    const label = document.createElement("label");
    input.oninput = () => show().then(autoContrast, fail);
    label.append(`${name} `, input);
    return label;
  });
  element("axes").replaceChildren(...labels);
}

/** Draw what the controls ask for. They may move while a chunk is fetched: the image of the last move is drawn. */
export function show() {
  drawing ??= drawAsked().finally(() => (drawing = null));
  return drawing;
}

async function drawAsked() {
  const asked = () => [element("frame"), ...element("axes").querySelectorAll("input")].map((input) => Number(input.value));
  const movie = shown.movie;
  for (let last; String(last) !== String(asked()); ) {
    last = asked();
    const values = await movie.image(last[0], last.slice(1));
    if (movie !== shown.movie) return; // another was opened meanwhile
    Object.assign(shown, { frame: last[0], place: last.slice(1), values });
    draw();
  }
}

function draw() {
  const { movie, frame, place, values } = shown;
  const low = Number(element("low").value), high = Number(element("high").value);
  const canvas = element("canvas"), context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer); // little-endian: alpha, blue, green, red
  const grey = 255 / Math.max(high - low, Number.MIN_VALUE);
  for (let i = 0; i < pixels.length; i++) {
    const level = Math.round(Math.min(Math.max((Number(values[i]) - low) * grey, 0), 255));
    pixels[i] = 0xff000000 | (level * 0x10101);
  }
  context.putImageData(image, 0, 0);
  const time = movie.frameRate ? ` · ${(frame / movie.frameRate).toFixed(3)} s` : "";
  const others = place.map((index, axis) => ` · ${movie.axes[axis + 1]} ${index}`).join("");
  element("position").value = `frame ${frame} / ${movie.shape[0] - 1}${time}${others}`;
  element("low-value").value = Number(low.toPrecision(5));
  element("high-value").value = Number(high.toPrecision(5));
  element("facts").textContent =
    `${movie.shape.join(" × ")} (${movie.axes.join(", ")}), ${movie.array.dtype}, ${movie.values}; ` +
    `${movie.chunkFrames} frames a chunk; ${movie.requests} requests, ${(movie.bytes / 1e6).toFixed(1)} MB`;
}

/** Choose black and white by the image that is shown. */
export function autoContrast() {
  const sorted = Float64Array.from(shown.values, Number).sort();
  const at = (quantile) => sorted[Math.round(quantile * (sorted.length - 1))];
  const low = at(DARKEST), high = Math.max(at(BRIGHTEST), low + (shown.movie.values === "counts" ? 1 : 1e-3));
  const bounds = { min: Math.min(0, sorted[0]), max: high + (high - low), step: "any" };
  Object.assign(element("low"), bounds, { value: low });
  Object.assign(element("high"), bounds, { value: high });
  draw();
}

async function play() {
  const { movie } = shown, turn = (playing = {});
  element("play").textContent = "Pause";
  while (playing === turn) {
    const start = performance.now(), slider = element("frame");
    slider.value = (shown.frame + 1) % movie.shape[0];
    await show();
    const next = Math.floor(shown.frame / movie.chunkFrames) + 1;
    if (next * movie.chunkFrames < movie.shape[0]) movie.chunk(next).catch(() => {}); // it fails when it is shown
    const wait = 1000 / Number(element("rate").value) - (performance.now() - start);
    await new Promise((resolve) => setTimeout(resolve, Math.max(wait, 0)));
  }
}

function stop() {
  playing = null;
  element("play").textContent = "Play";
}

function fail(error) {
  stop();
  const lost = zarr.isZarritaError(error, "NotFoundError") && `${element("url").value} holds no stored movie`;
  element("error").textContent = lost || (error.cause?.message ?? error.message);
}

element("frame").oninput = () => show().catch(fail);
element("low").oninput = element("high").oninput = draw;
element("auto").onclick = autoContrast;
element("play").onclick = () => (playing ? stop() : play().catch(fail));
element("canvas").onpointermove = ({ offsetX, offsetY, target }) => {
  const x = Math.floor((offsetX / target.clientWidth) * target.width);
  const y = Math.floor((offsetY / target.clientHeight) * target.height);
  element("pixel").value = `row ${y}, column ${x}: ${shown.values[y * target.width + x]}`;
};
element("canvas").onpointerleave = () => (element("pixel").value = "");
element("open").onsubmit = (event) => {
  event.preventDefault();
  const page = new URL(location.href);
  page.searchParams.set("url", element("url").value);
  history.replaceState(null, "", page);
  open(element("url").value);
};
element("url").value = new URL(location.href).searchParams.get("url") ?? "";
if (element("url").value) open(element("url").value);
