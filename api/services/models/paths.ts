/**
 * Where things are, for documents that name them: paths below the API's URL, which may itself have a path. A client
 * appends them to the URL that it was configured with, so that they work behind any proxy.
 */
export function weightsPath(model: string, version: number, variant = 'f32'): string {
  return `/v1/models/${model}/versions/${version}/weights?variant=${variant}`;
}

export function uploadPath(upload: string): string {
  return `/v1/uploads/${upload}`;
}

/** A file that a device is to fetch. */
export interface Download {
  role: 'weights';
  url: string;
  /** SHA-256, hex; also the file's ETag. */
  digest: string;
  bytes: number;
}
