/** A newer version has taken away what this one needs. */
export class SchemaAheadError extends Error {
  constructor() {
    super('The database belongs to a newer version of FedEdge: update this one.');
    this.name = 'SchemaAheadError';
  }
}
