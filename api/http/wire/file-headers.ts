import { writeDigest } from './digests.ts';
import type { ByteRange } from './ranges.ts';

/** What of an immutable file its headers tell. */
export interface DescribedFile {
  /** SHA-256, hex: the strong ETag. */
  digest: string;
  bytes: number;
}

export function etagOf({ digest }: Pick<DescribedFile, 'digest'>): string {
  return `"${digest}"`;
}

/** All that an answer 304 says of the file. */
export function validatorsOf(file: DescribedFile) {
  return { etag: etagOf(file), 'cache-control': 'private, max-age=31536000, immutable' };
}

/** What an answer with the file, or with a part of it, says. */
export function headersOf(file: DescribedFile, part?: ByteRange): Record<string, string> {
  const { digest, bytes } = file;
  const { start, end } = part ?? { start: 0, end: bytes };
  return {
    ...validatorsOf(file),
    'content-type': 'application/octet-stream',
    'content-length': String(end - start),
    'accept-ranges': 'bytes',
    'repr-digest': writeDigest(digest),
    ...(part
      ? { 'content-range': `bytes ${start}-${end - 1}/${bytes}` }
      : { 'content-digest': writeDigest(digest) }),
  };
}
