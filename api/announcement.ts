import { existsSync } from 'node:fs';
import type { Deps } from './deps.ts';
import { operatorKeyFile } from './services/identity/federation.ts';
import { createFirstToken } from './services/identity/first-enrollment.ts';
import { warningsOf } from './warnings.ts';

/** What a server tells the person or the program that started it. */
interface Announcement {
  url: string;
  dataDir: string;
  /** Absent when the key came from outside, or another replica has made it. */
  operatorKeyFile: string | undefined;
  /** Absent when devices can enrol without a new one. Shown here and nowhere else. */
  enrollmentToken: string | undefined;
  /** Absent when the log goes to standard error. */
  logFile: string | undefined;
  /** Something that is likely to be missed. */
  hint: string | undefined;
}

const COLUMN = 18;

/** Tells whoever started the server how to go on: a text, or one JSON object. Only here a first token is shown. */
export async function announce(
  deps: Deps,
  { asJson, ...where }: Pick<Announcement, 'url' | 'logFile'> & { asJson: boolean },
): Promise<void> {
  const { dataDir, databaseUrl } = deps.config;
  const keyFile = operatorKeyFile(dataDir);
  const announcement = {
    ...where,
    dataDir,
    operatorKeyFile: existsSync(keyFile) ? keyFile : undefined,
    enrollmentToken: databaseUrl === undefined ? await createFirstToken(deps) : undefined,
    hint: warningsOf(deps.config).join('\n') || undefined,
  };
  console.log(asJson ? JSON.stringify(announcement) : describeStart(announcement));
}

function describeStart({
  url,
  dataDir,
  operatorKeyFile,
  enrollmentToken,
  logFile,
  hint,
}: Announcement): string {
  const key = operatorKeyFile ? `$(cat ${operatorKeyFile})` : '$OPERATOR_KEY';
  const facts: [string, string | undefined][] = [
    ['API', url],
    ['Documentation', `${url}/docs`],
    ['Operator key', operatorKeyFile ? `in ${operatorKeyFile}` : 'as it was given (FEDEDGE_OPERATOR_KEY)'],
    ['Enrolment token', enrollmentToken && `${enrollmentToken}  (100 devices, 24 hours, shown once)`],
    ['Data', dataDir],
    ['Log', logFile],
  ];
  const lines = facts.filter(([, value]) => value).map(([name, value]) => `  ${name.padEnd(COLUMN)}${value}`);
  const next = [
    `  curl -H "Authorization: Bearer ${key}" ${url}/v1/devices`,
    ...(enrollmentToken ? [] : ['', '  Another enrolment token for devices:', ...moreTokens(url, key)]),
    '',
    '  npm run demo        ten devices train a model together on real data',
    '  README.md           a tour in five minutes',
  ];
  const warning = hint ? ['', hint] : [];
  return [
    'FedEdge is ready.',
    '',
    ...lines,
    ...warning,
    '',
    'Next',
    '',
    ...next,
    '',
    'Ctrl-C stops it.',
    '',
  ].join('\n');
}

function moreTokens(url: string, key: string): string[] {
  return [
    `  curl -X POST -H "Authorization: Bearer ${key}" -H 'Content-Type: application/json' \\`,
    `    -d '{"name": "more devices"}' ${url}/v1/enrollment-tokens`,
  ];
}
