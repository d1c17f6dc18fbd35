import type { App } from "../http/app.ts";
import type { ObjectStore } from "../lib/object-store/object-store.ts";

/** Below it clients send the parts of uploads and read files, where the hub itself keeps them. */
export const objectsPath = "/objects";

/** The signed URLs of a store that the hub serves. The signature is the credential; in no OpenAPI document. */
export async function objectRoutes(app: App, handle: NonNullable<ObjectStore["handle"]>): Promise<void> {
  await app.register(async (scope) => {
    // Bodies of any type are streamed to the store.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", (_request, _body, done) => done(null));
    scope.route({
      method: ["GET", "HEAD", "PUT"],
      url: `${objectsPath}/:workspace/:file`,
      // How long they take depends on the client and the size: neither says how busy the hub is.
      config: { access: "public", limit: "none", admission: "always", hasSlowBody: true },
      async handler(request, reply) {
        reply.hijack();
        for (const [name, value] of Object.entries(reply.getHeaders())) reply.raw.setHeader(name, value!);
        await handle(request.raw, reply.raw);
      },
    });
  });
}
