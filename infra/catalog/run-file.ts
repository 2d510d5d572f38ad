import { z } from 'zod';

/**
 * `runs/<run>.yaml`: the body of POST /v1/runs, which the server checks, and when it comes again. The file's name is
 * the run's name.
 */
export const run = z.looseObject({
  model: z.string(),
  strategy: z.looseObject({ name: z.string() }).optional(),
  name: z.never('the name is the file’s').optional(),
  schedule: z.strictObject({ cron: z.string().min(9) }).optional(),
});
