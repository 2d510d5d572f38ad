import { newId } from '../../store/ids.ts';

const FOLDER = 'update/';

/** A key for an update's file. */
export const newUpdateKey = (now: Date) => `${FOLDER}${newId(now)}`;

/** Whether it is that of an update's file, which the fold alone reads, against its seal. */
export const isUpdateKey = (key: string) => key.startsWith(FOLDER);
