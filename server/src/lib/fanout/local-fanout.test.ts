import { ownMessagesSuite } from "../../testing/suites/fanout-suite.ts";
import type { Log } from "../postgres.ts";
import { openLocalFanout } from "./local-fanout.ts";

const quiet: Log = { info() {}, warn() {}, error() {} };

ownMessagesSuite(async () => ({
  open: async () => openLocalFanout(quiet),
  async [Symbol.asyncDispose]() {},
}));
