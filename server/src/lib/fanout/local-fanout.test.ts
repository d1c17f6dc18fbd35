import type { Log } from "../postgres.ts";
import { ownMessagesContract } from "./contract.ts";
import { openLocalFanout } from "./local-fanout.ts";

const quiet: Log = { info() {}, warn() {}, error() {} };

ownMessagesContract(async () => ({
  open: async () => openLocalFanout(quiet),
  async [Symbol.asyncDispose]() {},
}));
