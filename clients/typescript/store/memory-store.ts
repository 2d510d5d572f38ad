import type { AgentStore } from './agent-store.ts';

/** A store that ends with the process: every start is a new device. */
export function createMemoryStore(): AgentStore {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  return {
    read: async (name) => files.get(name)?.slice(),
    open: async (name) => {
      const bytes = files.get(name);
      return bytes && new Blob([bytes]);
    },
    write: async (name, bytes) => void files.set(name, bytes.slice()),
    append: async (name, bytes) => {
      const before = files.get(name) ?? new Uint8Array();
      const both = new Uint8Array(before.length + bytes.length);
      both.set(before);
      both.set(bytes, before.length);
      files.set(name, both);
    },
    remove: async (name) => void files.delete(name),
    list: async () => [...files.keys()],
  };
}
