import type { Fields } from "../http/multipart.ts";
import { badRequest } from "./bot-error.ts";

/** In a query or form every value is text. Source: Telegram Bot API, making requests. */
export class Parameters {
  readonly raw: Fields;

  constructor(raw: Fields) {
    this.raw = raw;
  }

  /** Numbers and booleans given as JSON are taken for their text. */
  text(name: string): string | undefined {
    const value = this.raw[name];
    if (value === undefined || value === null) return undefined;
    if (typeof value === "object") throw badRequest(`${name} must be of type String`);
    return String(value);
  }

  integer(name: string): number | undefined {
    const text = this.text(name)?.trim();
    if (text === undefined || text === "") return undefined;
    if (!/^-?\d{1,16}$/.test(text)) throw badRequest(`${name} must be an integer`);
    return Number(text);
  }

  float(name: string): number | undefined {
    const text = this.text(name)?.trim();
    if (text === undefined || text === "") return undefined;
    if (!Number.isFinite(Number(text))) throw badRequest(`${name} must be a number`);
    return Number(text);
  }

  flag(name: string): boolean {
    const text = this.text(name)?.toLowerCase();
    return text === "true" || text === "1" || text === "yes";
  }

  json(name: string): unknown {
    const value = this.raw[name];
    if (typeof value !== "string") return value ?? undefined;
    if (value.trim() === "") return undefined;
    try {
      return JSON.parse(value);
    } catch {
      throw badRequest(`can't parse ${name} JSON object`);
    }
  }
}
