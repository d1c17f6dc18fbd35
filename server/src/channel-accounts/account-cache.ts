import type { Clock } from "../lib/clock.ts";
import { type ChannelAccountId, isUuid } from "../lib/ids.ts";
import type { ConnectedAccount } from "./channel-account.ts";

export const maxCachedAccounts = 10_000;
const maxMissing = 1_000;
/** How long a change by another process may stay invisible, in milliseconds. */
export const recheckMs = 3_000;

interface AccountCacheParts {
  clock: Clock;
  load: (channelAccountId: ChannelAccountId) => Promise<ConnectedAccount | null>;
  findChanged: (known: readonly ConnectedAccount[]) => Promise<ChannelAccountId[]>;
}

export interface AccountCache {
  get(channelAccountId: ChannelAccountId): Promise<ConnectedAccount | null>;
  /** The result of `get`, synchronously; undefined when only `get` knows it. */
  peek(channelAccountId: ChannelAccountId): ConnectedAccount | undefined;
  /** After a change in this process: the next `get` reads the account again. */
  forget(channelAccountId: ChannelAccountId): void;
}

/** Every `recheckMs` of use, one statement checks which accounts changed. `get` rejects when that fails. */
export function openAccountCache({ clock, load, findChanged }: AccountCacheParts): AccountCache {
  const accounts = new Map<ChannelAccountId, ConnectedAccount>();
  const missing = new Map<ChannelAccountId, number>();
  const loading = new Map<ChannelAccountId, Promise<ConnectedAccount | null>>();
  let checkedAt = Number.NEGATIVE_INFINITY;
  let checking: Promise<void> | null = null;

  function peek(channelAccountId: ChannelAccountId): ConnectedAccount | undefined {
    if (clock.elapsed() - checkedAt >= recheckMs) return undefined;
    const account = accounts.get(channelAccountId);
    if (account === undefined) return undefined;
    accounts.delete(channelAccountId);
    accounts.set(channelAccountId, account);
    return account;
  }

  async function find(channelAccountId: ChannelAccountId): Promise<ConnectedAccount | null> {
    if (!isUuid(channelAccountId)) return null;
    if (clock.elapsed() - checkedAt >= recheckMs) await check();
    const known = accounts.get(channelAccountId);
    if (known !== undefined) return known;
    if ((missing.get(channelAccountId) ?? 0) > clock.elapsed()) return null;
    return loading.get(channelAccountId) ?? loadOnce(channelAccountId);
  }

  function check(): Promise<void> {
    checking ??= dropChanged().finally(() => {
      checking = null;
    });
    return checking;
  }

  async function dropChanged(): Promise<void> {
    const startedAt = clock.elapsed();
    const known = [...accounts.values()];
    const changed = known.length === 0 ? [] : await findChanged(known);
    const before = new Map(known.map((account) => [account.channelAccountId, account]));
    for (const id of changed) if (accounts.get(id) === before.get(id)) accounts.delete(id);
    checkedAt = startedAt;
  }

  function loadOnce(channelAccountId: ChannelAccountId): Promise<ConnectedAccount | null> {
    const mine = load(channelAccountId)
      .then((account) => {
        // A change during the load called `forget`: the result may be outdated.
        if (loading.get(channelAccountId) === mine) keep(channelAccountId, account);
        return account;
      })
      .finally(() => {
        if (loading.get(channelAccountId) === mine) loading.delete(channelAccountId);
      });
    loading.set(channelAccountId, mine);
    return mine;
  }

  function keep(channelAccountId: ChannelAccountId, account: ConnectedAccount | null): void {
    if (account === null) {
      missing.set(channelAccountId, clock.elapsed() + recheckMs);
      dropOldest(missing, maxMissing);
    } else {
      accounts.set(channelAccountId, account);
      dropOldest(accounts, maxCachedAccounts);
    }
  }

  return {
    get(channelAccountId) {
      const account = peek(channelAccountId);
      return account === undefined ? find(channelAccountId) : Promise.resolve(account);
    },
    peek,
    forget(channelAccountId) {
      accounts.delete(channelAccountId);
      missing.delete(channelAccountId);
      loading.delete(channelAccountId);
    },
  };
}

function dropOldest(map: Map<string, unknown>, size: number): void {
  if (map.size <= size) return;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    if (map.size <= size) return;
  }
}
