import type { Part } from './layers.ts';

/** Parts that a switch of `settings.flavours` adds; each is one file in infra/flavours. */
export const flavours: readonly Part[] = [];
