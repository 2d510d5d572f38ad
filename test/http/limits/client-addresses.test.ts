import { describe, expect, it } from 'vitest';
import { clientAddress, groupAddress } from '../../../api/http/limits/client-addresses.ts';

describe('groupAddress', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:C000:0201', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::1', '2001:db8:1:2::/64'],
    ['2001:0DB8:0001:0002::', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['1::', '1:0:0:0::/64'],
  ])('counts %s in %s', (address, group) => {
    expect(groupAddress(address)).toBe(group);
  });

  it.each(['', 'unknown', '1.2.3', '2001:db8::g', '1.2.3.4, 5.6.7.8', '::1]/'])('%j is none', (text) => {
    expect(groupAddress(text)).toBeUndefined();
  });
});

describe('clientAddress', () => {
  const invented = '203.0.113.9';

  it('believes no header without a trusted proxy', () => {
    expect(clientAddress('192.0.2.1', invented, 0)).toBe('192.0.2.1');
  });

  it.each([
    [1, '198.51.100.7'],
    [2, '198.51.100.6'],
  ])(
    'takes what the outermost of %i proxies has seen, whatever the client wrote before',
    (proxies, expected) => {
      const header = `${invented}, 198.51.100.6, 198.51.100.7`;
      expect(clientAddress('192.0.2.1', header, proxies)).toBe(expected);
    },
  );

  it('takes the first entry where a request came by fewer proxies', () => {
    expect(clientAddress('192.0.2.1', '198.51.100.7', 3)).toBe('198.51.100.7');
  });

  it.each([
    ['198.51.100.7:4711', '198.51.100.7'],
    ['[2001:db8::1]:4711', '2001:db8:0:0::/64'],
    ['[2001:db8::1]', '2001:db8:0:0::/64'],
    [' 2001:db8::1 ', '2001:db8:0:0::/64'],
  ])('reads the entry %j', (entry, expected) => {
    expect(clientAddress('192.0.2.1', entry, 1)).toBe(expected);
  });

  it.each([undefined, '', 'unknown', '_hidden', `${'x'.repeat(5000)}`])(
    'counts the connection where the proxy names nobody: %j',
    (header) => {
      expect(clientAddress('192.0.2.1', header, 1)).toBe('192.0.2.1');
    },
  );
});
