/** Where an agent keeps what has to survive it: its key, weights, and an update until the server has it. */
export interface AgentStore {
  read(name: string): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** The same bytes, read as they are needed. */
  open(name: string): Promise<Blob | undefined>;
  /** All or nothing, and durable once it resolves. */
  write(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** For what can be fetched again: a crash may leave a part. */
  append(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Removing what is not there changes nothing. */
  remove(name: string): Promise<void>;
  list(): Promise<string[]>;
}
