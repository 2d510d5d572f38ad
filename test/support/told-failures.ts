import { beforeEach } from 'vitest';
import { forgetPrograms, tellPrograms } from './acceptance/programs.ts';

/** A test that fails shows what its programs said. */
beforeEach(({ onTestFailed }) => {
  forgetPrograms();
  onTestFailed(() => {
    const told = tellPrograms();
    if (told !== '') console.error(told);
  });
});
