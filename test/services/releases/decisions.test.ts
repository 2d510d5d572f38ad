import { expect, it } from 'vitest';
import { deviceBucket } from '../../../api/services/releases/decisions.ts';

it('a device has the bucket that anybody can compute', () => {
  // printf 'mnist-2026:0198c5a2-...' | sha256sum begins with d55bfde7: 3579575783.
  expect(deviceBucket('mnist-2026', '0198c5a2-6d7e-7c3b-9f00-2b7d5a1c9e44')).toBe(5783);
});
