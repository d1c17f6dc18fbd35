import type { FastifyReply, FastifyRequest } from "fastify";

/** One cookie of the hub. Over HTTPS it has the prefix with which browsers let no other host set it. */
interface Cookie {
  read(request: FastifyRequest): string | undefined;
  set(reply: FastifyReply, value: string, maxAgeMs: number): void;
  clear(reply: FastifyReply): void;
}

/**
 * Hidden from scripts; sent when a person follows a link or a redirect from another site, and with no other
 * request of another site. Source: RFC 6265bis, sections 4.1.2.7 and 4.1.3.2.
 */
export function openCookie(name: string, publicUrl: string): Cookie {
  const isSecure = publicUrl.startsWith("https:");
  const fullName = isSecure ? `__Host-${name}` : name;
  const attributes = `Path=/; HttpOnly; SameSite=Lax${isSecure ? "; Secure" : ""}`;
  const write = (reply: FastifyReply, value: string, maxAgeSeconds: number) =>
    reply.header("set-cookie", `${fullName}=${value}; Max-Age=${maxAgeSeconds}; ${attributes}`);
  return {
    read({ headers }) {
      const pairs = (headers.cookie ?? "").split(";").map((pair) => pair.trim());
      return pairs.find((pair) => pair.startsWith(`${fullName}=`))?.slice(fullName.length + 1);
    },
    set: (reply, value, maxAgeMs) => void write(reply, value, Math.floor(maxAgeMs / 1000)),
    clear: (reply) => void write(reply, "", 0),
  };
}
