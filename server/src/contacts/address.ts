import { maxIdentifierLength } from "../../../contract/src/people.ts";
import { invalid } from "../errors.ts";

export interface Address {
  readonly channel: string;
  readonly identifier: string;
}

interface AddressedChannel {
  readonly channel: string;
  /** The form of an identifier, as the end of the sentence "an address of this channel is …". */
  readonly identifierRule: string;
  /** The identifier in its stored form, or null for an invalid one. Pure. */
  parseIdentifier(identifier: string): string | null;
}

/** Parses `channel:identifier`; throws VALIDATION_ERROR that names `field` and the expected form. */
export type ParseAddress = (text: string, field?: string) => Address;

/** The hub's own realtime channel: every user has it without an address. */
export const appChannel = "app";

const controlCharacter = /\p{Cc}/u;

export function addressParser(channels: Iterable<AddressedChannel>): ParseAddress {
  const byName = new Map([...channels].map((channel) => [channel.channel, channel]));
  const known = [...byName.keys()].join(", ");
  return (text, field = "address") => {
    const colon = text.indexOf(":");
    if (colon < 1) throw invalid(`${field} must be channel:identifier; the channels are: ${known}.`, { field });
    const name = text.slice(0, colon);
    if (name === appChannel)
      throw invalid(`${field} cannot be an address of the channel app: every user has one automatically.`, { field });
    const channel = byName.get(name);
    if (channel === undefined)
      throw invalid(`${field} names an unknown channel; the channels are: ${known}.`, { field });
    const identifier = parseIdentifier(channel, text.slice(colon + 1));
    if (identifier === null) {
      throw invalid(`${field} is not an address of the channel ${name}: give ${channel.identifierRule}.`, { field });
    }
    return { channel: name, identifier };
  };
}

export function formatAddress({ channel, identifier }: Address): string {
  return `${channel}:${identifier}`;
}

export function distinctAddresses(addresses: Address[]): Address[] {
  return [...new Map(addresses.map((address) => [formatAddress(address), address])).values()];
}

function parseIdentifier(channel: AddressedChannel, given: string): string | null {
  if (given.length > maxIdentifierLength || controlCharacter.test(given) || !given.isWellFormed()) return null;
  const identifier = channel.parseIdentifier(given);
  return identifier !== null && identifier.length <= maxIdentifierLength ? identifier : null;
}
