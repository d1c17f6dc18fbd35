import { type Account, maxAccounts } from "./accounts.ts";
import type { Face, OpenFace } from "./face.ts";
import { isRecord } from "./fields.ts";
import { absent, invalid, Problem } from "./problem.ts";
import type { World } from "./world.ts";

export interface Simulation {
  readonly world: World;
  readonly faces: readonly Face[];
  readonly open: ReadonlyMap<string, OpenFace>;
}

/** The face and the running platform of a channel; a `Problem` (400) that lists the channels when there is none. */
export function channelOf(simulation: Simulation, channel: string): { face: Face; running: OpenFace } {
  const face = simulation.faces.find((one) => one.channel === channel);
  const running = simulation.open.get(channel);
  if (face && running) return { face, running };
  throw invalid(`channel must be one of ${simulation.faces.map((one) => one.channel).join(", ")}`);
}

/** Without `id`, the account that wrote to this person last, or else the oldest of the channel. */
export function accountOf(
  { world }: Simulation,
  { channel, id, person }: { channel: string; id: string | undefined; person: string },
): Account {
  if (id !== undefined) {
    const named = world.accounts.find(channel, id) ?? world.accounts.findByToken(channel, id);
    if (!named) throw absent(`${channel} has no account "${id}"; see GET /_sim/accounts`);
    return named;
  }
  const last = world.messages.lastTo(channel, person);
  const account = (last && world.accounts.find(channel, last.account)) ?? world.accounts.list(channel)[0];
  if (account === undefined) throw invalid(`${channel} has no account`);
  return account;
}

export function personOf(face: Face, text: string, field: string): string {
  const person = face.person(text);
  if (person === undefined) throw invalid(`${field} must identify someone on ${face.channel}, "${text}" does not`);
  return person;
}

/** Adds or updates an account: fields that are not given stay as they were. Safe to call twice. */
export function putAccount(simulation: Simulation, input: unknown): Account {
  const { world } = simulation;
  if (!isRecord(input) || typeof input.channel !== "string") {
    throw invalid(`an account is an object with a channel: ${simulation.faces.map((face) => face.channel).join(", ")}`);
  }
  const { face } = channelOf(simulation, input.channel);
  const given = face.readAccount(input);
  const known = world.accounts.find(face.channel, given.id);
  if (!known && world.accounts.list().length >= maxAccounts) {
    throw new Problem(503, "OVERLOADED", `there are ${maxAccounts} accounts already`);
  }
  const account = known ? face.readAccount({ ...known.fields, ...input }) : given;
  world.accounts.put(account);
  world.journal.account(account.fields);
  world.webhooks.retarget(account);
  return account;
}

/** Forgets messages, media, waiting webhooks, faults, settings, blocks and windows. Accounts and their webhooks stay. */
export function reset({ world, open }: Simulation): void {
  world.webhooks.clear();
  world.messages.clear();
  world.media.clear();
  world.signals.clear();
  world.faults.clear();
  world.settings.reset();
  for (const face of open.values()) face.reset();
  world.journal.compact();
}
