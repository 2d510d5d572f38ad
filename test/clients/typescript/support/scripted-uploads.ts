import { randomUUID } from 'node:crypto';
import type { Reply, Seen } from './scripted-server.ts';

/** Resumable uploads as the contract has them: what came of a cut body stays. */
export function createUploads(accept: (assignment: string, file: Buffer) => Reply) {
  const uploads = new Map<string, { assignment: string; data: Buffer; length: number }>();

  function begin(assignment: string, { headers }: Seen): Reply {
    const id = randomUUID();
    const length = Number(headers['upload-length']);
    uploads.set(id, { assignment, data: Buffer.alloc(0), length });
    return { status: 201, body: { id, url: `/v1/uploads/${id}`, offset: 0, bytes: length } };
  }

  function answer({ method, path, headers, body, cut }: Seen): Reply {
    const upload = uploads.get(path.split('/')[3]!);
    if (!upload) return { status: 404 };
    const at = () => ({ 'upload-offset': String(upload.data.length) });
    if (method === 'HEAD') return { status: 204, headers: at() };
    if (upload.data.length === upload.length) {
      return body.length === 0 && headers['upload-complete'] === '?1'
        ? accept(upload.assignment, upload.data)
        : { status: 409, body: { code: 'upload_complete' } };
    }
    if (Number(headers['upload-offset']) !== upload.data.length) {
      const details = { code: 'upload_offset', 'expected-offset': upload.data.length };
      return { status: 409, headers: at(), body: details };
    }
    upload.data = Buffer.concat([upload.data, body]);
    if (cut || headers['upload-complete'] !== '?1') return { status: 204, headers: at() };
    return accept(upload.assignment, upload.data);
  }
  return { begin, answer };
}
