import { describe, expect, it } from 'vitest';
import { readCommandLine } from '../api/command-line.ts';
import { ConfigError } from '../api/config.ts';

describe('readCommandLine', () => {
  it('puts options before the environment and leaves the rest of it', () => {
    const args = ['--port', '0', '--data-dir=/srv/fl', '--json'];
    expect(readCommandLine(args, { FEDEDGE_PORT: '1', FEDEDGE_LOG_LEVEL: 'debug' })).toEqual({
      kind: 'start',
      json: true,
      env: { FEDEDGE_PORT: '0', FEDEDGE_DATA_DIR: '/srv/fl', FEDEDGE_LOG_LEVEL: 'debug' },
    });
  });

  it('explains itself', () => {
    const line = readCommandLine(['--help'], {});
    expect(line).toMatchObject({ kind: 'help', text: expect.stringContaining('--data-dir') });
  });

  it.each([[['--prot', '1']], [['serve']], [['--port']]])('refuses %j', (args) => {
    expect(() => readCommandLine(args, {})).toThrow(ConfigError);
  });
});
