import { resolve } from 'node:path';
import { parseReference, pushWeights } from '../../oci/index.ts';
import type { Context } from '../context.ts';
import { misuse } from '../failure.ts';
import type { ReleaseFile } from '../releases/release-file.ts';
import { findCredentials } from './registry-credentials.ts';
import { uploadToS3 } from './s3-upload.ts';
import { checkWeightsFile } from './weights-file.ts';

/** Where the weights are now, and what they are: what a release file says of them. */
export interface Published {
  source: NonNullable<ReleaseFile['source']>;
  digest: string;
}

/** Puts a file of weights where servers can import it from: an OCI registry or S3. */
export async function publishFile(
  { file, to, model }: { file: string; to: string; model: string },
  { cwd, env, signal, terminal }: Context,
): Promise<Published> {
  const path = resolve(cwd, file);
  const reference = to.startsWith('oci://') ? parseReference(to) : undefined;
  if (!reference && !/^s3:\/\/[^/]+\/./.test(to)) {
    throw misuse(
      `--to ${to} is no place for a model`,
      'As --to oci://registry.example/models/mnist or --to s3://bucket/key.',
    );
  }
  await checkWeightsFile(path);
  if (!reference) {
    const { digest, bytes } = await uploadToS3(to, path, { env, signal, now: new Date() });
    terminal.say(`${bytes} bytes are at ${to}`);
    return { source: { s3: to }, digest: `sha-256:${digest}` };
  }
  const credentials = await findCredentials(reference.registry, env);
  const pushed = await pushWeights(reference, path, { model }, { credentials, signal });
  terminal.say(`${pushed.bytes} bytes are at ${pushed.reference}`);
  return { source: { oci: pushed.reference }, digest: `sha-256:${pushed.weightsDigest}` };
}
