/**
 *   (registered) --> pending --approve--> active --revoke--> revoked
 *                       \-------------------revoke-------------/
 */
export type DeviceState = 'pending' | 'active' | 'revoked';

/** `next` is a rotated key before its first use; that use makes it `active` and the old one `replaced`. */
export type KeyState = 'active' | 'next' | 'replaced' | 'revoked';

/** Set by operators. */
export type Labels = Record<string, string>;

/** Reported by the device about itself. */
export interface DeviceProperties {
  memoryMb?: number | undefined;
  bandwidthKbps?: number | undefined;
  /** Update encodings and model variants that the device understands. */
  formats?: string[] | undefined;
  /** Charge from 0 to 1. */
  battery?: number | undefined;
  charging?: boolean | undefined;
  metered?: boolean | undefined;
  /** Names of the models that it has data for. Unset: all. */
  models?: string[] | undefined;
  /** Examples that it can train on. */
  examples?: number | undefined;
  software?: string | undefined;
}
