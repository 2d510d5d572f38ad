import { LuaFactory, LuaLibraries } from 'wasmoon';

const factory = new LuaFactory();

/**
 * Runs a health check as Argo CD does: in an interpreter of its own, with the base and table libraries alone. The object
 * is a Lua table, in which a null is not there.
 */
export async function runHealthCheck(script: string, object: object): Promise<Record<string, string>> {
  const engine = await factory.createEngine({ openStandardLibs: false });
  try {
    engine.global.loadLibrary(LuaLibraries.Base);
    engine.global.loadLibrary(LuaLibraries.Table);
    await engine.doString(`obj = ${luaOf(object)}`);
    return (await engine.doString(script)) as Record<string, string>;
  } finally {
    engine.global.close();
  }
}

/** A JSON value as a Lua expression. */
function luaOf(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value !== 'object' || value === null) return String(value ?? 'nil');
  if (Array.isArray(value)) return `{${value.map(luaOf).join(', ')}}`;
  return `{${Object.entries(value).map(([name, member]) => `[${JSON.stringify(name)}] = ${luaOf(member)}`)}}`;
}
