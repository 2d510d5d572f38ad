import { spawnSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { SignJWT } from 'jose';

/** A token service as registries name it: a user's name and password for a token of ten minutes. */
export interface TokenService {
  realm: string;
  /** The file of the certificate that the registry trusts. */
  certificate: string;
  /** Each scope that was asked for. */
  scopes: string[];
  close(): Promise<void>;
}

export async function startTokenService(
  folder: string,
  { username, password }: { username: string; password: string },
): Promise<TokenService> {
  const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')];
  const made = spawnSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      key,
      '-out',
      certificate,
      '-subj',
      '/CN=tokens',
    ],
    { encoding: 'utf8' },
  );
  if (made.status !== 0) throw new Error(made.stderr);
  const privateKey = createPrivateKey(readFileSync(key));
  const x5c = [new X509Certificate(readFileSync(certificate)).raw.toString('base64')];
  const scopes: string[] = [];
  const wanted = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;

  const server = createServer(async (request, response) => {
    if (request.headers.authorization !== wanted) return void response.writeHead(401).end();
    const query = new URL(request.url!, 'http://tokens').searchParams;
    const scope = query.get('scope') ?? '';
    scopes.push(scope);
    const [type, name, actions = ''] = scope.split(':');
    const access = [{ type, name, actions: actions.split(',') }];
    const token = await new SignJWT({ access })
      .setProtectedHeader({ alg: 'RS256', typ: 'JWT', x5c })
      .setIssuer('tokens')
      .setSubject(username)
      .setAudience(query.get('service') ?? '')
      .setNotBefore('-5s')
      .setIssuedAt()
      .setExpirationTime('10m')
      .sign(privateKey);
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ token }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    realm: `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`,
    certificate,
    scopes,
    close: () => new Promise((resolve) => void server.close(() => resolve())),
  };
}
