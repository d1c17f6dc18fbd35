/** A repeatable source of chance: the same seed gives the same sequence. Not for secrets. */
export interface Random {
  next(): number;
  hex(length: number): string;
  /** An independent source whose sequence depends on this one's seed and the label only. */
  fork(label: string): Random;
  restart(label: string): void;
}

export function createRandom(seed: string): Random {
  let generate = sfc32(seed);
  const next = () => generate();
  return {
    next,
    hex(length) {
      let text = "";
      while (text.length < length) text += hexPairs[(next() * 256) | 0];
      return text.slice(0, length);
    },
    fork: (label) => createRandom(`${seed}/${label}`),
    restart(label) {
      generate = sfc32(`${seed}/${label}`);
    },
  };
}

const hexPairs = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0").toUpperCase());

function sfc32(seed: string): () => number {
  let [a, b, c, counter] = stateFrom(seed);
  const next = () => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    c |= 0;
    return (sum >>> 0) / 4_294_967_296;
  };
  for (let round = 0; round < 16; round++) next();
  return next;
}

function stateFrom(seed: string): [number, number, number, number] {
  const hash = (basis: number) => {
    let value = basis;
    for (let i = 0; i < seed.length; i++) value = Math.imul(value ^ seed.charCodeAt(i), 16_777_619);
    return value | 0;
  };
  return [hash(2_166_136_261), hash(374_761_393), hash(668_265_263), 1];
}
