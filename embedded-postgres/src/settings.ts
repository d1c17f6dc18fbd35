import type { Endpoint } from "./endpoint.ts";

export function serverArguments(directory: string, endpoint: Endpoint): string[] {
  const where =
    endpoint.kind === "socket"
      ? { listen_addresses: "", unix_socket_directories: quote(endpoint.folder) }
      : { listen_addresses: endpoint.host, unix_socket_directories: "" };
  const settings = Object.entries({ ...serverSettings, ...where, port: endpoint.port });
  return ["-D", directory, ...settings.flatMap(([name, value]) => ["-c", `${name}=${value}`])];
}

const serverSettings = {
  // An accepted message is on the disk: never relax these three.
  fsync: "on",
  synchronous_commit: "on",
  full_page_writes: "on",

  // Without a standby, the log only repairs this server.
  wal_level: "minimal",
  max_wal_senders: 0,
  max_logical_replication_workers: 0,
  max_wal_size: "2GB",
  min_wal_size: "256MB",
  wal_buffers: "16MB",

  // For the memory of a laptop; containers rarely have huge pages or large shared memory.
  max_connections: 100,
  shared_buffers: "256MB",
  work_mem: "8MB",
  maintenance_work_mem: "64MB",
  huge_pages: "off",
  max_parallel_workers_per_gather: 0,

  // For short statements on a solid-state disk.
  jit: "off",
  random_page_cost: 1.1,
  io_method: "sync",

  // Queues are written, read once and deleted: dead rows would slow the next scan.
  autovacuum_naptime: "5s",
  autovacuum_vacuum_scale_factor: 0.05,
  autovacuum_vacuum_insert_scale_factor: 0.1,
  autovacuum_analyze_scale_factor: 0.05,
  autovacuum_vacuum_cost_limit: 2000,

  // The work of a killed client ends soon after it.
  client_connection_check_interval: "2s",

  // The log has no statement and no value, which could be a message.
  logging_collector: "off",
  log_min_messages: "warning",
  log_min_error_statement: "panic",
  log_error_verbosity: "terse",
  log_checkpoints: "off",
  log_timezone: "UTC",
  timezone: "UTC",
};

/** The setting is a list: a folder with a comma or a blank needs quotes. */
function quote(folder: string): string {
  return `"${folder.replaceAll('"', '""')}"`;
}
