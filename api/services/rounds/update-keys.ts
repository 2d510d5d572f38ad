import { newId } from '../../store/ids.ts';

const FOLDER = 'update/';

/** A key for an update's file. */
export const newUpdateKey = (now: Date) => `${FOLDER}${newId(now)}`;

/** Whether a key is an update's file's: the fold reads those, and holds them against their seals. */
export const isUpdateKey = (key: string) => key.startsWith(FOLDER);
