import { isIP } from 'node:net';

/**
 * Who sends, as limits count it: an IPv4 address, or the /64 of an IPv6 address, which one customer has for itself. Each
 * proxy appends to X-Forwarded-For whom it was called by; what stands before the entries of our own proxies is the
 * client's invention. Undefined: not known.
 */
export function clientAddress(
  remoteAddress: string | undefined,
  forwardedFor: string | undefined,
  trustedProxies: number,
): string | undefined {
  if (trustedProxies === 0 || forwardedFor === undefined) return groupAddress(remoteAddress);
  const entries = forwardedFor.split(',').slice(-trustedProxies);
  return groupAddress(readEntry(entries[0]!)) ?? groupAddress(remoteAddress);
}

/** The group that an address is counted in. Undefined for what is no address. */
export function groupAddress(address: string | undefined): string | undefined {
  const text = address?.replace(/%.*$/, '') ?? '';
  const version = isIP(text);
  if (version === 4) return text;
  return version === 6 ? groupOf6(text) : undefined;
}

/** An entry may have a port: `192.0.2.1:4711`, `[2001:db8::1]:4711`. */
function readEntry(entry: string): string {
  const text = entry.trim();
  const inBrackets = /^\[([^\]]*)\](:\d+)?$/.exec(text)?.[1];
  return inBrackets ?? text.replace(/^([\d.]+):\d+$/, '$1');
}

function groupOf6(text: string): string {
  // The URL parser writes an address in one way alone, an embedded IPv4 address as two groups.
  const plain = new URL(`http://[${text}]`).hostname.slice(1, -1);
  const [head = '', tail] = plain.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail ? tail.split(':') : [];
  const groups = [...before, ...Array(8 - before.length - after.length).fill('0'), ...after];
  if (groups.slice(0, 5).every((group) => group === '0') && groups[5] === 'ffff') return mapped(groups);
  return `${groups.slice(0, 4).join(':')}::/64`;
}

/** The IPv4 address in ::ffff:0:0/96, as which a socket for both families shows it. */
function mapped(groups: readonly string[]): string {
  const [high, low] = groups.slice(6).map((group) => Number.parseInt(group, 16)) as [number, number];
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}
