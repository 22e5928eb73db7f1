/* Reading a safetensors file: a head of JSON with its length before it, then the arrays, little-endian. */

const TYPES = {F32: Float32Array, U8: Uint8Array};

/* Map name -> {shape, values} of the arrays of known types. */
export function readSafetensors(buffer) {
  const size = Number(new DataView(buffer).getBigUint64(0, true)), start = 8 + size;
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, size)));
  return new Map(Object.entries(head).filter(([, one]) => one.dtype in TYPES).map(([name, {dtype, shape, data_offsets: [from, to]}]) =>
    [name, {shape, values: new TYPES[dtype](buffer.slice(start + from, start + to))}]));
}
