import manifest from '../package.json' with { type: 'json' };

/** Of this FedEdge. */
export const version: string = manifest.version;
