import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';

/** What becomes of a request to the issuer. */
type Mood = 'fine' | 'down' | 'failing' | 'silent' | 'redirecting' | 'endless' | 'garbled';

interface IssuerKey {
  kid: string;
  privateKey: CryptoKey;
  jwk: JWK;
}

/** A small OpenID Connect issuer that can be made to fail. */
export interface TestIssuer {
  url: string;
  jwksUri: string;
  mood: Mood;
  /** The keys that it publishes; the last one signs. */
  keys: IssuerKey[];
  /** How often its keys were asked for. */
  asked: number;
  /** Replaces members of its discovery document. */
  document: Record<string, unknown>;
  /** Publishes another key, which signs from now on; the old ones go unless they are to stay. */
  rotate(kid: string, old: 'stay' | 'go'): Promise<void>;
  /** A token; `claims` with the value undefined are left out. */
  sign(claims: Record<string, unknown>, header?: Record<string, unknown>, key?: IssuerKey): Promise<string>;
  close(): Promise<void>;
}

async function createIssuerKey(kid: string): Promise<IssuerKey> {
  const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true });
  return { kid, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, use: 'sig' } };
}

export async function startTestIssuer(): Promise<TestIssuer> {
  const server = createServer((request, response) => {
    if (request.url === '/jwks') issuer.asked += 1;
    if (issuer.mood === 'fine') answer(response, request.url === '/jwks' ? keySet() : document());
    else misbehave(response, issuer.mood);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const keySet = () => ({ keys: issuer.keys.map(({ jwk }) => jwk) });
  const document = () => ({ issuer: url, jwks_uri: `${url}/jwks`, ...issuer.document });
  const issuer: TestIssuer = {
    url,
    jwksUri: `${url}/jwks`,
    mood: 'fine',
    keys: [await createIssuerKey('first')],
    asked: 0,
    document: {},
    rotate: async (kid, old) => {
      issuer.keys = [...(old === 'stay' ? issuer.keys : []), await createIssuerKey(kid)];
    },
    sign: (claims, header = {}, key = issuer.keys.at(-1)!) => {
      const kept = Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined));
      return new SignJWT(kept)
        .setProtectedHeader({ alg: 'RS256', kid: key.kid, ...header })
        .sign(key.privateKey);
    },
    close: async () => {
      server.close();
      server.closeAllConnections();
    },
  };
  return issuer;
}

function answer(response: ServerResponse, body: unknown): void {
  response.setHeader('content-type', 'application/json').end(JSON.stringify(body));
}

function misbehave(response: ServerResponse, mood: Exclude<Mood, 'fine'>): void {
  if (mood === 'down') response.destroy();
  else if (mood === 'failing') response.writeHead(500).end();
  else if (mood === 'redirecting') response.writeHead(302, { location: '/jwks' }).end();
  else if (mood === 'garbled') response.end('{"keys": "none"');
  else if (mood === 'endless') {
    const more = () => {
      while (response.write('x'.repeat(65_536)));
    };
    response.on('drain', more);
    more();
  }
}
