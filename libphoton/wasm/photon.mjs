// Decode chunks of layout compact: libphoton as WebAssembly.

const MESSAGES = [
  "ok",
  "the bytes are no whole frame or payload",
  "a checksum says that the bytes were altered",
  "a later version of the format",
  "a Blosc frame of another compressor than zstd",
  "the memory or the output is too small",
  "more codes, samples or digits than the format allows",
];
const ARRAYS = [
  Int8Array, Uint8Array, Int16Array, Uint16Array, Int32Array,
  Uint32Array, BigInt64Array, BigUint64Array, Float32Array, Float64Array,
];
const INFO_BYTES = 1024; // at least sizeof(photon_info)
const AXES = 256, FRAMES = 260, SAMPLES = 264, DTYPE = 272, ITEM = 276; // offsets of its first fields
const PAYLOAD = [0x50, 0x48, 0x54]; // "PHTN", or "PHTC": a table of channels

export class PhotonError extends Error {}

/** Compile photon.wasm, given as bytes, a Response, or nothing: then it is fetched from beside this file. */
export async function loadPhoton(source) {
  let bytes = source ?? new URL("./photon.wasm", import.meta.url);
  if (bytes instanceof URL && bytes.protocol === "file:") {
    bytes = await (await import("node:fs/promises")).readFile(bytes);
  } else if (bytes instanceof URL) {
    bytes = await fetch(bytes);
  }
  if (typeof Response !== "undefined" && bytes instanceof Response) bytes = await bytes.arrayBuffer();
  const { instance } = await WebAssembly.instantiate(bytes, {});
  instance.exports._initialize?.();
  return new Photon(instance.exports);
}

export class Photon {
  constructor(exports) {
    this.exports = exports;
  }

  /** Open a chunk file, which is a Blosc frame of zstd, to its payload. */
  openFrame(frame) {
    return this.#scope((memory) => {
      const input = memory.copy(frame);
      const size = memory.size((at) => this.exports.photon_frame_size(input, frame.length, at));
      const scratch = memory.size((at) => this.exports.photon_frame_memory(input, frame.length, at));
      const out = memory.take(size);
      memory.check(this.exports.photon_open_frame(input, frame.length, out, size, memory.take(scratch), scratch));
      return this.#bytes(out, size).slice();
    });
  }

  /**
   * Decode a payload, or a chunk file, to all samples of the chunk: counts in their dtype, or stabilized values.
   * Frames that the last chunk of a movie does not have are zeros. `channelAxis` says where the channels of a
   * movie with a model for each channel belong in the shape; where it is not known, axes of one row may swap.
   */
  decode(chunk, { stabilized = false, channelAxis } = {}) {
    const payload = PAYLOAD.every((byte, i) => chunk[i] === byte) ? chunk : this.openFrame(chunk);
    return this.#scope((memory) => {
      const input = memory.copy(payload), two = memory.take(8);
      const numbers = () => new Uint32Array(this.exports.memory.buffer, two, 2);
      memory.check(this.exports.photon_channels(input, payload.length, two, two + 4));
      const [channels, rows] = numbers();
      const parts = Array.from({ length: channels }, (_, channel) => {
        memory.check(this.exports.photon_channel(input, payload.length, channel, two, two + 4));
        return this.#decodePart(...numbers(), stabilized);
      });
      return rows ? joinChannels(parts, rows, channelAxis) : parts[0];
    });
  }

  #decodePart(input, length, stabilized) {
    return this.#scope((memory) => {
      const info = memory.take(INFO_BYTES);
      memory.check(this.exports.photon_read_info(input, length, info));
      const needed = memory.size((at) => this.exports.photon_memory(info, Number(stabilized), at));
      const view = new DataView(this.exports.memory.buffer, info);
      const samples = Number(view.getBigUint64(SAMPLES, true));
      const axes = view.getUint32(AXES, true), frames = view.getUint32(FRAMES, true);
      const shape = Array.from({ length: axes }, (_, i) => Number(view.getBigUint64(8 * i, true)));
      const Values = stabilized ? Float64Array : ARRAYS[view.getUint32(DTYPE, true)];
      const bytes = samples * (stabilized ? 8 : view.getUint32(ITEM, true));
      const out = memory.take(bytes), scratch = memory.take(needed);
      memory.check(this.exports.photon_decode(input, length, Number(stabilized), out, bytes, scratch, needed));
      /* The slice of a buffer is several times as fast as that of an array of bytes. */
      return { data: new Values(this.exports.memory.buffer.slice(out, out + bytes)), shape, frames };
    });
  }

  #bytes(at, length) {
    return new Uint8Array(this.exports.memory.buffer, at, length); // memory may have grown: view it anew
  }

  /** Run with memory that is freed afterwards, whatever happens. */
  #scope(work) {
    const taken = [];
    const memory = {
      take: (bytes) => {
        const at = bytes < 2 ** 32 && this.exports.malloc(Math.max(bytes, 1)) >>> 0;
        if (!at) throw new PhotonError(`${bytes} bytes of memory are not there`);
        taken.push(at);
        return at;
      },
      copy: (data) => {
        const at = memory.take(data.length);
        this.#bytes(at, data.length).set(data);
        return at;
      },
      check: (status) => {
        if (status) throw new PhotonError(MESSAGES[status] ?? `status ${status}`);
      },
      size: (ask) => {
        const at = memory.take(8);
        memory.check(ask(at));
        return new DataView(this.exports.memory.buffer).getUint32(at, true);
      },
    };
    try {
      return work(memory);
    } finally {
      for (const at of taken) this.exports.free(at);
    }
  }
}

/** One chunk of the chunks of its channels; `rows` of a channel follow each other. */
function joinChannels(parts, rows, channelAxis) {
  const [{ data, shape, frames }] = parts, block = rows * shape.at(-1);
  if (data.length % block || parts.some((part) => String(part.shape) !== String(shape) || part.frames !== frames)) {
    throw new PhotonError("the channels of a chunk differ in shape");
  }
  const all = new data.constructor(parts.length * data.length);
  parts.forEach((part, channel) => {
    for (let at = 0; at < data.length; at += block) {
      all.set(part.data.subarray(at, at + block), at * parts.length + channel * block);
    }
  });
  let axis = shape.length - 1;
  for (let inside = 1; inside < rows && axis > 1; ) inside *= shape[--axis];
  return { data: all, shape: shape.toSpliced(channelAxis ?? axis, 0, parts.length), frames };
}

/**
 * Codec for zarrita, which opens the Blosc frame itself:
 *
 *     import { registry } from "zarrita";
 *     const codec = zarritaCodec(await loadPhoton());
 *     registry.set("photon_gpu.photon", async () => codec); // OME-Zarr
 *     registry.set("numcodecs.photon", async () => codec); // a folder; "photon" before zarrita 0.6
 *
 * `decode` of `photon` may return a promise, as in viewer.mjs, which decodes in a worker.
 */
export function zarritaCodec(photon) {
  return class PhotonCodec {
    kind = "array_to_bytes";

    constructor(channelAxis) {
      this.channelAxis = channelAxis;
    }

    static fromConfig(configuration) {
      return new PhotonCodec(configuration?.channel_axis);
    }

    encode() {
      throw new PhotonError("photon movies are written by photon_gpu");
    }

    async decode(bytes) {
      const { data, shape } = await photon.decode(bytes, { channelAxis: this.channelAxis });
      const stride = shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));
      return { data, shape, stride };
    }
  };
}
