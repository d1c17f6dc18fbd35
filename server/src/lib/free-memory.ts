/**
 * Frees the memory of bytes that nothing else uses, such as a chunk of a request, unless they share it. The garbage
 * collector would free it late, and stop the process for it after each 64 MiB or so.
 */
export function freeMemory({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && byteLength === buffer.byteLength) buffer.transfer(0);
}
