import { expect, it } from 'vitest';
import { startReplicas } from '../../support/acceptance/services.ts';

it('a replica that makes signing keys of its own warns of it in the log', async () => {
  const service = await startReplicas({ api: 1, workers: 0 });
  try {
    const warnings = service.logs().match(/FEDEDGE_TOKEN_KEYS is not set/g);
    expect(warnings).not.toBeNull();
  } finally {
    await service.close();
  }
});
