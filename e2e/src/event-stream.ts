/** One event of a stream as a browser dispatches it. */
interface StreamEvent {
  id: string;
  data: string;
}

/**
 * Server-sent events, read as the HTML standard says (9.2.6), and more strictly: fields that the hub never sends, and
 * line ends other than a newline, are errors. Feed it bytes as they arrive; an incomplete event is kept until its end.
 */
export function openEventStreamParser(onEvent: (event: StreamEvent) => void) {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let rest = "";
  let data: string | null = null;
  /** The one that the next empty line makes the last one. */
  let id = "";
  let lastId = "";
  let comments = 0;

  function take(line: string): void {
    if (line === "") {
      lastId = id;
      if (data !== null) onEvent({ id, data });
      data = null;
    } else if (line.startsWith(":")) comments += 1;
    else if (line.startsWith("id: ") && /^\d+(-[0-9a-z]+)?$/.test(line.slice(4))) id = line.slice(4);
    else if (line.startsWith("data: ") && data === null) data = line.slice(6);
    else throw new Error(`No line of an event stream of the hub: ${line.slice(0, 100)}`);
  }

  return {
    push(bytes: Uint8Array): void {
      const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        if (line.includes("\r")) throw new Error("A carriage return in an event stream.");
        take(line);
      }
    },
    /** What a browser would send as `last-event-id`. */
    lastId: () => lastId,
    comments: () => comments,
  };
}
