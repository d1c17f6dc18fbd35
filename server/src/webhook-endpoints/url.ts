import { maxUrlLength } from "../../../contract/src/webhook-endpoints.ts";
import { invalid } from "../errors.ts";
import { urlProblem } from "../lib/outbound-url.ts";

/**
 * The address of an endpoint as it is stored. Throws VALIDATION_ERROR for one that must not be called. Unless private
 * addresses are allowed it must be https and lead outside; a public name that leads inside is caught when it is dialled.
 */
export function requireEndpointUrl(text: string, { allowPrivate }: { allowPrivate: boolean }): string {
  const isTooLong = text.length > maxUrlLength;
  const problem = isTooLong ? `must have at most ${maxUrlLength} characters.` : urlProblem(text, allowPrivate);
  if (problem !== null) throw invalid(`url ${problem}`, { field: "url" });
  return new URL(text).href;
}
