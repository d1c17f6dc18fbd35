import type { ConnectorIo, FetchedFile } from "../connector.ts";
import { graphUrl } from "../meta/account.ts";
import { openGraphFile } from "../meta/graph.ts";
import type { WhatsAppAccount } from "./credentials.ts";
import { mediaObject } from "./media.ts";

/** The id gives a URL for 5 minutes. Source: Cloud API, Media. */
export function openFile(
  reference: string,
  account: WhatsAppAccount,
  io: ConnectorIo,
  signal: AbortSignal,
): Promise<FetchedFile> {
  return openGraphFile(account, io, { url: graphUrl(account, reference), signal }, mediaObject);
}
