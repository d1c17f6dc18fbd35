/** A store on disk that serves its URLs, to be killed: `node object-store-process.ts FOLDER PORT SECRET`. */
import { createServer } from "node:http";
import { systemClock } from "../lib/clock.ts";
import { openDiskObjectStore } from "../lib/object-store/disk-object-store.ts";
import { Secret } from "../lib/secret.ts";

const [folder, port, secret] = process.argv.slice(2) as [string, string, string];
const log = { info() {}, warn() {}, error() {} };
const baseUrl = `http://127.0.0.1:${port}`;
const store = await openDiskObjectStore({ folder, baseUrl, secrets: [new Secret(secret)], clock: systemClock, log });
createServer((request, response) => void store.handle!(request, response)).listen(Number(port), "127.0.0.1");
process.on("disconnect", () => process.exit());
