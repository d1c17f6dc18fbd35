import type { Accounts } from "./accounts.ts";
import type { Faults } from "./faults.ts";
import type { HttpClient } from "./http/client.ts";
import type { Journal } from "./journal/journal.ts";
import type { Links } from "./media/links.ts";
import type { MediaStore } from "./media/media-store.ts";
import type { Messages } from "./messages.ts";
import type { Random } from "./random.ts";
import type { Schedule } from "./schedule.ts";
import type { Settings } from "./settings.ts";
import type { Signals } from "./signals.ts";
import type { Webhooks } from "./webhooks/webhooks.ts";

export interface World {
  readonly now: () => number;
  readonly random: Random;
  /** Whether a seed was given: then ids are repeatable instead of unique over restarts. */
  readonly seeded: boolean;
  readonly schedule: Schedule;
  readonly http: HttpClient;
  readonly accounts: Accounts;
  readonly settings: Settings;
  readonly faults: Faults;
  readonly messages: Messages;
  readonly signals: Signals;
  readonly journal: Journal;
  readonly media: MediaStore;
  readonly links: Links;
  readonly webhooks: Webhooks;
}
