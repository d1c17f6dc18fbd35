import { boolean, integer, number, oneOf, optional } from "./fields.ts";

export interface ChannelSettings {
  /** How far receipts go by themselves: `true` is as far as `read`, `false` is none. */
  auto_receipts: boolean | "sent" | "delivered" | "read";
  /** Between accepting and `sent`, `sent` and `delivered`, `delivered` and `read`. */
  receipt_delay_ms: number;
  latency_ms: number;
  /** How many times faster than on the real platform webhook retries and expiry run. */
  time_factor: number;
  webhook_timeout_ms: number;
  /** Messages a second and account before the platform refuses; 0: no limit. */
  throughput_per_second: number;
  /**
   * Whether a person must write first, as on the real platform: on WhatsApp within the last 24 h, unless the message is
   * a template; on Telegram at any time before.
   */
  enforce_window: boolean;
}

export const commonSettings: ChannelSettings = {
  auto_receipts: true,
  receipt_delay_ms: 20,
  latency_ms: 0,
  time_factor: 1,
  webhook_timeout_ms: 10_000,
  throughput_per_second: 0,
  enforce_window: true,
};

export const settingFields = {
  auto_receipts: optional(oneOf([true, false, "sent", "delivered", "read"])),
  receipt_delay_ms: optional(integer(0, 3_600_000)),
  latency_ms: optional(integer(0, 600_000)),
  time_factor: optional(number(1, 1_000_000)),
  webhook_timeout_ms: optional(integer(10, 600_000)),
  throughput_per_second: optional(integer(0, 1_000_000)),
  enforce_window: optional(boolean),
};

export class Settings {
  readonly #defaults = new Map<string, ChannelSettings>();
  readonly #current = new Map<string, ChannelSettings>();

  open(channel: string, settings: Partial<ChannelSettings>): void {
    this.#defaults.set(channel, { ...commonSettings, ...settings });
    this.#current.set(channel, { ...commonSettings, ...settings });
  }

  of(channel: string): ChannelSettings {
    const settings = this.#current.get(channel);
    if (!settings) throw new Error(`no settings for channel ${channel}`);
    return settings;
  }

  merge(channel: string, changes: Partial<ChannelSettings>): ChannelSettings {
    const settings = { ...this.of(channel), ...changes };
    this.#current.set(channel, settings);
    return settings;
  }

  all(): Record<string, ChannelSettings> {
    return Object.fromEntries(this.#current);
  }

  reset(): void {
    for (const [channel, settings] of this.#defaults) this.#current.set(channel, { ...settings });
  }
}
