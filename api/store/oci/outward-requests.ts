import { lookup } from 'node:dns/promises';
import { BlockList, isIP } from 'node:net';

const MAX_REDIRECTS = 5;
const REDIRECTS = [301, 302, 303, 307, 308];

/** Where clouds hand out the machine's own credentials (169.254.169.254 and its like): no file of anybody lies there. */
const linkLocal = new BlockList();
linkLocal.addSubnet('169.254.0.0', 16, 'ipv4');
linkLocal.addSubnet('fe80::', 10, 'ipv6');
linkLocal.addAddress('fd00:ec2::254', 'ipv6');

/**
 * A GET of a place that is named outside of this server's configuration. Follows up to five redirects: none from HTTPS to
 * HTTP, and with the `authorization` to none of another origin. Throws before a link-local address is asked.
 */
export async function getOutward(
  url: string,
  { headers, signal }: { headers: Record<string, string>; signal: AbortSignal },
): Promise<Response> {
  let place = new URL(url);
  const sent = new Headers(headers);
  for (let hops = 0; hops <= MAX_REDIRECTS; hops += 1) {
    await refuseLinkLocal(place);
    const answer = await fetch(place, { headers: sent, signal, redirect: 'manual' });
    const location = answer.headers.get('location');
    if (!REDIRECTS.includes(answer.status) || location === null) return answer;
    await answer.body?.cancel();
    const next = URL.canParse(location, place.href) ? new URL(location, place.href) : undefined;
    if (!next || !isAllowed(place, next)) throw new Error(`${place.host} redirects to where it may not`);
    if (next.origin !== place.origin) sent.delete('authorization');
    place = next;
  }
  throw new Error(`${new URL(url).host} redirects too often`);
}

function isAllowed(from: URL, to: URL): boolean {
  return to.protocol === 'https:' || (to.protocol === 'http:' && from.protocol === 'http:');
}

async function refuseLinkLocal({ hostname }: URL): Promise<void> {
  const host = hostname.replace(/^\[|\]$/g, '');
  // A name that is not known here may be known to a proxy.
  const found = isIP(host) === 0 ? await lookup(host, { all: true }).catch(() => []) : [{ address: host }];
  const isRefused = found.some(({ address }) =>
    linkLocal.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4'),
  );
  if (isRefused) throw new Error(`${hostname} is a link-local address`);
}
