import { Type } from "typebox";
import type { ChannelAccount } from "../connector.ts";

export interface MetaCredentials {
  access_token: string;
  app_secret: string;
  verify_token: string;
}

export type MetaAccount = ChannelAccount<MetaCredentials>;

/** Sent in a header: no character may end it. */
export const accessToken = (description: string) =>
  Type.String({ pattern: "^[\\x21-\\x7e]+$", maxLength: 2000, description });

export const appCredentials = {
  app_secret: Type.String({ minLength: 1, maxLength: 200, description: "The app's secret: it signs the webhooks." }),
  verify_token: Type.String({ minLength: 1, maxLength: 200, description: "Any text; proves who set the webhook." }),
};

/** Source: Graph API, base URL and versions; v25.0 is the version in the Cloud API pages of 2026. */
const defaultBaseUrl = "https://graph.facebook.com";
const defaultVersion = "v25.0";

export function graphUrl({ settings }: Pick<MetaAccount, "settings">, objectId: string): string {
  return `${settings.base_url ?? defaultBaseUrl}/${settings.api_version ?? defaultVersion}/${objectId}`;
}
