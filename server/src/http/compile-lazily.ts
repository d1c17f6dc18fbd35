import { setImmediate as othersTurn } from "node:timers/promises";
import type { FastifySerializerCompiler } from "fastify";
import type { App } from "./app.ts";
import { compileValidatorLazily } from "./validation.ts";

interface Waiting {
  compile: (() => void)[];
  compiled: Promise<unknown> | null;
  isCompiled: boolean;
}

/**
 * Compiles schemas at the first request of their route, so that the start stays short, and one in each turn of the event
 * loop, because a large one takes 10 ms. The small schema of an error is compiled when the error is sent.
 */
export function compileLazily(app: App, compileSerializer: FastifySerializerCompiler<unknown>): void {
  const routes = new Map<string, Waiting>();
  let last: Promise<unknown> = Promise.resolve();

  function waitingAt(method: string | string[], url: string): Waiting {
    const key = `${method} ${url}`;
    const waiting = routes.get(key) ?? { compile: [], compiled: null, isCompiled: false };
    routes.set(key, waiting);
    return waiting;
  }

  function inTurn(compile: () => void): Promise<void> {
    const compiled = last.then(() => othersTurn()).then(compile);
    last = compiled.catch(() => {});
    return compiled;
  }

  app.setValidatorCompiler((route) => {
    const { validate, compile } = compileValidatorLazily(route);
    waitingAt(route.method, route.url).compile.push(...compile);
    return validate;
  });
  app.setSerializerCompiler((route) => {
    let serialize: ReturnType<typeof compileSerializer> | undefined;
    const compile = () => {
      serialize ??= compileSerializer(route);
      return serialize;
    };
    if (/^[23]/.test(route.httpStatus ?? "2xx")) waitingAt(route.method, route.url).compile.push(compile);
    return (value) => compile()(value);
  });
  app.addHook("onRoute", (route) => {
    const waiting = waitingAt(route.method, route.url);
    route.preValidation = [
      (_request, _reply, done) => {
        if (waiting.isCompiled) return done();
        waiting.compiled ??= Promise.all(waiting.compile.map(inTurn)).then(() => {
          waiting.isCompiled = true;
        });
        waiting.compiled.then(
          () => done(),
          (error: Error) => done(error),
        );
      },
      ...[route.preValidation ?? []].flat(),
    ];
  });
}
