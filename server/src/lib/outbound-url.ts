import { isInsideHost } from "./public-addresses.ts";

/** The end of a sentence, or null. A public name that resolves to a private IP address is found on connecting. */
export function urlProblem(text: string, allowPrivate: boolean): string | null {
  // URL parsers ignore these characters, so that a person reads another URL.
  if (/[\s\p{Cc}\\]/u.test(text)) return "must have no white space, control character or backslash.";
  const url = URL.parse(text);
  if (url === null || !/^https?:\/\/[^/]/i.test(text)) {
    return "must be a URL such as https://example.com/webhooks.";
  }
  if (url.protocol !== "https:" && !allowPrivate) return "must begin with https://.";
  if (/^[^/]*\/\/[^/?#]*@/.test(text)) return "must have no user and no password.";
  if (text.includes("#")) return "must have no fragment.";
  const port = Number(url.port || 443);
  if (port === 0 || (port < 1024 && port !== 80 && port !== 443) || otherServices.has(port)) {
    return `names the port ${port}; use 443, 80 or one above 1023 that is not another service's.`;
  }
  if (!allowPrivate && isInsideHost(url.hostname)) {
    return `names ${url.hostname}, which is not on the public internet; use a public one.`;
  }
  return null;
}

/** Protocols that could accept an HTTP request as their own. Sources: Fetch standard, "bad port"; their defaults. */
const otherServices = new Set([
  ...[1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566],
  ...[6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080],
  // SQL Server, Oracle, MySQL, PostgreSQL and PgBouncer, MongoDB, Cassandra, CouchDB, Elasticsearch.
  ...[1433, 1434, 1521, 3306, 33060, 5432, 6432, 27017, 27018, 27019, 9042, 5984, 9200, 9300],
  // Redis and Sentinel, Memcached, ZooKeeper, etcd.
  ...[6379, 16379, 26379, 11211, 2181, 2379, 2380],
  // MQTT, NATS, AMQP, Erlang, Kafka.
  ...[1883, 8883, 4222, 5671, 5672, 4369, 25672, 9092, 9093],
  // Docker and Swarm, kubelet.
  ...[2375, 2376, 2377, 10250, 10255],
]);
