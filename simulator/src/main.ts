import type { Server } from "node:net";
import { help, readCommand } from "./flags.ts";
import { type Simulator, startSimulator } from "./simulator.ts";

const stopTimeoutMs = 1_500;

const command = attempt(() => readCommand(process.argv.slice(2), process.env));
if (command.kind === "help") {
  process.stdout.write(help);
} else {
  const { port, host } = command.options;
  if (command.inheritsPort) command.options.listenOn = await inheritedServer();
  const simulator = await startSimulator(command.options).catch((error) => fail(error, `${host}:${port}`));
  stopWhenAsked(simulator);
  if (process.send) process.send({ type: "listening", port: simulator.port, url: simulator.url });
  else process.stdout.write(`The platform simulator listens on ${simulator.url}; see ${simulator.url}/_sim/\n`);
}

/** Waits, as long as the parent process lives, for its message: the parent starts other things first. */
function inheritedServer(): Promise<Server> {
  return new Promise((resolve) => {
    const end = () => process.exit(0);
    for (const event of ["SIGTERM", "SIGINT", "disconnect"]) process.once(event, end);
    process.once("message", (_message, server) => {
      for (const event of ["SIGTERM", "SIGINT", "disconnect"]) process.off(event, end);
      resolve(server as Server);
    });
  });
}

/** Signals, and the death of the parent that has an IPC channel to this process. */
function stopWhenAsked(simulator: Simulator): void {
  const stop = () => {
    setTimeout(() => process.exit(0), stopTimeoutMs).unref();
    simulator.close().then(
      () => process.exit(0),
      (error) => {
        process.stderr.write(`The simulator did not stop in order: ${error.message}.\n`);
        process.exit(1);
      },
    );
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
  if (process.send) process.once("disconnect", stop);
}

function attempt<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    return fail(error, "");
  }
}

function fail(error: unknown, where: string): never {
  const { code, message } = error as NodeJS.ErrnoException;
  const sentence =
    code === "EADDRINUSE"
      ? `The simulator cannot listen on ${where}: another program has that port (--port takes another).`
      : code === "EACCES" || code === "EADDRNOTAVAIL"
        ? `The simulator cannot start on ${where}: ${message}.`
        : `The simulator cannot start: ${message}.`;
  process.stderr.write(`${sentence}\n`);
  process.exit(1);
}
