import { inspect } from "node:util";

/**
 * A value that must not be seen: it prints as `[secret]` in templates, JSON, logs and the inspector.
 * `reveal()` is the only way to it, so that every use can be found by that word.
 */
export class Secret<T = string> {
  readonly #value: T;

  constructor(value: T) {
    this.#value = value;
  }

  reveal(): T {
    return this.#value;
  }

  toString(): string {
    return hidden;
  }

  toJSON(): string {
    return hidden;
  }

  [inspect.custom](): string {
    return hidden;
  }
}

export const hidden = "[secret]";
