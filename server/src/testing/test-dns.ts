import { createSocket } from "node:dgram";
import { once } from "node:events";
import { isIP } from "node:net";

/**
 * What a name leads to: IP addresses, or another name (`CNAME localhost`) with theirs behind it. `nth` counts the
 * questions about this name and this kind of IP address from 1.
 */
type Zone = Record<string, (nth: number) => string[]>;

const kinds = { A: 1, CNAME: 5, AAAA: 28 } as const;

/** A real name server on this machine, for tests in which the DNS is an enemy. A name it does not know does not exist. */
export async function startTestDns(zone: Zone) {
  const socket = createSocket("udp4");
  const asked: { name: string; kind: "A" | "AAAA" | "other" }[] = [];
  socket.on("message", (query, from) => {
    const { name, type, end } = readQuestion(query);
    const kind = type === kinds.A ? "A" : type === kinds.AAAA ? "AAAA" : "other";
    asked.push({ name, kind });
    const nth = asked.filter((question) => question.name === name && question.kind === kind).length;
    const found = Object.hasOwn(zone, name) ? zone[name]!(nth) : null;
    const answers = (found ?? []).flatMap((target) => record(target, type));
    const head = Buffer.from(query.subarray(0, 12));
    head.writeUInt16BE(found === null ? 0x8183 : 0x8180, 2);
    head.writeUInt16BE(answers.length, 6);
    head.writeUInt32BE(0, 8);
    socket.send(Buffer.concat([head, query.subarray(12, end), ...answers]), from.port, from.address);
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  return {
    server: `127.0.0.1:${socket.address().port}`,
    asked,
    async [Symbol.asyncDispose]() {
      socket.close();
      await once(socket, "close");
    },
  };
}

function readQuestion(query: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = [];
  let at = 12;
  while (query[at]! > 0) {
    labels.push(query.toString("latin1", at + 1, at + 1 + query[at]!));
    at += query[at]! + 1;
  }
  return { name: labels.join(".").toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 };
}

/** Nothing for an IP address of the other kind. */
function record(target: string, type: number): Buffer[] {
  if (target.startsWith("CNAME ")) return [encode(kinds.CNAME, encodeName(target.slice(6)))];
  if (isIP(target) === 4 && type === kinds.A) return [encode(type, Buffer.from(target.split(".").map(Number)))];
  if (isIP(target) === 6 && type === kinds.AAAA) return [encode(type, encode6(target))];
  return [];
}

/** Of the name that was asked for, to be forgotten at once. */
function encode(type: number, data: Buffer): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(0xc00c, 0);
  head.writeUInt16BE(type, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, data]);
}

function encodeName(name: string): Buffer {
  const labels = name.split(".").flatMap((label) => [Buffer.from([label.length]), Buffer.from(label)]);
  return Buffer.concat([...labels, Buffer.from([0])]);
}

function encode6(address: string): Buffer {
  const [head = "", tail = ""] = new URL(`http://[${address}]`).hostname.slice(1, -1).split("::");
  const [left, right] = [head, tail].map((side) => side.split(":").filter((group) => group !== ""));
  const middle = Array(8 - left!.length - right!.length).fill("0");
  const bytes = Buffer.alloc(16);
  for (const [index, group] of [...left!, ...middle, ...right!].entries()) {
    bytes.writeUInt16BE(Number.parseInt(group, 16), index * 2);
  }
  return bytes;
}
