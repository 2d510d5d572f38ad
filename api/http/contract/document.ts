import { readFileSync } from 'node:fs';
import type { OpenAPIHono } from '@hono/zod-openapi';
import type { AppEnv } from '../context.ts';
import { exampleOf, type Schema, type Schemas } from './examples.ts';

const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

/** The parts of the document that we look at ourselves. */
export interface Document {
  openapi: string;
  info: { title: string; version: string; description: string };
  tags: { name: string; description: string }[];
  paths: Record<string, Record<string, DocumentOperation>>;
  components: { schemas: Schemas; [kind: string]: unknown };
}

export interface DocumentOperation {
  operationId: string;
  tags: string[];
  summary: string;
  description?: string;
  'x-policy': string;
  security: Record<string, string[]>[];
  parameters?: DocumentParameter[];
  requestBody?: { required?: boolean; content: Content };
  responses: Record<string, { description: string; content?: Content; headers?: Record<string, unknown> }>;
}

export interface DocumentParameter {
  name: string;
  in: 'path' | 'query' | 'header';
  required?: boolean;
  description?: string;
  schema: Schema;
  example?: unknown;
}

type Content = Record<string, { schema: Schema; example?: unknown }>;

const description = `FedEdge trains models on devices that keep their data. A device registers, asks for an assignment,
downloads the weights that it names, trains, and sends its update; the server folds the updates of a round into the next
version of the model.

Control is JSON, tensors are raw bytes in safetensors files. Errors are problem documents (RFC 9457) whose \`code\` is
stable: [every code and what to do](/docs/problems). Lists are read page by page: follow \`nextCursor\`.

Each operation names who may call it in \`x-policy\`: \`public\`, \`device\` (an access token from \`POST /v1/token\`),
\`viewer\`, \`operator\`, \`releaser\` (an operator key with that role; operators and releasers may also do what viewers
may) or \`member\` (any of them).`;

const tags = [
  ['Enrolment tokens', 'What lets devices register.'],
  ['Devices', 'Registration, keys and what devices tell about themselves.'],
  ['Tokens', 'Access tokens of devices.'],
  ['Operator keys', 'Keys of people and pipelines.'],
  ['Models', 'Models, their versions and weights.'],
  ['Releases', 'Which version of a model which devices get.'],
  ['Runs', 'Training of a model, round by round.'],
  ['Rounds', 'What became of each round and update.'],
  ['Assignments', 'What a device has to do, and where its results go.'],
  ['Uploads', 'Updates that are sent in parts.'],
  ['Events', 'What happened, as a stream and as the audit log.'],
  ['System', 'Health and discovery.'],
] as const;

const WITH_EXAMPLE = ['application/json', 'application/x-www-form-urlencoded'];

const frame = {
  info: {
    title: 'FedEdge',
    version,
    description,
    license: { name: 'Apache-2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' },
  },
  servers: [{ url: '/', description: 'The server that this document came from.' }],
};

/** The OpenAPI document of an app with all of its routes, with an example at every JSON body. */
export function buildDocument(app: OpenAPIHono<AppEnv>, edition: '3.0' | '3.1' = '3.1'): Document {
  registerSecurity(app);
  const document = (edition === '3.1'
    ? app.getOpenAPI31Document({ openapi: '3.1.0', ...frame })
    : app.getOpenAPIDocument({ openapi: '3.0.3', ...frame })) as unknown as Document;
  const used = new Set(listOperations(document).flatMap(({ operation }) => operation.tags));
  document.tags = tags
    .filter(([name]) => used.delete(name))
    .map(([name, text]) => ({ name, description: text }));
  document.tags.push(...[...used].sort().map((name) => ({ name, description: name })));
  for (const { operation } of listOperations(document)) {
    addExamples(operation, document.components.schemas);
    for (const parameter of operation.parameters ?? []) mendParameter(parameter);
  }
  if (edition === '3.0') dropUntypedNull(document);
  return document;
}

/** Every operation with its place. */
export function listOperations(
  document: Document,
): { method: string; path: string; operation: DocumentOperation }[] {
  return Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ method, path, operation })),
  );
}

function registerSecurity(app: OpenAPIHono<AppEnv>): void {
  app.openAPIRegistry.registerComponent('securitySchemes', 'deviceToken', {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'at+jwt',
    description: 'An access token from `POST /v1/token`, for 10 minutes.',
  });
  app.openAPIRegistry.registerComponent('securitySchemes', 'operatorKey', {
    type: 'http',
    scheme: 'bearer',
    description: 'The secret of an operator key.',
  });
}

/** A coerced number takes null for 0, but no parameter can be null. Identifiers need no words of their own. */
function mendParameter(parameter: DocumentParameter): void {
  const { schema, name } = parameter;
  if (Array.isArray(schema.type)) schema.type = schema.type.find((type) => type !== 'null')!;
  delete schema.nullable;
  if (parameter.in === 'path') parameter.description ??= `The id of the ${name}.`;
}

/** In OpenAPI 3.0 `nullable` needs a type; what has none takes null anyway. */
function dropUntypedNull(node: unknown): void {
  if (typeof node !== 'object' || node === null) return;
  if ('nullable' in node && !('type' in node)) delete node.nullable;
  for (const child of Object.values(node)) dropUntypedNull(child);
}

function addExamples({ requestBody, responses }: DocumentOperation, schemas: Schemas): void {
  const contents = [requestBody?.content, ...Object.values(responses).map(({ content }) => content)];
  for (const content of contents) {
    for (const media of WITH_EXAMPLE) {
      const body = content?.[media];
      if (body && body.example === undefined) body.example = exampleOf(body.schema, schemas);
    }
  }
}
