import { connect, type Socket } from "node:net";

/** One keep-alive HTTP/1.1 connection with one request at a time: the least a generator can spend on a request. */
export interface Connection {
  /** The whole request. Must not be changed before its response. On a lost connection it fails at once. */
  send(request: Buffer): void;
  close(): void;
}

export interface Answer {
  status: number;
  /** The start of the response, as far as one read brought it: it shows what went wrong. */
  beginning: Buffer;
}

/** `onFailed` is called when the connection is lost, and for each request that is sent afterwards. */
export function openConnection(
  { port, host }: { port: number; host: string },
  onAnswer: (answer: Answer) => void,
  onFailed: (error: Error) => void,
): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host, noDelay: true });
    let isOpen = false;
    let lost: Error | null = null;
    const fail = (error: Error) => {
      if (lost !== null) return;
      lost = error;
      if (isOpen) onFailed(error);
      else reject(error);
    };
    socket.once("error", fail);
    socket.once("close", () => fail(new Error("the server closed the connection")));
    socket.once("connect", () => {
      isOpen = true;
      readAnswers(socket, onAnswer, fail);
      resolve({
        send(request) {
          if (lost === null) socket.write(request);
          else onFailed(lost);
        },
        close: () => {
          socket.removeAllListeners();
          socket.on("error", () => {});
          socket.destroy();
        },
      });
    });
  });
}

const headEnd = "\r\n\r\n";
const lengthField = "content-length: ";

function readAnswers(socket: Socket, onAnswer: (answer: Answer) => void, fail: (error: Error) => void): void {
  let pending: Buffer | null = null;
  let missingBytes = 0;
  let answer: Answer | null = null;
  socket.on("data", (chunk: Buffer) => {
    if (answer === null) {
      const seen = pending === null ? chunk : Buffer.concat([pending, chunk]);
      const end = seen.indexOf(headEnd);
      if (end < 0) {
        pending = seen;
        return;
      }
      pending = null;
      const head = seen.toString("latin1", 0, end).toLowerCase();
      const field = head.indexOf(lengthField);
      if (field < 0) return fail(new Error(`a response without content-length: ${head.slice(0, 200)}`));
      answer = { status: Number(head.slice(9, 12)), beginning: seen };
      missingBytes = Number.parseInt(head.slice(field + lengthField.length), 10) - (seen.length - end - headEnd.length);
    } else {
      missingBytes -= chunk.length;
    }
    if (missingBytes > 0) return;
    const whole = answer;
    answer = null;
    onAnswer(whole);
  });
}
