import { type Generator, startGenerator } from "../load/generator.ts";
import type { Traffic } from "../load/requests.ts";
import { type Bench, CheckFailed } from "../measure.ts";
import { countStatementsFromNextStart } from "../watch/statements.ts";
import { type BenchHub, openDataDir, startHub } from "./bench-hub.ts";
import { call, each, setUp, type Workplace } from "./setup.ts";

/** A hub on an empty database, people to write to, and a generator that writes. */
export interface Stage extends Workplace {
  hub: BenchHub;
  generator: Generator;
  traffic(batchSize: number): Traffic;
}

/**
 * `roles: "api"` measures what accepting costs and nothing else: the messages wait on the bus, for on a machine with
 * few cores the steps that follow would take the processor from the one that is measured.
 */
export async function openStage(
  bench: Bench,
  { roles, people, env = {} }: { roles: string; people: number; env?: Record<string, string> },
): Promise<Stage> {
  const { resources, observer } = bench;
  const dataDir = resources.use(openDataDir()).path;
  if (observer.isProfiling) {
    await using first = await startHub({ dataDir, roles });
    await countStatementsFromNextStart(first.databaseUrl);
  }
  const hub = resources.use(await startHub({ dataDir, roles, isInspected: observer.isProfiling, env }));
  const workplace = await setUp(hub, people);
  const generator = resources.use(await startGenerator());
  const conversationIds = workplace.conversations.map(({ conversationId }) => conversationId);
  const { url } = hub;
  const { authorization } = workplace;
  return {
    ...workplace,
    hub,
    generator,
    traffic: (batchSize) => ({ url, authorization, conversationIds, batchSize }),
  };
}

/** Every message that got 202 has a place in its conversation, and no other has one. */
export async function checkAccepted({ hub, authorization, conversations }: Stage, accepted: number): Promise<void> {
  const counts = await each(conversations, async ({ conversationId }) => {
    const { last_seq } = await call<{ last_seq: number }>(
      hub.url,
      `/v1/conversations/${conversationId}`,
      authorization,
    );
    return last_seq;
  });
  const stored = counts.reduce((sum, count) => sum + count, 0);
  if (stored !== accepted) throw new CheckFailed(`${accepted} messages were accepted, ${stored} are there.`);
}
