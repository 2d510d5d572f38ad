import type { Session } from '../device/session.ts';
import { updateOwnDevice } from '../generated/sdk.gen.ts';
import type { DeviceProperties, DevicePropertiesPatch } from '../generated/types.gen.ts';
import type { AgentSettings } from './agent-options.ts';

type Source = AgentSettings['properties'];

/** What the device is now. */
export async function readProperties(source: Source): Promise<DeviceProperties> {
  return typeof source === 'function' ? source() : source;
}

/** Returns a function that reports the properties to the server whenever they differ from what it reported last. */
export function createPropertyReports(session: Session, source: Source): () => Promise<void> {
  let reported: DeviceProperties | undefined;
  return async () => {
    const current = await readProperties(source);
    if (JSON.stringify(current) === JSON.stringify(reported)) return;
    const properties: DevicePropertiesPatch = { ...taken(reported ?? {}), ...current };
    if (Object.keys(properties).length > 0) {
      const body = { properties };
      await session.insist((signal) => updateOwnDevice({ client: session.api, body, signal }));
    }
    reported = current;
  };
}

/** A patch that takes all of them away; what is still there is set over it. */
function taken(properties: DeviceProperties): DevicePropertiesPatch {
  return Object.fromEntries(Object.keys(properties).map((name) => [name, null]));
}
