export function isPatched(modules: string): boolean;
export function applyPatches(modules: string): void;
