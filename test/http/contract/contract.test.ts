import { describe, expect, it } from 'vitest';
import {
  buildDocument,
  type DocumentOperation,
  listOperations,
} from '../../../api/http/contract/document.ts';
import { resolveSchema, type Schema } from '../../../api/http/contract/examples.ts';
import { createDocumentApp } from '../../../scripts/document-app.ts';

const document = buildDocument(createDocumentApp());
const operations = listOperations(document).map((found) => ({
  ...found,
  name: `${found.method.toUpperCase()} ${found.path}`,
}));
const { schemas } = document.components;
const policies = ['public', 'device', 'member', 'viewer', 'operator', 'releaser'];

describe('the contract', () => {
  it('has operations, each with an id of its own', () => {
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(ids.length).toBeGreaterThan(30);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it.each(operations)('$name declares who may call it, a tag and a summary', ({ operation }) => {
    expect(policies).toContain(operation['x-policy']);
    expect(operation.security).toEqual(securityOf(operation['x-policy']));
    expect(operation.tags).toHaveLength(1);
    expect(operation.operationId).toMatch(/^[a-z][A-Za-z]+$/);
    expect(operation.summary).toMatch(/^[A-Z].{5,}[^.]$/);
  });

  it.each(operations)('$name requires every path parameter, of one type', ({ path, operation }) => {
    const inPath = (operation.parameters ?? []).filter((parameter) => parameter.in === 'path');
    expect(inPath.map(({ name }) => name).sort()).toEqual(placeholders(path).sort());
    for (const { required, schema } of inPath) {
      expect(required).toBe(true);
      expect(['string', 'integer']).toContain(schema.type);
    }
  });

  it.each(operations)('$name has one type for each other parameter, and an example', ({ operation }) => {
    for (const { schema, example } of operation.parameters ?? []) {
      expect(['string', 'integer', 'boolean']).toContain(schema.type);
      expect(example ?? schema.example ?? schema.default ?? schema.enum?.[0]).toBeDefined();
    }
  });

  it.each(operations)('$name shows an example of what it takes and gives', ({ operation }) => {
    for (const [status, media, body] of bodiesOf(operation)) {
      const shown = body.example ?? body.schema.example ?? exampleOfComponent(body.schema);
      if (!isBinary(body.schema)) expect(shown, `${status} ${media}`).toBeDefined();
    }
  });

  it.each(operations)('$name declares raw bodies as binary strings', ({ operation }) => {
    for (const [, media, { schema }] of bodiesOf(operation)) {
      if (media === 'application/octet-stream') expect(schema).toEqual({ type: 'string', format: 'binary' });
    }
  });

  it.each(operations)('$name declares what it may refuse with', ({ operation }) => {
    const expected =
      operation['x-policy'] === 'public' ? ['400', '500', '503'] : ['400', '401', '403', '500'];
    expect(Object.keys(operation.responses)).toEqual(expect.arrayContaining(expected));
    const refusals = Object.entries(operation.responses).filter(([status]) => status >= '400');
    for (const [status, { content }] of refusals) {
      const media = Object.keys(content ?? {});
      // POST /v1/token speaks RFC 6749.
      const oauth = operation.operationId === 'createToken' && media.includes('application/json');
      expect(oauth || media.includes('application/problem+json'), status).toBe(true);
    }
  });

  it.each(operations)('$name bounds all that it takes', ({ operation }) => {
    const bodies = Object.entries(operation.requestBody?.content ?? {})
      .filter(([, { schema }]) => !isBinary(schema))
      .map(([, { schema }]) => unbounded(schema, 'body'));
    const parameters = (operation.parameters ?? []).map(({ name, schema }) => unbounded(schema, name));
    expect([...bodies, ...parameters].flat()).toEqual([]);
  });

  it.each(operations.filter(isOperatorPost))('$name takes an Idempotency-Key', ({ operation }) => {
    expect((operation.parameters ?? []).map(({ name }) => name)).toContain('Idempotency-Key');
  });

  it('names no component so that generated code collides: NewX beside X', () => {
    const names = Object.keys(schemas);
    expect(names.filter((name) => names.includes(`New${name}`))).toEqual([]);
  });
});

/** Where a schema lets in a string, list, map or number without an end. */
function unbounded(schema: Schema, at: string, seen: readonly string[] = []): string[] {
  if (schema.$ref !== undefined) {
    if (seen.includes(schema.$ref)) return [];
    return unbounded(resolveSchema(schema, schemas), at, [...seen, schema.$ref]);
  }
  const parts = [...(schema.allOf ?? []), ...(schema.anyOf ?? []), ...(schema.oneOf ?? [])];
  if (parts.length > 0) return parts.flatMap((part) => unbounded(part, at, seen));
  if (schema.enum !== undefined || schema.const !== undefined) return [];
  const types = [schema.type].flat();
  return [
    ...(types.includes('string') && !isBoundedString(schema) ? [`${at}: a string without an end`] : []),
    ...(types.includes('array') && schema.maxItems === undefined ? [`${at}: a list without an end`] : []),
    ...(isNumber(types) && !isBoundedNumber(schema) ? [`${at}: a number without an end`] : []),
    ...(isMap(schema) && schema.maxProperties === undefined ? [`${at}: a map without an end`] : []),
    ...(schema.items ? unbounded(schema.items, `${at}[]`, seen) : []),
    ...Object.entries(schema.properties ?? {}).flatMap(([name, one]) =>
      unbounded(one, `${at}.${name}`, seen),
    ),
    ...(isMap(schema) ? unbounded(schema.additionalProperties as Schema, `${at}{}`, seen) : []),
  ];
}

function isBoundedString({ maxLength, format, pattern }: Schema): boolean {
  if (maxLength !== undefined || ['uuid', 'date-time', 'date'].includes(format ?? '')) return true;
  if (typeof pattern !== 'string') return false;
  const plain = pattern.replaceAll(/\\.|\[[^\]]*\]/g, '.');
  return plain.startsWith('^') && plain.endsWith('$') && !/[*+]|\{\d+,\}/.test(plain);
}

const isNumber = (types: unknown[]) => types.includes('integer') || types.includes('number');
const isMap = ({ additionalProperties }: Schema) =>
  typeof additionalProperties === 'object' && additionalProperties !== null;

/** A metric or a hyperparameter may be any finite number; what is counted has an end. */
function isBoundedNumber(schema: Schema): boolean {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, type } = schema;
  if (type === 'number' && minimum === undefined && maximum === undefined) return true;
  return (minimum ?? exclusiveMinimum) !== undefined && (maximum ?? exclusiveMaximum) !== undefined;
}

function securityOf(policy: string): Record<string, string[]>[] {
  if (policy === 'public') return [];
  if (policy === 'member') return [{ deviceToken: [] }, { operatorKey: [] }];
  return policy === 'device' ? [{ deviceToken: [] }] : [{ operatorKey: [] }];
}

/** Raw uploads are idempotent by their digest. */
function isOperatorPost({ method, operation }: (typeof operations)[number]): boolean {
  const raw = Object.values(operation.requestBody?.content ?? {}).some(({ schema }) => isBinary(schema));
  return method === 'post' && ['operator', 'releaser'].includes(operation['x-policy']) && !raw;
}

function placeholders(path: string): string[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
}

function bodiesOf({ requestBody, responses }: DocumentOperation) {
  const all = [['request', requestBody?.content] as const].concat(
    Object.entries(responses).map(([status, { content }]) => [status, content] as never),
  );
  return all.flatMap(([place, content]) =>
    Object.entries(content ?? {}).map(([media, body]) => [place, media, body] as const),
  );
}

const isBinary = ({ format }: Schema) => format === 'binary';
const exampleOfComponent = (schema: Schema) => resolveSchema(schema, schemas).example;
