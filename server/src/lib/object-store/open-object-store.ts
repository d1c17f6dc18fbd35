import type { DiskObjectStoreOptions } from "./disk-object-store.ts";
import type { ObjectStore } from "./object-store.ts";
import type { S3ObjectStoreOptions } from "./s3-object-store.ts";

export type ObjectStoreOptions = ({ kind: "disk" } & DiskObjectStoreOptions) | ({ kind: "s3" } & S3ObjectStoreOptions);

/** Loads only the engine that is used, because the SDK of S3 takes memory. */
export async function openObjectStore(options: ObjectStoreOptions): Promise<ObjectStore> {
  if (options.kind === "s3") {
    const { openS3ObjectStore } = await import("./s3-object-store.ts");
    return openS3ObjectStore(options);
  }
  const { openDiskObjectStore } = await import("./disk-object-store.ts");
  return openDiskObjectStore(options);
}
