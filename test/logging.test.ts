import { describe, expect, it } from 'vitest';
import { createLogger } from '../api/logging.ts';

function logged(write: (log: ReturnType<typeof createLogger>) => void): string {
  let text = '';
  write(createLogger('trace', { write: (line) => (text += line) }));
  return text;
}

describe('the log', () => {
  it.each([
    { authorization: 'Bearer s3cr3t' },
    { headers: { authorization: 'Bearer s3cr3t' } },
    { request: { headers: { cookie: 's3cr3t' } } },
    { body: { enrollmentToken: 's3cr3t' } },
    { key: { secret: 's3cr3t' } },
  ])('does not show the secret of %j', (entry) => {
    const text = logged((log) => log.info(entry, 'seen'));
    expect(text).toContain('seen');
    expect(text).not.toContain('s3cr3t');
  });

  it('shows an error and its causes, and not the values that a failed query was given', () => {
    const failed = new Error('Failed query: insert into keys values ($1)\nparams: s3cr3t,2', {
      cause: Object.assign(new Error('duplicate key'), { code: '23505' }),
    });
    const text = logged((log) => log.error({ err: failed }, 'request failed'));
    expect(text).toContain('insert into keys');
    expect(text).toContain('duplicate key');
    expect(text).toContain('logging.test.ts');
    expect(text).not.toContain('s3cr3t');
  });
});
